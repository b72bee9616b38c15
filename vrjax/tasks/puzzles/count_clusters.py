"""Count Clusters: figures of any form and colour, in families by how many holes they have; how many are of one?

From difficulty 2 on some of the holes are open to the outside by a channel, and so are none.
"""

from typing import Any

import numpy as np

from vrjax.tasks.puzzles.canvas import Canvas
from vrjax.tasks.puzzles.item import Marks
from vrjax.tasks.puzzles.making import Puzzle, one_of

NAME = "Count Clusters"
CHANCE = 0.25
"""At difficulty 1: one of four numbers."""
SIDES, FAMILIES = (3, 4, 5), ((0, 1, 2), (1, 2, 3), (1, 2, 3, 4))
"""Places of figures along a side, and numbers of holes that there are, by difficulty."""
RIGHT, ALL = ((1, 4), (2, 7), (4, 10)), ((6, 8), (10, 14), (16, 22))
"""How many figures are of the family and how many there are, whichever: from, and up to."""
OPEN = (0.0, 0.25, 0.5)
"""How many of the figures have something open, of those that have room for it."""
COLOURS = ("blue", "purple", "teal", "brown", "black", "orange")
WORDS = ("no hole", "exactly one hole", "exactly two holes", "exactly three holes", "exactly four holes")
CHANNEL, RASTER, REACH = 0.2, 26, 1.25
"""The width of channels in a figure's radius; points along a side that are tried for it, and how far they go."""


