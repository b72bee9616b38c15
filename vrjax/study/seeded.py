"""A study that is measured part by part and in each part seed by seed, then judged and drawn: most papers' command.

    PAPER = seeded.Paper(
        name="paper",
        home=__file__,                                       # claims.json lies beside it
        parts=lambda study: [name for name in MEASURE if name in study.parts],
        measure=measure,                                     # (study, bench, seeds) -> ((part, seed) -> {name: tables})
        listed=listings.listed,
        claims=verdicts.claims,
        page=page.write,
        judged=verdicts.judged,
        drawn=page.drawn,
    )

    def main(argv=None):
        return seeded.main(PAPER, __doc__, argv)

What was measured is kept as soon as it is there; the same command goes on after a kill, and nothing is measured twice.
"""

import argparse
import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console

from vrjax.files import writing
from vrjax.report import claims as claim_files
from vrjax.study import claims, command, judging, listing, registration, shares
from vrjax.study.tables import Bench, Tables, made_of, running

Measure = Callable[[str, int], Mapping[str, Tables]]
Listed = Mapping[str, tuple[listing.Columns, listing.Rows]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paper:
    """What is measured, and how it is judged and shown.

    Attributes:
        name: of the paper's package.
        home: the file of its module beside which `claims.json` lies.
        parts: `(study) -> names`, in the order in which they are measured; the last fall away first.
        measure: `(study, bench, seeds) -> each`; `each(part, seed)` measures a part of a seed, or reads it, and returns
            its tables by the names under which they are kept.
        has: `(study, part, seed)`: whether a part is measured of a seed.
        listed: `(study, kept) -> tables`, rows of numbers by the names of the README's blocks.
        claims: `(study, asked, kept) -> claims`.
        page: `(folder, study, kept, claims, listed)` writes the page and the picture.
        judged, drawn: see `vrjax.study.judging`.
        full: what the full size is, in a few words.
        called: what its parts are called.
    """

    name: str
    home: str
    parts: Callable[[Any], Sequence[str]]
    measure: Callable[[Any, Bench, Sequence[int]], Measure]
    has: Callable[[Any, str, int], bool] = lambda study, part, seed: True
    listed: Callable[[Any, Mapping[str, Tables]], Listed]
    claims: Callable[[Any, registration.Registration, Mapping[str, Tables]], list[claim_files.Claim]]
    page: Callable[..., None]
    judged: judging.Judge
    drawn: judging.Draw
    full: str = "eight seeds, judged"
    called: str = "parts"


def run(
    paper: Paper,
    study: Any,
    root: pathlib.Path,
    *,
    fresh: bool,
    console: Console,
    only: Sequence[int] | None = None,
    parts: Sequence[str] | None = None,
) -> None:
    """Measures what is missing, judges, and writes the run folder.

    Args:
        paper: whose study it is.
        study: its sizes, with `seeds`.
        root: where run folders are.
        fresh: forget what an earlier run made.
        console: of the user.
        only: measure these seeds (positions in `study.seeds`) into the folder, which other processes share, and stop.
        parts: some of the paper's, where time is short; the claims of the others are missing then.

    Raises:
        ValueError: as `registration.read`, `shares.of` and `tables.running`.
    """
    asked = registration.read(paper.home, seeds=None if study.quick else len(study.seeds))
    mine = shares.of(study.seeds, paper.parts(study), only=only, chosen=parts)
    how: dict[str, Any] = {"kind": paper.name, "fresh": fresh, "console": console, "shared": mine.some}
    if (group := getattr(study, "group", None)) is not None:
        how["group"] = group
    with running(root / study.name, made_of(study), registered=asked.keep, **how) as here:
        each, kept = paper.measure(study, here, mine.seeds), {}
        for name, seed in mine.walk(console, skip=lambda name, seed: not paper.has(study, name, seed)):
            kept |= each(name, seed)
        if mine.some:
            console.print(mine.told(here.folder))
            return
        console.print("judging and drawing")
        rows = write(paper, here.folder, study, asked, kept)
        claims.tell(console, [*rows, *claims.missing(asked, rows)])


def write(
    paper: Paper, folder: pathlib.Path, study: Any, asked: registration.Registration, kept: Mapping[str, Tables]
) -> list[claim_files.Claim]:
    """Claims, tables, picture and page, from kept tables; the claims."""
    listed = paper.listed(study, kept)
    for name, text in listing.told(listed).items():
        writing.text(folder / f"{name}.md", text)
    found = paper.claims(study, asked, kept)
    paper.page(folder, study, kept, found, listed)
    claim_files.write(folder, found, details={"seeds": list(study.seeds)}, registered=asked.claims)
    return found


def main(paper: Paper, text: str | None, argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked). `text` is its help."""

    def job(study: Any, options: argparse.Namespace, console: Console) -> None:
        run(paper, study, options.out, fresh=options.fresh, console=console, only=options.only, parts=options.parts)

    how: dict[str, Any] = {"full": paper.full, "judged": paper.judged, "drawn": paper.drawn}
    return command.main(paper.name, text, job, argv, **how, options=shares.options(parts=paper.called))
