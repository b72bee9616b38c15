"""ViMoGen (arXiv 2510.26794) on procedural motion: can films lead a model to what its mocap lacks, and who chooses?

    python -m experiments.vimogen                    the shipped model as teacher, a few prompts: minutes on two cores
    python -m experiments.vimogen --full             eight seeds of five trainings, registered claims (about five hours)
    python -m experiments.vimogen --full --only K ...       some of the seeds, one process a core, into one run folder
    python -m experiments.vimogen --judge            every claim again from the committed tables, or from those of a run

A teacher learns motions from mocap (`vrjax.motion.program`) and to follow references. A video model makes films of what
is asked for, a lifter reads references from them, and a gate chooses for each prompt whether film or text leads. Beside
it stand a gate that does not look, one that knows both ends, either branch alone, and bounds. What the gated teacher
makes teaches a student that is told by text alone, beside a control of the same length on more mocap, and students of
lifted films. Everything is judged by exact rules and by a recogniser that has seen no model's motion.

Writes `runs/<name>/`: `results.json` (claims with intervals and verdicts), `arms.md`, `gate.md`, `data.md` and
`judges.md`, `vimogen.png`, `report.html`. Every part is kept as soon as it is measured; the same command goes on after
a kill, and nothing is measured twice. Seeds may be measured on several machines: a seed's files in `tables/` are all
that is needed of it, beside the recogniser in `runs/vimogen/`, which judges everywhere.
"""

import argparse
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from experiments.vimogen import arms, films, listings, measuring, names, page, reading, verdicts
from experiments.vimogen.config import ViMoGen
from vrjax.files import writing
from vrjax.report import claims as claim_files
from vrjax.study import claims, command, registration, shares
from vrjax.study.tables import Tables, made_of, running

PARTS: Mapping[str, tuple[str, ...]] = {
    "branches": (names.TRUTH, names.FROZEN, names.NEAREST, names.VIDEO, names.T2M, names.M2M),
    "students": (names.CONTROL, names.STUDENT),
    "reference": (names.TRUE,),
    "lifted": (names.LIFTED,),
    "synthetic": (names.SYNTHETIC,),
    "untrained": (names.UNTRAINED,),
}
"""Arms in the order in which they are measured; the last fall away first where time is short."""
JUDGES = "vimogen"
"""The folder beside run folders in which the recogniser is kept, as the paper's other commands have it."""


def run(
    study: ViMoGen,
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
        parts: some of `PARTS`, where time is short; "branches" among them. The claims of the others are missing then.
    """
    asked = registration.read(__file__, seeds=None if study.quick else len(study.seeds))
    mine = shares.of(study.seeds, tuple(PARTS), only=only, chosen=parts, must="branches")
    order = mine.parts
    how: dict[str, Any] = {"kind": "vimogen", "fresh": fresh, "console": console, "group": study.group}
    how |= {"registered": asked.keep, "shared": mine.some}
    with running(root / study.name, made_of(study), **how) as here:
        video, judges = films.opened(), measuring.judges(root / JUDGES)
        ones = {seed: arms.Seed(study, here, video, judges, seed) for seed in mine.seeds}
        kept: dict[str, Tables] = {}
        for name, seed in mine.walk(console):
            kept |= measure(ones[seed], name, order)
        if mine.some:
            console.print(mine.told(here.folder))
            return
        console.print("judging and drawing")
        rows = write(here.folder, study, asked, kept, ones[study.seeds[0]].shown(visible(order)))
        claims.tell(console, [*rows, *claims.missing(asked, rows)])


def measure(one: arms.Seed, name: str, order: Sequence[str]) -> dict[str, Tables]:
    """One part of one seed: its arms, and with the students' the clips and what is known of the items, which holds how
    far these two arms are from each other; without students, with the first part. The last part ends with what the
    trainings said and, of the first seed, with the bodies that the page shows."""
    part = functools.partial(names.part, one.number)
    kept = {part(arm): one.measure(arm) for arm in PARTS[name]}
    if name == "students":
        kept[part(names.CLIPS)] = one.clips()
    if name == ("students" if "students" in order else "branches"):
        kept[part(names.ITEMS)] = one.told([arm for each in order for arm in PARTS[each]])
    if name == order[-1]:
        told = [arm for each in order for arm in PARTS[each] if arm in arms.TOLD and arm != names.UNTRAINED]
        kept[part(names.TRAINING)] = one.curves([arms.TOLD[arm] for arm in told])
        if one.number == one.study.seeds[0]:
            one.shown(visible(order))
    return kept


def visible(order: Sequence[str]) -> list[str]:
    """The arms whose bodies the page shows, of these parts."""
    return [arm for name in order for arm in PARTS[name] if arm in (names.TRUTH, *page.SHOWN)]


def write(
    folder: pathlib.Path,
    study: ViMoGen,
    asked: registration.Registration,
    kept: Mapping[str, Tables],
    shown: Tables,
) -> list[claim_files.Claim]:
    """Claims, tables, picture and page, from kept tables; the claims."""
    seeds = reading.gathered(study, kept)
    listed = listings.listed(study, seeds)
    for name, text in listings.told(listed).items():
        writing.text(folder / f"{name}.md", text)
    found = verdicts.claims(study, asked, seeds)
    page.write(folder, study, seeds, shown, found, listed)
    details = {"arms": listings.plain(listed["arms"][1]), "seeds": list(study.seeds), "items": study.items}
    claim_files.write(folder, found, details=details, registered=asked.claims)
    return found


def job(study: ViMoGen, options: argparse.Namespace, console: Console) -> None:
    """What was asked for."""
    run(study, options.out, fresh=options.fresh, console=console, only=options.only, parts=options.parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    options = shares.options()
    how = {"full": "eight seeds trained from scratch, judged", "judged": verdicts.judged, "drawn": page.drawn}
    return command.main("vimogen", __doc__, job, argv, **how, options=options)
