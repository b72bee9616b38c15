"""Logic Patterns: pictures in three rows of three go by the same rules in every row; which one is missing?

Either figures that have a shape, a colour and a number, or squares whose parts are filled and of which the third is got
from the other two. Each property goes by a rule of its own: see `rules`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from vrjax.tasks.puzzles._shapes_figures import figure
from vrjax.tasks.puzzles.canvas import Canvas
from vrjax.tasks.puzzles.making import Puzzle, found, one_of

NAME = "Logic Patterns"
FEW = True
CHANCE = 0.25
SHAPES = ("disc", "square", "triangle", "plus")
COLOURS = ("blue", "orange", "purple", "black", "yellow")
LOGIC: dict[str, Callable[[Any, Any], Any]] = {"or": np.logical_or, "and": np.logical_and, "xor": np.logical_xor}
IN_WORDS = {
    "constant": "is the same in all of a row",
    "three": "takes the same three values in every row",
    "steps": "goes on by the same step in every row",
    "or": "in the third picture: what is filled in one of the first two at least",
    "and": "in the third picture: what is filled in both of the first two",
    "xor": "in the third picture: what is filled in just one of the first two",
}
PLACES = {
    1: [(0.5, 0.5)],
    2: [(0.27, 0.5), (0.73, 0.5)],
    3: [(0.27, 0.72), (0.73, 0.72), (0.5, 0.28)],
    4: [(0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)],
}
"""Where so many figures stand."""


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """Two properties at difficulty 1, with rules that are soon seen; then three, or more parts.

    The four options are all that two changes of the right one make, each of them done or not. So every value of what is
    changed is there twice, and nothing but the rows tells the right one.
    """
    draw = lambda *among: str(one_of(rng, among))
    if rng.random() < 0.5:
        three = {1: draw("shape", "colour"), 2: draw("shape", "colour"), 3: ""}[difficulty]
        chosen = {one: "three" if three in (one, "") else draw("constant", "three") for one in ("shape", "colour")}
        if difficulty > 1:
            chosen["number"] = "steps" if difficulty == 2 else draw("steps", "three")
    else:
        chosen = {
            "parts": "or" if difficulty == 1 else draw(*LOGIC),
            "colour": "constant" if difficulty == 1 else "three",
        }
    values = {name: _matrix(rng, name, rule, 2 if difficulty < 3 else 3) for name, rule in chosen.items()}
    cells = [[{name: rows[y][x] for name, rows in values.items()} for x in range(3)] for y in range(3)]
    right = cells[2][2]
    changes: list[dict[str, Any]] = []
    if "parts" in chosen:
        for i in rng.choice(len(right["parts"]), 2, replace=False).tolist():
            changes.append({"flip": i})
        if difficulty > 1 and rng.random() < 0.5:
            changes[1] = _other(rng, values, "colour")
    else:
        changes = [_other(rng, values, name) for name in rng.permutation(sorted(chosen))[:2].tolist()]
    options = [right, *(_changed(right, changes[:1]), _changed(right, changes[1:]), _changed(right, changes))]
    if "parts" in chosen and not all(possible(chosen["parts"], option["parts"]) for option in options):
        return None
    state = {"rows": [cells[0], cells[1], cells[2][:2]], "options": options}
    return Puzzle(
        question="All rows of the picture go by the same rules. Which picture belongs where the question mark is?",
        prompt="Circle the picture that belongs where the question mark is.",
        paint=lambda canvas: _matrix_picture(canvas, state["rows"]),
        state=state,
        reasoning="; ".join(f"{name} {IN_WORDS[rule]}" for name, rule in chosen.items()).capitalize() + ".",
        options=tuple(lambda canvas, cell=cell: _cell(canvas, cell) for cell in options),
    )


def _matrix(rng: np.random.Generator, name: str, rule: str, side: int) -> list[list[Any]]:
    """Values of a property, in rows."""
    if rule in LOGIC:
        share, count, rows = {"or": 0.4, "and": 0.65, "xor": 0.5}[rule], side * side, []
        # The missing picture: as likely any that there can be, so that none of the options is a likelier one by itself.
        missing = np.zeros(count, bool)
        while not possible(rule, missing):
            missing = rng.random(count) < 0.5
        while len(rows) < 3:
            a, b = rng.random((2, count)) < share
            while len(rows) == 2 and (off := LOGIC[rule](a, b) != missing).any():
                a[off], b[off] = (rng.random((2, count)) < share)[:, off]
            row = [part.astype(int).tolist() for part in (a, b, LOGIC[rule](a, b))]
            if row[0] != row[1] and all(0 < sum(part) < count for part in row[:2]) and possible(rule, row[2]):
                rows.append(row)
        return rows
    if rule == "steps":
        step = int(rng.choice([-1, 1]))
        return [[begin + step * x for x in range(-1, 2)] for begin in rng.integers(2, 4, 3).tolist()]
    domain = {"shape": list(SHAPES), "colour": list(COLOURS), "number": [1, 2, 3, 4]}[name]
    three = [domain[i] for i in rng.permutation(len(domain))[:3]]
    if rule == "constant":
        return [[one] * 3 for one in three]
    # Mostly all three in every column too; now and then in rows alone.
    turn, latin = int(rng.choice([1, 2])), rng.random() < 0.7
    orders = [[(x + turn * y) % 3 for x in range(3)] if latin else rng.permutation(3).tolist() for y in range(3)]
    return [[three[i] for i in order] for order in orders]


def possible(rule: str, parts: Any) -> bool:
    """Whether two pictures, different and neither empty nor full, can have this one as their third."""
    count, full = len(parts), int(np.sum(parts))
    return {"or": full > 1, "and": full < count - 1, "xor": full > 0}[rule]


def _other(rng: np.random.Generator, values: dict[str, Any], name: str) -> dict[str, Any]:
    """A change of a property to another value that there is in the rows; of a number that goes by steps to any, since
    last ones are mostly high or low."""
    rows = values[name]
    there = {one for row in rows for one in row}
    known = set(PLACES) if name == "number" and len(there) > 3 else there
    return {name: one_of(rng, sorted(known - {rows[2][2]}))}


def _changed(cell: dict[str, Any], changes: list[dict[str, Any]]) -> dict[str, Any]:
    for change in changes:
        cell = cell | {name: value for name, value in change.items() if name != "flip"}
        if "flip" in change:
            cell["parts"] = [one ^ (i == change["flip"]) for i, one in enumerate(cell["parts"])]
    return cell


def rules(name: str, triples: list[list[Any]]) -> bool:
    """Whether some rule, and the same, holds for all three triples of values of a property."""
    first = triples[0]
    if all(a == b == c for a, b, c in triples):
        return True
    if name == "parts":
        # Any that says of a part what it is from what it is in the first two: "as in the second" would be one as well.
        seen = {parts for triple in triples for parts in zip(*triple, strict=True)}
        return len(seen) == len({(a, b) for a, b, _ in seen})
    if len(set(first)) == 3 and all(set(one) == set(first) for one in triples):
        return True
    if name == "number":
        # That the third is the sum of the others is drawn nowhere, but could be read into it.
        steps = all(b - a == c - b == first[1] - first[0] for a, b, c in triples)
        return steps or all(a + b == c for a, b, c in triples)
    return False


def solve(state: dict[str, Any]) -> list[int]:
    """Options with which every property goes by a rule, in the rows or in the columns; every rule is tried."""

    def fits(option: dict[str, Any]) -> bool:
        *rows, last = state["rows"]
        for name in option:
            values = [[cell[name] for cell in row] for row in [*rows, [*last, option]]]
            if not rules(name, values) and not rules(name, [list(column) for column in zip(*values, strict=True)]):
                return False
        return True

    return found(state, fits)


def _matrix_picture(canvas: Canvas, rows: list[list[dict[str, Any]]]) -> None:
    square = canvas.square()
    for i in range(9):
        y, x = divmod(i, 3)
        box = (x / 3, y / 3, (x + 1) / 3, (y + 1) / 3)
        if i < 8:
            _cell(square.part(box), rows[y][x])
        else:
            square.text(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), "?", 0.18)
        square.box(box, None, "grey", 0.012)


def _cell(canvas: Canvas, cell: dict[str, Any]) -> None:
    if "parts" in cell:
        side = round(len(cell["parts"]) ** 0.5)
        for i, full in enumerate(cell["parts"]):
            x, y = 0.14 + 0.72 * (i % side) / side, 0.14 + 0.72 * (i // side) / side
            box = (x, y, x + 0.72 / side, y + 0.72 / side)
            canvas.box(box, cell["colour"] if full else "white", "grey", 0.03)
        return
    places = PLACES[cell.get("number", 1)]
    radius = 0.34 if len(places) == 1 else 0.18
    for x, y in places:
        figure(canvas, cell["shape"], (x, y), radius, cell["colour"])
