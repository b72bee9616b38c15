"""VChain (arXiv 2510.05094) in a small world: do visual thoughts make a video model follow cause and effect?

    python -m experiments.vchain                    one small base model, a few scenes: minutes on two cores
    python -m experiments.vchain --full             eight bases trained from scratch, registered claims (about an hour)
    python -m experiments.vchain --full --only K ...        some of the bases, one process a core, into one run folder
    python -m experiments.vchain --judge            every claim again from the committed tables, or from those of a run
    python -m experiments.vchain --full --search    before it: the adapters' rate and length, on validation scenes
    python -m experiments.vchain --full --pilot     before it: the bill, on validation scenes of one pilot base
    python -m experiments.vchain --model Wan2.1-T2V-1.3B --thoughts FOLDER          the paper's own run, on real weights
    python -m experiments.vchain --model Wan2.1-T2V-1.3B --thoughts FOLDER --prompts cases.json --server URL

Dominoes, taps, cups, lamps and scales in a row pass on what happens to them. The base models have two flaws: with a
short prompt they follow a wrong rule more often than not, and they have a wrong idea of a broken egg and of a duck
afloat. All rows of the paper's table are run beside controls that it lacks: keyframes of another scene (placebo),
thoughts in shuffled order, tuned with a short prompt, keyframes given at their true times, best of k at equal compute,
learned reasoners and such as err, each beside rivals that have the same thoughts.

With `--model` the three stages run on a public Wan text-to-video model: thoughts are read from FOLDER (the paper's
reasoning.json, metadata.csv and images), or made by an OpenAI-compatible server (key in OPENAI_API_KEY) and kept there;
adapters are tuned for every case; videos of the short prompt, of the thoughts without tuning, and of VChain are written
to `runs/vchain-<model>/`.

Writes `runs/<name>/`: `results.json` (claims with intervals and verdicts), `arms.md`, `curve.md` and `bill.md`,
`vchain.png`, `report.html`, the chains in the paper's own layout (`thoughts/`) and `bases/`. Every part is kept as soon
as it is measured; the same command goes on after a kill, and nothing is measured twice.
"""

import argparse
import dataclasses
import pathlib
import time
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
from vrjax.report import tables
from vrjax.study import claims, command, registration, shares
from vrjax.study.tables import Bench, Tables, made_of, running
from vrjax.tasks.chains import rules

SHIPPED = pathlib.Path(__file__).parent / "base0"


def run(
    study: VChain,
    root: pathlib.Path,
    *,
    fresh: bool,
    console: Console,
    only: Sequence[int] | None = None,
    parts: Sequence[str] | None = None,
) -> None:
    """Measures what is missing, part by part and in each of them base by base, judges, and writes the run folder.

    Args:
        only: measure these bases (positions in `study.bases`) into the folder, which other processes share, and stop.
        parts: some of `suite.parts`, where time is short; the claims of the others are missing then.
    """
    asked = registration.read(__file__, seeds=None if study.quick else len(study.bases))
    mine = shares.of(study.bases, tuple(suite.parts(study)), only=only, chosen=parts, word="base")
    how: dict[str, Any] = {"kind": "vchain", "fresh": fresh, "console": console, "group": study.group}
    how |= {"registered": asked.keep, "shared": mine.some}
    with running(root / study.name, made_of(study), **how) as here:
        task = rules.Chains(frames=study.frames, cells=study.cells)
        model = thoughts.classifier(task, n=study.transitions, seed=study.seed)
        right = model.accuracy
        console.print(
            f"learned reasoner: {right.rows:.3f} of {right.n} held-out transitions right in all elements, "
            f"{right.changes:.3f} of those in which something changes"
        )
        programs = Programs(study, here)
        bases = []
        for seed in mine.seeds:
            dit = model_of(study, seed, task, here)
            on = suite.scenes(study, seed, here.folder / "thoughts" / f"base{seed}")
            bases.append(suite.Base(here, programs, dit, seed, on, model, shown=seed == study.bases[0]))
        found: list[dict[str, Tables]] = [{} for _ in bases]
        for name, seed in mine.walk(console):
            at = mine.seeds.index(seed)
            found[at] |= bases[at].measure(name)
        if mine.some:
            console.print(mine.told(here.folder))
            return
        console.print("judging and drawing")
        write(here, study, asked, found, bases)
        (rows,) = claim_files.gather([here.folder]).values()
        claims.tell(console, rows)


