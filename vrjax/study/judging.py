"""`--judge` and `--pack`: a paper's claims judged again from kept tables, without a model and in seconds.

A paper plugs in one function, and hands it to `command.main(..., judged=verdicts.judged)`:

    def judged(study, asked, tables):
        rows = ...                                       # from tables["<part>"]["<array>"], those that are there
        found = claims.settle(asked, {...}, quick=study.quick, resamples=study.resamples)
        return found, {"arms": report.tables.markdown(HEAD, cells)}

`study` are the sizes that the tables were measured with, `tables` the parts that `Bench.part` kept, by name. A run that
has not come to its end may lack any of them: what needs one that is missing is left out of both answers. `study.quick`
is then set, and means nothing but that there are no verdicts. The tables go, as markdown and by these names, where the
paper's README has room for them (`vrjax.study.readme`). Three are always there: "primary" and "exploratory", the
verdicts of either role in a few columns, and "claims", all that is known of each. A second function, `drawn(study,
tables)`, gives the parts of the paper's picture (`vrjax.study.page.Drawn`), `<paper>.png` beside the README.
"""

import argparse
import dataclasses
import hashlib
import inspect
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console

from vrjax.files import records, writing
from vrjax.report import claims as files
from vrjax.report.claims import Claim, Missing
from vrjax.study import archive, claims, readme, registration
from vrjax.study.archive import Kept
from vrjax.study.tables import Tables

Draw = Callable[[Any, Mapping[str, Tables]], Sequence[Any]]
Judge = Callable[[Any, registration.Registration, Mapping[str, Tables]], tuple[Sequence[Claim], Mapping[str, str]]]
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "--judge": {
        "nargs": "?",
        "const": True,
        "type": pathlib.Path,
        "metavar": "RUN_FOLDER",
        "help": "judge the committed tables again, or those of a run, finished or not; prints all claims and tables, "
        "measures nothing, and writes nothing but where --out or --readme is given",
    },
    "--readme": {"action": "store_true", "help": "with --judge: write the tables into the paper's README.md"},
    "--pack": {
        "nargs": "?",
        "const": True,
        "type": pathlib.Path,
        "metavar": "RUN_FOLDER",
        "help": "put tables.zip and results.json of the finished full run beside the paper's module",
    },
}


class Judged(NamedTuple):
    """What the tables say.

    Attributes:
        asked: what was registered.
        kept: what was judged.
        claims: all registered ones in order, those without a finding as missing.
        tables: markdown by name, those of the claims first.
    """

    asked: registration.Registration
    kept: Kept
    claims: tuple[Claim | Missing, ...]
    tables: Mapping[str, str]

    @property
    def found(self) -> list[Claim]:
        """The claims with a finding."""
        return [row for row in self.claims if isinstance(row, Claim)]


def folder(judged: Judge) -> pathlib.Path:
    """The folder of a paper: that of the function's module."""
    return pathlib.Path(inspect.getfile(judged)).parent


def judge(paper: str, judged: Judge, kind: type, kept: Kept) -> Judged:
    """Has the paper's function judge kept tables.

    Args:
        paper: its name.
        judged: its function.
        kind: the class of its sizes.
        kept: from `archive.read` or `archive.of_run`.

    Raises:
        ValueError: they are another paper's, were measured with sizes of another make, or what is registered has
            changed since: says which field of which claim.
    """
    if kept.kind != paper:
        raise ValueError(f"{kept.where}: tables of {kept.kind!r}, expected those of {paper!r}")
    asked = registration.read(folder(judged) / "claims.json")
    asked.same(kept.registered, kept.where)
    study = records.from_dict(kind, kept.config.get("config"), f"{kept.where}: config")
    if not kept.finished:
        study = dataclasses.replace(study, quick=True)
    found, tables = judged(study, asked, kept.tables) if kept.tables else ([], {})
    rows = {row.id: row for row in [*found, *claims.missing(asked, found)]}
    every = tuple(rows[one["id"]] for one in asked.claims)
    told = {"claims": files.table(every)}
    for role in ("primary", "exploratory"):
        if some := [rows[one["id"]] for one in asked.claims if one["role"] == role]:
            told[role] = files.table(some, "verdicts")
    return Judged(asked, kept, every, {**told, **tables})


