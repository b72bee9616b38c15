"""3D Pattern Completion: a box of blocks from which a piece was taken; which piece makes it full again?"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from vrjax.tasks.puzzles import _shapes_blocks as blocks
from vrjax.tasks.puzzles._shapes_blocks import Cell, Shape, Shown
from vrjax.tasks.puzzles.making import Puzzle, found, one_of

NAME = "3D Pattern Completion"
FEW = True
CHANCE = 0.25
BOXES: tuple[Cell, ...] = ((3, 3, 2), (3, 3, 3), (3, 3, 3))
PIECES = (4, 4, 5)
"""Blocks of a piece, by difficulty; at difficulty 1 pieces lie as they must be put in, at others in any way."""


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """Options are a core with one of two blocks at one place and one of two at another: all have as many blocks and
    each is as like the others as every other one. Each could be taken from a box; which was is drawn after them."""
    box, size = BOXES[difficulty - 1], PIECES[difficulty - 1]
    for _ in range(60):
        pieces = _pieces(rng, size)
        if len({least(piece) for piece in pieces}) < 4:
            continue
        shapes = [(piece,) if difficulty == 1 else turned(piece) for piece in pieces]
        ways = [[shape for shape in lying if shape in clear()] for lying in shapes]
        holes = [[hole for shape in lying for hole in _open(shape, box)] for lying in shapes]
        if all(ways) and all(holes):
            break
    else:
        return None
    right = int(rng.integers(4))
    order = [right, *(i for i in range(4) if i != right)]
    shown: list[Shape] = [one_of(rng, ways[i]) for i in order]
    options = [[list(cell) for cell in piece] for piece in shown]
    state = {"box": list(box), "heights": one_of(rng, holes[right]), "options": options}
    edge = min(blocks.edge(blocks.corners(piece)) for piece in shown)
    return Puzzle(
        question=f"A piece was taken out of a full box of {box[0]} x {box[1]} x {box[2]} blocks. Which of the pieces, "
        "turned in any way, makes it full again? In each piece at least a part of every block is seen.",
        prompt="Circle the piece that makes the box full again.",
        paint=lambda canvas: blocks.paint(
            canvas.square(), blocks.piled(state["heights"]), _frame(box), (box[0], box[1])
        ),
        state=state,
        reasoning=f"{size} blocks are missing, and only the right piece has them at the same places to one another.",
        options=tuple(
            lambda canvas, piece=piece: blocks.paint(canvas, piece, blocks.View(blocks.corners(piece), edge))
            for piece in shown
        ),
    )


def _pieces(rng: np.random.Generator, size: int) -> list[Shape]:
    """Four pieces that share all but two blocks."""
    core: list[Cell] = [(0, 0, 0)]
    while len(core) < size - 2:
        core.append(one_of(rng, _beside(core)))
    near = _beside(core)
    a, b, c, d = (near[i] for i in rng.choice(len(near), 4, replace=False))
    return [_moved([*core, *two]) for two in ((a, b), (a, d), (c, b), (c, d))]


def _beside(cells: Sequence[Cell]) -> list[Cell]:
    """Places that share a face with blocks."""
    found = {
        (x + sign * i, y + sign * j, z + sign * k)
        for x, y, z in cells
        for i, j, k in blocks.NORMALS
        for sign in (1, -1)
    }
    return sorted(found - set(cells))


def _moved(cells: Sequence[Sequence[int]]) -> Shape:
    """Blocks in order, with all coordinates from 0 on."""
    low = [min(cell[k] for cell in cells) for k in range(3)]
    return tuple(sorted((x - low[0], y - low[1], z - low[2]) for x, y, z in cells))


@functools.lru_cache(maxsize=8192)
def turned(piece: Shape) -> tuple[Shape, ...]:
    """A piece in all ways that it can lie in, 24 at most."""
    cells = np.array(piece)
    return tuple(sorted({_moved((cells @ turn).tolist()) for turn in blocks.rotations()}))


def least(piece: Shape) -> Shape:
    """The same for a piece however it lies."""
    return turned(piece)[0]


@functools.cache
def clear() -> frozenset[Shape]:
    """Pieces of up to five blocks that are all seen, and look like no other such piece."""
    grown: list[set[Shape]] = [{((0, 0, 0),)}]
    while len(grown) < max(PIECES):
        grown.append({_moved([*piece, cell]) for piece in grown[-1] for cell in _beside(piece)})
    looks: dict[tuple[int, ...], list[Shape]] = {}
    for piece in itertools.chain(*grown):
        seen = blocks.seen(piece)
        if all((a | b | c).bit_count() >= 2 for _, a, b, c in seen):
            shown = blocks.picture(piece)
            # Bits of a picture that is moved on paper are all moved by as many places.
            low = (shown.all & -shown.all).bit_length() - 1
            looks.setdefault(tuple(part >> (low - low % 2) for part in shown), []).append(piece)
    return frozenset(same[0] for same in looks.values() if len(same) == 1)


def _without(piece: Shape, box: Cell) -> list[Shape]:
    """What is left of a full box where a piece is taken out of it as it lies, from each place at which it can be."""
    a, b, c = box
    full = {(x, y, z) for x in range(a) for y in range(b) for z in range(c)}
    rooms = [range(side - max(cell[k] for cell in piece)) for k, side in enumerate(box)]
    holes = ({(x + i, y + j, z + k) for x, y, z in piece} for i, j, k in itertools.product(*rooms))
    return [tuple(sorted(full - hole)) for hole in holes]


@functools.lru_cache(maxsize=8192)
def _open(piece: Shape, box: Cell) -> list[list[list[int]]]:
    """Heights of columns of what is left where a piece was taken out from above, and one sees all that is missing."""
    left = []
    for solid in _without(piece, box):
        heights = [[sum(cell[:2] == (x, y) for cell in solid) for y in range(box[1])] for x in range(box[0])]
        if blocks.piled(heights) == solid:
            shown = blocks.picture(solid, (box[0], box[1]))
            if len(list(itertools.islice(blocks.heightmaps(shown, (box[0], box[1]), box[2]), 2))) == 1:
                left.append(heights)
    return left


@functools.lru_cache(maxsize=1024)
def _looks(piece: Shape, box: Cell) -> frozenset[Shown]:
    """How a full box can look without a piece, which lies in any way at any place, hidden ones included."""
    floor = (box[0], box[1])
    return frozenset(blocks.picture(solid, floor) for shape in turned(piece) for solid in _without(shape, box))


def solve(state: dict[str, Any]) -> list[int]:
    """Options without which, turned and placed in any way, the full box looks like the picture."""
    x, y, z = state["box"]
    shown = blocks.picture(blocks.piled(state["heights"]), (x, y))
    return found(state, lambda option: shown in _looks(least(_moved(option)), (x, y, z)))


def _frame(box: Cell) -> blocks.View:
    """The full box on paper."""
    return blocks.View([tuple(side * i for side, i in zip(box, far, strict=True)) for far in np.ndindex(2, 2, 2)])
