"""VChain (arXiv 2510.05094) in a small world: do visual thoughts make a video model follow cause and effect?

    python -m experiments.vchain            one small base model, a few scenes: minutes on two cores
    python -m experiments.vchain --search   hyper-parameters on validation scenes (about 6 minutes)
    python -m experiments.vchain --full     five bases trained from scratch, powered (about 40 minutes on one core)
    python -m experiments.vchain --model Wan2.1-T2V-1.3B --thoughts FOLDER          the paper's own run, on real weights
    python -m experiments.vchain --model Wan2.1-T2V-1.3B --thoughts FOLDER --prompts cases.json --server URL

Dominoes, taps, cups, lamps and scales in a row pass on what happens to them. The base models have two flaws: with a
short prompt they follow a wrong rule more often than not, and they have a wrong idea of a broken egg and of a duck
afloat. All rows of the paper's table are run beside controls that it lacks: keyframes of another scene (placebo),
tuned with a short prompt, keyframes given at their true times, best of k at equal compute, noisy and learned reasoners.

With `--model` the three stages run on a public Wan text-to-video model: thoughts are read from FOLDER (the paper's
reasoning.json, metadata.csv and images), or made by an OpenAI-compatible server (key in OPENAI_API_KEY) and kept there;
adapters are tuned for every case; videos of the short prompt, of the thoughts without tuning, and of VChain are written
to `runs/vchain-<model>/`.

Writes `runs/<name>/`: `arms.md` (all arms), `results.json` (claims with intervals and verdicts), `vchain.png`,
`report.html`, the chains in the paper's own layout (`thoughts/`) and `bases/`. Every part is kept as soon as it is
measured; the same command goes on after a kill, and nothing is measured twice.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from experiments.vchain import base, page, real, search, suite, thoughts, verdicts
from experiments.vchain.arms import Programs
from experiments.vchain.config import VChain
from vrjax.files import writing
from vrjax.models import wan
from vrjax.models.wan import WanDiT
from vrjax.report import claims as claim_files
from vrjax.study import claims, command, registration
from vrjax.study.tables import Bench, made_of, running
from vrjax.tasks.chains import rules

SHIPPED = pathlib.Path(__file__).parent / "base0"


def run(study: VChain, root: pathlib.Path, *, fresh: bool, console: Console) -> None:
    """Measures what is missing, judges, and writes the run folder."""
    asked = registration.read(__file__, seeds=None if study.quick else len(study.bases))
    how: dict[str, Any] = {"kind": "vchain", "fresh": fresh, "console": console, "group": study.group}
    with running(root / study.name, made_of(study), registered=asked.keep, **how) as here:
        task = rules.Chains(frames=study.frames, cells=study.cells)
        model = thoughts.classifier(task, n=study.transitions, seed=study.seed)
        right = model.accuracy
        console.print(
            f"learned reasoner: {right.rows:.3f} of {right.n} held-out transitions right in all elements, "
            f"{right.changes:.3f} of those in which something changes"
        )
        programs = Programs(study, here)
        found, sets = [], []
        for index, seed in enumerate(study.bases):
            console.print(f"base {index + 1} of {len(study.bases)}")
            dit = model_of(study, index, task, here)
            on = suite.scenes(study, index, here.folder / "thoughts" / f"base{seed}")
            found.append(suite.measure(here, programs, study, dit, index, on, model))
            sets.append(on)
            console.print("judging and drawing")
            # So far: a run that is cut off has the numbers of its whole bases.
            write(here.folder, study, asked, found, sets, model)
        (rows,) = claim_files.gather([here.folder]).values()
        claims.tell(console, rows)


def looked_for(study: VChain, root: pathlib.Path, *, fresh: bool, console: Console) -> None:
    """The search of the adapters' hyper-parameters on validation scenes; see `experiments.vchain.search`."""
    study = search.study(study)
    how: dict[str, Any] = {"kind": "vchain", "fresh": fresh, "console": console, "group": study.group}
    with running(root / study.name, made_of(study), **how) as here:
        dit = model_of(study, 0, rules.Chains(frames=study.frames, cells=study.cells), here)
        console.print(f"written: {search.run(here, study, dit, here.folder, console.print)}")


def model_of(study: VChain, index: int, task: rules.Chains, here: Bench) -> WanDiT:
    """Base number `index`: the shipped one, or the one in the run folder, trained first where it is not there."""
    if study.shipped:
        return wan.load_dit(SHIPPED)
    seed = study.bases[index]
    path = here.folder / "bases" / str(seed)
    if not path.exists():
        bar = here.progress.add_task(f"base {seed}: training", total=study.base.steps)
        data = base.films(task, study.base.scenes, first=100_000 * (seed + 1))
        tell = lambda done, video, image: here.progress.update(
            bar, completed=done, description=f"base {seed}: error {video:.3f}, {image:.3f}"
        )
        dit, curve = base.train(study.base, seed, data, report=tell)
        with writing.folder(path) as scratch:
            wan.save_dit(dit, scratch)
            lines = [{"video": float(a), "image": float(b)} for a, b in curve]
            writing.json(scratch / "training.json", {"errors": lines}, indent=1)
        here.progress.remove_task(bar)
    return wan.load_dit(path)


def write(
    folder: pathlib.Path,
    study: VChain,
    asked: registration.Registration,
    found: verdicts.Found,
    sets: Sequence[suite.Scenes],
    model: thoughts.NextState,
) -> None:
    """Claims, table, figure and page of the bases measured so far."""
    novel = [on.novel for on in sets]
    rows, curve = verdicts.arm_rows(found, novel, study), verdicts.curve_rows(found, study)
    details = {
        "arms": rows,
        "curve": curve,
        "reasoner": model.accuracy._asdict(),
        "bases": f"{len(found)} of {len(study.bases)}",
        "scenes": {"per base": study.scenes, "novel": [int(m.sum()) for m in novel]},
        "tries": study.tries,
    }
    writing.text(folder / "arms.md", verdicts.arms_markdown(rows))
    judged = verdicts.claims(found, novel, study, asked)
    page.write(folder, sets[0], found[0], rows, curve, judged, study)
    claim_files.write(folder, judged, details=details, registered=asked.claims)


def job(study: VChain, options: argparse.Namespace, console: Console) -> None:
    """What was asked for: the study, its search, or the paper's own run on real weights."""
    if options.model is not None:
        real.main(options, console)
        return
    (looked_for if options.search else run)(study, options.out, fresh=options.fresh, console=console)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    text = "search the adapters' hyper-parameters on validation scenes"
    options = {"search": {"--search": {"action": "store_true", "help": text}}, **real.OPTIONS}
    full = "five bases trained from scratch, powered comparisons"
    return command.main("vchain", __doc__, job, argv, full=full, options=options)
