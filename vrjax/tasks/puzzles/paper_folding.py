"""Paper Folding: a square of paper is folded, holes are punched through all layers; how does it look unfolded?

Lengths are in sixths of a cell: cells have their centres at (6 i + 3, 6 j + 3), and folds go between cells or
diagonally through their corners.
"""

import functools
import itertools
from typing import Any

import numpy as np

from vrjax.tasks.puzzles.canvas import Canvas, Place
from vrjax.tasks.puzzles.making import Puzzle, found, one_of

NAME = "Paper Folding"
FEW = True
CHANCE = 0.25
CELLS, FOLDS, HOLES = (4, 6, 6), (1, 2, 3), ((1, 2), (1, 2), (2, 3))
"""Cells along a side, folds, and how many holes may be punched, by difficulty."""
PART = 0.2
"""How much of what one sees of the paper a fold moves at least."""
UNIT = 6
ALONG = {"vertical": (1, 0), "horizontal": (0, 1), "falling": (1, -1), "rising": (1, 1)}
"""Of the lines that one folds along: each is where a x + b y is what the fold says."""
FRONT, BACK = "pale", "yellow"
"""The two sides of the paper."""
Fold = tuple[str, int, int]
"""A direction, which line of that direction, and on which side of it paper is moved: 1 or -1."""


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """Options are what two ways to fold make of two ways to punch: all are of folded paper, and which folds and holes
    the picture has is drawn after that, so that nothing about the options says it."""
    n, count, holes = CELLS[difficulty - 1], FOLDS[difficulty - 1], one_of(rng, HOLES[difficulty - 1])
    ways, cells = [()], [(0, 0)]
    for _ in range(8):
        same = _folds(rng, n, (), int(rng.integers(count)))
        ways = [_folds(rng, n, same, count - len(same)) for _ in range(2)]
        cells = sorted(set(_whole(n, ways[0])) & set(_whole(n, ways[1])))
        if ways[0] != ways[1] and len(cells) > holes:
            break
    else:
        return None
    pairs = [(a, b) for a in cells for b in cells if a != b]
    # Neighbours are harder to tell apart.
    near = [(a, b) for a, b in pairs if abs(a[0] - b[0]) + abs(a[1] - b[1]) == UNIT]
    if difficulty > 1 and near:
        pairs = near
    one, other = one_of(rng, pairs)
    rest = [cell for cell in cells if cell not in (one, other)]
    rest = [rest[i] for i in rng.permutation(len(rest))[: holes - 1]]
    punches = [sorted([one, *rest]), sorted([other, *rest])]
    right = rng.integers(2, size=2).tolist()
    order = [right, [right[0], 1 - right[1]], [1 - right[0], right[1]], [1 - right[0], 1 - right[1]]]
    options = [_unfolded(n, ways[i], punches[k]) for i, k in order]
    if len({str(option) for option in options}) < 4:
        return None
    state = {
        "cells": n,
        "folds": [list(fold) for fold in ways[right[0]]],
        "punched": [list(hole) for hole in punches[right[1]]],
        "options": options,
    }
    return Puzzle(
        question="A square of paper is folded along the dashed lines, from left to right, and then punched through all "
        "layers at the black dots. How does it look when it is unfolded?",
        prompt="Circle the square that is the unfolded paper.",
        paint=lambda canvas: _steps(canvas, state),
        state=state,
        reasoning=f"Unfolded from the last fold to the first, every hole appears once more across each line where the "
        f"paper lay double: {len(options[0])} holes.",
        options=tuple(lambda canvas, option=option: _sheet(canvas, n, option) for option in options),
    )


