"""A ball bounces off the walls of a room; its tail shows where it comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from vrjax.tasks.core import INDEX, INKS, Answer, Clip, Draws, Layout, Task, canonical, token_grid

FLOOR, WALL, TAIL = INDEX["floor"], INDEX["wall"], INDEX["grey"]
WAYS = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0))


def bounce(place: Sequence[int], velocity: Sequence[int], room: Sequence[int], steps: int) -> list[tuple[int, int]]:
    """Places (row, column) in the room before and after each of `steps` steps.

    A ball that would leave the room turns round first, in that direction only; so it moves by |velocity| in every step,
    and the step it just made (ball minus tail) is always its velocity.
    """
    (y, x), (b, a), (height, width) = place, velocity, room
    places = [(y, x)]
    for _ in range(steps):
        b = b if 0 <= y + b < height else -b
        a = a if 0 <= x + a < width else -a
        y, x = y + b, x + a
        places.append((y, x))
    return places


@dataclasses.dataclass(frozen=True)
class Ball(Task):
    """A ball of one block moves one block per frame, straight or diagonally, in a rectangular room, and is reflected.

    The grey tail lies where the ball was one frame ago, from the first frame on, so its motion is visible in every
    frame and the next place follows from one frame and the walls. Rooms have 6 to 10 blocks a side and lie anywhere
    (a room of 5 has period 8: in 9 frames everything would end where it began).

    Splits are disjoint by room size, place in the room and direction, up to mirror images and quarter turns, wherever
    the room lies and whatever the colour. Out of distribution: `fast` has two blocks per frame, `large` has rooms of 9
    to 12 blocks on a canvas of two more blocks a side.
    Candidates: the ball leaves its first place in the true direction (prior 1) or in one of the 7 others (prior 0);
    directions that end in the same last frame (as opposite ones do along a wall) are left out.

    Attributes:
        blocks: blocks per side.
        smallest: shortest side of a room in blocks.
    """

    blocks: int = 10
    smallest: int = 6

    name: ClassVar[str] = "ball"
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test", "fast", "large")
    colours: ClassVar[tuple[str, ...]] = ("floor", "wall", "grey", *INKS)

    def __post_init__(self):
        super().__post_init__()
        if self.blocks % 2 or not 6 <= self.blocks <= 16:
            raise ValueError(f"{self.name}: blocks is {self.blocks}, expected an even number from 6 to 16")
        if not 4 <= self.smallest <= self.blocks:
            raise ValueError(f"{self.name}: smallest is {self.smallest}, expected 4 to {self.blocks}")

    def draw(self, rng: Draws, split: str) -> Layout | None:
        n = self.blocks + 2 * (split == "large")
        low = n - 3 if split == "large" else self.smallest
        room = [rng.between(low, n), rng.between(low, n)]
        corner = [rng.between(0, n - side) for side in room]
        # the tail is where the film would have begun one frame earlier
        tail = [rng.below(side) for side in room]
        way = rng.choice(WAYS)
        speed = 2 if split == "fast" else 1
        tail, ball = (list(p) for p in bounce(tail, (speed * way[0], speed * way[1]), room, 1))
        geometry = {"blocks": n, "room": room, "corner": corner, "tail": tail, "ball": ball}
        layout = {"frames": self.frames, **geometry, "colour": rng.choice(INKS)}
        return layout if self._places(layout, self._velocity(layout))[-1] != tuple(ball) else None

    @staticmethod
    def _velocity(layout: Layout) -> tuple[int, int]:
        (b, a), (d, c) = layout["tail"], layout["ball"]
        return d - b, c - a

    @staticmethod
    def _places(layout: Layout, velocity: tuple[int, int]) -> list[tuple[int, int]]:
        return bounce(layout["ball"], velocity, layout["room"], layout["frames"] - 1)

    def key(self, layout: Layout) -> bytes:
        room = np.zeros(layout["room"], np.uint8)
        room[tuple(layout["tail"])], room[tuple(layout["ball"])] = 1, 2
        return canonical(room)

    def answers(self, layout: Layout) -> list[Answer]:
        true = self._velocity(layout)
        speed = max(map(abs, true))
        ways = [true] + [(speed * y, speed * x) for y, x in WAYS if (speed * y, speed * x) != true]
        answers, ends = [], set()
        for way in ways:
            end = tuple(self._places(layout, way)[-2:])
            if end not in ends:
                ends.add(end)
                answers.append(Answer(compass(way), float(way == true), way))
        return answers

    def film(self, layout: Layout, move: tuple[int, int] | None) -> np.ndarray:
        n, (height, width), (top, left) = layout["blocks"], layout["room"], layout["corner"]
        film = np.full((layout["frames"], n, n), WALL, np.uint8)
        film[:, top : top + height, left : left + width] = FLOOR
        places = self._places(layout, move) if move else [tuple(layout["ball"])] * layout["frames"]
        tails = [tuple(layout["tail"])] + places[:-1] if move else [tuple(layout["tail"])] * layout["frames"]
        for f, (ball, tail) in enumerate(zip(places, tails, strict=True)):
            film[f, top + tail[0], left + tail[1]] = TAIL
            film[f, top + ball[0], left + ball[1]] = INDEX[layout["colour"]]
        return film

    def prompt(self, layout: Layout) -> str:
        return f"The {layout['colour']} ball bounces off the walls of the room."

    def describe(self, layout: Layout, raster: np.ndarray) -> dict[str, Any]:
        """`room`: whether walls and floor are intact; `ball`, `tail`: their places (row, column) in the room, None
        unless there is exactly one."""
        (height, width), (top, left) = layout["room"], layout["corner"]
        outside = np.ones(raster.shape, bool)
        outside[top : top + height, left : left + width] = False
        places = {}
        for name, colour in (("ball", INDEX[layout["colour"]]), ("tail", TAIL)):
            found = np.argwhere((raster == colour) & ~outside)
            places[name] = (int(found[0, 0]) - top, int(found[0, 1]) - left) if len(found) == 1 else None
        plain = np.isin(raster, (FLOOR, TAIL, INDEX[layout["colour"]]))
        return {"room": bool((raster[outside] == WALL).all() and plain[~outside].all()), **places}

    def symbols(self, clip: Clip) -> dict[str, np.ndarray]:
        """0/1 for `walls` (tokens with wall), `agent` (the ball's token), `tail`, `next` (the ball's token one frame
        later), `answer` (its last token); the same number everywhere for `heading` (0-7: the last step's direction)."""
        layout = self._layout(clip)
        film = self.film(layout, self._velocity(layout))
        agent = token_grid(film, INDEX[layout["colour"]])
        places = np.array([layout["tail"], *self._places(layout, self._velocity(layout))])
        heading = [WAYS.index((int(y), int(x))) for y, x in np.sign(np.diff(places, axis=0))]
        return {
            "walls": token_grid(film, WALL),
            "agent": agent,
            "tail": token_grid(film, TAIL),
            "next": np.concatenate([agent[1:], agent[-1:]]),
            "answer": np.repeat(agent[-1:], len(film), axis=0),
            "heading": np.broadcast_to(np.array(heading)[:, None, None], agent.shape).copy(),
        }


def compass(way: tuple[int, int]) -> str:
    """A direction (rows down, columns right) in words: "up", "down left", ..."""
    vertical = {-1: "up", 0: "", 1: "down"}[int(np.sign(way[0]))]
    horizontal = {-1: "left", 0: "", 1: "right"}[int(np.sign(way[1]))]
    return f"{vertical} {horizontal}".strip()