def out_of_step(paper: str, told: Judged, home: pathlib.Path) -> list[str]:
    """What is committed beside the tables and says anything else than they do, to the digits shown; in words.

    Args:
        paper: its name.
        told: what its committed tables say.
        home: its folder, with `results.json` and `README.md`.
    """
    wrong = []
    (rows,) = files.gather([home]).values()
    if files.table(rows) != told.tables["claims"]:
        wrong.append(f"{home / files.FILE}: other claims than the tables give; pack the run again")
    wrong += [
        f"{home / files.FILE}: {name} was registered otherwise; pack the run again"
        for name, one in claims.published(told.asked).items()
        if one.notes
    ]
    text = (home / "README.md").read_text("utf-8")
    if "claims" not in readme.blocks(text):
        wrong.append(f"{home / 'README.md'}: no block <!-- claims --> ... <!-- end -->")
    if readme.filled(text, told.tables, command(paper)) != text:
        wrong.append(f"{home / 'README.md'}: other tables than `{command(paper)}` gives; add --readme to it")
    return wrong


def command(paper: str) -> str:
    """The words that judge a paper's committed tables."""
    return f"python -m experiments.{paper} --judge"


def run(
    paper: str,
    judged: Judge,
    study: Any,
    given: argparse.Namespace,
    out: pathlib.Path | None,
    console: Console,
    *,
    drawn: Draw | None = None,
) -> None:
    """Does what `--judge`, `--readme` and `--pack` ask.

    Args:
        paper: its name.
        judged: its function.
        study: values of its full run.
        given: the options.
        out: where to write, if it was asked for.
        console: of the user.
        drawn: the paper's picture.

    Raises:
        ValueError: options that do not go together, a run that is not finished, or as `judge` and `archive` say.
    """
    home = folder(judged)
    if given.pack is not None:
        if given.judge is not None or given.readme:
            raise ValueError("--pack: expected without --judge and --readme")
        pack(paper, judged, study, pathlib.Path(given.out / study.name if given.pack is True else given.pack), console)
        return
    if given.readme and given.judge is not True:
        raise ValueError("--readme: expected with --judge and without a run folder: a README shows committed tables")
    if given.judge is True and not (home / archive.FILE).exists():
        raise FileNotFoundError(
            f"{home / archive.FILE}: no tables are committed; --judge RUN_FOLDER judges those of a run"
        )
    kept = archive.read(home / archive.FILE) if given.judge is True else archive.of_run(given.judge)
    told = judge(paper, judged, type(study), kept)
    if not kept.finished:
        console.print(f"{kept.where}: not finished; numbers of what is there, no verdicts", soft_wrap=True)
    claims.tell(console, told.claims)
    for name, text in told.tables.items():
        console.print(f"\n{name}\n\n{text}", markup=False, soft_wrap=True, end="")
    if out is not None:
        path = out / study.name
        path.mkdir(parents=True, exist_ok=True)
        files.write(path / files.FILE, told.found, registered=told.asked.claims)
        for name, text in told.tables.items():
            writing.text(path / f"{name}.md", text)
        picture(path / f"{paper}.png", study, kept, drawn)
        console.print(f"written: {path}")
    if given.readme:
        path = home / "README.md"
        try:
            text = readme.filled(path.read_text("utf-8"), told.tables, command(paper))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        writing.text(path, text)
        picture(home / f"{paper}.png", study, kept, drawn)
        console.print(f"written: {path}")


def picture(path: pathlib.Path, study: Any, kept: Kept, drawn: Draw | None) -> None:
    """Draws the paper's picture from kept tables, with the sizes they were measured with."""
    if drawn is not None:
        from vrjax.study import page  # Matplotlib: not to judge

        page.draw(path, *drawn(records.from_dict(type(study), kept.config.get("config"), str(path)), kept.tables))


def pack(paper: str, judged: Judge, study: Any, place: pathlib.Path, console: Console) -> None:
    """Writes `tables.zip` and `results.json` beside the paper's module.

    Raises:
        ValueError: the run in `place` is not finished, or no claim has a verdict: it is a quick one, or lacks seeds.
            A single claim that has fewer than registered is committed without verdict, and says so.
    """
    kept = archive.of_run(place)
    how = f"python -m experiments.{paper} --full"
    if not kept.finished:
        raise ValueError(f"{place}: not finished; run `{how}` to its end first")
    told = judge(paper, judged, type(study), kept)
    if all(row.verdict is None for row in told.found):
        raise ValueError(f"{place}: no claim has a verdict: a quick run, or fewer seeds than registered; run `{how}`")
    home = folder(judged)
    path = archive.write(home / archive.FILE, kept)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    claims.publish(home / files.FILE, told.asked, told.found, tables=digest, config=dict(kept.config))
    claims.tell(console, told.claims)
    size = path.stat().st_size
    console.print(f"written: {path} ({len(kept.tables)} parts, {size / 1e6:.2f} MB) and {files.FILE}", soft_wrap=True)
