"""Reconstruction: a figure put together from coloured parts, and sets of parts of which one is that of the figure."""

import itertools
from collections import Counter
from typing import Any

import numpy as np

from vrjax.tasks.puzzles import _shapes_glyphs as glyphs
from vrjax.tasks.puzzles.canvas import Canvas
from vrjax.tasks.puzzles.making import Puzzle, found, one_of

NAME = "Reconstruction"
CHANCE = 0.25
STACKS = ((1, 1, 1), (1, 2, 1), (1, 2, 1, 1))
"""By difficulty: how many parts lie at each place of the figure; two are a large one and a small one on it."""
SHAPES = (
    ("triangle", "disc", "bar", "cross"),
    ("square", "triangle", "disc", "bar", "cross", "half"),
    ("square", "triangle", "disc", "bar", "cross", "half", "star", "drop"),
)
COLOURS = (
    ("black", "blue", "orange", "yellow"),
    ("black", "blue", "orange", "yellow", "purple", "teal"),
    ("black", "blue", "orange", "yellow", "purple", "teal", "pink", "brown"),
)
"""By difficulty; the first shapes are told apart best at six pixels. No two are turned, mirrored or larger ones of each
other, so that a part is known by its name."""
LARGE, SMALL = 1.0, 0.44
ANGLES = (4, 8, 24)
"""By difficulty: to how many angles parts of an option may be turned; those of a figure lie straight."""

Kind = tuple[str, str, float]
"""Shape, colour and size of a part."""
Part = list[Any]
"""[x, y, unit, angle, shape, colour, size]: where a part lies, in a canvas, and what it is."""


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """Stacks side by side, each at the one before. Some have variants, in a shape, a colour, or what is the large one.

    All options have equally many parts and are of one family (`glyphs.family`), in which no variant is more likely to
    be the figure's than another.
    """
    heights = rng.permutation(STACKS[difficulty - 1]).tolist()
    members = glyphs.family(rng, min(difficulty, 2))
    changed = rng.permutation(len(heights))[: len(members[0])].tolist()
    stacks = [[_stack(rng, height, difficulty)] for height in heights]
    told = []
    for where in changed:
        what, other = _other(rng, stacks[where][0], difficulty)
        stacks[where].append(other)
        told.append(what)
    sets = []
    for member in members:
        which = dict(zip(changed, member, strict=True))
        sets.append([stack[which.get(i, 0)] for i, stack in enumerate(stacks)])
    if len({frozenset(Counter(part for stack in one for part in stack).items()) for one in sets}) < len(sets):
        return None
    options = [_apart(rng, [part for stack in one for part in stack], difficulty) for one in sets]
    state = {"figure": _together(rng, sets[0]), "options": options}
    return Puzzle(
        question="The figure above is put together from parts. Which set below has exactly these parts? They may be "
        "turned. Answer with its letter.",
        prompt="Circle the set that has exactly the parts of the figure.",
        paint=lambda canvas: _paint(canvas.square(), state["figure"]),
        state=state,
        reasoning=f"The figure's parts are {_said(sets[0])}. Other sets have another "
        f"{' or '.join(sorted(set(told)))} in place of one of these.",
        options=tuple(lambda canvas, parts=parts: _paint(canvas, parts) for parts in options),
    )


def _stack(rng: np.random.Generator, height: int, difficulty: int) -> tuple[Kind, ...]:
    """A large part, and a small one of another colour on it."""
    shapes, colours = SHAPES[difficulty - 1], COLOURS[difficulty - 1]
    inks = rng.permutation(len(colours))
    return tuple((one_of(rng, shapes), colours[inks[i]], (LARGE, SMALL)[i]) for i in range(height))


def _other(rng: np.random.Generator, stack: tuple[Kind, ...], difficulty: int) -> tuple[str, tuple[Kind, ...]]:
    """What is changed in a stack, and the changed one."""
    parts = list(stack)
    what = one_of(rng, ("shape", "colour", "size") if len(parts) == 2 else ("shape", "colour"))
    if what == "size":
        (one, ink, large), (two, other, small) = parts
        return what, ((two, other, large), (one, ink, small))
    which = int(rng.integers(len(parts)))
    shape, colour, size = parts[which]
    if what == "shape":
        shape = one_of(rng, [name for name in SHAPES[difficulty - 1] if name != shape])
    else:
        colour = one_of(rng, [name for name in COLOURS[difficulty - 1] if name not in [part[1] for part in parts]])
    parts[which] = (shape, colour, size)
    return what, tuple(parts)


