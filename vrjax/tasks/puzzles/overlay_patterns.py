"""Overlay Patterns: two pictures are laid over each other by a rule that an example shows; what comes of two others?

A picture is a row of slots: squares of a grid, discs in one, or strokes between points of one. A rule says what is in
a slot by what both pictures have there, so that an example in which all pairs occur tells it.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from vrjax.tasks.puzzles.canvas import Canvas
from vrjax.tasks.puzzles.making import Puzzle, found, one_of

NAME = "Overlay Patterns"
CHANCE = 0.25
RULES: dict[str, tuple[str, Callable[[int, int], int]]] = {
    "over": ("the second picture lies over the first", lambda a, b: b or a),
    "either": ("what only one of both pictures has is left", lambda a, b: 0 if a and b else a or b),
    "under": ("the first picture lies over the second", lambda a, b: a or b),
    "both": ("what both pictures have is left, as the second has it", lambda a, b: b if a else 0),
    "without": ("the second picture is cut out of the first", lambda a, b: 0 if b else a),
}
ALLOWED = (("over", "either"), ("over", "either", "under", "both"), tuple(RULES))
"""Rules, by difficulty. With one colour, over and under are the same."""
FIRST, SECOND = ((1,), (1,), (1, 2)), ((1,), (2,), (3,))
"""What first and second pictures have in their slots; 0 is nothing."""
INKS = ("black", "blue", "purple", "orange", "teal", "pink", "brown")
FORMS = ("squares", "discs", "strokes")
SIDES = {"squares": (3, 4, 5), "discs": (3, 4, 5), "strokes": (3, 3, 4)}
"""Squares or discs along a side, or points between which strokes are."""
MOVED = (2, 1, 1)
"""How many of a picture's things are elsewhere in half of the options."""


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """An example of three pictures above, and two below, of which the third is asked for."""
    level, form = difficulty - 1, one_of(rng, FORMS)
    side = SIDES[form][level]
    slots = side * side if form != "strokes" else len(_strokes(side, difficulty > 1))
    share = 0.5 if form != "strokes" or difficulty == 1 else 0.35
    inks = [INKS[i] for i in rng.permutation(3 if difficulty == 1 else len(INKS))[: max(SECOND[level])]]
    rule, other = (ALLOWED[level][i] for i in rng.permutation(len(ALLOWED[level]))[:2])
    draw = lambda among: np.where(rng.random(slots) < share, rng.choice(among, slots), 0).tolist()
    for _ in range(50):
        example, asked = ([draw(FIRST[level]), draw(SECOND[level])] for _ in range(2))
        # Options are of one rule or another, and of these pictures or nearly these. Exchanging both rules, or the
        # pictures and those that are nearly so, leaves the same four: which is right is told by the panel alone.
        which = int(rng.integers(2))
        near = [_moved(rng, one, MOVED[level]) if i == which else one for i, one in enumerate(asked)]
        options = [_laid(name, *pair) for pair in (asked, near) for name in (rule, other)]
        shown = set(zip(*example, strict=True)) >= set(zip(*asked, strict=True))
        if shown and len({tuple(option) for option in options}) == len(options):
            break
    else:
        return None
    state = {
        "form": form,
        "side": side,
        "slanted": difficulty > 1,
        "inks": inks,
        "rows": [[*example, _laid(rule, *example)], asked],
        "options": options,
    }
    return Puzzle(
        question="In the upper row, a rule makes the third picture of the first and the second. Which picture "
        "completes the lower row by the same rule?",
        prompt="Circle the picture that completes the lower row.",
        paint=lambda canvas: _paint(canvas, state),
        state=state,
        reasoning=f"In the upper row {RULES[rule][0]}.",
        options=tuple(lambda canvas, o=option: _picture(canvas, o, state) for option in options),
    )


def _laid(rule: str, first: list[int], second: list[int]) -> list[int]:
    return [RULES[rule][1](a, b) for a, b in zip(first, second, strict=True)]


def _moved(rng: np.random.Generator, picture: list[int], count: int) -> list[int]:
    """A picture of which some things are in slots that were empty."""
    found = np.array(picture)
    full, empty = rng.permutation(np.flatnonzero(found))[:count], rng.permutation(np.flatnonzero(found == 0))[:count]
    if len(full) == len(empty):
        found[empty], found[full] = found[full], 0
    return found.tolist()


def solve(state: dict[str, Any]) -> list[int]:
    """Options that have in each slot what the example has where its pictures have the same two things.

    No rule's name is asked for: the example is the table of the rule. None is right where the example has two things
    for one pair, or the lower row has a pair that the example has not.
    """
    table: dict[tuple[int, int], int] = {}
    (first, second, third), asked = state["rows"]
    for a, b, c in zip(first, second, third, strict=True):
        if table.setdefault((a, b), c) != c:
            return []
    pairs = list(zip(*asked, strict=True))
    if not set(pairs) <= set(table):
        return []
    return found(state, lambda option: all(table[pair] == c for pair, c in zip(pairs, option, strict=True)))


def _paint(canvas: Canvas, state: dict[str, Any]) -> None:
    """Two rows of three squares: the panel is half as wide again as it is high."""
    wide, high = 0.31, 0.465
    for y, row in zip((0.0, 1 - high), state["rows"], strict=True):
        for i, x in enumerate((0.0, 0.5 - wide / 2 - 0.012, 1 - wide)):
            part = canvas.part((x, y, x + wide, y + high))
            if i < len(row):
                _picture(part, row[i], state)
            else:
                part.text((0.5, 0.5), "?", 0.5)
            part.box((0.0, 0.0, 1.0, 1.0), None, "grey", 0.02)
        middle = y + high / 2
        for dy in (-0.02, 0.02):
            canvas.line([(0.652, middle + dy), (0.682, middle + dy)], "black", 0.014)


def _picture(canvas: Canvas, picture: list[int], state: dict[str, Any]) -> None:
    side, margin = state["side"], 0.1
    if state["form"] == "strokes":
        at = lambda point: [1.4 * margin + (1 - 2.8 * margin) * value / (side - 1) for value in point]
        for (begin, end), value in zip(_strokes(side, state["slanted"]), picture, strict=True):
            if value:
                canvas.line([at(begin), at(end)], state["inks"][value - 1], 0.28 / side)
        for i in range(side * side):
            canvas.disc(at(divmod(i, side)), 0.14 / side, "grey")
        return
    step = (1 - 2 * margin) / side
    for i, value in enumerate(picture):
        x, y = margin + i % side * step, margin + i // side * step
        if value and state["form"] == "squares":
            canvas.box((x, y, x + step, y + step), state["inks"][value - 1])
        elif value:
            canvas.disc((x + step / 2, y + step / 2), 0.42 * step, state["inks"][value - 1])


@functools.cache
def _strokes(side: int, slanted: bool) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Pairs of points that a stroke may join: neighbours, and those across where strokes may be slanted."""
    found = []
    for x in range(side):
        for y in range(side):
            ways = [(1, 0), (0, 1), *([(1, 1), (1, -1)] if slanted and (x + y) % 2 else [])]
            found += [((x, y), (x + i, y + j)) for i, j in ways if 0 <= x + i < side and 0 <= y + j < side]
    return found
