"""Claims: a paper's statement, the statistic fixed before the run, its null, and one of three verdicts.

Every experiment ends in `write(run / "results.json", claims)`; `vrjax claims runs/*` is `table(gather(paths))`. The
rule of the verdict is in `vrjax.report.judge`.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from vrjax.files.writing import atomic
from vrjax.report import tables
from vrjax.report.judge import VERDICTS, excess, judge, number, range_of

if TYPE_CHECKING:
    Text: TypeAlias = str
    Number: TypeAlias = float
    Interval: TypeAlias = tuple[float, float]
    Names: TypeAlias = tuple[str, ...]
else:  # values come from files and NumPy: checked and converted here, with messages that name the field
    Text = Number = Interval = Names = Any

FILE = "results.json"


def _text(name: str, value: Any, empty: bool = False) -> str:
    if not isinstance(value, str) or not (empty or value.strip()):
        raise ValueError(f"{name}: expected {'text' if empty else 'a text that is not empty'}, found {value!r}")
    return value


@dataclass(frozen=True)
class Claim:
    """One row of the table in the README.

    Attributes:
        id: unique in its file, for example "cos.ensemble.hidden".
        paper: short name or arXiv number.
        statement: what the paper says, in one sentence.
        statistic: what was computed, as fixed in the config before the run, with its unit.
        estimate, interval: the value and its 95 % interval (low, high).
        n: independent units behind the estimate.
        null: the same statistic under the null model that could produce it without the paper's mechanism.
        verdict: one of `VERDICTS`. Where `direction` is given it must be what `judge` says, and is so where left out.
        direction, margin, null_interval: the arguments of `judge`; direction None marks a verdict that has
            no such rule.
        arms: names of the arms compared.
        notes: caveats a reader needs.

    Raises:
        ValueError: naming the claim and the field.
    """

    id: Text
    paper: Text
    statement: Text
    statistic: Text
    estimate: Number
    interval: Interval
    n: Number
    null: Number
    verdict: Text = ""
    direction: Text | None = None
    margin: Number = 0.0
    null_interval: Interval | None = None
    arms: Names = ()
    notes: Text = ""

    def __post_init__(self):
        where = f"claim {self.id!r}, field " if isinstance(self.id, str) else "claim, field "
        fixed: dict[str, Any] = {}
        for name in ("id", "paper", "statement", "statistic"):
            _text(where + name, getattr(self, name))
        _text(where + "notes", self.notes, empty=True)
        for name in ("estimate", "null", "margin"):
            fixed[name] = number(where + name, getattr(self, name))
        fixed["interval"] = range_of(where + "interval", self.interval)
        if self.null_interval is not None:
            fixed["null_interval"] = range_of(where + "null_interval", self.null_interval)
        count = number(where + "n", self.n)
        if count < 1 or count != int(count):
            raise ValueError(f"{where}n: expected a whole number of at least 1, found {self.n!r}")
        fixed["n"] = int(count)
        if isinstance(self.arms, str) or not isinstance(self.arms, Iterable):
            raise ValueError(f"{where}arms: expected a list of names, found {self.arms!r}")
        fixed["arms"] = tuple(_text(where + "arms", arm) for arm in self.arms)
        for name, value in fixed.items():
            object.__setattr__(self, name, value)
        if self.direction is not None:
            try:
                how = {"direction": self.direction, "margin": self.margin, "null_interval": self.null_interval}
                ruled = judge(self.estimate, self.interval, self.null, **how)
            except ValueError as error:
                raise ValueError(f"{where}{error}") from None
            if self.verdict not in ("", ruled):
                raise ValueError(f"{where}verdict: the rule says {ruled!r}, found {self.verdict!r}")
            object.__setattr__(self, "verdict", ruled)
        if self.verdict not in VERDICTS:
            raise ValueError(f"{where}verdict: expected one of {VERDICTS}, found {self.verdict!r}")

    @property
    def small(self) -> bool:
        """True where the effect has the stated sign but is surely below the smallest effect of interest."""
        if self.direction not in ("greater", "less", "different") or self.verdict != VERDICTS[0]:
            return False
        low, high = excess(self.estimate, self.interval, self.null, self.null_interval)
        return max(abs(low), abs(high)) < self.margin


def write(path: str | os.PathLike, claims: Iterable[Claim], *, details: Mapping[str, Any] | None = None) -> Path:
    """Writes `results.json` atomically: the file is there whole, or the old one is left as it was.

    Args:
        path: the file, or the run folder to put `results.json` in.
        claims: at least unique ids.
        details: anything else of the run worth keeping beside the claims (arms, versions); JSON without NaN.

    Raises:
        ValueError: two claims share an id, or `details` holds NaN or something JSON cannot.
        OSError: as the file system says (folder missing, disk full); nothing half-written stays.
    """
    target = Path(path)
    target = target / FILE if target.is_dir() else target
    rows = list(claims)
    ids = [row.id for row in rows]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise ValueError(f"{target}: claim ids must be unique, found {twice} more than once")
    page: dict[str, Any] = {"claims": [asdict(row) for row in rows]}
    if details is not None:
        page["details"] = dict(details)
    try:
        text = json.dumps(page, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"{target}: field 'details': {error}") from None
    with atomic(target) as scratch:
        # Lone surrogates (undecodable bytes of a file name) are legal in str but not in UTF-8.
        scratch.write_bytes(text.encode("utf-8", errors="backslashreplace"))
    return target


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in items:
        if key in seen:
            raise ValueError(f"field {key!r} stands there twice")
        seen[key] = value
    return seen


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number a claim may hold")


def _load(path: Path) -> dict[str, Any]:
    try:
        page = json.loads(path.read_bytes().decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # JSON and UTF-8 errors are ValueErrors
        raise ValueError(f"{path}: not a results file: {error}") from None
    if not isinstance(page, dict):
        raise ValueError(f"{path}: expected an object with the field 'claims', found {type(page).__name__}")
    if unknown := sorted(set(page) - {"claims", "details"}):
        raise ValueError(f"{path}: unknown field {unknown[0]!r}; expected 'claims' and 'details'")
    if not isinstance(page.get("claims"), list):
        found = type(page["claims"]).__name__ if "claims" in page else "nothing"
        raise ValueError(f"{path}: field 'claims': expected a list, found {found}")
    return page


def read(path: str | os.PathLike) -> tuple[Claim, ...]:
    """The claims of a `results.json`, or of the run folder that holds it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: naming the file and the field that is unknown, missing, doubled or out of range.
    """
    target = Path(path)
    target = target / FILE if target.is_dir() else target
    known = {f.name: f for f in fields(Claim)}
    needed = [n for n, f in known.items() if f.default is MISSING or n == "verdict"]
    rows: list[Claim] = []
    for index, row in enumerate(_load(target)["claims"]):
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
    target = Path(path)
    return _load(target / FILE if target.is_dir() else target).get("details", {})


def gather(paths: Iterable[str | os.PathLike]) -> dict[str, tuple[Claim, ...]]:
    """The claims of many runs, by run name.

    Args:
        paths: run folders or results files (`runs/*`).

    Returns:
        {path as given: claims}; a folder without results (a training run) is there with no claims, so that nothing is
        skipped unseen.

    Raises:
        FileNotFoundError: a path does not exist. ValueError: a file is not a results file.
    """
    found: dict[str, tuple[Claim, ...]] = {}
    for path in paths:
        target = Path(path)
        if not target.exists():
            raise FileNotFoundError(f"{target}: no such run folder or results file")
        bare = target.is_dir() and not (target / FILE).exists()
        found[os.fspath(path)] = () if bare else read(target)
    return found


_HEAD = ("claim", "paper", "statement", "statistic", "estimate [95 %]", "n", "null", "verdict")


_SMALL = f"{VERDICTS[0]} (small)"
_COLOURS = {VERDICTS[0]: "green", _SMALL: "green", VERDICTS[1]: "red", VERDICTS[2]: "yellow"}


def _cells(row: Claim) -> list[str]:
    low, high = row.interval
    null = f"{row.null:.3g}"
    if row.null_interval is not None:
        null += f" [{row.null_interval[0]:.3g}, {row.null_interval[1]:.3g}]"
    numbers = [f"{row.estimate:.3g} [{low:.3g}, {high:.3g}]", str(row.n), null, _SMALL if row.small else row.verdict]
    return [row.id, row.paper, row.statement, row.statistic, *numbers]


def table(claims: Iterable[Claim] | Mapping[str, Iterable[Claim]], style: str = "markdown") -> Any:
    """The claims as a table, one row each, in the order given; hostile text in them is shown, never obeyed.

    Args:
        claims: claims, or what `gather` returns (then the run is the first column).
        style: "markdown" for a string, "rich" for a `rich.table.Table`.

    Returns:
        The table. Runs without claims are listed in a last line (markdown) or the caption (rich).
    """
    if style not in ("markdown", "rich"):
        raise ValueError(f"style: expected 'markdown' or 'rich', found {style!r}")
    if isinstance(claims, Mapping):
        runs: dict[str, list[Claim]] = {str(run): list(some) for run, some in claims.items()}
        head: tuple[str, ...] = ("run", *_HEAD)
        rows = [[run, *_cells(row)] for run, some in runs.items() for row in some]
        bare = [run for run, some in runs.items() if not some]
    else:
        head, rows, bare = _HEAD, [_cells(row) for row in claims], []
    note = f"no claims: {', '.join(bare)}" if bare else ""
    if style == "markdown":
        return tables.markdown(head, rows, note)
    return tables.rich(head, rows, note, colours=_COLOURS)