def _together(rng: np.random.Generator, stacks: list[tuple[Kind, ...]]) -> list[Part]:
    """A figure: each stack touches the one before. All ways go to two sides alone, so that none comes back."""
    angles = [int(rng.integers(4)) * 90 for _ in stacks]
    outlines = [_turned(stack[0][0], angle) for stack, angle in zip(stacks, angles, strict=True)]
    ways = np.eye(2) * rng.choice([-1, 1], 2)
    places = [np.zeros(2)]
    for before, after in itertools.pairwise(outlines):
        way = ways[int(rng.integers(2))]
        places.append(places[-1] + way * ((before @ way).max() + (after @ -way).max()))
    corners = np.concatenate([place + outline for place, outline in zip(places, outlines, strict=True)])
    low, high = corners.min(0), corners.max(0)
    unit = min(0.45, 0.96 / float((high - low).max()))
    parts = []
    for stack, angle, place in zip(stacks, angles, places, strict=True):
        x, y = np.round(0.5 + unit * (place - (low + high) / 2), 4).tolist()
        # What lies on a large part is turned with it.
        parts += [[x, y, unit, angle, *part] for part in stack]
    return parts


def _apart(rng: np.random.Generator, parts: list[Kind], difficulty: int) -> list[Part]:
    """An option: parts one beside another, in any order and turned."""
    # At the corners, and a fifth in the middle, where they may then be less wide.
    unit = 0.48 if len(parts) < 5 else 0.4
    near, far = 0.02 + unit / 2, 0.98 - unit / 2
    places = [(near, near), (far, near), (near, far), (far, far), (0.5, 0.5)][: max(4, len(parts))]
    angles = ANGLES[difficulty - 1]
    where = rng.permutation(len(places))
    return [
        [*places[i], unit, int(rng.integers(angles)) * 360 // angles, *part]
        for i, part in zip(where, parts, strict=False)
    ]


def solve(state: dict[str, Any]) -> list[int]:
    """Options whose parts can be paired with the figure's, each of the same shape, colour and size."""
    kinds = lambda parts: Counter((shape, colour, size) for *_, shape, colour, size in parts)
    figure = kinds(state["figure"])
    return found(state, lambda option: kinds(option) == figure)


def _said(stacks: list[tuple[Kind, ...]]) -> str:
    kinds = Counter(part for stack in stacks for part in stack)
    size = lambda kind: "large" if kind[2] == LARGE else "small"
    return ", ".join(f"{count} {size(kind)} {kind[1]} {kind[0]}" for kind, count in kinds.items())


def _ring(radius: float, first: float, last: float, count: int) -> list[tuple[float, float]]:
    return [(radius * np.cos(a), radius * np.sin(a)) for a in np.radians(np.linspace(first, last, count))]


def _outline(shape: str) -> list[tuple[float, float]]:
    """A shape about the middle of the unit square, of which it fills as much as it may turned to any angle."""
    if shape == "star":
        rings = zip(_ring(0.5, -90.0, 198.0, 5), _ring(0.2, -54.0, 234.0, 5), strict=True)
        return [point for pair in rings for point in pair]
    if shape == "cross":
        a, b = 0.17, 0.46
        corners = [(a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)]
        return [*corners, *((-x, -y) for x, y in corners)]
    return {
        "square": [(-0.36, -0.36), (0.36, -0.36), (0.36, 0.36), (-0.36, 0.36)],
        "triangle": _ring(0.5, -90.0, 150.0, 3),
        "disc": _ring(0.42, 0.0, 345.0, 24),
        "bar": [(-0.47, -0.22), (0.47, -0.22), (0.47, 0.22), (-0.47, 0.22)],
        "half": [(x, y + 0.2) for x, y in _ring(0.45, -180.0, 0.0, 13)],
        "drop": [(0.0, -0.52), *((x, y + 0.12) for x, y in _ring(0.34, -30.0, 210.0, 15))],
    }[shape]


OUTLINES = {shape: np.array(_outline(shape)) for shape in SHAPES[-1]}


def _turned(shape: str, angle: int) -> np.ndarray:
    """An outline turned by so many degrees."""
    turn = np.radians(angle)
    return OUTLINES[shape] @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])


def _paint(canvas: Canvas, parts: list[Part]) -> None:
    for x, y, unit, angle, shape, colour, size in parts:
        canvas.polygon(unit * size * _turned(shape, angle) + [x, y], colour, "white", 0.02 * unit)
