"""Pattern and Color Completion: a rosette is the same after some turn; which piece belongs into its white square?

Rings about a middle, whose outlines are waves, have sectors of colours that repeat as often as the waves do.
"""

from typing import Any

import numpy as np

from vrjax.tasks.puzzles.canvas import Canvas
from vrjax.tasks.puzzles.making import Puzzle, found, one_of

NAME = "Pattern and Color Completion"
CHANCE = 0.25
FOLDS, RINGS = ((4, 6), (4, 5, 6), (5, 6, 7, 8)), (2, 3, 4)
"""How often a rosette is the same in a full turn, and how many rings it has, by difficulty."""
REPEATS = ((1, 2), (1, 2), (1, 2, 3))
"""How many sectors of a ring belong to one turn; they have as many colours."""
INKS = (3, 3, 4)
COLOURS = ("blue", "orange", "purple", "yellow", "black", "teal", "pink", "brown")
REACH, HALF = 0.46, (0.17, 0.16, 0.145)
"""The largest radius of a rosette, and half a side of the white square."""
SCALES = (1.35, 1.25, 1.2)
"""How much larger one of two rosettes is than the other, of which either may be the right one."""
UNLIKE = (0.15, 0.1, 0.06)
"""How much of a piece is unlike, at least, in two of them."""
MOST = 12
"""Times that a rosette may be the same in a turn: all up to this are tried."""
WHITE = -1


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """A rosette, a square of it, and pieces that fit there or nearly."""
    level, fold = difficulty - 1, one_of(rng, FOLDS[difficulty - 1])
    inks = [COLOURS[i] for i in rng.permutation(len(COLOURS))[: INKS[level]]]
    repeats = [one_of(rng, REPEATS[level]) for _ in range(RINGS[level])]
    repeats[int(rng.integers(len(repeats)))] = REPEATS[level][-1]
    rings, larger, form = [], bool(rng.random() < 0.5), [1.0, float(rng.uniform(0.35, 0.65)) * 2 * np.pi / fold]
    rim = REACH * float(rng.uniform(0.95, 1.0)) / (1 if larger else SCALES[level])
    if rng.random() < 0.5:
        form = [1 / SCALES[level] if larger else SCALES[level], 0.0]
    for k, count in enumerate(repeats):
        radius = rim * (1 - (k + (k > 0) * float(rng.uniform(-0.12, 0.12))) / (len(repeats) + 0.4))
        wave = [fold, float(rng.uniform(0.0, 0.07)), float(rng.uniform(0, 2 * np.pi))]
        colours = rng.permutation(len(inks))[:count].tolist() * fold
        rings.append({"radius": radius, "wave": wave, "start": float(rng.uniform(0, 2 * np.pi)), "colours": colours})
    half = HALF[level]
    right = [ring["colours"] for ring in rings]
    for _ in range(20):
        angle, away = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.22, 0.27))
        square = [away * float(np.cos(angle)), away * float(np.sin(angle)), half]
        # Two changes, one of colours and one of form, and of both each with and without the other. Exchanging what is
        # changed and what is not leaves the same four pieces: which is right is told by the panel alone.
        swapped = _swapped(rng, rings, difficulty)
        options = [[colours, *way] for way in ([1.0, 0.0], form) for colours in (right, swapped)]
        state = {"rings": rings, "inks": inks, "square": square, "options": options}
        points = _inside(square)
        shown = [_piece(state, option, *points) for option in options]
        if min((a != b).mean() for i, a in enumerate(shown) for b in shown[:i]) >= UNLIKE[level]:
            break
    else:
        return None
    return Puzzle(
        question="The figure looks the same after a part of a full turn, colours too. Which piece belongs into the "
        "white square? The pieces are not to be turned.",
        prompt="Circle the piece that belongs into the white square.",
        paint=lambda canvas: _paint(canvas, state),
        state=state,
        reasoning=f"The figure is the same {fold} times in a full turn; one piece alone goes on with its lines and "
        "colours.",
        options=tuple(lambda canvas, o=option: _crop(canvas, state, o) for option in options),
    )


def _swapped(rng: np.random.Generator, rings: list[dict[str, Any]], difficulty: int) -> list[list[int]]:
    """The colours of all rings, or from difficulty 2 on of one, with two of the rosette's colours exchanged."""
    used, only = np.unique([ink for ring in rings for ink in ring["colours"]]), int(rng.integers(len(rings)))
    table = np.arange(used[-1] + 1)
    chosen = rng.permutation(used)[:2]
    table[chosen] = chosen[::-1]
    found = []
    for k, ring in enumerate(rings):
        kept = difficulty > 1 and k != only
        found.append(ring["colours"] if kept else table[ring["colours"]].tolist())
    return found


