"""3D Views: a solid of piled blocks and an arrow; how does it look from there?"""

from typing import Any

import numpy as np

from vrjax.tasks.puzzles import _shapes_blocks as blocks
from vrjax.tasks.puzzles.canvas import Canvas
from vrjax.tasks.puzzles.making import Puzzle, found, one_of

NAME = "3D Views"
FEW = True
CHANCE = 0.25
SIDES, TALLEST = (3, 3, 4), (3, 4, 4)
"""Columns along a side and blocks in a column, by difficulty."""
SIDE_NAMES = ("left", "right")
CHANGES = (("step",), ("step", "mirror"), ("step", "mirror", "other side"))
"""What else than a first step wrong options differ by, by difficulty."""


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """Options are outlines, and are drawn before the solid: which of them is right is drawn after they are, so that
    nothing about them says it."""
    n, tallest, side = SIDES[difficulty - 1], TALLEST[difficulty - 1], int(rng.integers(2))
    kind = one_of(rng, CHANGES[difficulty - 1])
    drawn = _outlines(rng, n, tallest, kind)
    if drawn is None:
        return None
    right = int(rng.integers(4))
    options = [drawn[right], *(one for i, one in enumerate(drawn) if i != right)]
    heights = _solid(rng, options[0], side, drawn[right ^ 1] if kind == "other side" else [tallest] * n, difficulty)
    state = {"heights": heights, "tallest": tallest, "side": side, "options": options}
    return Puzzle(
        question="The solid is made of equal blocks that lie on the floor or on one another. Which outline does it "
        "have, looked at along the arrow?",
        prompt="Circle the outline that the solid has, looked at along the arrow.",
        paint=lambda canvas: _paint(canvas.square(), state),
        state=state,
        reasoning=f"From the {SIDE_NAMES[side]} one sees the tallest column of each row: "
        f"{', '.join(map(str, options[0]))} blocks from left to right.",
        options=tuple(lambda canvas, one=one: _outline(canvas, one, tallest) for one in options),
    )


def _outlines(rng: np.random.Generator, n: int, tallest: int, kind: str) -> list[list[int]] | None:
    """An outline and another one; and both with one column higher by a block."""
    draw = lambda: rng.integers(1, tallest + 1, n).tolist()
    one, (at, where) = draw(), rng.permutation(n)[:2].tolist()
    one[at], one[where] = rng.integers(1, tallest, 2).tolist()
    other, there = (draw(), at) if kind == "other side" else (one[::-1], n - 1 - at)
    if kind == "step":
        other, there = _raised(one, where), at
    drawn = [one, other, _raised(one, at), _raised(other, there)]
    if len({tuple(one) for one in drawn}) < 4 or max(drawn[3]) > tallest:
        return None
    # The tallest column is the same from both sides.
    return None if kind == "other side" and [*map(max, drawn[::2])] != [*map(max, drawn[1::2])] else drawn


def _raised(heights: list[int], at: int) -> list[int]:
    return [high + (i == at) for i, high in enumerate(heights)]


def _solid(rng: np.random.Generator, first: list[int], side: int, second: list[int], difficulty: int):
    """Heights of columns that have an outline from one side, and no more than another one from the other side."""
    n = len(first)
    most = [[min(first[x], second[n - 1 - y]) for y in range(n)] for x in range(n)]
    if side == 1:
        most = [[min(first[n - 1 - y], second[x]) for y in range(n)] for x in range(n)]
    heights = blocks.pile(rng, most, clear=difficulty == 1)
    # Rows in which no column is as high as it must be get one that is.
    for i in range(n):
        row = [(i, k) if side == 0 else (k, n - 1 - i) for k in range(n)]
        fit = [(x, y) for x, y in row if most[x][y] == first[i]]
        if fit and all(heights[x][y] < first[i] for x, y in fit):
            x, y = fit[0] if rng.random() < 0.5 else one_of(rng, fit)
            heights[x][y] = first[i]
    return heights


def outline(heights: list[list[int]], side: int) -> list[int]:
    """Heights from left to right, as one sees them who stands before the left (0) or the right side (1)."""
    return [max(row) for row in heights] if side == 0 else [max(row) for row in zip(*heights, strict=True)][::-1]


def solve(state: dict[str, Any]) -> list[int]:
    """Options that some solid has that looks like the picture: hidden columns are tried as well."""
    sides = len(state["heights"]), len(state["heights"][0])
    shown = blocks.picture(blocks.piled(state["heights"]), sides)
    outlines = [outline(one, state["side"]) for one in blocks.heightmaps(shown, sides, state["tallest"])]
    return found(state, lambda option: option in outlines)


def _paint(canvas: Canvas, state: dict[str, Any]) -> None:
    """The solid on its floor, and an arrow on the ground before one side."""
    n, heights = len(state["heights"]), state["heights"]
    middle, tip, barb, tail = n / 2, n + 0.25, n + 0.85, n + 1.5
    arrow = [(middle, tip), (middle + 0.6, barb), (middle + 0.2, barb), (middle + 0.2, tail)]
    arrow += [(2 * middle - x, y) for x, y in arrow[:0:-1]]
    placed = [(x, y, 0) if state["side"] == 0 else (y, x, 0) for x, y in arrow]
    # Room for the tallest solid and for both arrows, so that neither size nor place says anything.
    ground = [(0, 0, state["tallest"]), (n, 0, 0), (0, n, 0), (middle, tail, 0), (tail, middle, 0), (n, n, 0)]
    view = blocks.View(ground, blocks.edge(ground, 1.0))
    blocks.paint(canvas, blocks.piled(heights), view, (n, n))
    canvas.polygon([view(point) for point in placed], "blue")


def _outline(canvas: Canvas, heights: list[int], tallest: int) -> None:
    """Squares in columns on a line."""
    step = 0.84 / max(len(heights), tallest)
    left, bottom = 0.5 - step * len(heights) / 2, 0.5 + step * tallest / 2
    for i, high in enumerate(heights):
        for k in range(high):
            x, y = left + i * step, bottom - k * step
            for colour, rim in (("black", -0.015), ("teal", 0.015)):
                canvas.box((x + rim, y - step + rim, x + step - rim, y - rim), colour)
    canvas.line([(left, bottom), (left + step * len(heights), bottom)], "black", 0.04)
