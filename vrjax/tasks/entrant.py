"""A memory of what no condition states: something of an unknown look comes in, hides, and must go out as it came."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vrjax.tasks.core import (
    COLOURS,
    INDEX,
    INKS,
    SHAPES,
    Answer,
    Clip,
    Draws,
    Layout,
    Task,
    canonical,
    nearest,
    stamp,
    token_grid,
)

FLOOR, SCREEN, DOOR, EXIT = INDEX["floor"], INDEX["grey"], INDEX["clay"], INDEX["wall"]
BLOCKS = 8  # per side: four tokens
HIDDEN = slice(2, 6)  # columns of the screen: it hides all of the lane between the two doors
FORMS = ("square", "slash", "corner")  # what may come in; clutter has every shape


class Ends(NamedTuple):
    """What is seen at the two doors, int arrays of equal shape; -1 where nothing can be read."""

    entrance: np.ndarray
    exit: np.ndarray


def stages(frames: int) -> tuple[int, int]:
    """The first frame in which the object is hidden, and the first in which it is out again (9 frames: 3 and 6)."""
    hidden = 1 + max(1, (frames - 1) // 4)
    return hidden, hidden + max(1, (frames - hidden) // 2)


@dataclasses.dataclass(frozen=True)
class Entrant(Task):
    """An object of one token comes in through a door, is wholly hidden behind a screen, and leaves by another door.

    The first frame shows the scene only: screen, doors (clay where it comes in, dark where it goes out) and one or two
    other objects as clutter. What comes in has a colour and a shape that nothing in the condition tells, so every look
    is right (6 inks x `shapes`, all equally likely), *if it goes out as it came in*: both ends are decisive. Motion is
    aligned with the tokens of the embedded models: no frame shows the object in part. All four directions occur.

    - `solved`: frame 1 and the last frame are those of one and the same look, every block of them.
    - `score`: as in every task, 0 unless solved; a frozen last frame, in which nothing ever came in, scores 0 here.

    A layout is direction, lane and clutter; splits are disjoint in it up to mirror images, quarter turns and colours.
    The look is no part of it: it is drawn for every clip afresh. Candidates: every look (all have the same prior).

    Attributes:
        shapes: how many of `FORMS` may come in.
    """

    shapes: int = 2

    name: ClassVar[str] = "entrant"
    colours: ClassVar[tuple[str, ...]] = ("floor", "wall", "grey", "clay", *INKS)
    decisive: ClassVar[tuple[int, ...]] = (1, -1)

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.shapes <= len(FORMS):
            raise ValueError(f"{self.name}: shapes is {self.shapes}, expected 1 to {len(FORMS)}")

    @property
    def slots(self) -> int:
        return len(self.looks)

    @property
    def looks(self) -> tuple[tuple[str, str], ...]:
        """Every (colour, shape) that may come in; look number k has the ink number `k // shapes`."""
        return tuple((colour, form) for colour in INKS for form in FORMS[: self.shapes])

    def draw(self, rng: Draws, split: str) -> Layout | None:
        lane = 2 * rng.below(BLOCKS // 2)
        # clutter keeps more than two blocks off the lane and off other clutter
        free = [(y, x) for y in range(BLOCKS - 1) for x in range(BLOCKS - 1) if abs(y - lane) > 2]
        clutter: list[list[Any]] = []
        for _ in range(rng.between(1, 2)):
            free = [(y, x) for y, x in free if all(max(abs(y - c[0]), abs(x - c[1])) > 2 for c in clutter)]
            if free:
                clutter.append([*rng.choice(free), rng.choice(tuple(SHAPES)), rng.choice(INKS)])
        return {"frames": self.frames, "lane": lane, "clutter": clutter, "turn": rng.below(4)}

    def key(self, layout: Layout) -> bytes:
        lane = slice(layout["lane"], layout["lane"] + 2)
        scene = np.zeros((BLOCKS, BLOCKS), np.uint8)
        scene[lane, HIDDEN], scene[lane, :2] = 1, 2
        for y, x, shape, _ in layout["clutter"]:
            scene[y : y + 2, x : x + 2] = 3 * np.rot90(SHAPES[shape], -layout["turn"])
        return canonical(scene)

    def answers(self, layout: Layout) -> list[Answer]:
        looks = self.looks
        return [Answer(f"{colour} {form}", 1 / len(looks), (colour, form)) for colour, form in looks]

    def film(self, layout: Layout, move: tuple[str, str] | None) -> np.ndarray:
        """Drawn with the object going right, then turned. `move` is the (colour, shape) that comes in; None: nothing
        does."""
        film = np.full((layout["frames"], BLOCKS, BLOCKS), FLOOR, np.uint8)
        lane, turn = layout["lane"], layout["turn"]
        for y, x, shape, colour in layout["clutter"]:
            stamp(film, y, x, shape, colour, turn)
        film[:, lane : lane + 2, HIDDEN] = SCREEN
        film[:, lane : lane + 2, 0], film[:, lane : lane + 2, -1] = DOOR, EXIT
        if move is not None:
            hidden, out = stages(layout["frames"])
            for frames, x in ((slice(1, hidden), 0), (slice(out, None), BLOCKS - 2)):
                stamp(film[frames], lane, x, move[1], move[0], turn)
        return np.ascontiguousarray(np.rot90(film, turn, axes=(1, 2)))

    def prompt(self, layout: Layout) -> str:
        return "Something comes in, passes behind the screen and goes out."

    def describe(self, layout: Layout, raster: np.ndarray) -> dict[str, Any]:
        """`scene`: whether all but the two doors is intact; `entrance`, `exit`: the look that stands there, exactly and
        alone, else None."""
        blank, ends = self.film(layout, None)[0], self.doors(layout)
        scene = bool((raster == blank)[~ends.any(0)].all())
        found: dict[str, Any] = {"scene": scene}
        for name, here, f in zip(Ends._fields, ends, self.decisive, strict=True):
            shown = [a.label for a in self.answers(layout) if (self.film(layout, a.move)[f] == raster)[here].all()]
            found[name] = shown[0] if shown else None
        return found

    def symbols(self, clip: Clip) -> dict[str, np.ndarray]:
        """0/1 for `walls` (tokens with screen), `agent` (the token that the object is in; none while it is hidden),
        `entrance` and `answer` (where it comes in and goes out), `clutter`; the same number everywhere for `hidden`
        (whether it is), `colour` (index of its ink) and `shape` (index in `FORMS`)."""
        layout = self._layout(clip)
        t, film = layout["frames"], self.film(layout, None)
        hidden, out = stages(t)
        doors = [token_grid(np.repeat(door[None], t, axis=0), 1) for door in self.doors(layout)]
        when = np.arange(t)[:, None, None]
        seen = doors[0] * ((when >= 1) & (when < hidden)) + doors[1] * (when >= out)
        screen = token_grid(film, SCREEN)
        look = clip.meta["choice"]
        whole = lambda value: np.full(screen.shape, value, np.int64)
        return {
            "walls": screen,
            "agent": seen,
            "entrance": doors[0],
            "answer": doors[1],
            "clutter": token_grid(film, *(INDEX[c] for c in INKS)),
            "hidden": whole(0) + ((when >= hidden) & (when < out)),
            "colour": whole(look // self.shapes),
            "shape": whole(look % self.shapes),
        }

    # ---- readers of the two ends; `latents` are block means float (..., t, h, w, 3) of one clip's films

    def exact(self, clip: Clip, latents: np.ndarray) -> Ends:
        """Number of the look of which frame 1, and the last frame, is the film, block by block."""
        films, rasters = self._all(clip), self._rasters(clip, latents)
        return Ends(*(_first((rasters[..., None, f, :, :] == films[:, f]).all((-1, -2))) for f in self.decisive))

    def lenient(self, clip: Clip, latents: np.ndarray) -> Ends:
        """Number of the ink (of `INKS`) that has at least three quarters of the inked blocks in the visible lane of
        frame 1, and of the last frame; whatever the shape, and whatever stands elsewhere."""
        doors = self.doors(self._layout(clip)).any(0)
        rasters = self._rasters(clip, latents)
        found = []
        for f in self.decisive:
            lane = rasters[..., f, :, :][..., doors]
            count = np.stack([(lane == INDEX[ink]).sum(-1) for ink in INKS], axis=-1)
            whole = count.sum(-1, keepdims=True)
            found.append(_first((4 * count >= 3 * whole) & (count > 0)))
        return Ends(*found)

    def soft(self, clip: Clip, latents: np.ndarray) -> Ends:
        """Number of the look that is nearest by squared error at the entrance in frame 1, and at the exit in the last
        frame; always one, so that a blurred estimate can be read too."""
        films, doors = COLOURS[self._all(clip)], self.doors(self._layout(clip))
        latents = self._checked(clip, latents)
        pairs = zip(doors, self.decisive, strict=True)
        errors = ((latents[..., None, f, :, :, :] - films[:, f])[..., door, :] for door, f in pairs)
        return Ends(*(np.square(error).sum((-1, -2)).argmin(-1) for error in errors))

    def _all(self, clip: Clip) -> np.ndarray:
        """The films of all looks, rasters [look, t, h, w]."""
        layout = self._layout(clip)
        return np.stack([self.film(layout, look) for look in self.looks])

    def doors(self, layout: Layout) -> np.ndarray:
        """Where the object comes in and goes out: bool [2, h, w], the entrance first."""
        doors = np.zeros((2, BLOCKS, BLOCKS), bool)
        lane = slice(layout["lane"], layout["lane"] + 2)
        doors[0, lane, :2] = doors[1, lane, -2:] = True
        return np.rot90(doors, layout["turn"], axes=(1, 2))

    def _checked(self, clip: Clip, latents: np.ndarray) -> np.ndarray:
        shape = (self._layout(clip)["frames"], BLOCKS, BLOCKS, 3)
        if np.shape(latents)[-4:] != shape:
            raise ValueError(f"{self.name}: latents have shape {np.shape(latents)}, expected (..., {shape})")
        return np.asarray(latents, np.float32)

    def _rasters(self, clip: Clip, latents: np.ndarray) -> np.ndarray:
        return nearest(self._checked(clip, latents), self.colours)


def _first(found: np.ndarray) -> np.ndarray:
    """Index of the first True along the last axis, -1 where there is none."""
    return np.where(found.any(-1), found.argmax(-1), -1)
