"""Glyphs of square cells, and families of options of which none stands out.

Glyphs are sets of cells (row, column) in a square frame; a state has them as rows of "#" and ".".
"""

import itertools

import numpy as np

from vrjax.tasks.puzzles.canvas import Canvas

Cells = frozenset[tuple[int, int]]
SIDES = ((0, 1), (1, 0), (0, -1), (-1, 0))
FAMILIES = (
    ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)),
    ((0, 0), (0, 1), (1, 0), (1, 1)),
    tuple(itertools.product(range(2), range(3))),
)
"""By difficulty: which variant of each changed thing an option has. Any two options of the first differ in two things,
of the others in one or two. All members of a family stand alike to their others, so that the right option is neither
in their middle nor at their edge: were every wrong one an edit of the right one, comparing options would give it
away."""


def family(rng: np.random.Generator, which: int) -> list[tuple[int, ...]]:
    """A family of options, 1 to 3, in a drawn order: the first, which is to be right, may be any."""
    members = FAMILIES[which - 1]
    return [members[i] for i in rng.permutation(len(members))]


def rim(cells: Cells, side: int) -> list[tuple[int, int]]:
    """Free cells of a frame that touch a glyph along a side, in order."""
    near = {(r + i, c + j) for r, c in cells for i, j in SIDES} - cells
    return sorted((r, c) for r, c in near if 0 <= r < side and 0 <= c < side)


def grown(rng: np.random.Generator, side: int, count: int) -> Cells:
    """A connected glyph of so many cells in a frame, grown cell by cell from the middle."""
    cells = frozenset([(side // 2, side // 2)])
    while len(cells) < count:
        free = rim(cells, side)
        cells |= {free[int(rng.integers(len(free)))]}
    return cells


def picked(rng: np.random.Generator, among: list[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """So many different cells, in a drawn order."""
    return [among[i] for i in rng.permutation(len(among))[:count]]


def placed(cells: Cells) -> Cells:
    """A glyph shifted into the corner: equal for two that differ by a shift alone."""
    top, left = min(r for r, _ in cells), min(c for _, c in cells)
    return frozenset((r - top, c - left) for r, c in cells)


def turns(cells: Cells, side: int) -> list[Cells]:
    """A glyph turned by 0 to 3 quarters in its frame, and then the mirror images of these."""
    found, last = [], side - 1
    for glyph in (cells, frozenset((r, last - c) for r, c in cells)):
        for _ in range(4):
            found.append(glyph)
            glyph = frozenset((c, last - r) for r, c in glyph)
    return found


def alike(one: Cells, two: Cells, side: int) -> bool:
    """Whether two glyphs are congruent: a shift, turn or mirror image of each other."""
    return placed(one) in {placed(glyph) for glyph in turns(two, side)}


def rows(many: list[Cells]) -> list[list[str]]:
    """Glyphs as a state has them: all in the one smallest rectangle that has room for them."""
    high, wide = ([cell[i] for cells in many for cell in cells] for i in (0, 1))
    columns = range(min(wide), max(wide) + 1)
    lines = lambda cells, r: "".join("#" if (r, c) in cells else "." for c in columns)
    return [[lines(cells, r) for r in range(min(high), max(high) + 1)] for cells in many]


def read(lines: list[str]) -> Cells:
    """A glyph from a state."""
    return frozenset((r, c) for r, line in enumerate(lines) for c, cell in enumerate(line) if cell == "#")


def paint(canvas: Canvas, lines: list[str], colour: str) -> None:
    """A glyph whose rectangle lies in the middle of a square canvas; cells of a row in one piece, without seams."""
    step = 1 / max(len(lines), len(lines[0]))
    left, top = (1 - step * len(lines[0])) / 2, (1 - step * len(lines)) / 2
    for r, line in enumerate(lines):
        at = 0
        for filled, run in itertools.groupby(line):
            to = at + len(list(run))
            if filled == "#":
                canvas.box((left + at * step, top + r * step, left + to * step, top + (r + 1) * step), colour)
            at = to
