"""Lines Observation: lines of several colours run level and upright, turn and cross; in how many places do they cross?

Lines go over each other straight and at right angles, and touch nowhere else: neither corners nor ends lie on a line.
A line may cross itself.
"""

from typing import Any

import numpy as np

from vrjax.tasks.puzzles.canvas import Canvas
from vrjax.tasks.puzzles.item import Marks
from vrjax.tasks.puzzles.making import Puzzle

NAME = "Lines Observation"
SIDES, LINES, CORNERS = (6, 8, 11), (2, 3, 4), (5, 8, 11)
"""Points along a side of the grid, lines, and straight pieces of each at most, by difficulty."""
FEWEST, MOST = (1, 3, 6), (4, 8, 14)
"""Crossings, by difficulty."""
REDRAWN = 60
"""Drawings that are made for one with as many crossings as are wanted."""
CHANCE = 0.25
"""At difficulty 1: one of four numbers."""
COLOURS = ("black", "blue", "orange", "purple", "teal", "brown")
MOVES = ((1, 0), (0, 1), (-1, 0), (0, -1))
MARGIN = 0.09
Point = tuple[int, int]


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """Lines grow one after the other; how many crossings there are to be is drawn first, so that none is rare."""
    d = difficulty - 1
    wanted = int(rng.integers(FEWEST[d], MOST[d] + 1))
    for _ in range(REDRAWN):
        taken: dict[Point, int] = {}
        lines, room = [], wanted
        for _ in range(LINES[d]):
            line, room = _line(rng, SIDES[d], CORNERS[d], taken, room)
            lines.append(line)
        if room == 0 and min(map(len, lines)) > 3:
            break
    else:
        return None
    crossings = _crossings(lines)
    assert crossings is not None
    colours = [COLOURS[i] for i in rng.permutation(len(COLOURS))[: len(lines)]]
    state = {
        "side": SIDES[d],
        "lines": [
            {"colour": colour, "corners": [list(point) for point in line]}
            for colour, line in zip(colours, lines, strict=True)
        ],
    }
    corners = sorted({point for line in lines for point in line})
    return Puzzle(
        question="In how many places do lines cross, one another or themselves? Answer with the number.",
        prompt="Put one red dot on each place where lines cross, one another or themselves, and on no other.",
        paint=lambda canvas: _paint(canvas, state),
        state=state,
        answer=str(wanted),
        reasoning=f"Lines go straight over each other in {wanted} places; elsewhere they only turn or end.",
        annotation=Marks(np.array([_at(point, SIDES[d]) for point in (*crossings, *corners)]), tuple(range(wanted))),
    )


def _line(rng: np.random.Generator, side: int, most: int, taken: dict[Point, int], room: int) -> tuple[Any, int]:
    """Corners of a line that crosses `room` times at most what is there, itself included; and what is left of the room.

    `taken` has of points on lines the axis, 0 or 1, of the line that goes straight on there, and 2 where nothing may
    cross; it gets those of the line.
    """
    free = [(x, y) for y in range(side) for x in range(side) if (x, y) not in taken]
    if not free:
        return [], room
    at = free[int(rng.integers(len(free)))]
    corners, heading = [at], int(rng.integers(4))
    taken[at] = 2
    while len(corners) <= most:
        pieces: list[tuple[int, list[Point], int]] = []
        for turn in (1, 3) if len(corners) > 1 else range(4):
            to = (heading + turn) % 4
            piece, crossed, (x, y) = [], 0, at
            for _ in range(side):
                x, y = x + MOVES[to][0], y + MOVES[to][1]
                over = taken.get((x, y), -1)
                if not (0 <= x < side and 0 <= y < side) or over in (2, to % 2) or crossed > room:
                    break
                piece.append((x, y))
                crossed += over >= 0
                if over < 0 and crossed <= room:
                    pieces.append((to, list(piece), crossed))
        if not pieces:
            break
        # Rather pieces that cross, while there is room, and rather short ones than such as cut the square in two.
        weights = np.array([(1 + 6 * crossed) / len(piece) for _, piece, crossed in pieces])
        heading, piece, crossed = pieces[int(rng.choice(len(pieces), p=weights / weights.sum()))]
        room -= crossed
        for point in piece[:-1]:
            taken[point] = 2 if point in taken else heading % 2
        at = piece[-1]
        taken[at] = 2
        corners.append(at)
    return corners, room


def _crossings(lines: list[list[Any]]) -> list[Point] | None:
    """Places where straight pieces cross, every pair of them tried; None where any two touch otherwise."""
    pieces = [
        (k, i, min(a[0], b[0]), max(a[0], b[0]), min(a[1], b[1]), max(a[1], b[1]))
        for k, line in enumerate(lines)
        for i, (a, b) in enumerate(zip(line, line[1:], strict=False))
    ]
    found = set()
    for n, (k, i, left, right, top, bottom) in enumerate(pieces):
        for l, j, left_, right_, top_, bottom_ in pieces[n + 1 :]:
            x, y = max(left, left_), max(top, top_)
            if x > min(right, right_) or y > min(bottom, bottom_) or (k == l and j == i + 1):
                continue
            level, level_ = top == bottom, top_ == bottom_
            inside = left < x < right and top_ < y < bottom_ if level else left_ < x < right_ and top < y < bottom
            if level == level_ or not inside or (x, y) in found:
                return None
            found.add((x, y))
    return sorted(found)


def solve(state: dict[str, Any]) -> list[str]:
    """The number of crossings; none where lines touch in a way that could be taken for one."""
    found = _crossings([line["corners"] for line in state["lines"]])
    return [] if found is None else [str(len(found))]


def _at(point: Any, side: int) -> tuple[float, float]:
    step = (1 - 2 * MARGIN) / (side - 1)
    return MARGIN + point[0] * step, MARGIN + point[1] * step


def _paint(canvas: Canvas, state: dict[str, Any]) -> None:
    width = 0.16 / state["side"]
    for line in state["lines"]:
        canvas.line([_at(point, state["side"]) for point in line["corners"]], line["colour"], width)
    for line in state["lines"]:
        for end in (line["corners"][0], line["corners"][-1]):
            canvas.disc(_at(end, state["side"]), 1.1 * width, line["colour"])
