"""Rotation Patterns: a ring of coloured segments turns by the same angle from picture to picture; which comes next?"""

from typing import Any

import numpy as np

from vrjax.tasks.puzzles.canvas import Canvas
from vrjax.tasks.puzzles.making import Puzzle, found

NAME = "Rotation Patterns"
FEW = True
CHANCE = 0.25
SEGMENTS = 8
SHOWN = 3
COLOURS = ("white", "blue", "orange", "yellow", "purple", "teal")
"""Of segments; the first is empty."""


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """Rings of 8 segments, of which 3 to 5 are coloured; `difficulty` says how many, and how far it turns."""
    ring = np.zeros(SEGMENTS, int)
    where = rng.choice(SEGMENTS, difficulty + 2, replace=False)
    ring[where] = rng.integers(1, len(COLOURS), difficulty + 2)
    turn = int(rng.choice([-1, 1] if difficulty == 1 else [-3, -2, -1, 1, 2, 3]))
    shown = [np.roll(ring, turn * i).tolist() for i in range(SHOWN)]
    # Two changes, each made or not: two colours swapped, and turned once too often. So any option is as like the others
    # as every other one.
    right = np.roll(ring, turn * SHOWN)
    one, two = (rng.choice(where, 2, replace=False) + turn * SHOWN) % SEGMENTS
    swapped = right.copy()
    swapped[[one, two]] = right[[two, one]]
    more = int(rng.choice([-turn, turn]))
    options = [one.tolist() for ring in (right, swapped) for one in (ring, np.roll(ring, more))]
    if len({tuple(one) for one in options}) < len(options):
        return None
    state = {"shown": shown, "options": options}
    return Puzzle(
        question="The ring turns by the same angle from one picture to the next. Which ring comes next?",
        prompt="Circle the ring that comes next.",
        paint=lambda canvas: _row(canvas, shown),
        state=state,
        reasoning=f"From picture to picture the ring turns by {45 * abs(turn)} degrees "
        f"{'clockwise' if turn > 0 else 'counterclockwise'}.",
        options=tuple(lambda canvas, ring=ring: _ring(canvas, ring) for ring in options),
    )


def solve(state: dict[str, Any]) -> list[int]:
    """Options that go on with some turn, the same between all pictures; every turn is tried."""
    turned = lambda ring, turn: np.roll(ring, turn).tolist()
    shown = state["shown"]
    turns = [t for t in range(SEGMENTS) if all(turned(a, t) == b for a, b in zip(shown, shown[1:], strict=False))]
    return found(state, lambda option: any(turned(shown[-1], turn) == option for turn in turns))


def _row(canvas: Canvas, rings: list[list[int]]) -> None:
    count = len(rings) + 1
    for i in range(count):
        part = canvas.square((i / count + 0.01, 0.0, (i + 1) / count - 0.01, 1.0))
        if i < len(rings):
            _ring(part, rings[i])
        else:
            part.text((0.5, 0.5), "?", 0.5)


def _ring(canvas: Canvas, ring: list[int]) -> None:
    """Segments of a disc, clockwise from the top, about an empty middle."""
    for i, colour in enumerate(ring):
        angles = 2 * np.pi * (i + np.linspace(0, 1, 9)) / len(ring) - np.pi / 2
        rim = [(0.5 + 0.44 * np.cos(a), 0.5 + 0.44 * np.sin(a)) for a in angles]
        hub = [(0.5 + 0.18 * np.cos(a), 0.5 + 0.18 * np.sin(a)) for a in angles[::-1]]
        canvas.polygon([*rim, *hub], COLOURS[colour], "black", 0.02)
