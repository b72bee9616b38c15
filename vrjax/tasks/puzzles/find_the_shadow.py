"""Find the shadow: a figure of coloured parts, and silhouettes of which one is its own."""

import functools
from typing import Any

import numpy as np

from vrjax.tasks.puzzles import _shapes_glyphs as glyphs
from vrjax.tasks.puzzles.canvas import Canvas
from vrjax.tasks.puzzles.making import Puzzle, found, one_of

NAME = "Find the shadow"
CHANCE = 0.25
LIMBS, SPOTS = (3, 4, 5), (0, 2, 3)
"""Limbs about a body, and spots on it that no shadow shows, by difficulty."""
TURNS = (0.42, 0.34, 0.26)
"""By difficulty: how far to either side of its place a limb may be moved, in radians."""
LEAST = (0.08, 0.05, 0.04)
"""By difficulty: two silhouettes differ in at least this share of what either of them covers."""
KINDS = ("bar", "spike", "club", "leaf", "hook")
COLOURS = ("blue", "orange", "yellow", "purple", "teal", "brown", "pink")
FINE = 40
"""Places along a side at which it is asked whether a silhouette covers them."""

Shape = list[list[float]]
"""A convex polygon, (n, 2)."""


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """A body with limbs about it. Some of these are moved along its rim, changed or flipped over.

    All options are of one family (`glyphs.family`), and no variant of a limb is more likely to be the figure's than
    another: which is right can not be seen from the options alone.
    """
    count, members = LIMBS[difficulty - 1], glyphs.family(rng, difficulty)
    variants = [max(slot) + 1 for slot in zip(*members, strict=True)]
    variants = [*variants, *[1] * (count - len(variants))]
    corners, first = int(rng.integers(5, 9)), rng.uniform(0, 2 * np.pi)
    angles = first + 2 * np.pi * (np.arange(corners) + rng.uniform(-0.2, 0.2, corners)) / corners
    body = _shape(0.5 + 0.21 * np.stack([np.cos(angles), np.sin(angles)], -1))
    begin = rng.uniform(0, 2 * np.pi)
    places = [begin + 2 * np.pi * i / count for i in rng.permutation(count)]
    told, limbs = zip(
        *(_variants(rng, place, n, TURNS[difficulty - 1]) for place, n in zip(places, variants, strict=True)),
        strict=True,
    )
    options = []
    for member in members:
        chosen = [*member, *[0] * (count - len(member))]
        options.append([body, *(limb[i] for limb, i in zip(limbs, chosen, strict=True))])
    covers = [_covered(shapes) for shapes in options]
    for i, one in enumerate(covers):
        for two in covers[:i]:
            if (one ^ two).sum() < LEAST[difficulty - 1] * min(one.sum(), two.sum()):
                return None
    inks = [COLOURS[i] for i in rng.permutation(len(COLOURS))]
    figure = [[colour, shape] for colour, shape in zip(inks, options[0], strict=False)]
    # The body lies over its limbs or under them.
    figure = figure if rng.random() < 0.5 else [*figure[1:], figure[0]]
    spots = [[inks[-1], _spot(rng, i)] for i in range(SPOTS[difficulty - 1])]
    state = {"figure": [*figure, *spots], "options": options}
    changed = sorted({what for what, n in zip(told, variants, strict=True) if n > 1})
    return Puzzle(
        question="Which of the shadows below is that of the figure above? It is neither turned nor mirrored. Answer "
        "with its letter.",
        prompt="Circle the shadow that is that of the figure.",
        paint=lambda canvas: _figure(canvas.square(), state["figure"]),
        state=state,
        reasoning=f"Each part of the figure is in the shadow; in the other shadows a part is {' or '.join(changed)}.",
        options=tuple(lambda canvas, shapes=shapes: _shadow(canvas, shapes) for shapes in options),
    )


def _variants(rng: np.random.Generator, place: float, count: int, far: float) -> tuple[str, list[Shape]]:
    """What sets so many limbs at one place apart, and the limbs: equally long and wide, they differ in one thing."""
    kind, flip = one_of(rng, KINDS), int(rng.choice([-1, 1]))
    length, width = rng.uniform(0.4, 0.47), rng.uniform(0.065, 0.085)
    what = one_of(rng, ("moved", "changed", "flipped over") if count == 2 else ("moved", "changed"))
    angles, kinds, flips = [place + rng.uniform(-0.5, 0.5) * far] * count, [kind] * count, [flip] * count
    if what == "moved":
        angles = [place + far * along for along in (2 * np.arange(count) / max(count - 1, 1) - 1)]
    elif what == "changed":
        kinds = [KINDS[i] for i in rng.permutation(len(KINDS))[:count]]
    else:
        kinds, flips = ["hook"] * count, [-1, 1]
    return what, [_limb(*one, length, width) for one in zip(kinds, angles, flips, strict=True)]


def _limb(kind: str, angle: float, flip: int, length: float, width: float) -> Shape:
    """A limb that begins in the body and reaches as far as its length, measured from the middle of the picture."""
    near, middle = 0.12, 0.65 * length
    points = {
        "bar": [(near, -width), (length, -width), (length, width), (near, width)],
        "spike": [(near, -1.7 * width), (length, 0), (near, 1.7 * width)],
        "club": [(near, -0.4 * width), (length, -1.5 * width), (length, 1.5 * width), (near, 0.4 * width)],
        "leaf": [(near, 0), (middle, -1.6 * width), (length, 0), (middle, 1.6 * width)],
        "hook": [(near, -width), (0.9 * length, 2 * width), (near, width)],
    }[kind]
    along = np.array([np.cos(angle), np.sin(angle)])
    across = flip * np.array([-along[1], along[0]])
    return _shape(np.array([0.5 + x * along + y * across for x, y in points]))


def _spot(rng: np.random.Generator, which: int) -> Shape:
    """A small square well inside the body."""
    angle, turn = 2.1 * which + rng.uniform(-0.4, 0.4), rng.uniform(0, np.pi / 2)
    corners = turn + np.pi / 2 * np.arange(4)
    middle = 0.5 + 0.1 * np.array([np.cos(angle), np.sin(angle)])
    return _shape(middle + 0.035 * np.stack([np.cos(corners), np.sin(corners)], -1))


def _shape(points: np.ndarray) -> Shape:
    return np.round(points, 4).tolist()


@functools.lru_cache(maxsize=256)
def _inside(shape: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Which of `FINE` times as many places of the picture a convex polygon covers; its corners go either way round."""
    axis = (np.arange(FINE) + 0.5) / FINE
    one = np.array(shape)
    x, y = one.T[:, :, None, None]
    along, down = (np.roll(one, -1, 0) - one).T[:, :, None, None]
    side = along * (axis[:, None] - y) - down * (axis - x)
    return (side >= 0).all(0) | (side <= 0).all(0)


def _covered(shapes: list[Shape]) -> np.ndarray:
    """Which places at least one of convex polygons covers."""
    return np.any([_inside(tuple(map(tuple, shape))) for shape in shapes], 0)


def solve(state: dict[str, Any]) -> list[int]:
    """Silhouettes that cover what the coloured parts of the figure cover, place by place, and nothing else."""
    figure = _covered([shape for _, shape in state["figure"]])
    return found(state, lambda option: np.array_equal(_covered(option), figure))


def _figure(canvas: Canvas, parts: list[list[Any]]) -> None:
    for colour, shape in parts:
        canvas.polygon(shape, colour, "black", 0.008)


def _shadow(canvas: Canvas, shapes: list[Shape]) -> None:
    for shape in shapes:
        canvas.polygon(shape, "black")
