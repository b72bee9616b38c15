"""Object permanence: something slides behind a wall and must come out as it went in."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar

import numpy as np

from vrjax.tasks.core import INDEX, INKS, SHAPES, Answer, Clip, Draws, Layout, Task, canonical, stamp, token_grid

FLOOR, SCREEN = INDEX["floor"], INDEX["grey"]


def track_of(blocks: int, start: int, speed: int, frames: int) -> list[int]:
    """The object's first column in each frame."""
    return [min(start + speed * f, blocks - 2) for f in range(frames)]


@functools.cache
def passages(blocks: int, frames: int, widths: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    """Every (width and left edge of the screen, start and speed of the object) with which the object is in full sight
    first, wholly hidden in at least one frame, and in full sight behind the screen last."""
    found = []
    for width in widths:
        for left in range(2, blocks - width - 1):
            for start in range(min(3, left - 1)):
                for speed in (1, 2):
                    track = track_of(blocks, start, speed, frames)
                    hidden = any(left <= x and x + 2 <= left + width for x in track)
                    if hidden and track[-1] >= left + width:
                        found.append((width, left, start, speed))
    return found


@dataclasses.dataclass(frozen=True)
class Occluder(Task):
    """An object of one token slides along its lane, is wholly hidden for at least one frame, and reappears.

    The film must remember colour and shape while nothing of them is to be seen. The object moves 1 ("slowly") or 2
    ("quickly") blocks per frame away from the edge it starts at, and stops at the far edge. One or two other objects
    lie about, as clutter. All four directions occur.

    A layout is direction, lane, shapes, screen, speed and clutter; splits are disjoint in it up to mirror images,
    quarter turns and colours. Out of distribution: `wide` has a screen of 5 or 6 blocks (train: 2 to 4), `large` a
    canvas of two more blocks a side.
    Candidates: the truth (prior 1); it comes out in another colour (3) or in another shape (2); it never comes out; it
    stops before the screen.

    Attributes:
        blocks: blocks per side.
    """

    blocks: int = 10

    name: ClassVar[str] = "occluder"
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test", "wide", "large")
    colours: ClassVar[tuple[str, ...]] = ("floor", "grey", *INKS)

    def __post_init__(self):
        super().__post_init__()
        if self.blocks % 2 or not 8 <= self.blocks <= 16:
            raise ValueError(f"{self.name}: blocks is {self.blocks}, expected an even number from 8 to 16")

    def draw(self, rng: Draws, split: str) -> Layout | None:
        n = self.blocks + 2 * (split == "large")
        ways = passages(n, self.frames, (5, 6) if split == "wide" else (2, 3, 4))
        if not ways:
            raise ValueError(f"{self.name}: no object gets past the screen in {self.frames} frames of {n} blocks")
        width = rng.choice(sorted({way[0] for way in ways}))
        _, left, start, speed = rng.choice([way for way in ways if way[0] == width])
        lane, shape, colour = rng.between(0, n - 2), rng.choice(tuple(SHAPES)), rng.choice(INKS)
        # clutter keeps off the screen, and one free block from the lane and from other clutter
        rows = [y for y in range(n - 1) if abs(y - lane) > 2]
        columns = [x for x in range(n - 1) if x + 2 <= left or x >= left + width]
        looks = [(s, c) for s in SHAPES for c in INKS if (s, c) != (shape, colour)]  # the prompt names one thing only
        clutter: list[list[Any]] = []
        for _ in range(rng.between(1, 2)):
            free = [
                (y, x) for y in rows for x in columns if all(max(abs(y - c[0]), abs(x - c[1])) > 2 for c in clutter)
            ]
            if free:
                clutter.append([*rng.choice(free), *rng.choice(looks)])
        geometry = {"blocks": n, "lane": lane, "start": start, "speed": speed, "left": left, "width": width}
        look = {"shape": shape, "colour": colour, "clutter": clutter, "turn": rng.below(4)}
        return {"frames": self.frames, **geometry, **look}

    def key(self, layout: Layout) -> bytes:
        n = layout["blocks"]
        scene = np.zeros((n, n), np.uint8)
        scene[:, layout["left"] : layout["left"] + layout["width"]] = 1
        things = [(y, x, s, 3) for y, x, s, _ in layout["clutter"]]
        things.append((layout["lane"], layout["start"], layout["shape"], 2))
        for y, x, shape, mark in things:
            scene[y : y + 2, x : x + 2] = mark * np.rot90(SHAPES[shape], -layout["turn"])
        return canonical(scene, extra=layout["speed"])

    def answers(self, layout: Layout) -> list[Answer]:
        colour, shape = layout["colour"], layout["shape"]
        inks, forms = (after(INKS, colour, 3), after(tuple(SHAPES), shape, 2))
        wrong = [(f"{c} {shape} comes out", (c, shape)) for c in inks]
        wrong += [(f"{colour} {s} comes out", (colour, s)) for s in forms]
        wrong += [(f"{colour} {shape} never comes out", "gone"), (f"{colour} {shape} stops before the screen", "stop")]
        right = Answer(f"{colour} {shape} comes out", 1.0, (colour, shape))
        return [right] + [Answer(label, 0.0, move) for label, move in wrong]

    def film(self, layout: Layout, move: Any) -> np.ndarray:
        """Drawn with the object going right, then turned. `move` is the (colour, shape) that comes out, "gone", "stop"
        or None (nothing moves)."""
        n, left, width = layout["blocks"], layout["left"], layout["width"]
        film = np.full((layout["frames"], n, n), FLOOR, np.uint8)
        for y, x, shape, colour in layout["clutter"]:
            stamp(film, y, x, shape, colour, layout["turn"])
        for f, x in enumerate(track_of(n, layout["start"], layout["speed"] if move else 0, layout["frames"])):
            look = (layout["colour"], layout["shape"])
            if move == "stop":
                x = min(x, left - 2)
            elif x + 2 > left + width:  # whatever happens to it happens while it is hidden
                look = move
            if look != "gone":
                stamp(film[f : f + 1], layout["lane"], x, look[1], look[0], layout["turn"])
        film[:, :, left : left + width] = SCREEN
        return np.ascontiguousarray(np.rot90(film, layout["turn"], axes=(1, 2)))

    def prompt(self, layout: Layout) -> str:
        pace = {1: "slowly", 2: "quickly"}[layout["speed"]]
        return f"The {layout['colour']} {layout['shape']} slides {pace} behind the screen and comes out."

    def describe(self, layout: Layout, raster: np.ndarray) -> dict[str, Any]:
        """`scene`: whether screen and clutter are intact; `seen`: number of blocks of each ink in the lane."""
        n, k = layout["blocks"], -layout["turn"]
        upright, blank = np.rot90(raster, k), np.rot90(self.film(layout, None)[0], k)
        lane = np.zeros((n, n), bool)
        lane[layout["lane"] : layout["lane"] + 2] = blank[layout["lane"] : layout["lane"] + 2] != SCREEN
        seen = {ink: int((upright[lane] == INDEX[ink]).sum()) for ink in INKS}
        return {"scene": bool((upright == blank)[~lane].all()), "seen": {c: k for c, k in seen.items() if k}}

    def symbols(self, clip: Clip) -> dict[str, np.ndarray]:
        """0/1 for `walls` (tokens with screen), `agent` (tokens that the object is in, also while hidden), `next` (the
        same one frame later), `answer` (its last place), `clutter`; the same number everywhere for `hidden` (whether it
        is wholly hidden) and `colour` (index of its ink)."""
        layout = self._layout(clip)
        n, t, turn = layout["blocks"], layout["frames"], layout["turn"]
        mask = np.zeros((t, n, n), np.uint8)
        track = track_of(n, layout["start"], layout["speed"], t)
        for f, x in enumerate(track):
            mask[f, layout["lane"] : layout["lane"] + 2, x : x + 2] = 1
        agent = token_grid(np.rot90(mask, turn, axes=(1, 2)), 1)
        film = self.film(layout, None)
        things = token_grid(film, *(INDEX[c] for c in INKS))
        left, right = layout["left"], layout["left"] + layout["width"]
        hidden = np.array([left <= x and x + 2 <= right for x in track], np.int64)
        return {
            "walls": token_grid(film, SCREEN),
            "agent": agent,
            "next": np.concatenate([agent[1:], agent[-1:]]),
            "answer": np.repeat(agent[-1:], t, axis=0),
            "clutter": things & (1 - agent[:1]),
            "hidden": np.broadcast_to(hidden[:, None, None], agent.shape).copy(),
            "colour": np.full(agent.shape, INKS.index(layout["colour"]), np.int64),
        }


def after(items: tuple[str, ...], item: str, k: int) -> list[str]:
    """The k items that follow `item`, going round."""
    i = items.index(item)
    return [items[(i + j) % len(items)] for j in range(1, k + 1)]
