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

from collections.abc import Callable, Mapping, Sequence

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
from vrjax.study import seeded
from vrjax.study.tables import Bench, Tables

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


def parts(study: WorldModel) -> list[str]:
    """What is measured; forcing where there are trainings that go on. Raises as `plans.fairly`."""
    plans.fairly(study.methods)
    there = [name for name in MEASURE if name != names.FORCING or study.trainings.extra > 0]
    return [name for name in there if name in study.parts]


def measure(study: WorldModel, here: Bench, seeds: Sequence[int]) -> seeded.Measure:
    """Parts of these seeds: a table each, of the worlds of a seed."""
    worlds = {seed: Trained(study, here.folder / WORLDS, seed) for seed in seeds}
    return lambda name, seed: {names.part(seed, name): MEASURE[name](study, here, seed, worlds[seed])}


PAPER = seeded.Paper(
    name="world_model",
    home=__file__,
    parts=parts,
    measure=measure,
    listed=listings.listed,
    claims=verdicts.claims,
    page=page.write,
    judged=verdicts.judged,
    drawn=page.drawn,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    return seeded.main(PAPER, __doc__, argv)
