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
    """Stacks side by side, each at the one before. Some are changed: a shape is another one, the two of a stack change
    places, or two large parts change colours.

    No change moves how much there is of a colour, so colours alone tell nothing. All options are of one family
    (`glyphs.family`), in which none is more likely to be the figure's than another.
    """
    heights = rng.permutation(STACKS[difficulty - 1]).tolist()
    stacks = _stacks(rng, heights, difficulty)
    members = glyphs.family(rng, min(difficulty, 2))
    changes = _changes(rng, stacks, len(members[0]), difficulty)
    told = [change[0] for change in changes]
    sets = []
    for member in members:
        parts = stacks
        for change, done in zip(changes, member, strict=True):
            parts = _changed(parts, change) if done else parts
        sets.append(parts)
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


def _stacks(rng: np.random.Generator, heights: list[int], difficulty: int) -> list[tuple[Kind, ...]]:
    """Large parts of colours of their own, and on some of them a small one of another colour."""
    shapes, colours = SHAPES[difficulty - 1], COLOURS[difficulty - 1]
    inks = [colours[i] for i in rng.permutation(len(colours))]
    found = []
    for height, ink in zip(heights, inks, strict=False):
        large = (one_of(rng, shapes), ink, LARGE)
        other = one_of(rng, [colour for colour in colours if colour != ink])
        found.append((large, (one_of(rng, shapes), other, SMALL))[:height])
    return found


Change = tuple[str, int, Any]
"""What is changed, in which stack; of a shape which part and its new shape, of a colour the stack that gets it."""


def _changes(rng: np.random.Generator, stacks: list[tuple[Kind, ...]], count: int, difficulty: int) -> list[Change]:
    """Changes of which one at most is of colours, and no two others are of the same stack."""
    order, found = rng.permutation(len(stacks)).tolist(), []
    if rng.random() < 0.6:
        a, b = order[:2]
        found.append(("colour", a, b))
    for where in rng.permutation(len(stacks)).tolist()[: count - len(found)]:
        parts = stacks[where]
        if len(parts) == 2 and rng.random() < 0.5 and parts[0][0] != parts[1][0]:
            found.append(("size", where, None))
        else:
            which = int(rng.integers(len(parts)))
            others = [name for name in SHAPES[difficulty - 1] if name != parts[which][0]]
            found.append(("shape", where, (which, one_of(rng, others))))
    return [found[i] for i in rng.permutation(len(found))]


def _changed(stacks: list[tuple[Kind, ...]], change: Change) -> list[tuple[Kind, ...]]:
    """Stacks with a change, which done twice is none, but for a shape's."""
    what, where, other = change
    out = [list(stack) for stack in stacks]
    parts = out[where]
    if what == "colour":
        (one, ink, size), (two, dye, same) = parts[0], out[other][0]
        parts[0], out[other][0] = (one, dye, size), (two, ink, same)
    elif what == "size":
        (one, ink, large), (two, dye, small) = parts
        parts[:] = [(two, ink, large), (one, dye, small)]
    else:
        which, shape = other
        parts[which] = (shape, *parts[which][1:])
    return [tuple(stack) for stack in out]


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


def _area(outline: np.ndarray) -> float:
    x, y = outline.T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


AREA = 0.3
"""Of every shape, in squares of the unit."""
OUTLINES = {shape: np.array(_outline(shape)) for shape in SHAPES[-1]}
OUTLINES = {shape: outline * (AREA / _area(outline)) ** 0.5 for shape, outline in OUTLINES.items()}


def _turned(shape: str, angle: int) -> np.ndarray:
    """An outline turned by so many degrees."""
    turn = np.radians(angle)
    return OUTLINES[shape] @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])


def _paint(canvas: Canvas, parts: list[Part]) -> None:
    for x, y, unit, angle, shape, colour, size in parts:
        canvas.polygon(unit * size * _turned(shape, angle) + [x, y], colour, "white", 0.02 * unit)
