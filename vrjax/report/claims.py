"""Claims in files and tables: `results.json` of a run, and the table of many runs.

Every experiment ends in `write(run / "results.json", claims)`; `vrjax claims runs/*` is `table(gather(paths))`. What a
claim holds is in `vrjax.report.record`, the rule of its verdict in `vrjax.report.judge`, and how values become
estimates in `vrjax.report.seeds`.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

from vrjax.files.writing import atomic
from vrjax.report import tables
from vrjax.report.judge import VERDICTS, all_of, excess, judge
from vrjax.report.record import Check, Claim, Contrast, Published

__all__ = [
    "FILE",
    "Check",
    "Claim",
    "Contrast",
    "Missing",
    "Published",
    "all_of",
    "brief",
    "excess",
    "gather",
    "judge",
    "load",
    "read",
    "read_details",
    "table",
    "write",
]

FILE = "results.json"


class Missing(NamedTuple):
    """A registered claim that the results do not hold."""

    id: str
    statement: str
    role: str


def write(
    path: str | os.PathLike,
    claims: Iterable[Claim],
    *,
    details: Mapping[str, Any] | None = None,
    registered: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Writes `results.json` atomically: the file is there whole, or the old one is left as it was.

    Args:
        path: the file, or the run folder to put `results.json` in.
        claims: at least unique ids.
        details: anything else of the run worth keeping beside the claims (arms, versions); JSON without NaN.
        registered: the registered claims, `id`, `statement` and `role` of each; those without results are shown as
            missing by whoever reads the file.

    Raises:
        ValueError: two claims share an id, a claim was not registered where others were, or `details` holds NaN or
            something JSON cannot.
        OSError: as the file system says (folder missing, disk full); nothing half-written stays.
    """
    target = Path(path)
    target = target / FILE if target.is_dir() else target
    rows = list(claims)
    ids = [row.id for row in rows]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise ValueError(f"{target}: claim ids must be unique, found {twice} more than once")
    known = {one["id"] for one in registered}
    if registered and (foreign := [i for i in ids if i not in known]):
        raise ValueError(f"{target}: claim {foreign[0]!r} was not registered")
    page: dict[str, Any] = {"claims": [asdict(row) for row in rows]}
    if registered:
        page["registered"] = [{name: one[name] for name in Missing._fields} for one in registered]
    if details is not None:
        page["details"] = dict(details)
    try:
        words = json.dumps(page, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"{target}: field 'details': {error}") from None
    with atomic(target) as scratch:
        # Lone surrogates (undecodable bytes of a file name) are legal in str but not in UTF-8.
        scratch.write_bytes(words.encode("utf-8", errors="backslashreplace"))
    return target


