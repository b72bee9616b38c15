"""Tables of text that may be hostile (prompts, file names, notes): shown as it is, never obeyed.

Cells are plain strings. `markdown` gives GitHub-flavoured text in which no cell can add a column, a link, HTML or a
mention; `rich` gives a `rich.table.Table` in which no cell is read as markup or as terminal control codes.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

# Control, format (bidirectional overrides, zero-width), surrogate, private and unassigned characters.
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn")
_MARKED = {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {c: f"\\{c}" for c in "\\`*_{}[]()#+!|~$@"}


def visible(text: str) -> str:
    """The text on one line, with every invisible or controlling character replaced by U+FFFD."""
    return "".join("\ufffd" if unicodedata.category(c) in _HIDDEN else c for c in " ".join(text.split()))


def escape(text: str) -> str:
    """The text as markdown that renders as the text."""
    safe = "".join(_MARKED.get(c, c) for c in visible(text))
    return safe.replace("://", ":&#8203;//").replace("www.", "www&#8203;.")  # bare addresses would link themselves


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> str:
    """A markdown table, ended by a newline, and the note as a paragraph below it."""
    body = [[escape(cell) for cell in row] for row in _same_length(head, rows)]
    text = "\n".join("| " + " | ".join(line) + " |" for line in [list(head), ["---"] * len(head), *body]) + "\n"
    return text + (f"\n{escape(note)}\n" if note else "")


def rich(
    head: Sequence[str],
    rows: Sequence[Sequence[str | tuple[str, ...]]],
    note: str = "",
    *,
    colours: Mapping[str, str] | None = None,
    title: str = "",
) -> Any:
    """A `rich.table.Table`, the note as its caption. A cell may be several lines; `colours` styles it by its first."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(show_lines=any(not isinstance(cell, str) for row in rows for cell in row))
    grid.title, grid.caption = (Text(visible(said)) if said else None for said in (title, note))
    for name in head:
        grid.add_column(name, overflow="fold")
    for row in _same_length(head, rows):
        # Text, unlike str, is never read as markup.
        cells = [(cell,) if isinstance(cell, str) else cell for cell in row]
        style = lambda lines: (colours or {}).get(lines[0] if lines else "", "")
        grid.add_row(*(Text("\n".join(map(visible, lines)), style=style(lines)) for lines in cells))
    return grid


def _same_length(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    for index, row in enumerate(rows):
        if len(row) != len(head):
            raise ValueError(f"row {index}: expected {len(head)} cells, found {len(row)}")
    return rows
