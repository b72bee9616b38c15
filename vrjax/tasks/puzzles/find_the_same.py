"""Find the same: a glyph, and options that nearly equal it, of which one does."""

from typing import Any

import numpy as np

from vrjax.tasks.puzzles import _shapes_glyphs as glyphs
from vrjax.tasks.puzzles.canvas import Canvas
from vrjax.tasks.puzzles.making import Puzzle, found, one_of

NAME = "Find the same"
CHANCE = 0.25
FRAMES, CORES = (4, 5, 6), (6, 9, 14)
"""Cells along a side of a frame, and cells that all options share, by difficulty."""
COLOURS = ("black", "blue", "purple", "teal", "brown", "navy")


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """A core that all options share, and about it single cells each of which has one of a few places.

    All options have equally many cells, and each differs from the others as the right one does (`glyphs.family`):
    they say nothing without the figure that is asked for.
    """
    frame, members = FRAMES[difficulty - 1], glyphs.family(rng, difficulty)
    core = glyphs.grown(rng, frame, CORES[difficulty - 1])
    variants = [max(slot) + 1 for slot in zip(*members, strict=True)]
    free = glyphs.rim(core, frame)
    if len(free) < sum(variants):
        return None
    drawn = iter(glyphs.picked(rng, free, sum(variants)))
    places = [[next(drawn) for _ in range(count)] for count in variants]
    cells = [core | {place[i] for place, i in zip(places, member, strict=True)} for member in members]
    # Nor is one a turned or mirrored other, of which it could be argued whether it is the same.
    if any(glyphs.alike(one, two, frame) for i, one in enumerate(cells) for two in cells[:i]):
        return None
    options = glyphs.rows(cells)
    state = {"figure": options[0], "options": options, "colour": one_of(rng, COLOURS)}
    moved = sorted({len(cells[0] ^ other) // 2 for other in cells[1:]})
    return Puzzle(
        question="Which of the figures below is exactly the same as the one above? Answer with its letter.",
        prompt="Circle the figure below that is exactly the same as the one above.",
        paint=lambda canvas: _paint(canvas.square(), state["figure"], state["colour"]),
        state=state,
        reasoning=f"Laid over each other, the two cover the same {len(cells[0])} cells; in the other figures "
        f"{' or '.join(map(str, moved))} of these are elsewhere.",
        options=tuple(lambda canvas, lines=lines: _paint(canvas, lines, state["colour"]) for lines in options),
    )


def solve(state: dict[str, Any]) -> list[int]:
    """Options with the cells of the figure, wherever these lie."""
    figure = glyphs.placed(glyphs.read(state["figure"]))
    return found(state, lambda option: glyphs.placed(glyphs.read(option)) == figure)


def _paint(canvas: Canvas, lines: list[str], colour: str) -> None:
    glyphs.paint(canvas.part((0.08, 0.08, 0.92, 0.92)), lines, colour)
