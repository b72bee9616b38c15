"""Tables of a README that are written by a command and kept in step with what it gives.

    <!-- claims -->
    `python -m experiments.vchain --judge`, from the committed tables of the full run:

    | claim | ... |
    <!-- end -->

Between the two marks stands what the command gives under that name, and nothing else; its line stands above it, so that
there is no number without its command. `filled` writes all blocks of a text anew; a text that it leaves as it is, is in
step. Other comments are left alone.
"""

import re
from collections.abc import Mapping

_MARK = re.compile(r"^<!-- (\w+) -->$")
_END = "<!-- end -->"


def blocks(text: str) -> dict[str, str]:
    """What stands between the marks of a text, by name, in order; empty where nothing was written yet.

    Raises:
        ValueError: a block without an end, an end without a block, or two blocks of one name.
    """
    listed = [(name, "\n".join(lines).strip()) for name, lines in _blocks(text) if name]
    if len(dict(listed)) < len(listed):
        raise ValueError(f"two blocks of one name, found {', '.join(name for name, _ in listed)}")
    return dict(listed)


def filled(text: str, tables: Mapping[str, str], command: str) -> str:
    """The text with every block as it must be.

    Args:
        text: of the README.
        tables: by the names of the blocks; those that stand in no block are left out.
        command: that gives them.

    Raises:
        ValueError: a block of a name that is none of the tables', or without an end.
    """
    out: list[str] = []
    for name, lines in _blocks(text):
        if not name:
            out += lines
            continue
        if name not in tables:
            raise ValueError(f"block {name!r}: no such table; expected one of {', '.join(tables)}")
        head = f"`{command}`, from the committed tables of the full run:"
        out += [f"<!-- {name} -->", head, "", *tables[name].strip("\n").split("\n"), _END]
    return "\n".join(out)


def _blocks(text: str) -> list[tuple[str, list[str]]]:
    """The lines of a text, in blocks by name (their marks left out) and in what is between them, whose name is ""."""
    out: list[tuple[str, list[str]]] = [("", [])]
    for line in text.split("\n"):
        name, lines = out[-1]
        mark = _MARK.match(line)
        if line == _END:
            if not name:
                raise ValueError("a block ends that has not begun")
            out.append(("", []))
        elif mark and name:
            raise ValueError(f"block {name!r} has no end before block {mark[1]!r} begins")
        elif mark:
            out.append((mark[1], []))
        else:
            lines.append(line)
    if out[-1][0]:
        raise ValueError(f"block {out[-1][0]!r} has no end ({_END})")
    return out
