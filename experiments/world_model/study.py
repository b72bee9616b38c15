"""Learned world models as simulators: how far can one drive them, how sure are they rightly, and what for?

    python -m experiments.world_model                    one small world, short: minutes on two cores
    python -m experiments.world_model --full             eight seeds, registered claims (hours); resumes
    python -m experiments.world_model --full --only K ...        some of the seeds, one process a core, into one folder
    python -m experiments.world_model --judge            every claim again from the committed tables, or from a run's

Block-causal networks that remember frames learn a world in which an agent pushes a block, from films; what they answer
is compared with the exact world, in which the same is done. With fewer denoising steps a frame, with a shorter memory,
with self- or teacher-forcing: how many steps until they stray, does planning through them work, is their chance that of
a floor on which the agent may stay? Further: does a planner with gradients beat one without at equal model calls, and
do the first denoising steps of a frame settle where things are and the last ones how they look?

A *seed* is a training of its own, with test episodes of its own.

Writes `runs/<name>/`: `results.json` (claims with intervals and verdicts), tables as markdown, `world_model.png`,
`report.html`. Every part is kept as soon as it is measured; the same command goes on after a kill, in the middle of a
training too, and nothing is measured twice.
"""

import argparse
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console

from experiments.world_model import (
    chances,
    forcing,
    listings,
    names,
    page,
    plans,
    settled,
    strays,
    verdicts,
)
from experiments.world_model.asking import Worlds
from experiments.world_model.config import WorldModel
from experiments.world_model.training import Trained
from vrjax.files import writing
from vrjax.report import claims as claim_files
from vrjax.study import claims, command, registration, shares
from vrjax.study.tables import Bench, Tables, made_of, running

MEASURE: Mapping[str, Callable[[WorldModel, Bench, int, Worlds], Tables]] = {
    names.HORIZON: strays.measure,
    names.CALIBRATION: chances.measure,
    names.SETTLING: settled.measure,
    names.METHODS: plans.compared,
    names.PLANNING: plans.measure,
    names.FORCING: forcing.measure,
}
"""Parts in the order in which they are measured; the last fall away first where time is short."""
WORLDS = "worlds"
"""The folder of a run in which trainings are."""


def run(
    study: WorldModel,
    root: pathlib.Path,
    *,
    fresh: bool,
    console: Console,
    only: Sequence[int] | None = None,
    parts: Sequence[str] | None = None,
) -> None:
    """Measures what is missing, part by part and in each of them seed by seed, judges, and writes the run folder.

    Args:
        only: measure these seeds (positions in `study.seeds`) into the folder, which other processes share, and stop.
        parts: some of `study.parts`, where time is short; the claims of the others are missing then.
    """
    asked = registration.read(__file__, seeds=None if study.quick else len(study.seeds))
    plans.fairly(study.methods)
    mine = shares.of(study.seeds, [name for name in MEASURE if name in study.parts], only=only, chosen=parts)
    how: dict[str, Any] = {"kind": "world_model", "fresh": fresh, "console": console, "group": study.group}
    how |= {"registered": asked.keep, "shared": mine.some}
    with running(root / study.name, made_of(study), **how) as here:
        worlds = {seed: Trained(study, here.folder / WORLDS, seed) for seed in mine.seeds}
        kept: dict[str, Tables] = {}
        for name, seed in mine.walk(console, skip=lambda name, seed: not measured(study, name)):
            kept[names.part(seed, name)] = MEASURE[name](study, here, seed, worlds[seed])
        if mine.some:
            console.print(mine.told(here.folder))
            return
        console.print("judging and drawing")
        rows = write(here.folder, study, asked, kept)
        claims.tell(console, [*rows, *claims.missing(asked, rows)])


def measured(study: WorldModel, name: str) -> bool:
    """Whether a part is measured: forcing where there are trainings that go on."""
    return name != names.FORCING or study.trainings.extra > 0


def write(
    folder: pathlib.Path, study: WorldModel, asked: registration.Registration, kept: Mapping[str, Tables]
) -> list[claim_files.Claim]:
    """Claims, tables, picture and page, from kept tables; the claims."""
    listed = listings.listed(study, kept)
    for name, text in listings.told(listed).items():
        writing.text(folder / f"{name}.md", text)
    found = verdicts.claims(study, asked, kept)
    page.write(folder, study, kept, found, listed)
    claim_files.write(folder, found, details={"seeds": list(study.seeds)}, registered=asked.claims)
    return found


def job(study: WorldModel, options: argparse.Namespace, console: Console) -> None:
    """What was asked for."""
    run(study, options.out, fresh=options.fresh, console=console, only=options.only, parts=options.parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    how = {"full": "eight seeds, judged", "judged": verdicts.judged, "drawn": page.drawn}
    return command.main("world_model", __doc__, job, argv, **how, options=shares.options())
