"""Basic visual skills, procedurally: which does a small video model learn to answer by drawing, and when?

    python -m experiments.babyvision                     one skill, short: minutes on two cores
    python -m experiments.babyvision --full              registered claims, eight seeds of one skill (hours); resumes
    python -m experiments.babyvision --full --only K ...         some of the seeds, one process a core, into one folder
    python -m experiments.babyvision --judge             every claim again from the committed tables, or from a run's

Question and answer are two frames; the second one is the first with a circle, a line, dots or letters drawn over it.
One network learns one subtype of puzzles (`vrjax.tasks.puzzles`), and what it draws over held-out questions is read
exactly. Beside it stand solvers that understand nothing, heads that answer without drawing, and what goes on from it:
more of the same, preferences of right over wrong drawings, and other skills.

A *seed* is a training of its own. The first skill of a study is learned with all seeds, the others with a few.

Writes `runs/<name>/`: `results.json` (claims with intervals and verdicts), tables as markdown, `babyvision.png`,
`report.html`. Every part is kept as soon as it is measured; the same command goes on after a kill, in the middle of a
training too, and nothing is measured twice.
"""

import argparse
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console

from experiments.babyvision import drawings, further, heads, listings, names, page, verdicts
from experiments.babyvision.config import BabyVision
from experiments.babyvision.drawings import Models
from experiments.babyvision.training import Trained
from vrjax.files import writing
from vrjax.report import claims as claim_files
from vrjax.study import claims, command, registration, shares
from vrjax.study.tables import Bench, Tables, made_of, running

MEASURE: Mapping[str, Callable[[BabyVision, Bench, int, str, Models], Tables]] = {
    names.DRAWN: drawings.measure,
    names.ANSWERED: heads.measure,
    names.FURTHER: further.measure,
}
"""Parts in the order in which they are measured; the last fall away first where time is short."""
MODELS = "models"
"""The folder of a run in which trainings are."""


def run(
    study: BabyVision,
    root: pathlib.Path,
    *,
    fresh: bool,
    console: Console,
    only: Sequence[int] | None = None,
    parts: Sequence[str] | None = None,
) -> None:
    """Measures what is missing, part by part, seed by seed and skill by skill, judges, and writes the run folder.

    Args:
        only: measure these seeds (positions in `study.seeds`) into the folder, which other processes share, and stop.
        parts: some of `study.parts`, where time is short; the claims of the others are missing then.
    """
    asked = registration.read(__file__, seeds=None if study.quick else len(study.seeds))
    mine = shares.of(study.seeds, [name for name in MEASURE if name in study.parts], only=only, chosen=parts)
    how: dict[str, Any] = {"kind": "babyvision", "fresh": fresh, "console": console, "group": study.group}
    how |= {"registered": asked.keep, "shared": mine.some}
    with running(root / study.name, made_of(study), **how) as here:
        models = {seed: Trained(study, here.folder / MODELS, seed) for seed in mine.seeds}
        kept: dict[str, Tables] = {}
        for name, seed in mine.walk(console):
            for skill in study.of(seed):
                if name != names.FURTHER or further.arms(study, skill.task):
                    part = names.part(seed, skill.task, name)
                    kept[part] = MEASURE[name](study, here, seed, skill.task, models[seed])
        if mine.some:
            console.print(mine.told(here.folder))
            return
        console.print("judging and drawing")
        rows = write(here.folder, study, asked, kept)
        claims.tell(console, [*rows, *claims.missing(asked, rows)])


def write(
    folder: pathlib.Path, study: BabyVision, asked: registration.Registration, kept: Mapping[str, Tables]
) -> list[claim_files.Claim]:
    """Claims, tables, picture and page, from kept tables; the claims."""
    listed = listings.listed(study, kept)
    for name, text in listings.told(listed).items():
        writing.text(folder / f"{name}.md", text)
    found = verdicts.claims(study, asked, kept)
    page.write(folder, study, kept, found, listed)
    claim_files.write(folder, found, details={"seeds": list(study.seeds)}, registered=asked.claims)
    return found


def job(study: BabyVision, options: argparse.Namespace, console: Console) -> None:
    """What was asked for."""
    run(study, options.out, fresh=options.fresh, console=console, only=options.only, parts=options.parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    how = {"full": "eight seeds, judged", "judged": verdicts.judged, "drawn": page.drawn}
    return command.main("babyvision", __doc__, job, argv, **how, options=shares.options())
