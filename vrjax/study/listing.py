"""Tables of a study as rows of numbers, from which text and pictures are made alike.

    COLUMNS: Columns = {"world": text("arm"), "horizon [95 %]": over("horizon", ".1f"), "spread": number("spread")}
    told({"horizon": (COLUMNS, rows)})                     # markdown by name

A row is a dict; what has an interval is `{"value": ..., "interval": (low, high) or None}` in it, and what was not
measured is None or missing, and an empty cell.
"""

from collections.abc import Callable, Mapping
from typing import Any

from vrjax.report import parts
from vrjax.report.tables import markdown
from vrjax.study.claims import between

Row = dict[Any, Any]
Rows = list[Row]
Cell = Callable[[Row], str]
Columns = dict[str, Cell]


def over(name: str, form: str = ".3f") -> Cell:
    """A number over seeds with its interval."""
    return lambda row: "" if row.get(name) is None else between(row[name]["value"], row[name]["interval"], form)


def number(name: str, form: str = ".2f") -> Cell:
    """A number alone."""
    return lambda row: "" if row.get(name) is None else format(row[name], form)


def text(name: str) -> Cell:
    """What is said as it stands."""
    return lambda row: str(row[name])


def cells(columns: Columns, rows: Rows) -> list[list[str]]:
    """Rows as text."""
    return [[cell(row) for cell in columns.values()] for row in rows]


def told(found: Mapping[str, tuple[Columns, Rows]]) -> dict[str, str]:
    """Tables as markdown."""
    return {name: markdown(list(columns), cells(columns, rows)) for name, (columns, rows) in found.items()}


def effect(name: str, found: Row, how: parts.Role) -> parts.Effect:
    """A number with its interval as a line of a forest; the interval may be open."""
    if found["interval"] is None:
        return parts.Effect(name, found["value"], role=how)
    low, high = found["interval"]
    return parts.Effect(name, found["value"], min(low, found["value"]), max(high, found["value"]), role=how)