def solve(state: dict[str, Any]) -> list[int]:
    """Pieces that are, at each of many points, what the figure has there after any turn that leaves what is to be
    seen of it the same; all such turns are tried. None where there is a point of which none tells."""
    x0, y0, half = state["square"]
    rings, whole = state["rings"], [ring["colours"] for ring in state["rings"]]

    def seen(radii: np.ndarray, angles: np.ndarray) -> np.ndarray:
        """What is to be seen at points; WHITE - 1 within the square."""
        hidden = np.maximum(np.abs(radii * np.cos(angles) - x0), np.abs(radii * np.sin(angles) - y0)) < half
        return np.where(hidden, WHITE - 1, _colours(rings, whole, radii, angles))

    grid = np.linspace(-0.5, 0.5, 21)
    radii, angles = _polar(*(axis.ravel() for axis in np.meshgrid(grid + 0.00123, grid - 0.00217)))
    counts = np.arange(2, MOST + 1)
    now, then = seen(radii, angles), seen(radii, angles + 2 * np.pi / counts[:, None])
    unlike = ((now != then) & (now >= WHITE) & (then >= WHITE)).any(1)
    turns = sorted({step / count for count in counts[~unlike].tolist() for step in range(1, count)})
    if not turns:
        return []
    at, around = _inside(state["square"])
    there = seen(at, around + 2 * np.pi * np.array(turns)[:, None])
    told, least = there.max(0), np.where(there < WHITE, len(state["inks"]), there).min(0)
    if (told != least).any():
        return []
    return found(state, lambda option: bool((_piece(state, option, at, around) == told).all()))


def _polar(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.hypot(x, y), np.arctan2(y, x)


def _inside(square: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Radii and angles of many points in a square about a place."""
    x, y, half = square
    grid = (np.arange(20) + 0.5) / 10 - 1
    return _polar(*(axis.ravel() for axis in np.meshgrid(x + half * grid, y + half * grid)))


def _piece(state: dict[str, Any], option: list[Any], radii: np.ndarray, angles: np.ndarray) -> np.ndarray:
    colours, scale, turn = option
    return _colours(state["rings"], colours, radii / scale, angles - turn)


def _colours(rings: Any, colours: Any, radii: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Numbers of colours at points about a rosette's middle; rings lie upon each other, the largest below."""
    shown = np.full(np.broadcast_shapes(radii.shape, angles.shape), WHITE)
    for ring, inks in zip(rings, colours, strict=True):
        sector = np.floor((angles - ring["start"]) / (2 * np.pi) * len(inks)).astype(int) % len(inks)
        shown = np.where(radii < _rim(ring, angles), np.array(inks)[sector], shown)
    return shown


def _rim(ring: dict[str, Any], angles: np.ndarray) -> np.ndarray:
    count, height, phase = ring["wave"]
    return ring["radius"] * (1 + height * np.cos(count * angles + phase))


def _paint(canvas: Canvas, state: dict[str, Any]) -> None:
    panel = canvas.square()
    _rosette(panel, state, [[ring["colours"] for ring in state["rings"]], 1.0, 0.0], (0.0, 0.0, 0.5))
    x, y, half = state["square"]
    panel.box((0.5 + x - half, 0.5 + y - half, 0.5 + x + half, 0.5 + y + half), "white", "black", 0.015)


def _crop(canvas: Canvas, state: dict[str, Any], option: list[Any]) -> None:
    _rosette(canvas, state, option, state["square"])


def _rosette(canvas: Canvas, state: dict[str, Any], option: list[Any], square: Any) -> None:
    """What a square shows of a rosette, as large as the canvas: sectors are cut off at its border."""
    colours, scale, turn = option
    x, y, half = square
    for ring, inner, inks in zip(state["rings"], [*state["rings"][1:], None], colours, strict=True):
        inks = inks if len(set(inks)) > 1 else inks[:1]
        edges = ring["start"] + 2 * np.pi * np.arange(len(inks))[:, None] / len(inks)
        angles = edges + np.linspace(0, 2 * np.pi / len(inks), 48 // len(inks) + 2)
        ways = np.stack((np.cos(angles + turn), np.sin(angles + turn)), -1) * scale / (2 * half)
        middle = 0.5 - np.array((x, y)) / (2 * half)
        outside = middle + ways * _rim(ring, angles)[..., None]
        inside = middle + ways * (_rim(inner, angles) if inner else np.zeros_like(angles))[..., None]
        # What is further in than the next ring lies under that: a sector of which no other part is in the square
        # need not be drawn.
        low, high = np.minimum(outside, inside).min(1), np.maximum(outside, inside).max(1)
        for i in np.flatnonzero(((high > 0) & (low < 1)).all(-1)):
            # A ring of one colour has no sectors, and so no corner in the middle.
            corners = [*outside[i].tolist(), *([middle.tolist()] if len(inks) > 1 else [])]
            kept = _cut(corners)
            if len(kept) > 2:
                canvas.polygon(kept, state["inks"][inks[i]])


def _cut(corners: list[list[float]]) -> list[list[float]]:
    """A polygon's part in the unit square: it is cut at one side after another."""
    for axis, bound, sign in ((0, 0.0, 1), (0, 1.0, -1), (1, 0.0, 1), (1, 1.0, -1)):
        signed = [sign * (corner[axis] - bound) for corner in corners]
        if min(signed) >= 0:
            continue
        kept: list[list[float]] = []
        last, before = corners[-1], signed[-1]
        for corner, after in zip(corners, signed, strict=True):
            if before * after < 0:
                share = before / (before - after)
                kept.append([u + share * (v - u) for u, v in zip(last, corner, strict=True)])
            if after >= 0:
                kept.append(corner)
            last, before = corner, after
        if not kept:
            return []
        corners = kept
    return corners
