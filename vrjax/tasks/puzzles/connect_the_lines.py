"""Connect the lines: curves run from letters on the left to numbers on the right; at which number does A end?

A braid: from column to column neighbours may change their places, and splines go through those. So curves cross
steeply, and nowhere do two run along each other: see `slips`, by which who is wrong could get from one to the other.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from vrjax.tasks.puzzles.canvas import Canvas
from vrjax.tasks.puzzles.item import Route
from vrjax.tasks.puzzles.making import Puzzle

NAME = "Connect the lines"
CURVES, COLUMNS, CROSSINGS = (3, 4, 6), (3, 4, 6), (1, 2, 3)
"""Curves, columns in which they change places, and how many others A crosses at least, by difficulty."""
CHANCE = 1 / 3
"""At difficulty 1: one of three numbers."""
LEFT, RIGHT, TOP, BOTTOM = 0.12, 0.88, 0.1, 0.9
SAMPLES, STRIDE = 48, 3
"""Straight pieces of which a curve is painted, and how many of them one edge of the route is."""
WIDTH, GAP, ANGLE = 0.018, 0.045, np.deg2rad(35)
"""Of lines; curves that are nearer than the gap must differ in direction by the angle."""


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """Curves of one colour, so that none can be told by it; letters are shuffled, numbers go from top to bottom."""
    count, columns = CURVES[difficulty - 1], COLUMNS[difficulty - 1]
    lanes = np.arange(count)
    knots, asked = [lanes.copy()], int(rng.integers(count))
    crossings = 0
    for _ in range(columns):
        i = int(rng.integers(2))
        while i + 1 < count:
            if rng.random() < 0.75:
                one, two = np.flatnonzero(lanes == i)[0], np.flatnonzero(lanes == i + 1)[0]
                lanes[[one, two]] = lanes[[two, one]]
                crossings += int(asked in (one, two))
                i += 1
            i += 1
        knots.append(lanes.copy())
    if crossings < CROSSINGS[difficulty - 1]:
        return None
    heights = np.stack(knots, 1) * (BOTTOM - TOP) / (count - 1) + TOP
    jitter = 0.16 * (BOTTOM - TOP) / (count - 1)
    heights[:, 1:-1] += rng.uniform(-jitter, jitter, (count, columns - 1))
    x = np.linspace(LEFT, RIGHT, SAMPLES + 1)
    curves = np.stack([np.broadcast_to(x, (count, len(x))), _spline(heights)], -1).round(4)
    letters = [chr(66 + i) for i in rng.permutation(count - 1)]
    letters.insert(asked, "A")
    begins = [[letters[k], curves[k, 0].tolist()] for k in range(count)]
    ends = [[str(k + 1), [RIGHT, round(TOP + k * (BOTTOM - TOP) / (count - 1), 4)]] for k in range(count)]
    state = {"curves": curves.tolist(), "begins": begins, "ends": ends}
    coarse = curves[:, ::STRIDE]
    each = coarse.shape[1]
    edges = [(k * each + i, k * each + i + 1) for k in range(count) for i in range(each - 1)]
    number = str(int(lanes[asked]) + 1)
    return Puzzle(
        question="Curves lead from the letters on the left to the numbers on the right. At which number does the curve "
        "end that begins at A, the orange dot? Answer with the number.",
        prompt="Draw one red line along the curve that begins at A, the orange dot, from there to its end.",
        paint=lambda canvas: _paint(canvas, state),
        state=state,
        answer=number,
        reasoning=f"Followed straight on over its {crossings} crossings, the curve from A ends at {number}.",
        annotation=Route(coarse.reshape(-1, 2), np.array(edges), tuple(range(asked * each, (asked + 1) * each))),
    )


def _spline(heights: Float[np.ndarray, "k c"]) -> Float[np.ndarray, "k s"]:
    """Heights between the columns: cubic, level at both ends, elsewhere as steep as the neighbours on both sides."""
    slopes = np.zeros_like(heights)
    slopes[:, 1:-1] = (heights[:, 2:] - heights[:, :-2]) / 2
    last = heights.shape[1] - 1
    t = np.linspace(0, last, SAMPLES + 1)
    i = np.minimum(t.astype(int), last - 1)
    t = t - i
    near, far = (1 + 2 * t) * (1 - t) ** 2, t * t * (3 - 2 * t)
    bent = t * (1 - t) ** 2 * slopes[:, i] - t * t * (1 - t) * slopes[:, i + 1]
    return near * heights[:, i] + far * heights[:, i + 1] + bent


def slips(curves: Float[np.ndarray, "k s 2"]) -> Bool[np.ndarray, "k k"]:
    """Between which curves one can slip: somewhere they are near without crossing steeply, or where a third one is."""
    count = len(curves)
    middles, steps = (curves[:, 1:] + curves[:, :-1]) / 2, np.diff(curves, axis=1)
    x, y = middles.reshape(-1, 2).astype(np.float32).T
    heading, owner = np.arctan2(steps[..., 1], steps[..., 0]).reshape(-1), np.repeat(np.arange(count), len(steps[0]))
    near = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2 < GAP**2
    one, two = np.nonzero(near & (owner[:, None] != owner))
    touched = np.zeros((len(x), count), bool)
    touched[one, owner[two]] = True
    turned = np.abs(heading[one] - heading[two]) % np.pi
    bad = (np.minimum(turned, np.pi - turned) < ANGLE) | (touched.sum(1) > 1)[one]
    found = np.zeros((count, count), bool)
    found[owner[one[bad]], owner[two[bad]]] = True
    return found | found.T


def solve(state: dict[str, Any]) -> list[str]:
    """Numbers at the ends of the curve at A, and of all to which one can slip from it on the way."""
    curves = np.array(state["curves"])
    begin = np.array(next(place for letter, place in state["begins"] if letter == "A"))
    reached = np.abs(curves[:, [0, -1]] - begin).sum(-1).min(1) < 1e-6
    slip = slips(curves)
    for _ in range(len(curves)):
        reached |= slip[reached].any(0)
    tips = curves[reached][:, [0, -1]].reshape(-1, 2)
    return [number for number, place in state["ends"] if (np.abs(tips - np.array(place)).sum(-1) < 1e-3).any()]


def _paint(canvas: Canvas, state: dict[str, Any]) -> None:
    for curve in state["curves"]:
        canvas.line(curve, "black", WIDTH)
    for letter, (x, y) in state["begins"]:
        canvas.disc((x, y), 0.028, "orange" if letter == "A" else "black")
        canvas.text((x - 0.07, y), letter, 0.07, "blue")
    for number, (x, y) in state["ends"]:
        canvas.disc((x, y), 0.028, "black")
        canvas.text((x + 0.07, y), number, 0.07, "blue")
