"""RealDPO (arXiv 2510.14955) in a world with an exact judge: do preferences against a model's own samples beat SFT?

    python -m experiments.realdpo            a few arms on two bases, in a few minutes on two cores
    python -m experiments.realdpo --full     five bases, every arm, 800 samples each (within an hour on one core)

Discs move in a box under exact physics. A base model has seen clips half of which break physics in four ways; then it
is post-trained on a few true clips, by RealDPO (true clips win against the base's own samples), by supervised
fine-tuning at equal compute, and by their relatives and null models. An exact simulator judges every sample.

Writes `runs/<name>/`: `report.html`, `results.json` (claims with intervals and verdicts), `arms.md` (every arm),
`realdpo.png`. Every base and every arm is kept as soon as it is done; the same command goes on after a kill.
"""

from vrjax.models.memory import reuse_host_memory

reuse_host_memory()  # before jax computes: fewer page faults

import argparse  # noqa: E402
import dataclasses  # noqa: E402
import json  # noqa: E402
import pathlib  # noqa: E402
import shutil  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Sequence  # noqa: E402

import jax  # noqa: E402
import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: E402

import vrjax  # noqa: E402
from experiments.rdpo import config as configs  # noqa: E402
from experiments.rdpo import page, tuning, verdicts  # noqa: E402
from experiments.rdpo.config import Study  # noqa: E402
from experiments.rdpo.suite import Suite  # noqa: E402
from vrjax.report._files import atomic  # noqa: E402


def run(study: Study, root: pathlib.Path, *, fresh: bool, console: Console) -> pathlib.Path:
    """Measures what is missing, judges, and writes the run folder, which is returned."""
    began = time.monotonic()
    folder = root / study.name
    settle(folder, study, fresh)
    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        suite = Suite(study, folder, progress)
        measured = suite.run(console.print)
        console.print("judging and drawing")
        rows = verdicts.gather(study, measured)
        found, missing = verdicts.claims(study, rows)
        page.write(folder, study, suite, measured, rows, found, missing)
    for c in found:
        number = f"{c.estimate:+.3f} [{c.interval[0]:+.3f}, {c.interval[1]:+.3f}]"
        console.print(f"  {c.id:<32} {number:<28} {c.verdict}", highlight=False)
    console.print(f"done in {(time.monotonic() - began) / 60:.1f} min. Look at it: {folder / 'report.html'}")
    return folder


def tune(root: pathlib.Path, *, fresh: bool, console: Console) -> pathlib.Path:
    """The search on the validation world; writes `tuning.md` and returns the run folder."""
    study = tuning.study()
    folder = root / study.name
    settle(folder, study, fresh)
    with Progress(console=console, transient=True) as progress:
        table = tuning.run(Suite(study, folder, progress), lambda text: console.print(text, highlight=False))
    with atomic(folder / "tuning.md") as scratch:
        scratch.write_text(table)
    console.print(f"all settings: {folder / 'tuning.md'}; the chosen ones stand in experiments/rdpo/config.py")
    return folder


def settle(folder: pathlib.Path, study: Study, fresh: bool) -> None:
    """Makes the run folder, or checks that the one there belongs to the same configuration and versions.

    Raises:
        ValueError: it does not.
    """
    now = {
        "config": json.loads(json.dumps(dataclasses.asdict(study))),
        "versions": {"vrjax": vrjax.__version__, "jax": jax.__version__, "numpy": np.__version__},
    }
    path = folder / "config.json"
    if fresh and folder.exists():
        shutil.rmtree(folder)
    if path.exists():
        try:
            then = json.loads(path.read_text())
        except ValueError:
            raise ValueError(f"{path} is not JSON; use --fresh to measure again") from None
        changed = [k for k in now if not isinstance(then, dict) or then.get(k) != now[k]]
        if changed:
            raise ValueError(f"{folder} was made with another {' and '.join(changed)}; use --fresh to measure again")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(path) as scratch:
        scratch.write_text(json.dumps(now, indent=2) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.realdpo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--full", action="store_true", help="five bases, every arm, powered comparisons")
    parser.add_argument("--tune", action="store_true", help="the search for learning rates and betas, validation world")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs"), help="where run folders are (runs)")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run measured")
    options = parser.parse_args(argv)
    try:
        if options.tune:
            tune(options.out, fresh=options.fresh, console=Console())
            return 0
        run(configs.full() if options.full else configs.quick(), options.out, fresh=options.fresh, console=Console())
    except (ValueError, OSError) as error:
        print(f"realdpo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
