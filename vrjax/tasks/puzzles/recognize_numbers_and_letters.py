"""Recognize numbers and letters: coloured ones lie over each other, turned, slanted and stretched; which are they?

Each is a few strokes on a grid of 5 by 7 points. Those that others turn into when they are turned, slanted and
stretched as far as is done here (O and 0, S and 5, Z and 2) are left out. `solve` reads what is seen of a colour.
"""

import functools
from typing import Any

import numpy as np
from jaxtyping import Float

from vrjax.tasks.puzzles.canvas import Canvas
from vrjax.tasks.puzzles.item import Glyphs
from vrjax.tasks.puzzles.making import Puzzle

NAME = "Recognize numbers and letters"
COUNTS, HEIGHTS, TURNS, SLANTS = (2, 3, 4), (0.52, 0.46, 0.4), (8, 15, 22), (0.0, 0.1, 0.2)
"""Of glyphs, and of each: its height, degrees that it is turned and share that it is slanted at most, by difficulty."""
NEAREST = (0.2, 0.16, 0.13)
"""Distance of the middles of two glyphs at least, by difficulty; `FARTHEST` of the next at most."""
FARTHEST = 0.36
CHANCE = 0.0
COLOURS = ("blue", "orange", "purple", "teal", "pink", "brown", "yellow")
WIDTHS = (0.034, 0.026, 0.022)
FIELD, SLOTS = 0.76, (0.82, 0.98)
"""Where the glyphs' part of the picture ends, and heights between which slots lie."""
STROKES = {
    "A": "0620 2046 1434",
    "C": "4000 0006 0646",
    "E": "4000 0006 0646 0333",
    "F": "4000 0006 0333",
    "H": "0006 4046 0343",
    "J": "4045 4536 3616 1605",
    "K": "0006 0340 0346",
    "L": "0006 0646",
    "M": "0600 0023 2340 4046",
    "N": "0600 0046 4640",
    "P": "0600 0040 4043 4303",
    "R": "0600 0040 4043 4303 1346",
    "T": "0040 2026",
    "X": "0046 4006",
    "Y": "0023 4023 2326",
    "3": "0040 4046 4606 1343",
    "4": "0004 0444 4046",
    "6": "4000 0006 0646 4643 4303",
    "7": "0040 4016",
    "8": "0040 4046 4606 0600 0343",
}
"""From point to point, x and y of each, from the upper left."""
STEP, NEAR, SEEN = 0.4, 0.25, 1.6
"""Distance of the points at which strokes are compared, from which distance they lie elsewhere, and length of what must
be seen of a difference, in units of the grid. The least difference of two glyphs, 6 and 8, is 2.4 long so."""


def _strokes(glyph: str) -> Float[np.ndarray, "s 2 2"]:
    """Of a glyph, ends of strokes in units of the grid about its middle."""
    digits = [[int(digit) for digit in stroke] for stroke in STROKES[glyph].split()]
    return np.array(digits, float).reshape(-1, 2, 2) - (2, 3)


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """Glyphs of different colours, each near one of those before; whether they can be read is for `solve` to say."""
    d = difficulty - 1
    names = [sorted(STROKES)[i] for i in rng.choice(len(STROKES), COUNTS[d], replace=False)]
    colours = [COLOURS[i] for i in rng.permutation(len(COLOURS))[: COUNTS[d]]]
    margin = 0.62 * HEIGHTS[d]
    middles: list[Any] = []
    while len(middles) < len(names):
        at = rng.uniform((0.04 + 0.8 * margin, margin), (0.96 - 0.8 * margin, FIELD - margin))
        apart = [float(np.hypot(*(at - one))) for one in middles]
        if not middles or NEAREST[d] < min(apart) < FARTHEST:
            middles.append(at)
        elif rng.random() < 0.02:
            return None
    figures = []
    for name, colour, middle in zip(names, colours, middles, strict=True):
        angle, high = np.deg2rad(rng.uniform(-TURNS[d], TURNS[d])), HEIGHTS[d] * rng.uniform(0.85, 1.05)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        slant = np.array([[1.0, rng.uniform(-SLANTS[d], SLANTS[d])], [0.0, 1.0]])
        frame = turn @ slant @ np.diag([high * rng.uniform(0.6, 0.85) / 4, high / 6])
        strokes = _strokes(name) @ frame.T + middle
        figures.append({"colour": colour, "middle": middle.tolist(), "frame": frame.tolist(), "strokes": strokes})
    for figure in figures:
        figure["strokes"] = figure["strokes"].round(5).tolist()
    order = rng.permutation(len(names)).tolist()
    state = {"figures": figures, "slots": [colours[i] for i in order], "width": WIDTHS[d]}
    answer = ", ".join(f"{colours[i]}: {names[i]}" for i in order)
    return Puzzle(
        question="Coloured capital letters and numbers lie over each other. Which one has which colour? Answer for the "
        f"colours in the order of the fields below, such as '{', '.join(f'{colours[i]}: ?' for i in order)}'.",
        prompt="Write into each field below, in red, the letter or number that has the colour of the dot next to it.",
        paint=lambda canvas: _paint(canvas, state),
        state=state,
        answer=answer,
        reasoning=f"Each colour followed for itself: {answer}.",
        annotation=Glyphs(np.array(_slots(len(names)))[:, 4:], tuple(names[i] for i in order), "".join(STROKES)),
    )


