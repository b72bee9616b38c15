"""3D Cube Unfold: a net of six marked faces; which cube can be folded of it?

A cube is six faces, each with the direction that it faces, the one that is right on it as one looks at it, and a mark;
of a cube that lies in some way one sees three marks and how far each is turned.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from vrjax.tasks.puzzles import _shapes_blocks as blocks
from vrjax.tasks.puzzles.canvas import Canvas
from vrjax.tasks.puzzles.making import Puzzle, found, one_of

NAME = "3D Cube Unfold"
CHANCE = 0.25
COLOURS = ("white", "yellow", "orange", "blue", "pink", "teal")
SYMBOLS = {
    "arrow": ((0.5, 0.14), (0.86, 0.54), (0.62, 0.54), (0.62, 0.86), (0.38, 0.86), (0.38, 0.54), (0.14, 0.54)),
    "half": ((0.14, 0.14), (0.86, 0.14), (0.86, 0.5), (0.14, 0.5)),
    "corner": ((0.14, 0.14), (0.86, 0.14), (0.14, 0.86)),
    "tee": ((0.14, 0.14), (0.86, 0.14), (0.86, 0.4), (0.63, 0.4), (0.63, 0.86), (0.37, 0.86), (0.37, 0.4), (0.14, 0.4)),
    "hook": ((0.2, 0.14), (0.46, 0.14), (0.46, 0.6), (0.84, 0.6), (0.84, 0.86), (0.2, 0.86)),
    "flag": ((0.2, 0.12), (0.86, 0.34), (0.4, 0.56), (0.4, 0.88), (0.2, 0.88)),
    "cup": ((0.14, 0.14), (0.4, 0.14), (0.4, 0.6), (0.6, 0.6), (0.6, 0.14), (0.86, 0.14), (0.86, 0.86), (0.14, 0.86)),
}
"""None looks as before when it is turned by less than once around."""
ASPECT = 1.5
"""Of the panel."""
STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
Mark = list[Any]
"""A colour, a symbol's name or an empty string, and quarter turns clockwise."""
Vector = tuple[int, int, int]


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """Faces have plain colours, coloured arrows or black symbols. Wrong options have two changes, of which each is made
    or not: every option is as like the others as every other one, and only the net tells which faces and turns are
    its own."""
    cells = _net(rng)
    if difficulty == 1:
        marks = [[COLOURS[i], "", 0] for i in rng.permutation(6)]
    elif difficulty == 2:
        marks = [[COLOURS[1:][i], "arrow", int(rng.integers(4))] for i in (*rng.permutation(5), int(rng.integers(5)))]
    else:
        marks = [["black", str(name), int(rng.integers(4))] for name in rng.permutation(list(SYMBOLS))[:6]]
    state: dict[str, Any] = {"net": [[*cell, mark] for cell, mark in zip(cells, marks, strict=True)]}
    frames = _folded(cells)
    pose = int(rng.integers(24))
    a, b, c = rng.permutation([which for which, _ in _view(frames, pose)]).tolist()
    across = next(i for i, (normal, _) in enumerate(frames) if normal == tuple(-k for k in frames[b][0]))

    def changed(first: bool, second: bool) -> list[Mark]:
        new = [list(mark) for mark in marks]
        if first and difficulty == 1:
            new[a] = list(marks[across])
        elif first:
            new[a][2] = (marks[a][2] + turns[0]) % 4
        if second and swap:
            new[b], new[c] = new[c], new[b]
        elif second:
            new[b][2] = (marks[b][2] + turns[1]) % 4
        return new

    swap = difficulty == 1 or rng.random() < 0.3
    turns = (2, 2) if difficulty == 2 else tuple(rng.choice([1, 3], 2).tolist())
    about = [_turned(pose, int(rng.integers(3)) if difficulty == 3 else 0) for _ in range(4)]
    cubes = [changed(first, second) for first in (False, True) for second in (False, True)]
    state["options"] = [_seen(frames, cube, how) for cube, how in zip(cubes, about, strict=True)]
    # Cubes that are one another's, turned about the corner that one looks at, would be one option.
    if len({str(min(_seen(frames, cube, _turned(pose, k)) for k in range(3))) for cube in cubes}) < 4:
        return None
    return Puzzle(
        question="The net is folded to a cube, its printed side outwards. Which of the cubes can it be?",
        prompt="Circle the cube that the net can be folded to.",
        paint=lambda canvas: _paint_net(canvas, state["net"]),
        state=state,
        reasoning="Only on the right cube the three faces meet at one corner of the folded net, in the same order "
        "about it and each turned as it is there.",
        options=tuple(lambda canvas, faces=faces: _paint_cube(canvas, faces) for faces in state["options"]),
    )


def _net(rng: np.random.Generator) -> list[tuple[int, int]]:
    """Six squares, no higher than wide, that fold to six different faces: one of the 11 nets, which all grow so."""
    while True:
        cells = [(0, 0)]
        for _ in range(30):
            (x, y), (i, j) = one_of(rng, cells), one_of(rng, STEPS)
            grown = [*cells, (x + i, y + j)]
            if len(cells) < 6 and len(set(grown)) == len(grown) and len({n for n, _ in _folded(grown)}) == len(grown):
                cells = grown
        wide, high = (1 + max(cell[k] for cell in cells) - min(cell[k] for cell in cells) for k in (0, 1))
        if len(cells) == 6 and wide >= high:
            return cells


