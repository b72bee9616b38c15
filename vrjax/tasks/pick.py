"""Pick the named object: the prompt alone decides, so latents can be swapped between clips with one first frame."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from vrjax.tasks.core import INDEX, INKS, SHAPES, Answer, Clip, Draws, Layout, Task, canonical, token_grid

FLOOR, RING = INDEX["floor"], INDEX["wall"]


def ring(y: int, x: int, n: int) -> list[tuple[int, int]]:
    """The blocks around the token at (y, x), clockwise from its upper left, without those off the n x n canvas."""
    top = [(2 * y - 1, 2 * x - 1 + k) for k in range(3)]
    right = [(2 * y - 1 + k, 2 * x + 2) for k in range(3)]
    bottom = [(2 * y + 2, 2 * x + 2 - k) for k in range(3)]
    left = [(2 * y + 2 - k, 2 * x - 1) for k in range(3)]
    return [(b, a) for b, a in top + right + bottom + left if 0 <= b < n and 0 <= a < n]


@dataclasses.dataclass(frozen=True)
class Pick(Task):
    """Draw a dark ring around the object that the prompt names by colour and shape.

    Each object fills one token; the objects share few colours and shapes, so that both words are needed. The ring grows
    clockwise at constant speed, all around in time for the last frame; its blocks off the canvas are left out. Every
    object could be the answer: `counterfactual` gives the clip with the same picture and the next object named.

    A layout is places and shapes; splits are disjoint in them up to mirror images and quarter turns, whatever the
    colours and the named object. Out of distribution: `many` has 5 or 6 objects (train: 3 or 4), `large` a canvas of
    one more row and column of tokens.
    Candidates: a ring around each object (at most 6).

    Attributes:
        size: tokens per side.
    """

    size: int = 5

    name: ClassVar[str] = "pick"
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test", "many", "large")
    colours: ClassVar[tuple[str, ...]] = ("floor", "wall", *INKS)

    def __post_init__(self):
        super().__post_init__()
        if not 5 <= self.size <= 8:
            raise ValueError(f"{self.name}: size is {self.size}, expected 5 to 8 tokens")

    @property
    def slots(self) -> int:
        return 6

    def draw(self, rng: Draws, split: str) -> Layout | None:
        n = self.size + (split == "large")
        many = split == "many"
        count = rng.between(5, 6) if many else rng.between(3, 4)
        places: list[list[int]] = []
        for y, x in rng.sample([(y, x) for y in range(n) for x in range(n)], n * n):
            # a free token between objects, diagonally too: rings never touch another object
            if all(max(abs(y - b), abs(x - a)) > 1 for b, a in places) and len(places) < count:
                places.append([y, x])
        if len(places) < count:
            return None
        inks, shapes = rng.sample(INKS, 2 + many), rng.sample(tuple(SHAPES), 2 + many)
        looks = rng.sample([[colour, shape] for colour in inks for shape in shapes], count)
        return {"frames": self.frames, "size": n, "places": places, "looks": looks, "target": rng.below(count)}

    def key(self, layout: Layout) -> bytes:
        return canonical(self.film(layout, None)[0] != FLOOR)

    def answers(self, layout: Layout) -> list[Answer]:
        named = [" ".join(look) for look in layout["looks"]]
        return [Answer(label, float(i == layout["target"]), i) for i, label in enumerate(named)]

    def film(self, layout: Layout, move: int | None) -> np.ndarray:
        t, n = layout["frames"], 2 * layout["size"]
        film = np.full((t, n, n), FLOOR, np.uint8)
        for (y, x), (colour, shape) in zip(layout["places"], layout["looks"], strict=True):
            film[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2][:, np.array(SHAPES[shape], bool)] = INDEX[colour]
        if move is not None:
            speed = -(-12 // (t - 1))  # blocks per frame: a whole ring has 12
            y, x = layout["places"][move]
            for i, (b, a) in enumerate(ring(y, x, n)):
                film[i // speed + 1 :, b, a] = RING
        return film

    def prompt(self, layout: Layout) -> str:
        return f"Pick the {' '.join(layout['looks'][layout['target']])}."

    def counterfactual(self, clip: Clip) -> Clip:
        """The clip with the same first frame in which the next object is named; repeated, it goes through them all."""
        layout = self._layout(clip)
        target = (layout["target"] + 1) % len(layout["places"])
        layout = layout | {"target": target}
        video = self.paint(self.film(layout, target))
        meta = {name: clip.meta[name] for name in ("world", "split", "seed")} | {"choice": target, "layout": layout}
        return Clip(video, video[0].copy(), self.prompt(layout), self.answers(layout)[target].label, meta)

    def describe(self, layout: Layout, raster: np.ndarray) -> dict[str, Any]:
        """`objects`: whether all objects are intact; `ring`: number of ring blocks around each object, by its name."""
        blank = self.film(layout, None)[0]
        rings = [ring(y, x, len(blank)) for y, x in layout["places"]]
        count = [sum(int(raster[b, a] == RING) for b, a in blocks) for blocks in rings]
        named = [" ".join(look) for look in layout["looks"]]
        return {"objects": bool((raster == blank)[blank != FLOOR].all()), "ring": dict(zip(named, count, strict=True))}

    def symbols(self, clip: Clip) -> dict[str, np.ndarray]:
        """`colour` and `shape` of the object in a token (0 none, else 1 + index); 0/1 for `object`, `answer` (the named
        one) and `ring` (tokens with ring)."""
        layout = self._layout(clip)
        t, n = layout["frames"], layout["size"]
        grids = {name: np.zeros((t, n, n), np.int64) for name in ("colour", "shape", "object", "answer")}
        for i, ((y, x), (colour, shape)) in enumerate(zip(layout["places"], layout["looks"], strict=True)):
            grids["colour"][:, y, x] = 1 + INKS.index(colour)
            grids["shape"][:, y, x] = 1 + tuple(SHAPES).index(shape)
            grids["object"][:, y, x] = 1
            grids["answer"][:, y, x] = int(i == layout["target"])
        return grids | {"ring": token_grid(self.film(layout, layout["target"]), RING)}
