"""Find the different: a table of equal glyphs, of which one is not."""

from typing import Any

import numpy as np

from vrjax.tasks.puzzles import _shapes_glyphs as glyphs
from vrjax.tasks.puzzles.canvas import Box, Canvas
from vrjax.tasks.puzzles.item import Circle
from vrjax.tasks.puzzles.making import Puzzle, one_of

NAME = "Find the different"
CHANCE = 1 / 9
"""At difficulty 1: one of nine places."""
SIDES, FRAMES, COUNTS = (3, 4, 6), (4, 4, 5), (7, 8, 12)
"""Glyphs along a side of the table, cells along a side of a glyph's frame, and cells of a glyph, by difficulty."""
CHANGED, MOVED = ((6, 16), (4, 8), (2, 6)), (3, 2, 1)
"""By difficulty: at least and at most so many cells of the frame change where a glyph is turned or mirrored; and how
many cells move where it is not."""
COLOURS = ("black", "blue", "purple", "teal", "brown", "navy")
DRAWS = 40
"""Odd glyphs that are drawn for one that does."""


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """A glyph, and one that has cells elsewhere, or is turned or mirrored."""
    n = SIDES[difficulty - 1]
    usual = glyphs.grown(rng, FRAMES[difficulty - 1], COUNTS[difficulty - 1])
    change, odd = _odd(rng, usual, difficulty)
    if odd is None:
        return None
    row, column = (int(i) for i in rng.integers(n, size=2))
    lines = glyphs.rows([usual, odd])
    table = [[lines[(r, c) == (row, column)] for c in range(n)] for r in range(n)]
    state = {"table": table, "colour": one_of(rng, COLOURS)}
    boxes = [_box(r, c, n) for r in range(n) for c in range(n)]
    answer = f"({row + 1},{column + 1})"
    return Puzzle(
        question="All figures of the table are the same but one. Where is it? Answer with its row from the top and its "
        "column from the left, counted from 1, as (row,column), for example (2,1).",
        prompt="Circle the one figure that differs from all others.",
        paint=lambda canvas: _paint(canvas, state),
        state=state,
        answer=answer,
        reasoning=f"The figure in row {row + 1} and column {column + 1} {change}; all others are equal.",
        annotation=Circle(np.array(boxes), (row * n + column,)),
    )


def _odd(rng: np.random.Generator, usual: glyphs.Cells, difficulty: int) -> tuple[str, glyphs.Cells | None]:
    """What is said of an odd glyph, and the glyph: no shift of the usual one; None where none was found."""
    frame, (least, most), moved = FRAMES[difficulty - 1], CHANGED[difficulty - 1], MOVED[difficulty - 1]
    forms = glyphs.turns(usual, frame)
    way = int(rng.integers(4))
    if way < 2:
        change, odd = ("is turned", one_of(rng, forms[1:4])) if way == 0 else ("is mirrored", one_of(rng, forms[4:]))
        if least <= len(odd ^ usual) <= most and glyphs.placed(odd) != glyphs.placed(usual):
            # Of a glyph that is symmetric, a mirror image may be a turned one as well.
            turned = glyphs.placed(odd) in {glyphs.placed(form) for form in forms[1:4]}
            return ("is turned" if turned else change), odd
    for _ in range(DRAWS):
        gone = glyphs.picked(rng, sorted(usual), moved)
        kept = usual - set(gone)
        free = [cell for cell in glyphs.rim(kept, frame) if cell not in gone]
        odd = kept | set(glyphs.picked(rng, free, moved))
        if len(odd) == len(usual) and _connected(odd) and not glyphs.alike(odd, usual, frame):
            return f"has {moved} cell{'s' * (moved > 1)} elsewhere", odd
    return "", None


def _connected(cells: glyphs.Cells) -> bool:
    reached = frozenset([min(cells)])
    while True:
        more = cells.intersection((r + i, c + j) for r, c in reached for i, j in glyphs.SIDES) | reached
        if more == reached:
            return reached == cells
        reached = more


def solve(state: dict[str, Any]) -> list[str]:
    """Places whose glyph differs from all others while these are equal; wherever they lie."""
    shapes = {
        (r + 1, c + 1): glyphs.placed(glyphs.read(lines))
        for r, row in enumerate(state["table"])
        for c, lines in enumerate(row)
    }
    answers = []
    for place, shape in shapes.items():
        others = {other for at, other in shapes.items() if at != place}
        if len(others) == 1 and shape not in others:
            answers.append(f"({place[0]},{place[1]})")
    return answers


def _box(row: int, column: int, n: int) -> Box:
    """Where a glyph lies: with room about it for a circle."""
    edge = 0.14 / n
    return ((column / n) + edge, (row / n) + edge, (column + 1) / n - edge, (row + 1) / n - edge)


def _paint(canvas: Canvas, state: dict[str, Any]) -> None:
    n = len(state["table"])
    for i in range(1, n):
        canvas.line([(i / n, 0), (i / n, 1)], "pale", 0.01)
        canvas.line([(0, i / n), (1, i / n)], "pale", 0.01)
    for r, row in enumerate(state["table"]):
        for c, lines in enumerate(row):
            glyphs.paint(canvas.part(_box(r, c, n)), lines, state["colour"])
