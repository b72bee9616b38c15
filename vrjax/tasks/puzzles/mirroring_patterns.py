"""Mirroring Patterns: pictures of figures in a grid, of which just two are mirror images of each other.

The others come in pairs as well, which are nearly mirrored or only turned, so that each has one that is much like it.
"""

from typing import Any

import numpy as np

from vrjax.tasks.puzzles._shapes_figures import figure
from vrjax.tasks.puzzles.canvas import Canvas
from vrjax.tasks.puzzles.item import Circle
from vrjax.tasks.puzzles.making import Puzzle, one_of

NAME = "Mirroring Patterns"
LAYOUTS, SIDES, FIGURES = ((2, 2), (3, 2), (3, 3)), (3, 3, 4), (3, 4, 5)
"""Pictures in a row and rows of them, places along a side of each, and figures in it, by difficulty."""
CHANCE = 1 / 6
"""At difficulty 1: one of six pairs."""
KINDS = (("disc", "blue"), ("square", "orange"), ("plus", "purple"), ("diamond", "black"), ("disc", "yellow"))
"""Figures that look the same when they are turned by 90 degrees or mirrored."""
HOW = (
    "left and right swapped",
    "left and right or top and bottom swapped",
    "where one may be turned by 90 or 180 degrees as well",
)
Picture = list[list[int]]


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """All pictures have the same figures, so that only places tell them apart."""
    d = difficulty - 1
    wide, high = LAYOUTS[d]
    kinds = 1 + rng.permutation(len(KINDS))[: FIGURES[d]]
    pictures: list[np.ndarray] = []
    for i in range(0, wide * high, 2):
        flat = np.zeros(SIDES[d] ** 2, int)
        flat[rng.choice(len(flat), len(kinds), replace=False)] = kinds
        one = flat.reshape(SIDES[d], SIDES[d])
        other = one[:, ::-1] if difficulty == 1 or rng.random() < 0.5 else one[::-1]
        if difficulty == 3:
            other = np.rot90(other, int(rng.integers(4)))
        if i:
            # All but the first pair: a wrong place or two swapped, or turned and not mirrored.
            if difficulty > 1 and rng.random() < 0.4:
                other = np.rot90(one, int(rng.integers(1, 4)))
            else:
                other = _edited(rng, other)
        pictures += [one, other]
    # An odd number of pictures: the last pair's first alone, made like the one before.
    pictures = pictures[: wide * high]
    if len(pictures) % 2:
        pictures[-1] = _edited(rng, pictures[-2])
    order = rng.permutation(len(pictures))
    state = {"wide": wide, "pictures": [pictures[i].tolist() for i in order]}
    right = tuple(sorted(int(np.flatnonzero(order == i)[0]) for i in (0, 1)))
    answer = ",".join(str(i + 1) for i in right)
    return Puzzle(
        question=f"Just two of the pictures are mirror images of each other, {HOW[d]}. Which? Answer with their two "
        "numbers, the smaller first, with a comma and no space between.",
        prompt=f"Circle the two pictures that are mirror images of each other, {HOW[d]}, in red.",
        paint=lambda canvas: _paint(canvas, state),
        state=state,
        answer=answer,
        reasoning=f"Mirrored, {right[0] + 1} has every figure where {right[1] + 1} has it; of no other two is that so.",
        annotation=Circle(np.array(_boxes(wide, high)), right),
    )


def _edited(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """A picture with one figure in a free place next to its own, or with two figures swapped."""
    edited, places = picture.copy(), list(np.argwhere(picture > 0))
    one = one_of(rng, places)
    apart = np.abs(np.indices(picture.shape) - one[:, None, None]).sum(0)
    free = list(np.argwhere((picture == 0) & (apart == 1)))
    if free and rng.random() < 0.5:
        other = one_of(rng, free)
    else:
        other = one_of(rng, [place for place in places if (place != one).any()])
    edited[tuple(one)], edited[tuple(other)] = picture[tuple(other)], picture[tuple(one)]
    return edited


def solve(state: dict[str, Any]) -> list[str]:
    """All pairs of which one, mirrored and then turned in some way or not at all, is the other. So pairs that are the
    same when turned do not count, unless they look the same in a mirror."""
    pictures = [np.array(picture) for picture in state["pictures"]]
    mirrored = [[np.rot90(picture[:, ::-1], turn).tolist() for turn in range(4)] for picture in pictures]
    return [
        f"{i + 1},{j + 1}"
        for i in range(len(pictures))
        for j in range(i + 1, len(pictures))
        if pictures[j].tolist() in mirrored[i]
    ]


def _boxes(wide: int, high: int) -> list[tuple[float, float, float, float]]:
    """Where pictures lie: below their numbers."""
    side, found = min(0.92 / wide, 1 / high - 0.08), []
    for i in range(wide * high):
        x, y = (i % wide + 0.5) / wide, (i // wide + 1) / high - side / 2 - 0.01
        found.append((x - side / 2, y - side / 2, x + side / 2, y + side / 2))
    return found


def _paint(canvas: Canvas, state: dict[str, Any]) -> None:
    pictures, wide = state["pictures"], state["wide"]
    for i, box in enumerate(_boxes(wide, -(-len(pictures) // wide))):
        canvas.text(((box[0] + box[2]) / 2, box[1] - 0.036), str(i + 1), 0.05, "navy")
        part = canvas.part(box)
        part.box((0.0, 0.0, 1.0, 1.0), None, "black", 0.025)
        step = 0.92 / len(pictures[i])
        for y, row in enumerate(pictures[i]):
            for x, kind in enumerate(row):
                if kind:
                    middle = (0.04 + (x + 0.5) * step, 0.04 + (y + 0.5) * step)
                    shape, colour = KINDS[kind - 1]
                    figure(part, shape, middle, 0.42 * step, colour)