def _over(points: np.ndarray, fold: Fold) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) after a fold, and which of them it moves."""
    a, b = ALONG[fold[0]]
    beyond = points @ np.array([a, b]) - fold[1]
    moved = beyond * fold[2] > 0
    across = points - 2 * beyond[:, None] * np.array([a, b]) / (a * a + b * b)
    return np.where(moved[:, None], across, points), moved


@functools.lru_cache(maxsize=4096)
def _quarters(n: int, folds: tuple[Fold, ...]) -> np.ndarray:
    """Where the four quarters of every cell, by its diagonals, lie after folds, (n², 4, 2): points inside of them."""
    if folds:
        return _over(_quarters(n, folds[:-1]).reshape(-1, 2), folds[-1])[0].reshape(n * n, 4, 2)
    centres = UNIT * np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), -1).reshape(-1, 1, 2) + UNIT // 2
    return centres + np.array([[2, 0], [-2, 0], [0, 2], [0, -2]])


@functools.lru_cache(maxsize=4096)
def _next(n: int, folds: tuple[Fold, ...]) -> list[Fold]:
    """Folds of folded paper that lay it on itself, and move more than a corner of it."""
    at = _quarters(n, folds).reshape(-1, 2)
    possible = []
    lines = itertools.product(ALONG, range(-n * UNIT, 2 * n * UNIT + 1, UNIT), (1, -1))
    for fold in lines:
        to, moved = _over(at, fold)
        low, high = {tuple(p) for p in at[~moved].tolist()}, {tuple(p) for p in to[moved].tolist()}
        if high and high <= low and len(high) > PART * (len(high) + len(low)):
            possible.append(fold)
    return possible


def _folds(rng: np.random.Generator, n: int, before: tuple[Fold, ...], count: int) -> tuple[Fold, ...]:
    """So many folds more, drawn."""
    for _ in range(count):
        before = (*before, one_of(rng, _next(n, before)))
    return before


@functools.lru_cache(maxsize=4096)
def _whole(n: int, folds: tuple[Fold, ...]) -> list[tuple[int, int]]:
    """Places of folded paper where a hole goes through nothing but whole cells."""
    quarters = _quarters(n, folds)
    centres = quarters.mean(1)
    # Quarters of a cell that is folded through its middle come nearer to one another.
    apart = (np.abs(quarters - centres[:, None]).max(-1) == 2).all(1)
    on = np.unique(centres[apart], axis=0)
    # At the place of a whole cell there may be such halves of others.
    inside = lambda place: (np.abs(quarters - place).max(-1) < UNIT / 2).sum()
    cells = lambda place: (apart & (np.abs(centres - place).max(-1) < 1)).sum()
    return [(int(x), int(y)) for x, y in on if inside((x, y)) == 4 * cells((x, y))]


def _unfolded(n: int, folds: tuple[Fold, ...], punched: list[Any]) -> list[list[int]]:
    """Cells of the sheet that have a hole: every one is followed through all folds."""
    start = [(i, k) for i in range(n) for k in range(n)]
    at = UNIT * np.array(start) + UNIT // 2
    for fold in folds:
        at, _ = _over(at, fold)
    holes = {(int(x), int(y)) for x, y in punched}
    return [list(cell) for cell, (x, y) in zip(start, at.tolist(), strict=True) if (round(x), round(y)) in holes]


def _given(state: dict[str, Any]) -> tuple[Fold, ...]:
    return tuple((name, line, side) for name, line, side in state["folds"])


def solve(state: dict[str, Any]) -> list[int]:
    """Options that have holes in just those cells that come to lie where one punches."""
    right = _unfolded(state["cells"], _given(state), state["punched"])
    return found(state, lambda option: sorted(option) == right)


def _cut(polygon: list[Place], fold: Fold, side: int) -> list[Place]:
    """What of a convex polygon lies on one side of a line."""
    a, b = ALONG[fold[0]]
    kept: list[Place] = []
    for (x, y), (u, v) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        s, t = (side * (a * px + b * py - fold[1]) for px, py in ((x, y), (u, v)))
        if s >= 0:
            kept.append((x, y))
        if s * t < 0:
            kept.append((x + (u - x) * s / (s - t), y + (v - y) * s / (s - t)))
    return kept if len(kept) > 2 else []


def _steps(canvas: Canvas, state: dict[str, Any]) -> None:
    """The paper before each fold, with its line and an arrow; and after all, with its holes."""
    n, folds = state["cells"], [*_given(state), None]
    side = n * UNIT
    layers: list[tuple[list[Place], bool]] = [([(0, 0), (side, 0), (side, side), (0, side)], True)]
    for i, fold in enumerate(folds):
        part = canvas.square(((i + 0.03) / len(folds), 0.0, (i + 0.97) / len(folds), 1.0))
        place = lambda point: (0.06 + 0.88 * point[0] / side, 0.06 + 0.88 * point[1] / side)
        part.box((0.06, 0.06, 0.94, 0.94), None, "grey", 0.01)
        for polygon, front in layers:
            part.polygon([place(point) for point in polygon], FRONT if front else BACK, "black", 0.025)
        if fold is None:
            for hole in state["punched"]:
                part.disc(place(hole), 0.88 * 0.3 / n, "black")
            return
        moving = [_cut(polygon, fold, fold[2]) for polygon, _ in layers]
        corners = np.array([point for polygon in moving for point in polygon])
        over = [[(x, y) for x, y in _over(np.array(p), fold)[0].tolist()] if p else [] for p in moving]
        _arrow(part, place, fold, corners)
        stay = [(_cut(polygon, fold, -fold[2]), front) for polygon, front in layers]
        turned = [(polygon, not front) for polygon, (_, front) in zip(over, layers, strict=True)]
        layers = [(polygon, front) for polygon, front in [*stay, *reversed(turned)] if polygon]


def _arrow(part: Canvas, place: Any, fold: Fold, corners: np.ndarray) -> None:
    """The dashed line of a fold, and an arrow across it of what is moved."""
    a, b = ALONG[fold[0]]
    on = corners[np.abs(corners @ np.array([a, b]) - fold[1]) < 1e-6]
    first, last = (on[k] for k in (np.lexsort(on.T)[0], np.lexsort(on.T)[-1]))
    for k in range(6):
        ends = [first + (last - first) * (k + t) / 6 for t in (0.15, 0.75)]
        part.line([place(end) for end in ends], "blue", 0.03)
    line, normal = (first + last) / 2, np.array([a, b]) / np.hypot(a, b)
    beyond = (corners - line) @ normal
    far = 0.48 * float(beyond[np.abs(beyond).argmax()])
    tail, tip = (np.array(place(line + normal * far * sign)) for sign in (1, -1))
    ahead = (tip - tail) / np.hypot(*(tip - tail))
    across = np.array([-ahead[1], ahead[0]])
    part.line([tail, tip - 0.08 * ahead], "orange", 0.04)
    part.polygon([tip, tip - 0.14 * ahead + 0.09 * across, tip - 0.14 * ahead - 0.09 * across], "orange")


def _sheet(canvas: Canvas, n: int, holes: list[list[int]]) -> None:
    """The unfolded paper."""
    canvas.box((0.08, 0.08, 0.92, 0.92), FRONT, "black", 0.03)
    for i, k in holes:
        canvas.disc((0.08 + 0.84 * (i + 0.5) / n, 0.08 + 0.84 * (k + 0.5) / n), 0.84 * 0.3 / n, "black")
