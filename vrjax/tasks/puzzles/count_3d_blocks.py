"""Count 3D blocks: columns of equal blocks stand close together; how many blocks are there, hidden ones included?"""

from typing import Any

import numpy as np

from vrjax.tasks.puzzles import _shapes_blocks as blocks
from vrjax.tasks.puzzles.canvas import Box, Canvas
from vrjax.tasks.puzzles.item import DIGITS, Glyphs
from vrjax.tasks.puzzles.making import Puzzle

NAME = "Count 3D blocks"
FEW = True
CHANCE = 0.13
"""At difficulty 1: no number of blocks is more frequent."""
SIDES, TALLEST = ((3, 3), (4, 3), (4, 4)), (2, 3, 4)
"""Columns along both sides and blocks in a column, by difficulty."""
TOTALS = (range(4, 17), range(8, 33), range(14, 65))
"""How many blocks there may be."""
SLOT: Box = (0.72, 0.81, 0.98, 0.99)
"""Where the number is written."""


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """A pile in which at least half of each column's top is seen, so that nobody need guess at any."""
    sides, tallest = SIDES[difficulty - 1], TALLEST[difficulty - 1]
    if rng.integers(2):
        sides = sides[1], sides[0]
    heights = blocks.pile(rng, [[tallest] * sides[1] for _ in range(sides[0])], clear=False)
    total = sum(map(sum, heights))
    if total not in TOTALS[difficulty - 1]:
        return None
    state = {"heights": heights, "tallest": tallest}
    columns = [str(high) for row in heights for high in row if high]
    return Puzzle(
        question="The solid is made of equal blocks that lie on the floor or on one another; nothing hovers. How many "
        "blocks are there, those that others hide included? Answer with the number.",
        prompt="Write the number of blocks into the frame, in red.",
        paint=lambda canvas: _paint(canvas, state),
        state=state,
        answer=str(total),
        reasoning=f"Column by column there are {' + '.join(columns)} = {total} blocks.",
        annotation=Glyphs(np.array([SLOT]), (str(total),), DIGITS),
    )


def solve(state: dict[str, Any]) -> list[str]:
    """How many blocks there are in all solids that look like the picture, hidden columns tried as well."""
    heights = state["heights"]
    sides = len(heights), len(heights[0])
    shown = blocks.picture(blocks.piled(heights), sides)
    return [str(n) for n in sorted({sum(map(sum, one)) for one in blocks.heightmaps(shown, sides, state["tallest"])})]


def _paint(canvas: Canvas, state: dict[str, Any]) -> None:
    """The solid on its floor, as large for all solids of a difficulty, and the empty frame."""
    heights, part = state["heights"], canvas.square((0.0, 0.0, 0.94, 0.94))
    a, b = len(heights), len(heights[0])
    view = blocks.View([(0, 0, state["tallest"]), (a, 0, 0), (0, b, 0), (a, b, 0)])
    blocks.paint(part, blocks.piled(heights), view, (a, b))
    canvas.box(SLOT, None, "grey", 0.01)