def looked_for(study: VChain, root: pathlib.Path, *, fresh: bool, console: Console) -> None:
    """The search of the adapters' hyper-parameters on validation scenes; see `experiments.vchain.search`."""
    study = search.study(study)
    how: dict[str, Any] = {"kind": "vchain", "fresh": fresh, "console": console, "group": study.group}
    with running(root / study.name, made_of(study), **how) as here:
        task = rules.Chains(frames=study.frames, cells=study.cells)
        dits = {seed: model_of(study, seed, task, here) for seed in study.bases}
        console.print(f"written: {search.run(here, study, dits, here.folder, console.print)}")


def pilot(study: VChain) -> VChain:
    """The same study on one pilot base and its validation scenes: what it costs, and nothing that a claim may use."""
    changed: dict[str, Any] = dict(name=f"{study.name}_pilot", quick=True, shipped=False, split="val")
    return dataclasses.replace(study, bases=search.BASES[:1], **changed)


def model_of(study: VChain, seed: int, task: rules.Chains, here: Bench) -> WanDiT:
    """The base of a training seed: the shipped one, or the one in the run folder, trained first where it is not
    there."""
    if study.shipped:
        return wan.load_dit(SHIPPED)
    path = here.folder / "bases" / str(seed)
    if not path.exists():
        began = time.process_time()
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
        suite.bill(here.folder, seed, "training", time.process_time() - began)
    return wan.load_dit(path)


def write(
    here: Bench,
    study: VChain,
    asked: registration.Registration,
    found: verdicts.Found,
    bases: Sequence[suite.Base],
) -> None:
    """Claims, tables, figure and page."""
    folder, novel = here.folder, [one.on.novel for one in bases]
    rows, curve = verdicts.arm_rows(found, novel, study), verdicts.curve_rows(found, novel, study)
    bill = [[r["part"], str(r["bases"]), f"{r['minutes']:.2f}", f"{r['all']:.1f}"] for r in suite.bills(folder)]
    shown = verdicts.told(rows, curve) | {
        "bill": tables.markdown(("part", "bases", "CPU minutes a base", "of all"), bill)
    }
    for name, text in shown.items():
        writing.text(folder / f"{name}.md", text)
    details = {
        "arms": rows,
        "curve": curve,
        "reasoner": bases[0].model.accuracy._asdict(),
        "bases": list(study.bases),
        "scenes": {"per base": study.scenes, "novel": [int(m.sum()) for m in novel]},
        "tries": study.tries,
    }
    judged = verdicts.claims(found, novel, study, asked)
    page.write(folder, bases[0], found[0], rows, curve, judged, study)
    claim_files.write(folder, judged, details=details, registered=asked.claims)


def job(study: VChain, options: argparse.Namespace, console: Console) -> None:
    """What was asked for: the study, its search, or the paper's own run on real weights."""
    if options.model is not None:
        real.main(options, console)
        return
    how: dict[str, Any] = {"fresh": options.fresh, "console": console}
    if options.search:
        looked_for(study, options.out, **how)
        return
    if options.pilot:
        study = pilot(study)
    run(study, options.out, only=options.only, parts=options.parts, **how)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    options = {
        "before the study": {
            "--search": {"action": "store_true", "help": "the adapters' rate and length, on validation scenes"},
            "--pilot": {"action": "store_true", "help": "all parts on validation scenes of one pilot base"},
        },
        **shares.options("base"),
        **real.OPTIONS,
    }
    full = "eight bases trained from scratch, judged"
    how = {"full": full, "judged": verdicts.judged, "drawn": page.drawn}
    return command.main("vchain", __doc__, job, argv, **how, options=options)
