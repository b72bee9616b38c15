"""Count Same Patterns: things of several shapes and colours lie about; how many are there of each kind in a legend?

A legend of several kinds has a slot for a number beside each of them; where it has one kind, all that are of it are
to be marked. Things that are no legend's kind have its shape in another colour or its colour in another shape, at
difficulty 3 in the shape that is most like it.
"""

from typing import Any

import numpy as np

from vrjax.tasks.puzzles.canvas import Box, Canvas
from vrjax.tasks.puzzles.item import DIGITS, Glyphs, Marks
from vrjax.tasks.puzzles.making import Puzzle, one_of

NAME = "Count Same Patterns"
CHANCE = 0.2
"""At difficulty 1, where one kind is asked for: one of five numbers."""
GRIDS = ((4, 3), (6, 4), (7, 5))
"""Places for things, across and down, by difficulty."""
LEGEND = (2, 3, 3)
EACH, SINGLE = ((1, 4), (1, 5), (2, 7)), ((1, 5), (2, 9), (4, 14))
"""How many there are of each kind of a legend, and of one that is asked for alone: from, and up to."""
ALL = ((9, 12), (17, 24), (26, 35))
"""How many things there are, whatever is asked for and whichever are right."""
COLOURS = (("blue", "orange", "purple"), ("blue", "orange", "purple", "teal"), ("blue", "orange", "purple", "brown"))
LIKE = {
    "triangle": "heart",
    "square": "cross",
    "heart": "drop",
    "drop": "heart",
    "cross": "star",
    "disc": "hexagon",
    "star": "comet",
    "comet": "star",
    "pentagon": "hexagon",
    "hexagon": "pentagon",
}
"""The shape that is most like each. The star has five rays, the comet six."""
PLAIN = ("disc", "square", "triangle", "star", "heart", "cross")
FIELD, BOTTOM = (0.02, 0.02, 0.98, 0.76), (0.02, 0.79, 0.98, 0.98)
"""Where things lie, and the legend."""


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """Kinds of a legend, things of them and things that are nearly of them, in places of a grid."""
    level, single = difficulty - 1, bool(rng.random() < 0.5)
    shapes = PLAIN if difficulty < 3 else tuple(LIKE)
    legend: list[list[str]] = []
    while len(legend) < (1 if single else LEGEND[level]):
        kind = [one_of(rng, shapes), one_of(rng, COLOURS[level])]
        if kind not in legend:
            legend.append(kind)
    each = SINGLE if single else EACH
    between = lambda ends: int(rng.integers(ends[0], ends[1] + 1))
    kinds = [kind for kind in legend for _ in range(between(each[level]))]
    count = between(ALL[level])
    while len(kinds) < count:
        shape, colour = one_of(rng, legend)
        if rng.random() < 0.5:
            shape = LIKE[shape] if difficulty == 3 else one_of(rng, shapes)
        else:
            colour = one_of(rng, COLOURS[level])
        if [shape, colour] not in legend:
            kinds.append([shape, colour])
    across, down = GRIDS[level]
    things = []
    wide, high = (FIELD[2] - FIELD[0]) / across, (FIELD[3] - FIELD[1]) / down
    for kind, cell in zip(kinds, rng.permutation(across * down)[: len(kinds)].tolist(), strict=True):
        radius = 0.42 * wide * (1.0 if difficulty < 3 else float(rng.uniform(0.8, 1.0)))
        turn = 0.0 if difficulty == 1 else float(rng.uniform(-0.5, 0.5)) * (difficulty - 1)
        slack = 0.48 * np.array((wide, high)) - radius
        at = np.array((cell % across + 0.5, cell // across + 0.5)) * (wide, high) + FIELD[:2]
        at += rng.uniform(-1, 1, 2) * slack
        things.append([*kind, *np.round([*at, radius, turn], 4).tolist()])
    state = {"legend": legend, "things": things}
    counts = _counts(state)
    told = "; ".join(f"{colour} {shape}: {count}" for (shape, colour), count in zip(legend, counts, strict=True))
    if single:
        question = (
            "How many things above the line have the same shape and the same colour as the one below it? Turned and "
            "smaller ones count. Answer with the number."
        )
        annotation = Marks(
            np.array([thing[2:4] for thing in things]),
            tuple(i for i, thing in enumerate(things) if thing[:2] == legend[0]),
        )
    else:
        question = (
            "How many things above the line have the same shape and the same colour as each one below it? Turned and "
            "smaller ones count. Answer with the numbers from left to right, separated by commas, like 2, 1, 3."
        )
        annotation = Glyphs(np.array([slot for _, slot in _entries(len(legend))]), tuple(map(str, counts)), DIGITS)
    return Puzzle(
        question=question,
        prompt="Put a red dot on each thing above the line that is like the one below it."
        if single
        else "Write in red into each empty box how many things above the line are like the one beside the box.",
        paint=lambda canvas: _paint(canvas, state),
        state=state,
        answer=", ".join(map(str, counts)),
        reasoning=f"{told}.",
        annotation=annotation,
    )


def _counts(state: dict[str, Any]) -> list[int]:
    return [sum(thing[:2] == kind for thing in state["things"]) for kind in state["legend"]]


def solve(state: dict[str, Any]) -> list[str]:
    """The numbers of the things that are of each kind; none where two things overlap, or a kind is twice in the
    legend."""
    places, radii = np.array([thing[2:4] for thing in state["things"]]), np.array([t[4] for t in state["things"]])
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) - radii[:, None] - radii[None]
    if (apart[np.triu_indices(len(places), 1)] < 0).any() or len({*map(tuple, state["legend"])}) < len(state["legend"]):
        return []
    return [", ".join(map(str, _counts(state)))]


def _entries(count: int) -> list[tuple[Box, Box]]:
    """Of a legend: boxes of the kinds, and of the slots beside them."""
    x0, y0, x1, y1 = BOTTOM
    wide = (x1 - x0) / count
    small, large = min(0.4 * (y1 - y0), 0.2 * wide), min(0.5 * (y1 - y0), 0.28 * wide)
    found = []
    for k in range(count):
        x, y = x0 + (k + 0.5) * wide - large + small, (y0 + y1) / 2
        found.append(((x - 2 * small, y - small, x, y + small), (x, y - large, x + 2 * large, y + large)))
    return found


def _paint(canvas: Canvas, state: dict[str, Any]) -> None:
    for shape, colour, x, y, radius, turn in state["things"]:
        _thing(canvas, shape, colour, (x, y), radius, turn)
    line = (FIELD[3] + BOTTOM[1]) / 2
    canvas.line([(0, line), (1, line)], "grey", 0.01)
    single = len(state["legend"]) == 1
    for (shape, colour), (box, slot) in zip(state["legend"], _entries(len(state["legend"])), strict=True):
        x = 0.5 if single else (box[0] + box[2]) / 2
        _thing(canvas, shape, colour, (x, (box[1] + box[3]) / 2), 0.45 * (box[3] - box[1]), 0.0)
        if not single:
            canvas.box(slot, None, "grey", 0.008)


def _thing(canvas: Canvas, shape: str, colour: str, at: tuple[float, float], radius: float, turn: float) -> None:
    """A shape within a circle about a place."""
    if shape == "disc":
        canvas.disc(at, 0.92 * radius, colour)
        return
    sine, cosine = np.sin(turn), np.cos(turn)
    canvas.polygon(_OUTLINES[shape] @ np.array(((cosine, sine), (-sine, cosine))) * radius + at, colour)


def _rays(count: int, inner: float) -> np.ndarray:
    """A star's corners, clockwise from the top; a regular polygon's where the inner ones lie on its sides."""
    angles = np.pi * np.arange(2 * count) / count
    radii = np.where(np.arange(2 * count) % 2, inner, 1.0)
    return np.stack((radii * np.sin(angles), -radii * np.cos(angles)), -1)


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 33)[:-1]
    x, y = 16 * np.sin(t) ** 3, 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack((x, -y - 2.5), -1) / 17.5


def _drop() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 33)[:-1]
    return np.stack((0.85 * np.sin(t) * np.sin(t / 2) ** 1.5, -0.95 * np.cos(t)), -1)


_OUTLINES = {
    "triangle": _rays(3, 0.5),
    "square": _rays(4, np.cos(np.pi / 4)) @ np.array(((1.0, 1.0), (-1.0, 1.0))) * 0.7071,
    "pentagon": _rays(5, np.cos(np.pi / 5)),
    "hexagon": _rays(6, np.cos(np.pi / 6)),
    "star": _rays(5, 0.42),
    "comet": _rays(6, 0.46),
    "heart": _heart(),
    "drop": _drop(),
    "cross": np.array(
        [(a, b) for s in (1, -1) for a, b in ((-s, -3 * s), (s, -3 * s), (s, -s), (3 * s, -s), (3 * s, s), (s, s))]
    )
    * 0.31,
}
"""Corners of shapes within a circle of radius 1."""