def load(path: Path, what: str, needed: Sequence[str], allowed: Sequence[str] = ()) -> dict[str, Any]:
    """The object in a JSON file, strictly: no field twice, no NaN, none missing, none unknown; `claims` is a list.

    Raises:
        FileNotFoundError: no such file. ValueError: naming the file and what is wrong in it.
    """

    def once(items: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in items:
            if key in seen:
                raise ValueError(f"field {key!r} stands there twice")
            seen[key] = value
        return seen

    def no_constant(name: str) -> Any:
        raise ValueError(f"{name} is not a number a claim may hold")

    try:
        page = json.loads(path.read_bytes().decode("utf-8"), object_pairs_hook=once, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:  # JSON and UTF-8 errors are ValueErrors
        raise ValueError(f"{path}: not a {what}: {error}") from None
    if not isinstance(page, dict):
        raise ValueError(f"{path}: expected an object with the field 'claims', found {type(page).__name__}")
    if unknown := sorted(set(page) - {*needed, *allowed}):
        raise ValueError(f"{path}: unknown field {unknown[0]!r}; expected {', '.join((*needed, *allowed))}")
    if not isinstance(page.get("claims"), list):
        found = type(page["claims"]).__name__ if "claims" in page else "nothing"
        raise ValueError(f"{path}: field 'claims': expected a list, found {found}")
    if lacking := [name for name in needed if name not in page]:
        raise ValueError(f"{path}: missing field {lacking[0]!r}")
    return page


def _results(path: str | os.PathLike) -> tuple[Path, dict[str, Any]]:
    target = Path(path)
    target = target / FILE if target.is_dir() else target
    return target, load(target, "results file", ("claims",), ("registered", "details"))


def read(path: str | os.PathLike) -> tuple[Claim, ...]:
    """The claims of a `results.json`, or of the run folder that holds it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: naming the file and the field that is unknown, missing, doubled or out of range.
    """
    target, page = _results(path)
    known = {f.name: f for f in fields(Claim)}
    needed = [n for n, f in known.items() if f.default is MISSING or n == "verdict"]
    rows: list[Claim] = []
    for index, row in enumerate(page["claims"]):
        where = f"{target}: claims[{index}]"
        if not isinstance(row, dict):
            raise ValueError(f"{where}: expected an object, found {type(row).__name__}")
        if unknown := sorted(set(row) - set(known)):
            raise ValueError(f"{where}: unknown field {unknown[0]!r}; expected {', '.join(known)}")
        if missing := [n for n in needed if row.get(n, "") == ""]:
            raise ValueError(f"{where}: missing field {missing[0]!r}")
        try:
            rows.append(Claim(**row))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if rows[-1].id in {r.id for r in rows[:-1]}:
            raise ValueError(f"{where}: field 'id': {rows[-1].id!r} stands there twice")
    return tuple(rows)


def read_details(path: str | os.PathLike) -> dict[str, Any]:
    """What `write` was given as `details`, {} if nothing."""
    return _results(path)[1].get("details", {})


def gather(paths: Iterable[str | os.PathLike]) -> dict[str, tuple[Claim | Missing, ...]]:
    """The claims of many runs, by run name.

    Args:
        paths: run folders or results files (`runs/*`).

    Returns:
        {path as given: claims}, registered ones without results among them as `Missing`, in the registered order; of a
        paper's folder without results, which holds `claims.json`, all that it registers. Another folder without results
        (a training run) is there with no claims, so that nothing is skipped unseen.

    Raises:
        FileNotFoundError: a path does not exist. ValueError: a file is not a results file, or no registration.
    """
    found: dict[str, tuple[Claim | Missing, ...]] = {}
    for path in paths:
        target = Path(path)
        if not target.exists():
            raise FileNotFoundError(f"{target}: no such run folder or results file")
        if target.is_dir() and not (target / FILE).exists():
            file = target / "claims.json"
            page = load(file, "registration", ("claims", "bill"), ("seeds",)) if file.exists() else {"claims": []}
            found[os.fspath(path)] = tuple(_missing(file, "claims", page["claims"]))
            continue
        rows = {row.id: row for row in read(target)}
        asked = _missing(target, "registered", _results(target)[1].get("registered", []))
        found[os.fspath(path)] = (*(rows.pop(one.id, one) for one in asked), *rows.values())
    return found


def _missing(file: Path, field: str, registered: Sequence[Any]) -> list[Missing]:
    """What is registered, as if nothing of it were found."""
    try:
        return [Missing(**{name: str(one[name]) for name in Missing._fields}) for one in registered]
    except (TypeError, KeyError):
        raise ValueError(f"{file}: field {field!r}: expected {', '.join(Missing._fields)} of each") from None


_FULL = ("claim", "paper", "role", "statement", "statistic", "estimate [95 %]", "smallest", "per seed")
_FULL += ("between seeds", "seeds", "instances", "null", "p", "verdict")
_SHORT = ("claim", "statement", "estimate [95 %]", "seeds", "instances", "null", "p", "verdict")
_HEADS = {"markdown": _FULL, "rich": _SHORT}
_HEADS["verdicts"] = ("claim", "statement", "estimate [95 %]", "smallest", "p", "verdict")
_COLOURS = dict(zip(VERDICTS, ("green", "red", "yellow", "dim"), strict=True)) | {"missing": "magenta"}


def verdict(row: Claim) -> str:
    """The verdict in a word, a dash for none."""
    return row.verdict or "–"


def _cells(row: Claim | Missing) -> dict[str, str]:
    if isinstance(row, Missing):
        return {"claim": row.id, "role": row.role, "statement": row.statement, "verdict": "missing"}
    null, p = f"{row.null:.3g}", "" if row.p is None else f"{row.p:.2g}"
    if row.null_interval is not None:
        null += f" [{row.null_interval[0]:.3g}, {row.null_interval[1]:.3g}]"
    beside = [f"{name} {value:.3g}" for name, value in row.beside.items()] if row.beside else []
    joined = lambda values: " ".join(f"{value:.3g}" for value in values)
    words = {
        "claim": row.id,
        "paper": row.paper,
        "role": row.role,
        "statement": row.statement,
        "statistic": row.statistic,
        "estimate [95 %]": f"{row.estimate:.3g} {_ends(row.interval)}",
        "smallest": f"{row.smallest:.3g} {row.unit}".strip(),
        "per seed": joined(row.per_seed),
        "between seeds": "" if row.share is None else f"{row.share:.2f}",
        "seeds": str(row.seeds),
        "instances": str(row.instances),
        "null": "; ".join((null, *beside)),
        "p": p if row.holm is None else f"{p} (Holm {row.holm:.2g})",
        "verdict": verdict(row),
        "full run": "" if row.full is None else str(row.full),
    }
    if row.contrasts:
        least = lambda one: row.smallest if one.smallest is None else one.smallest
        told = lambda say: "; ".join(f"{one.name}: {say(one)}" for one in row.contrasts)
        words["estimate [95 %]"] = told(lambda one: f"{one.estimate:.3g} {_ends(one.interval)}, p {one.p:.2g}")
        if len({least(one) for one in row.contrasts}) > 1:
            words["smallest"] = f"{told(lambda one: f'{least(one):.3g}')} {row.unit}".strip()
        words["per seed"] = told(lambda one: joined(one.per_seed)) if row.contrasts[0].per_seed else words["per seed"]
    return words


def _ends(interval: tuple[float, float] | None) -> str:
    return "[does not vary]" if interval is None else f"[{interval[0]:.3g}, {interval[1]:.3g}]"


def brief(claims: Mapping[str, Iterable[Claim | Missing]]) -> Any:
    """What `gather` returns, for a terminal of 80 columns: a `rich` table a run, statement, estimate and verdict."""
    from rich.console import Group

    shown = []
    for run, some in claims.items():
        rows = list(some)
        body = [_lines(row) for row in rows]
        failed = (row for row in rows if isinstance(row, Claim) and row.verdict == "not tested" and row.failed)
        notes = [_not_tested(row) for row in failed]
        note = ". ".join([*notes, *([] if rows else ["no claims"])])
        head = ("claim", "estimate [95 %]", "verdict")
        shown.append(tables.rich(head, body, note, colours=_COLOURS, title=str(run)))
    return Group(*shown)


def _lines(row: Claim | Missing) -> list[tuple[str, ...]]:
    """A claim in three cells of a few lines."""
    cells = _cells(row)
    found: tuple[str, ...] = (cells.get("estimate [95 %]", ""),)
    if isinstance(row, Claim) and row.contrasts:
        found = tuple(
            line for one in row.contrasts for line in (f"{one.name}:", f"{one.estimate:.3g} {_ends(one.interval)}")
        )
    said = (cells["verdict"], *([f"full run: {cells['full run']}"] if cells.get("full run") else []))
    return [(row.id, row.statement), found, said]


def _not_tested(row: Claim) -> str:
    return f"{row.id} was not tested: {'; '.join(row.failed)}"


def table(claims: Iterable[Claim | Missing] | Mapping[str, Iterable[Claim | Missing]], style: str = "markdown") -> Any:
    """The claims as a table, one row each, in the order given; hostile text in them is shown, never obeyed.

    Args:
        claims: claims, or what `gather` returns (then the run is the first column).
        style: "markdown" for a string with all columns, "verdicts" for one with those that a reader of a README needs
            first, "rich" for a `rich.table.Table`. What the full run found stands beside where a claim of a quick run
            has it.

    Returns:
        The table. Below it (markdown) or in the caption (rich) stand the reasons of what was not tested, and runs
        without claims.
    """
    if style not in _HEADS:
        raise ValueError(f"style: expected {', '.join(map(repr, _HEADS))}, found {style!r}")
    listed = claims.items() if isinstance(claims, Mapping) else [("", claims)]
    all_ = [(str(run), row) for run, some in listed for row in some]
    beside = any(isinstance(row, Claim) and row.full is not None for _, row in all_)
    chosen = (*_HEADS[style], *(["full run"] if beside else []))
    head = ("run", *chosen) if isinstance(claims, Mapping) else chosen
    rows = [[({"run": run} | _cells(row)).get(name, "") for name in head] for run, row in all_]
    failed = (row for _, row in all_ if isinstance(row, Claim) and row.verdict == "not tested" and row.failed)
    notes = [_not_tested(row) for row in failed]
    full = {run for run, _ in all_}
    if bare := [str(run) for run in (claims if isinstance(claims, Mapping) else ()) if str(run) not in full]:
        notes.append(f"no claims: {', '.join(bare)}")
    note = ". ".join(notes)
    if style == "rich":
        return tables.rich(head, rows, note, colours=_COLOURS)
    return tables.markdown(head, rows, note)
