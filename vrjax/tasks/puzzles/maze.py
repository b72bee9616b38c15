"""Maze: several entrances, of which one leads to the exit, by one way.

A spanning forest of the cells: one tree for each entrance, grown side by side, so that which of them the exit is in
can only be seen by following lines.
"""

from typing import Any

import numpy as np

from vrjax.tasks.puzzles.canvas import Canvas
from vrjax.tasks.puzzles.item import Route
from vrjax.tasks.puzzles.making import Puzzle

NAME = "Maze"
SIDES, ENTRANCES = (5, 7, 9), (2, 3, 4)
"""Cells along a side and entrances, by difficulty."""
CHANCE = 0.5
"""At difficulty 1: one of two entrances."""
MARGIN = 0.1
MOVES = ((1, 0), (0, 1), (-1, 0), (0, -1))


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """Entrances at the top, named by letters; the exit at the bottom."""
    n, count = SIDES[difficulty - 1], ENTRANCES[difficulty - 1]
    tops = sorted(rng.choice(n, count, replace=False).tolist())
    owner = -np.ones((n, n), int)
    edges: list[tuple[int, int]] = []
    ends = []
    for k, x in enumerate(tops):
        owner[0, x] = k
        ends.append([(x, 0)])
    while (owner < 0).any():
        k = int(rng.integers(count))
        if not ends[k]:
            continue
        # Mostly on from where the tree grew last: long ways rather than bushes.
        at = len(ends[k]) - 1 if rng.random() < 0.8 else int(rng.integers(len(ends[k])))
        x, y = ends[k][at]
        free = [(x + i, y + j) for i, j in MOVES if 0 <= x + i < n and 0 <= y + j < n and owner[y + j, x + i] < 0]
        if not free:
            ends[k].pop(at)
            continue
        to = free[int(rng.integers(len(free)))]
        owner[to[1], to[0]] = k
        edges.append((y * n + x, to[1] * n + to[0]))
        ends[k].append(to)
    gate = int(rng.integers(n))
    state = {"side": n, "entrances": tops, "exit": gate, "edges": [list(edge) for edge in edges]}
    right = int(owner[n - 1, gate])
    path = _path(state, tops[right], (n - 1) * n + gate)
    if len(path) < n + 2 * difficulty - 2:
        return None
    step = (1 - 2 * MARGIN) / n
    places = [((x + 0.5) * step + MARGIN, (y + 0.5) * step + MARGIN) for y in range(n) for x in range(n)]
    nodes = np.array([*places, *((places[x][0], MARGIN) for x in tops), (places[gate][0], 1 - MARGIN)])
    inside = [*edges, *((n * n + k, x) for k, x in enumerate(tops)), ((n - 1) * n + gate, n * n + count)]
    letter = chr(65 + right)
    return Puzzle(
        question="Several entrances are at the top of the maze. Which of them leads to the exit at the bottom? Answer "
        "with its letter.",
        prompt="Draw one red line along the way from the right entrance at the top to the exit at the bottom.",
        paint=lambda canvas: _paint(canvas, state),
        state=state,
        answer=letter,
        reasoning=f"The way back from the exit ends at entrance {letter}; the others end elsewhere.",
        annotation=Route(nodes, np.array(inside), (n * n + right, *path, n * n + count)),
    )


def _path(state: dict[str, Any], begin: int, end: int) -> list[int]:
    """The way between two cells; empty where there is none. In a forest there is one at most."""
    near: dict[int, list[int]] = {}
    for a, b in state["edges"]:
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    ways = [[begin]]
    while ways:
        way = ways.pop()
        if way[-1] == end:
            return way
        ways += [[*way, to] for to in near.get(way[-1], []) if to not in way[-2:-1]]
    return []


def solve(state: dict[str, Any]) -> list[str]:
    """Letters of the entrances from which there is a way to the exit; with other than n² - entrances edges, which are
    no forest, none."""
    n, tops = state["side"], state["entrances"]
    if len(state["edges"]) != n * n - len(tops):
        return []
    gate = (n - 1) * n + state["exit"]
    return [chr(65 + k) for k, x in enumerate(tops) if _path(state, x, gate)]


def _paint(canvas: Canvas, state: dict[str, Any]) -> None:
    n, width = state["side"], 0.016
    step = (1 - 2 * MARGIN) / n
    open_ = {tuple(sorted(edge)) for edge in state["edges"]}
    at = lambda i: MARGIN + i * step
    for y in range(n):
        for x in range(n):
            cell = y * n + x
            if x + 1 < n and (cell, cell + 1) not in open_:
                canvas.line([(at(x + 1), at(y)), (at(x + 1), at(y + 1))], "black", width)
            if y + 1 < n and (cell, cell + n) not in open_:
                canvas.line([(at(x), at(y + 1)), (at(x + 1), at(y + 1))], "black", width)
    for x in range(n):
        if x not in state["entrances"]:
            canvas.line([(at(x), at(0)), (at(x + 1), at(0))], "black", width)
        if x != state["exit"]:
            canvas.line([(at(x), at(n)), (at(x + 1), at(n))], "black", width)
    for side in (0, n):
        canvas.line([(at(side), at(0)), (at(side), at(n))], "black", width)
    for k, x in enumerate(state["entrances"]):
        canvas.text((at(x) + step / 2, MARGIN / 2), chr(65 + k), 0.06, "blue")
    canvas.disc((at(state["exit"]) + step / 2, 1 - MARGIN / 2), 0.03, "orange")