def _slots(count: int) -> list[tuple[float, ...]]:
    """Boxes of all of a slot and of the field in it that is written into, beside the dot of its colour."""
    wide, high = 0.98 / count, SLOTS[1] - SLOTS[0]
    lefts = [0.01 + (i + 0.5) * wide - 0.62 * high for i in range(count)]
    return [
        (x, SLOTS[0], x + 1.24 * high, SLOTS[1], x + 0.38 * high, SLOTS[0], x + 1.24 * high, SLOTS[1]) for x in lefts
    ]


def _points(strokes: Float[np.ndarray, "s 2 2"]) -> Float[np.ndarray, "n 2"]:
    """Points along strokes in units of the grid, `STEP` apart."""
    counts = np.ceil(np.hypot(*(strokes[:, 1] - strokes[:, 0]).T) / STEP).astype(int) + 1
    return np.concatenate([np.linspace(a, b, n) for (a, b), n in zip(strokes, counts, strict=True)])


def _apart(points: Float[np.ndarray, "n 2"], strokes: Float[np.ndarray, "s 2 2"]) -> Float[np.ndarray, "n s"]:
    """Distances of points from strokes, squared."""
    (x, y), (u, v) = strokes[:, 0].T, (strokes[:, 1] - strokes[:, 0]).T
    x, y = points[:, :1] - x, points[:, 1:] - y
    share = np.clip((x * u + y * v) / (u * u + v * v), 0, 1)
    return (x - share * u) ** 2 + (y - share * v) ** 2


@functools.cache
def _alphabet() -> tuple[Any, Any, Any, Any]:
    """Of all glyphs: points and whose they are, strokes and whose first each is."""
    points, strokes = [_points(_strokes(glyph)) for glyph in STROKES], [_strokes(glyph) for glyph in STROKES]
    firsts = np.cumsum([0, *map(len, strokes[:-1])])
    owner = np.repeat(np.arange(len(points)), [*map(len, points)])
    return np.concatenate(points), owner, np.concatenate(strokes), firsts


def solve(state: dict[str, Any]) -> list[str]:
    """All glyphs of all colours that what is seen could be of; what later colours lie over is not seen.

    A glyph is another one where a piece of a stroke of `SEEN` is seen that only one of both has.
    """
    points, owner, strokes, firsts = _alphabet()
    figures, answers = state["figures"], [""]
    for colour in state["slots"]:
        i = [figure["colour"] for figure in figures].index(colour)
        frame, middle = np.array(figures[i]["frame"]), np.array(figures[i]["middle"])
        drawn = (np.array(figures[i]["strokes"]) - middle) @ np.linalg.inv(frame).T
        own, hidden = _points(drawn), np.zeros(len(points), bool)
        covered = np.zeros(len(own), bool)
        if i + 1 < len(figures):
            over = np.concatenate([figure["strokes"] for figure in figures[i + 1 :]])
            covered, hidden = (
                (_apart(one @ frame.T + middle, over) < state["width"] ** 2).any(1) for one in (own, points)
            )
        # Seen, but not the glyph's; and the glyph's, but not seen where it should be.
        extra = np.minimum.reduceat(_apart(own, strokes), firsts, axis=1)[~covered] > NEAR**2
        missing = (_apart(points, drawn).min(1) > NEAR**2) & ~hidden
        differ = extra.sum(0) + np.bincount(owner, missing, minlength=len(firsts))
        fits = [glyph for glyph, count in zip(STROKES, differ, strict=True) if count * STEP < SEEN]
        answers = [f"{answer}, {colour}: {glyph}" for answer in answers for glyph in fits]
    return [answer[2:] for answer in answers]


def _paint(canvas: Canvas, state: dict[str, Any]) -> None:
    for figure in state["figures"]:
        for stroke in figure["strokes"]:
            canvas.line(stroke, figure["colour"], state["width"])
    for colour, (x0, y0, _, y1, *field) in zip(state["slots"], _slots(len(state["slots"])), strict=True):
        canvas.disc((x0 + 0.14 * (y1 - y0), (y0 + y1) / 2), 0.16 * (y1 - y0), colour)
        canvas.box((field[0], field[1], field[2], field[3]), None, "black", 0.01)
