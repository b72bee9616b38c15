"""Generative priors in Bayesian inverse problems (arXiv 2601.17374): do posteriors inherit their priors' errors?

    python -m experiments.inverse                    small sizes of all that takes no long: minutes on two cores
    python -m experiments.inverse --full             eight seeds, registered claims (hours); resumes where it stopped
    python -m experiments.inverse --full --only K ...        some of the seeds, one process a core, into one run folder
    python -m experiments.inverse --judge            every claim again from the committed tables, or from those of a run

A prior that was learned from data is wrong by some Wasserstein distance, and so are its posteriors. The paper bounds
the second by the first. Here both are measured: in closed form (linear Gaussian problems, laws on the line), with
networks fitted by minimum Wasserstein-2 (by number of data, by width, by dimension), where the bound is met and where
it cannot hold, for a field of permeability behind an elliptic equation, and for short films. Beside them stand samplers
that guide a flow towards data: on priors whose posterior is known exactly one sees which of them sample it.

A *seed* is a group of independent data sets, and gives one number to each claim. Observations are the same for all
seeds, sizes and repeats.

Writes `runs/<name>/`: `results.json` (claims with intervals and verdicts), tables as markdown, `inverse.png`,
`report.html`. Every part is kept as soon as it is measured; the same command goes on after a kill, and nothing is
measured twice.
"""

from collections.abc import Callable, Mapping, Sequence

from experiments.inverse import (
    bounds_hold,
    counterexample,
    dimension,
    elliptic,
    evidence,
    gaussian,
    guided,
    known,
    line,
    listings,
    moons,
    names,
    page,
    verdicts,
    video,
    width,
)
from experiments.inverse.config import Inverse
from vrjax.study import seeded
from vrjax.study.tables import Bench, Tables

MEASURE: Mapping[str, Callable[[Inverse, Bench, int], Tables]] = {
    names.GAUSSIAN: gaussian.measure,
    names.KNOWN: known.measure,
    names.BOUNDS: bounds_hold.measure,
    names.COUNTEREXAMPLE: counterexample.measure,
    names.EVIDENCE: evidence.measure,
    names.LINE: line.measure,
    names.MOONS: moons.measure,
    names.DIMENSION: dimension.measure,
    names.ELLIPTIC: elliptic.measure,
    names.GUIDED: guided.measure,
    names.VIDEO: video.measure,
    names.WIDTH: width.measure,
}
"""Experiments in the order in which they are measured; the last fall away first where time is short."""


def measure(study: Inverse, here: Bench, seeds: Sequence[int]) -> seeded.Measure:
    """Experiments of these seeds, a table each."""
    return lambda name, seed: {names.part(seed, name): MEASURE[name](study, here, seed)}


PAPER = seeded.Paper(
    name="inverse",
    home=__file__,
    parts=lambda study: [name for name in MEASURE if name in study.experiments],
    measure=measure,
    has=lambda study, name, seed: seed in study.seeds_of(name),
    listed=listings.listed,
    claims=verdicts.claims,
    page=page.write,
    judged=verdicts.judged,
    drawn=page.drawn,
    called="experiments",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    return seeded.main(PAPER, __doc__, argv)
