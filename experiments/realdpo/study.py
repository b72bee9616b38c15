"""RealDPO (arXiv 2510.14955) in a world with an exact judge: do preferences against a model's own samples beat SFT?

    python -m experiments.realdpo            a few arms on two bases, in a few minutes on two cores
    python -m experiments.realdpo --full     five bases, every arm, 800 samples each (within an hour on one core)

Discs move in a box under exact physics. A base model has seen clips half of which break physics in four ways; then it
is post-trained on a few true clips, by RealDPO (true clips win against the base's own samples), by supervised
fine-tuning at equal compute, and by their relatives and null models. An exact simulator judges every sample.

Writes `runs/<name>/`: `report.html`, `results.json` (claims with intervals and verdicts), `arms.md` (every arm),
`realdpo.png`. Every base and every arm is kept as soon as it is done; the same command goes on after a kill.
"""

import pathlib
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from experiments.realdpo import config as configs
from experiments.realdpo import page, tuning, verdicts
from experiments.realdpo.config import Study
from experiments.realdpo.suite import Suite
from vrjax.files.writing import atomic
from vrjax.study import command


def run(study: Study, root: pathlib.Path, *, fresh: bool, console: Console) -> pathlib.Path:
    """Measures what is missing, judges, and writes the run folder, which is returned."""
    began = time.monotonic()
    folder = root / study.name
    command.settle(folder, command.made_of(study), fresh=fresh)
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
    command.settle(folder, command.made_of(study), fresh=fresh)
    with Progress(console=console, transient=True) as progress:
        table = tuning.run(Suite(study, folder, progress), lambda text: console.print(text, highlight=False))
    with atomic(folder / "tuning.md") as scratch:
        scratch.write_text(table)
    console.print(f"all settings: {folder / 'tuning.md'}; the chosen ones stand in experiments/realdpo/config.py")
    return folder


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    parser = command.parser("realdpo", __doc__)
    parser.add_argument("--full", action="store_true", help="five bases, every arm, powered comparisons")
    parser.add_argument("--tune", action="store_true", help="the search for learning rates and betas, validation world")
    options = parser.parse_args(argv)

    def job() -> None:
        if options.tune:
            tune(options.out, fresh=options.fresh, console=Console())
        else:
            config = configs.full() if options.full else configs.quick()
            run(config, options.out, fresh=options.fresh, console=Console())

    return command.status("realdpo", job)


if __name__ == "__main__":
    sys.exit(main())
