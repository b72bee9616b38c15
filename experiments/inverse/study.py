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

import argparse
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console

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
from vrjax.files import writing
from vrjax.report import claims as claim_files
from vrjax.study import claims, command, registration, shares
from vrjax.study.tables import Bench, Tables, made_of, running

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


def run(
    study: Inverse,
    root: pathlib.Path,
    *,
    fresh: bool,
    console: Console,
    only: Sequence[int] | None = None,
    parts: Sequence[str] | None = None,
) -> None:
    """Measures what is missing, experiment by experiment and in each of them seed by seed, judges, and writes the run
    folder.

    Args:
        only: measure these seeds (positions in `study.seeds`) into the folder, which other processes share, and stop.
        parts: some of `study.experiments`, where time is short; the claims of the others are missing then.
    """
    asked = registration.read(__file__, seeds=None if study.quick else len(study.seeds))
    here_are = [name for name in MEASURE if name in study.experiments]
    mine = shares.of(study.seeds, here_are, only=only, chosen=parts)
    how: dict[str, Any] = {"kind": "inverse", "fresh": fresh, "console": console}
    how |= {"registered": asked.keep, "shared": mine.some}
    with running(root / study.name, made_of(study), **how) as here:
        kept: dict[str, Tables] = {}
        for name, seed in mine.walk(console, skip=lambda name, seed: seed not in study.seeds_of(name)):
            kept[names.part(seed, name)] = MEASURE[name](study, here, seed)
        if mine.some:
            console.print(mine.told(here.folder))
            return
        console.print("judging and drawing")
        rows = write(here.folder, study, asked, kept)
        claims.tell(console, [*rows, *claims.missing(asked, rows)])


def write(
    folder: pathlib.Path, study: Inverse, asked: registration.Registration, kept: Mapping[str, Tables]
) -> list[claim_files.Claim]:
    """Claims, tables, picture and page, from kept tables; the claims."""
    listed = listings.listed(study, kept)
    for name, text in listings.told(listed).items():
        writing.text(folder / f"{name}.md", text)
    found = verdicts.claims(study, asked, kept)
    page.write(folder, study, kept, found, listed)
    claim_files.write(folder, found, details={"seeds": list(study.seeds)}, registered=asked.claims)
    return found


def job(study: Inverse, options: argparse.Namespace, console: Console) -> None:
    """What was asked for."""
    run(study, options.out, fresh=options.fresh, console=console, only=options.only, parts=options.parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    options = shares.options(parts="experiments")
    how = {"full": "eight seeds, judged", "judged": verdicts.judged, "drawn": page.drawn}
    return command.main("inverse", __doc__, job, argv, **how, options=options)
