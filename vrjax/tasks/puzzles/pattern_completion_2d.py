"""2D Pattern Completion: tiles that repeat over the plane, with a square hole; which piece belongs into it?

The tiles repeat by a lattice: after `across` steps to the right, and after `down` steps down and some
to the side.
"""

import functools
import itertools
from typing import Any

import numpy as np

from vrjax.tasks.puzzles.canvas import Canvas
from vrjax.tasks.puzzles.making import Puzzle, found

NAME = "2D Pattern Completion"
CHANCE = 0.25
PLANES = ((9, 6), (12, 8), (15, 10))
"""Tiles across and down, by difficulty; the panel is half as wide again as it is high, so tiles are squares."""
HOLES, PERIODS = (2, 3, 3), ((2, 3), (3, 4), (3, 5))
"""Tiles along a side of the hole; steps after which tiles repeat, from and up to. No period is less than the hole, so
that a piece has no tile twice that could be compared within it."""
FORMS, INKS = (1, 4, 8), (3, 2, 2)
"""Forms and colours of tiles: full ones, then half squares in 4 turns, then quarter discs in 4 turns as well."""
COLOURS = ("blue", "orange", "purple", "teal", "black", "yellow", "pink")


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """A pattern with a hole away from its border."""
    level = difficulty - 1
    (wide, high), hole, forms = PLANES[level], HOLES[level], FORMS[level]
    across, down = (int(rng.integers(PERIODS[level][0], PERIODS[level][1] + 1)) for _ in range(2))
    down = min(down, high // 2)
    side = int(rng.integers(across))
    colours = [COLOURS[i] for i in rng.permutation(len(COLOURS))[: INKS[level]]]
    classes = _classes(wide, high, across, down, side)
    motif = rng.integers(0, forms * len(colours), across * down)
    if difficulty == 1:
        motif[rng.permutation(len(motif))[: len(colours)]] = range(len(colours))
    plane = motif[classes]
    x, y = int(rng.integers(1, wide - hole)), int(rng.integers(1, high - hole))
    options = _options(rng, motif, classes, (x, y, hole), forms)
    if not options:
        return None
    cells = plane.copy()
    cells[y : y + hole, x : x + hole] = -1
    state = {
        "cells": cells.tolist(),
        "hole": [x, y, hole],
        "forms": forms,
        "colours": colours,
        "options": [option.tolist() for option in options],
    }
    return Puzzle(
        question="The pattern repeats all over the picture. Which piece belongs into the hole? The pieces are not to "
        "be turned.",
        prompt="Circle the piece that belongs into the hole.",
        paint=lambda canvas: _paint(canvas, state),
        state=state,
        reasoning=f"The pattern repeats after {across} tiles to the right"
        f"{'' if side == 0 else f', and {side} to the side'} after {down} down.",
        options=tuple(lambda canvas, o=option: _tiles(canvas, o, state) for option in state["options"]),
    )


def _options(
    rng: np.random.Generator, motif: np.ndarray, classes: np.ndarray, hole: tuple[int, int, int], forms: int
) -> list[np.ndarray]:
    """Pieces: the right one first; none where no draw has four.

    They are of two patterns, of which one has two tiles changed about or one turned, and of each there is the piece
    from the hole, and that turned or the piece from another place. Which of both patterns, and which of both pieces,
    is the right one is told by the picture alone: exchanging them leaves the same four.
    """
    x, y, side = hole
    cut = lambda motif, x, y: motif[classes[y : y + side, x : x + side]]
    inside = np.unique(cut(np.arange(len(motif)), x, y))
    for _ in range(20):
        i, j = rng.choice(inside, 2, replace=False)
        changed = motif.copy()
        if forms > 1 and rng.random() < 0.4:
            changed[i] = _turned(motif[i], int(rng.integers(1, 4)), forms)
        else:
            changed[[i, j]] = motif[[j, i]]
        pieces = [cut(motif, x, y), cut(changed, x, y)]
        if rng.random() < 0.4:
            turns = int(rng.integers(1, 4))
            pieces += [np.rot90(_turned(piece, turns, forms), -turns) for piece in pieces]
        else:
            u, v = (int(rng.integers(n - side + 1)) for n in classes.shape[::-1])
            pieces += [cut(motif, u, v), cut(changed, u, v)]
        if len({piece.tobytes() for piece in pieces}) == 4:
            return pieces
    return []


def _turned(tiles: Any, turns: int, forms: int) -> Any:
    """Tiles' kinds after quarter turns clockwise; full tiles stay as they are."""
    return tiles if forms == 1 else tiles // 4 * 4 + (tiles + turns) % 4


def _classes(wide: int, high: int, across: int, down: int, side: int) -> np.ndarray:
    """(high, wide): numbers of tiles that are the same by a lattice."""
    y, x = np.mgrid[:high, :wide]
    return y % down * across + (x - side * (y // down)) % across


@functools.cache
def _lattices(wide: int, high: int) -> list[np.ndarray]:
    """The classes of all lattices whose periods the picture shows twice, up to 5 tiles."""
    periods = itertools.product(range(1, min(5, wide // 2) + 1), range(1, min(5, high // 2) + 1), range(5))
    return [_classes(wide, high, *period) for period in periods if period[2] < period[0]]


def solve(state: dict[str, Any]) -> list[int]:
    """Pieces with which the pattern repeats by some lattice, of all by which it does so outside of the hole."""
    cells = np.array(state["cells"])
    x, y, hole = state["hole"]
    left = [classes for classes in _lattices(*cells.shape[::-1]) if _repeats(cells, classes)]

    def fits(option: list[list[int]]) -> bool:
        full = cells.copy()
        full[y : y + hole, x : x + hole] = option
        return any(_repeats(full, classes) for classes in left)

    return found(state, fits)


def _repeats(cells: np.ndarray, classes: np.ndarray) -> bool:
    seen = cells >= 0
    where, values = classes[seen], cells[seen]
    table = np.empty(classes.max() + 1, int)
    table[where] = values
    return bool((table[where] == values).all())


def _paint(canvas: Canvas, state: dict[str, Any]) -> None:
    _tiles(canvas, state["cells"], state)
    high, wide = len(state["cells"]), len(state["cells"][0])
    x, y, hole = state["hole"]
    box = (x / wide, y / high, (x + hole) / wide, (y + hole) / high)
    canvas.box(box, "white", "black", 0.02)
    canvas.square(box).text((0.5, 0.5), "?", 0.5)


def _tiles(canvas: Canvas, tiles: list[list[int]], state: dict[str, Any]) -> None:
    forms = state["forms"]
    canvas.box((0.0, 0.0, 1.0, 1.0), "pale")
    high, wide = len(tiles), len(tiles[0])
    for y, row in enumerate(tiles):
        for x, tile in enumerate(row):
            if tile >= 0:
                corners = [((x + u) / wide, (y + v) / high) for u, v in _FORMS[tile % forms if forms > 1 else -1]]
                canvas.polygon(corners, state["colours"][tile // forms])


def _forms() -> list[list[tuple[float, float]]]:
    """Corners: half squares and quarter discs, each in 4 turns, and a full square."""
    arc = [(0.0, 0.0), *((float(np.cos(a)), float(np.sin(a))) for a in np.linspace(0, np.pi / 2, 6))]
    found: list[list[tuple[float, float]]] = []
    for corners in ([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)], arc):
        for _ in range(4):
            found.append(corners)
            corners = [(1 - v, u) for u, v in corners]
    return [*found, [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]]


_FORMS = _forms()