def puzzle(rng: np.random.Generator, difficulty: int) -> Puzzle | None:
    """Figures in places of a grid, with round outlines that are bent, and holes in a ring about their middles."""
    level, side = difficulty - 1, SIDES[difficulty - 1]
    family = one_of(rng, FAMILIES[level])
    between = lambda ends: int(rng.integers(ends[0], ends[1] + 1))
    others = [one for one in FAMILIES[level] if one != family]
    closed = [family] * between(RIGHT[level])
    closed += [one_of(rng, others) for _ in range(between(ALL[level]) - len(closed))]
    figures = []
    for holes, cell in zip(closed, rng.permutation(side * side)[: len(closed)].tolist(), strict=True):
        opened = int(holes < 4 and rng.random() < OPEN[level])
        waves = [[k, float(rng.uniform(0.02, 0.08)), float(rng.uniform(0, 2 * np.pi))] for k in (2, 3, 5)]
        radius = float(rng.uniform(0.40, 0.44)) / sum((1, *(height for _, height, _ in waves))) / side
        at = (np.array((cell % side, cell // side)) + 0.5 + rng.uniform(-0.05, 0.05, 2)) / side
        figures.append(
            {
                "at": np.round(at, 4).tolist(),
                "radius": round(radius, 4),
                "colour": one_of(rng, COLOURS),
                "waves": np.round(waves, 4).tolist(),
                "holes": _holes(rng, holes, opened),
            }
        )
    state = {"family": family, "figures": figures}
    right = closed.count(family)
    return Puzzle(
        question=f"How many of the figures have {WORDS[family]}? Form and colour do not matter. A notch that is open "
        "to the outside is no hole. Answer with the number.",
        prompt=f"Put a red dot on each figure that has {WORDS[family]}.",
        paint=lambda canvas: _paint(canvas, state),
        state=state,
        answer=str(right),
        reasoning=f"Of {len(figures)} figures {right} have {WORDS[family]}.",
        annotation=Marks(np.array([figure["at"] for figure in figures]), tuple(range(right))),
    )


def _holes(rng: np.random.Generator, closed: int, opened: int) -> list[list[float]]:
    """Where holes are, in a figure's radius: angle, distance, two half axes, tilt, and 1 for one that is open."""
    count = closed + opened
    start, away = float(rng.uniform(0, 2 * np.pi)), (0.0, 0.15, 0.4, 0.43, 0.46)[count]
    small, large = ((0.0, 0.0), (0.24, 0.34), (0.19, 0.24), (0.17, 0.21), (0.15, 0.18))[count]
    found = []
    for i in range(count):
        angle = start + 2 * np.pi * i / count + float(rng.uniform(-0.12, 0.12))
        axes = rng.uniform(small, large, 2)
        found.append(np.round([angle, away, *axes, float(rng.uniform(0, np.pi)), int(i < opened)], 4).tolist())
    return found


def solve(state: dict[str, Any]) -> list[str]:
    """How many figures have as many holes as asked for; none where figures touch."""
    places = np.array([figure["at"] for figure in state["figures"]])
    reach = np.array([figure["radius"] * (1 + sum(a for _, a, _ in figure["waves"])) for figure in state["figures"]])
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) - reach[:, None] - reach[None]
    if (apart[np.triu_indices(len(places), 1)] <= 0).any() or (np.abs(places - 0.5).max(-1) + reach > 0.5).any():
        return []
    return [str(_closed(state).count(state["family"]))]


def _closed(state: dict[str, Any]) -> list[int]:
    """Each figure's holes, by filling what is not of it, point by point: what is filled apart from the outside."""
    figures = state["figures"]
    line = np.linspace(-REACH, REACH, RASTER, dtype=np.float32)
    x, y = (axis.ravel() for axis in np.meshgrid(line, line))
    empty = np.hypot(x, y) > _rim([figure["waves"] for figure in figures], np.arctan2(y, x))
    owners = [i for i, figure in enumerate(figures) for _ in figure["holes"]]
    holes = np.array([hole for figure in figures for hole in figure["holes"]], np.float32).reshape(-1, 6)
    angle, away, long, short, tilt, opened = holes.T[:, :, None]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    dx, dy = x - away * np.cos(angle), y - away * np.sin(angle)
    u, v = dx * np.cos(tilt) + dy * np.sin(tilt), dy * np.cos(tilt) - dx * np.sin(tilt)
    inside = np.hypot(u / long, v / short) < 1
    inside |= (opened > 0) & (along > away) & (np.abs(across) < CHANNEL / 2)
    np.logical_or.at(empty, owners, inside)
    empty = np.pad(empty.reshape(-1, RASTER, RASTER), ((0, 0), (1, 1), (1, 1)), constant_values=True)
    # Each empty point takes the largest number near it, and then that of the point which had this number, until
    # nothing changes: one number for each region, that of one of its points.
    own = np.arange(1, empty.size + 1, dtype=np.int32).reshape(empty.shape)
    label = np.where(empty, own, 0)
    while True:
        new = label.copy()
        for axis in (1, 2):
            ahead, behind = (slice(None),) * axis + (slice(1, None),), (slice(None),) * axis + (slice(None, -1),)
            np.maximum(new[ahead], label[behind], out=new[ahead])
            np.maximum(new[behind], label[ahead], out=new[behind])
        new = np.where(empty, new.ravel()[new - 1], 0)
        if (new == label).all():
            return ((label == own).sum((1, 2)) - 1).tolist()
        label = new


def _rim(waves: Any, angles: np.ndarray) -> np.ndarray:
    """Figures' outlines (n, angles), in their radii; waves (n, k, 3) are of a frequency, a height and a phase."""
    found = np.ones((1, 1), angles.dtype)
    for k, height, phase in np.moveaxis(np.array(waves, angles.dtype), (1, 2), (0, 1))[..., None]:
        found = found + height * np.cos(k * angles + phase)
    return found


def _paint(canvas: Canvas, state: dict[str, Any]) -> None:
    turn = np.linspace(0, 2 * np.pi, 37)[:-1]
    cosine, sine = np.cos(turn), np.sin(turn)
    rims = _rim([figure["waves"] for figure in state["figures"]], turn)
    for figure, rim in zip(state["figures"], rims, strict=True):
        at, radius = np.array(figure["at"]), figure["radius"]
        end = 1.02 + sum(height for _, height, _ in figure["waves"])
        canvas.polygon(at + radius * np.stack((rim * cosine, rim * sine), -1), figure["colour"])
        for angle, away, long, short, tilt, opened in figure["holes"]:
            out = np.array((np.cos(angle), np.sin(angle)))
            u, v = long * cosine[::3], short * sine[::3]
            ring = np.stack((u * np.cos(tilt) - v * np.sin(tilt), u * np.sin(tilt) + v * np.cos(tilt)), -1)
            canvas.polygon(at + radius * (away * out + ring), "white")
            if opened:
                side = CHANNEL / 2 * np.array((-out[1], out[0]))
                corners = [away * out + side, away * out - side, end * out - side, end * out + side]
                canvas.polygon([at + radius * corner for corner in corners], "white")
