"""Unit blocks drawn from above one corner, and which of them such a picture shows, exactly.

    shown = picture([(0, 0, 0), (1, 0, 0)], floor=(2, 2))
    list(heightmaps(shown, (2, 2), 3))                      # all solids of piled blocks that look like this
    paint(canvas.square(), [(0, 0, 0), (1, 0, 0)], floor=(2, 2))

On paper x goes to the lower right, y to the lower left and z up; one sees tops (z), left sides (y) and right sides (x)
of blocks. All blocks (x + k, y + k, z + k) cover the same hexagon, and its six triangles are all that any face covers:
a picture is, of every triangle, which sort of face is seen there. Triangles are bits of integers.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from vrjax.tasks.puzzles.canvas import Canvas, Ink, Place, Places

Cell = tuple[int, int, int]
Shape = tuple[Cell, ...]
"""Blocks of a solid, sorted."""
INKS_OF_FACES: tuple[Ink, Ink, Ink] = ("yellow", "orange", "brown")
"""Tops, left and right sides."""
FLOOR: Ink = "pale"
FACES = (((0, 0, 1), (1, 0, 0), (0, 1, 0)), ((0, 1, 1), (1, 0, 0), (0, 0, -1)), ((1, 1, 1), (0, -1, 0), (0, 0, -1)))
"""Of the top, left and right face: a corner, and the edges that go from it to the right and down as one looks at it."""
NORMALS = ((0, 0, 1), (0, 1, 0), (1, 0, 0))
WIDE = 14
"""Hexagons in a row of those that bits are of: for coordinates of -1 to 5."""
COS = 0.866


class Shown(NamedTuple):
    """Triangles in which tops, left sides, right sides and the floor are seen."""

    top: int
    left: int
    right: int
    floor: int

    @property
    def all(self) -> int:
        """Triangles in which anything is seen."""
        return self.top | self.left | self.right | self.floor

    def fits(self, other: "Shown", free: int) -> bool:
        """Whether of those triangles that are free all that are seen here are seen so in another picture."""
        wrong = self.top & ~other.top | self.left & ~other.left | self.right & ~other.right | self.floor & ~other.floor
        return not wrong & free


@functools.lru_cache(maxsize=4096)
def triangles(cell: Cell) -> tuple[int, int, int]:
    """The two triangles that the top, the left and the right face of a block cover each."""
    x, y, z = cell
    u, v = x - z + 6, y - z + 6
    # A line of sight enters blocks by a top, a right, a left side, a top and so on, or the other way round; either is
    # named by the block that it enters by the top.
    bit = lambda i, j, sense: 1 << (2 * ((u + i) * WIDE + v + j) + sense)
    return bit(0, 0, 0) | bit(0, 0, 1), bit(1, 1, 0) | bit(0, 1, 1), bit(1, 0, 0) | bit(1, 1, 1)


def seen(cells: Iterable[Cell]) -> list[tuple[Cell, int, int, int]]:
    """Of every block, from the nearest on, what is seen of its three faces."""
    free, found = -1, []
    for cell in sorted(cells, key=sum, reverse=True):
        faces = triangles(cell)
        found.append((cell, faces[0] & free, faces[1] & free, faces[2] & free))
        free &= ~(faces[0] | faces[1] | faces[2])
    return found


def picture(cells: Iterable[Cell], floor: tuple[int, int] = (0, 0)) -> Shown:
    """What is seen of blocks on a floor of so many by so many tiles."""
    top = left = right = below = 0
    for _, a, b, c in seen(cells):
        top, left, right = top | a, left | b, right | c
    for x, y in itertools.product(*map(range, floor)):
        below |= triangles((x, y, -1))[0]
    return Shown(top, left, right, below & ~(top | left | right))


def piled(heights: Sequence[Sequence[int]]) -> Shape:
    """The blocks of columns that stand on the floor, of heights[x][y]."""
    return tuple((x, y, z) for x, row in enumerate(heights) for y, high in enumerate(row) for z in range(high))


def heightmaps(shown: Shown, sides: tuple[int, int], tallest: int) -> Iterator[list[list[int]]]:
    """All heights of columns, up to the tallest, that look like a picture; tried from the nearest column on."""
    order, painted = _nearest_first(sides), shown.all
    heights = [[0] * sides[1] for _ in range(sides[0])]
    # What columns can still cover when so many are placed; what is painted elsewhere must be covered by then.
    coming = [0]
    for x, y in reversed(order):
        coming.insert(0, coming[0] | column(x, y, tallest).all)

    def further(at: int, free: int) -> Iterator[list[list[int]]]:
        if at == len(order):
            yield [list(row) for row in heights]
            return
        x, y = order[at]
        for high in range(tallest + 1):
            here = column(x, y, high)
            left = free & ~here.all
            if not left & painted & ~coming[at + 1] and here.fits(shown, free):
                heights[x][y] = high
                yield from further(at + 1, left)

    yield from further(0, -1)


@functools.lru_cache(maxsize=1024)
def column(x: int, y: int, high: int) -> Shown:
    """What is seen of a column of blocks and the tile that it stands on, where nothing is before it."""
    shown = picture([(x, y, z) for z in range(high)])
    tile = triangles((x, y, -1))[0]
    return shown._replace(floor=tile & ~(shown.top | shown.left | shown.right))


def _nearest_first(sides: tuple[int, int]) -> list[tuple[int, int]]:
    return sorted(((x, y) for x in range(sides[0]) for y in range(sides[1])), key=sum, reverse=True)


def pile(rng: np.random.Generator, most: list[list[int]], *, clear: bool) -> list[list[int]]:
    """Heights of columns, up to the most of each, that show their tops, or the floor where they have none: all of it,
    or half at least (`clear`). Where none does that the column has all that it may have."""
    heights, free = [[0] * len(row) for row in most], -1
    for x, y in _nearest_first((len(most), len(most[0]))):
        tops = {high: triangles((x, y, high - 1))[0] for high in range(most[x][y] + 1)}
        fit = [high for high, top in tops.items() if (not top & ~free if clear else top & free)] or [most[x][y]]
        # Low columns leave more to be seen behind them.
        high = fit[min(int(rng.geometric(0.7 if clear else 0.5)), len(fit)) - 1]
        heights[x][y] = high
        free &= ~column(x, y, high).all
    return heights


@functools.cache
def rotations() -> tuple[np.ndarray, ...]:
    """The 24 turns of a cube, as matrices."""
    signed = (
        np.diag(signs)[list(order)]
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1, -1), repeat=3)
    )
    return tuple(one for one in signed if round(float(np.linalg.det(one))) == 1)


def flat(point: Place) -> tuple[float, float]:
    """Where a point in space lies on paper, in edges of blocks."""
    x, y, z = point
    return (x - y) * COS, (x + y) / 2 - z


def corners(cells: Iterable[Cell]) -> list[tuple[int, int, int]]:
    """Corners of all blocks."""
    return [(x + i, y + j, z + k) for x, y, z in cells for i in (0, 1) for j in (0, 1) for k in (0, 1)]


def edge(points: Places, room: float = 0.94) -> float:
    """The longest edge of blocks with which points in space have room in the unit square."""
    at = np.array([flat(point) for point in points])
    return room / float(np.ptp(at, axis=0).max())


class View:
    """Points in space on a square canvas: in its middle, at the largest size or with an edge that is given."""

    def __init__(self, points: Places, long: float | None = None):
        points = list(points)
        at = np.array([flat(point) for point in points])
        self.edge = edge(points) if long is None else long
        self._x, self._y = (at.min(0) + at.max(0)) / 2

    def __call__(self, point: Place) -> tuple[float, float]:
        x, y = flat(point)
        return 0.5 + (x - self._x) * self.edge, 0.5 + (y - self._y) * self.edge

    def face(self, cell: Cell, which: int, points: Places) -> list[tuple[float, float]]:
        """Points of the unit square on a block's face, as one looks at it from outside."""
        (ox, oy, oz), (rx, ry, rz), (dx, dy, dz) = FACES[which]
        x, y, z = cell[0] + ox, cell[1] + oy, cell[2] + oz
        return [self((x + a * rx + b * dx, y + a * ry + b * dy, z + a * rz + b * dz)) for a, b in points]


def paint(canvas: Canvas, cells: Iterable[Cell], view: View, floor: tuple[int, int] = (0, 0)) -> None:
    """Blocks, the furthest first, on tiles of a floor."""
    for x, y in itertools.product(*map(range, floor)):
        paint_face(canvas, view, (x, y, -1), 0, FLOOR)
    for cell, *faces in reversed(seen(cells)):
        for which, visible in enumerate(faces):
            if visible:
                paint_face(canvas, view, cell, which, INKS_OF_FACES[which])


def paint_face(canvas: Canvas, view: View, cell: Cell, which: int, colour: Ink) -> None:
    """A face with its rim. Two polygons are drawn faster than a line about one."""
    for ink, rim in (("black", -0.03), (colour, 0.04)):
        canvas.polygon(view.face(cell, which, [(rim, rim), (1 - rim, rim), (1 - rim, 1 - rim), (rim, 1 - rim)]), ink)