def _folded(cells: Sequence[Sequence[int]]) -> list[tuple[Vector, Vector]]:
    """Of every square of a net, where it faces and where its right is, folded to a cube whose top is the first."""
    frames: dict[tuple[int, ...], tuple[Vector, Vector, Vector]] = {tuple(cells[0]): ((0, 0, 1), (1, 0, 0), (0, 1, 0))}
    away = lambda vector: tuple(-k for k in vector)
    ends = [tuple(cells[0])]
    while ends:
        x, y = at = ends.pop()
        normal, right, down = frames[at]
        # The edge in common stays, and the neighbour goes down behind it.
        for (i, j), frame in zip(
            STEPS,
            (
                (right, away(normal), down),
                (down, right, away(normal)),
                (away(right), normal, down),
                (away(down), right, normal),
            ),
            strict=True,
        ):
            to = (x + i, y + j)
            if to not in frames and any(tuple(cell) == to for cell in cells):
                frames[to] = frame
                ends.append(to)
    return [frames[tuple(cell)][:2] for cell in cells]


@functools.cache
def _poses() -> list[dict[Vector, Vector]]:
    """For each of the 24 turns of a cube, where its six directions go."""
    units: list[Vector] = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0), (0, -1, 0), (0, 0, -1)]
    ways = [(np.array(units) @ turn).tolist() for turn in blocks.rotations()]
    return [{one: (x, y, z) for one, (x, y, z) in zip(units, way, strict=True)} for way in ways]


@functools.cache
def _turned(pose: int, times: int) -> int:
    """The pose after turns about the corner that one looks at: the top becomes the right side, and so on."""
    here = _poses()[pose]
    on = {one: (to[2], to[0], to[1]) if times == 1 else (to[1], to[2], to[0]) for one, to in here.items()}
    return pose if times == 0 else _poses().index(on)


def _view(frames: list[tuple[Vector, Vector]], pose: int) -> list[tuple[int, int]]:
    """Which faces lie at the top, left and right of a cube in a pose, and by how many quarters each is turned."""
    goes, shown = _poses()[pose], []
    at = {goes[normal]: (i, goes[right]) for i, (normal, right) in enumerate(frames)}
    for normal, (_, across, down) in zip(blocks.NORMALS, blocks.FACES, strict=True):
        which, right = at[normal]
        ways = [across, down, tuple(-k for k in across), tuple(-k for k in down)]
        shown.append((which, ways.index(right)))
    return shown


def _seen(frames: list[tuple[Vector, Vector]], marks: list[Mark], pose: int) -> list[Mark]:
    """The marks at the top, left and right, turned as they are seen; no symbol, no turn."""
    return [
        [marks[i][0], marks[i][1], (marks[i][2] + turn) % 4 if marks[i][1] else 0] for i, turn in _view(frames, pose)
    ]


def solve(state: dict[str, Any]) -> list[int]:
    """Options that the folded net looks like in one of its 24 poses."""
    frames, marks = _folded([cell[:2] for cell in state["net"]]), [cell[2] for cell in state["net"]]
    looks = [_seen(frames, marks, pose) for pose in range(24)]
    return found(state, lambda option: option in looks)


def _symbol(mark: Mark) -> list[tuple[float, float]]:
    """The outline of a mark's symbol in the unit square."""
    points = list(SYMBOLS[mark[1]])
    for _ in range(mark[2]):
        points = [(1 - y, x) for x, y in points]
    return points


def _paint_net(canvas: Canvas, net: list[list[Any]]) -> None:
    low = [min(cell[k] for cell in net) for k in (0, 1)]
    wide, high = (1 + max(cell[k] for cell in net) - low[k] for k in (0, 1))
    step = 0.94 * min(ASPECT / wide, 1 / high)
    left, top = 0.5 - wide * step / ASPECT / 2, 0.5 - high * step / 2
    for x, y, mark in net:
        x0, y0 = left + (x - low[0]) * step / ASPECT, top + (y - low[1]) * step
        cell = canvas.square((x0, y0, x0 + step / ASPECT, y0 + step))
        cell.box((-0.02, -0.02, 1.02, 1.02), "black")
        cell.box((0.03, 0.03, 0.97, 0.97), "white" if mark[1] else mark[0])
        if mark[1]:
            cell.polygon(_symbol(mark), mark[0])


def _paint_cube(canvas: Canvas, faces: list[Mark]) -> None:
    view = blocks.View(blocks.corners([(0, 0, 0)]))
    for which, mark in enumerate(faces):
        blocks.paint_face(canvas, view, (0, 0, 0), which, "white" if mark[1] else mark[0])
        if mark[1]:
            canvas.polygon(view.face((0, 0, 0), which, _symbol(mark)), mark[0])
