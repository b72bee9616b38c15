"""Causal chains: a row of elements in which each passes on what happened to it, if its neighbours allow.

A ball drops by itself at frame 1. An element starts when a *source* was done one frame earlier: a neighbour that is
done, or a lit lamp across one gap (light crosses it, nothing else does). A cup takes two frames to fill, a scale tips
only when both sides push, a gap stops the chain. So the graph of causes follows from the row alone, and the film from
the graph. With two balls, two fronts meet.

A *story* is the film of one rule: the true one, or a wrong one that looks plausible (`WRONG`). Eggs and ducks are the
*novel* kinds: in half of the clips one of them changes, so that a model can be kept from ever seeing what they look
like once they changed.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Integer

from vrjax.tasks.chains import sprites, words
from vrjax.tasks.core import Answer, Clip, Draws, Layout, Task

LEVELS = {
    "ball": ("held", "gone"),
    "domino": ("standing", "fallen"),
    "tap": ("closed", "open"),
    "cup": ("empty", "half", "full"),
    "lamp": ("dark", "lit"),
    "scale": ("level", "tipped"),
    "gap": ("",),
    "egg": ("whole", "broken"),
    "duck": ("dry", "afloat"),
}
NOVEL = ("egg", "duck")
WRONG = ("reversed", "together", "through", "stops", "skips")
# How often a kind is drawn for a cell that is not the ball's.
_DRAWN = ("domino",) * 4 + ("tap",) * 3 + ("cup",) * 3 + ("lamp",) * 4 + ("scale",) * 2 + ("gap",) * 2 + NOVEL * 2


def symbol(kind: str, level: int) -> int:
    """Index of what an element of `kind` looks like at `level`."""
    return sprites.INDEX[f"{kind} {LEVELS[kind][level]}".strip()]


# For every symbol its kind's name, its level, and whether that is the kind's last level (never so for a gap).
KIND = tuple(name.split(" ")[0] for name in sprites.SYMBOLS)
LEVEL = np.array([LEVELS[k].index(n.partition(" ")[2]) for k, n in zip(KIND, sprites.SYMBOLS, strict=True)])
LAST = np.array([len(LEVELS[k]) - 1 for k in KIND])
DONE = (LEVEL == LAST) & (LAST > 0)


def sources(row: Sequence[int] | np.ndarray, cell: int, *, across: bool = False) -> dict[int, list[int]]:
    """Which elements push a cell now, by side (-1 left, +1 right): done neighbours, and lit lamps across a gap.

    Args:
        row: state indices of all cells, or -1 where a cell shows nothing.
        cell: which.
        across: a wrong rule: everything crosses a gap.
    """
    found: dict[int, list[int]] = {-1: [], 1: []}
    for side, near in found.items():
        j = cell + side
        if not 0 <= j < len(row) or row[j] < 0:
            continue
        if DONE[row[j]]:
            near.append(j)
        k = j + side
        if KIND[row[j]] == "gap" and 0 <= k < len(row) and row[k] >= 0 and DONE[row[k]]:
            if across or KIND[row[k]] == "lamp":
                near.append(k)
    return found


def may_start(row: Sequence[int] | np.ndarray, cell: int, *, lax: bool = False) -> bool:
    """Whether the rule lets an element leave its first level in the frame after `row`. `lax`: the wrong rule by which
    gaps stop nothing and one side tips a scale."""
    kind = KIND[row[cell]]
    if kind == "ball":
        return True
    pushed = [bool(side) for side in sources(row, cell, across=lax).values()]
    return all(pushed) if kind == "scale" and not lax else any(pushed)


def following(row: Integer[np.ndarray, " cells"], *, lax: bool = False) -> Integer[np.ndarray, " cells"]:
    """The row one frame later."""
    after = row.copy()
    for cell, state in enumerate(row):
        started = LEVEL[state] > 0
        if LEVEL[state] < LAST[state] and (started or may_start(row, cell, lax=lax)):
            after[cell] = state + 1  # the levels of a kind follow each other in the table of sprites
    return after


def first_row(kinds: Sequence[str]) -> Integer[np.ndarray, " cells"]:
    """All elements at their first level."""
    return np.array([symbol(kind, 0) for kind in kinds])


def unfold(kinds: Sequence[str], frames: int, *, lax: bool = False) -> Integer[np.ndarray, "t cells"]:
    """The film of the rule from the first row on, as state indices."""
    return _unfolded(tuple(kinds), frames, lax).copy()


@functools.lru_cache(maxsize=256)
def _unfolded(kinds: tuple[str, ...], frames: int, lax: bool) -> Integer[np.ndarray, "t cells"]:
    """`unfold`, remembered: one clip asks for the same film in several ways."""
    rows = [first_row(kinds)]
    while len(rows) < frames:
        rows.append(following(rows[-1], lax=lax))
    return np.stack(rows)


def starts(film: Integer[np.ndarray, "t cells"]) -> dict[int, int]:
    """The frame at which each element that changes first changes."""
    moved = (LEVEL[film] > 0) & (film >= 0)
    return {int(c): int(moved[:, c].argmax()) for c in np.flatnonzero(moved.any(0))}


def timed(kinds: Sequence[str], begin: dict[int, int], frames: int) -> Integer[np.ndarray, "t cells"]:
    """The film in which given elements begin to change at given frames, whatever the rule says."""
    film = np.tile(first_row(kinds), (frames, 1))
    for cell, start in begin.items():
        state = int(film[0, cell])
        film[:, cell] += np.clip(np.arange(frames) - start + 1, 0, LAST[state])
    return film


def edges(kinds: Sequence[str], frames: int) -> list[tuple[int, int]]:
    """(cause, effect) for every element that starts and every source that it could not have started without."""
    film = unfold(kinds, frames)
    out = []
    for cell, frame in starts(film).items():
        near = sources(film[frame - 1], cell)
        if kinds[cell] == "scale":
            out += [(j, cell) for side in near.values() for j in side[:1]]
        elif kinds[cell] != "ball" and sum(map(len, near.values())) == 1:  # pushed twice: neither was needed
            out += [(j, cell) for side in near.values() for j in side]
    return out


def ancestry(kinds: Sequence[str], frames: int) -> Bool[np.ndarray, "cells cells"]:
    """[a, b]: whether b could not have happened without a, directly or through others."""
    n = len(kinds)
    reach = np.zeros((n, n), bool)
    for a, b in edges(kinds, frames):
        reach[a, b] = True
    for middle in range(n):
        reach |= reach[:, middle : middle + 1] & reach[middle : middle + 1]
    return reach


def wrong(kinds: Sequence[str], frames: int, how: str) -> Integer[np.ndarray, "t cells"]:
    """The film of a wrong rule.

    `reversed`: the same events in the opposite order; `together`: all at once; `through`: gaps stop nothing and one
    side tips a scale; `stops`: only the first half of the events; `skips`: the event in the middle is left out, what
    follows from it happens.
    """
    true = unfold(kinds, frames)
    begin = starts(true)
    order = sorted(begin, key=lambda c: (begin[c], c))
    ends = min(begin.values()) + max(begin.values())
    if how == "reversed":
        return timed(kinds, {c: ends - f for c, f in begin.items()}, frames)
    if how == "together":
        return timed(kinds, dict.fromkeys(begin, 1), frames)
    if how == "through":
        return unfold(kinds, frames, lax=True)
    if how == "stops":
        return timed(kinds, {c: begin[c] for c in order[: len(order) // 2]}, frames)
    if how == "skips":
        middle = order[len(order) // 2]
        return timed(kinds, {c: f for c, f in begin.items() if c != middle}, frames)
    raise ValueError(f"chains: unknown wrong rule {how!r}, expected one of {WRONG}")


def novel(film: Integer[np.ndarray, "*lead cells"]) -> Bool[np.ndarray, "*lead cells"]:
    """Where a film shows a novel kind after it changed."""
    return np.isin(film, [symbol(kind, 1) for kind in NOVEL])


@dataclasses.dataclass(frozen=True)
class Chains(Task):
    """The task of causal chains; a layout is the row of kinds.

    Splits are disjoint in the layout up to mirror images. In half of the clips of every split a novel kind changes.

    Attributes:
        cells: elements in the row.
        least: fewest elements that change.
    """

    frames: int = 8
    cells: int = 6
    least: int = 4

    name: ClassVar[str] = "chains"
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test")

    def __post_init__(self):
        super().__post_init__()
        if not (3 <= self.cells <= 8 and self.frames <= 8 and 2 <= self.least <= self.cells):
            raise ValueError(
                f"{self.name}: cells {self.cells}, frames {self.frames}, least {self.least}: expected 3 to 8 cells, "
                "at most 8 frames, and 2 ... cells elements that change"
            )

    @property
    def slots(self) -> int:
        return 1 + len(WRONG)

    def draw(self, rng: Draws, split: str) -> Layout | None:
        wanted = rng.below(2) == 1
        for _ in range(2_000):
            kinds = [rng.choice(_DRAWN) for _ in range(self.cells)]
            balls = rng.below(3)  # left, right, both
            if balls in (0, 2):
                kinds[0] = "ball"
            if balls in (1, 2):
                kinds[-1] = "ball"
            film = unfold(kinds, self.frames)
            resting = np.array_equal(film[-1], film[-2])
            if len(starts(film)) >= self.least and resting and novel(film).any() == wanted:
                return {"kinds": kinds, "frames": self.frames}
        return None

    def key(self, layout: Layout) -> bytes:
        kinds = layout["kinds"]
        return min(" ".join(kinds), " ".join(kinds[::-1])).encode()

    def answers(self, layout: Layout) -> list[Answer]:
        films = {"true": self.film(layout, "true")[:, 0]}
        for how in WRONG:
            film = self.film(layout, how)[:, 0]
            if not any(np.array_equal(film, other) for other in films.values()):
                films[how] = film
        return [Answer(how, float(how == "true"), how) for how in films]

    def film(self, layout: Layout, move: Any) -> np.ndarray:
        """State indices uint8 (t, 1, cells)."""
        kinds, frames = layout["kinds"], layout["frames"]
        if move is None:
            film = np.tile(first_row(kinds), (frames, 1))
        else:
            film = unfold(kinds, frames) if move == "true" else wrong(kinds, frames, move)
        return film[:, None].astype(np.uint8)

    def prompt(self, layout: Layout) -> str:
        return words.caption(first_row(layout["kinds"]))

    def symbols(self, clip: Clip) -> dict[str, np.ndarray]:
        """`state`: the index of what every cell shows."""
        return {"state": self.film(self._layout(clip), "true").astype(np.int64)}

    def describe(self, layout: Layout, raster: np.ndarray) -> dict[str, Any]:
        """`cells`: what each cell shows, in words; "nothing" where it is no sprite."""
        return {"cells": [sprites.SYMBOLS[s] if s >= 0 else "nothing" for s in raster.ravel()]}

    # ---- the base class paints and reads palette blocks; here cells are sprites

    @staticmethod
    def paint(raster: np.ndarray) -> np.ndarray:
        return sprites.render(raster[:, 0])

    def _blocks(self, pixels: np.ndarray, shape: tuple[int, ...], what: str) -> np.ndarray:
        if pixels.shape != shape:
            raise ValueError(f"{self.name}: {what} has shape {pixels.shape}, expected {shape}")
        return sprites.decode(pixels)[..., None, :]


def distinct(film: Integer[np.ndarray, "t cells"]) -> int:
    """How many different rows a film has."""
    return len({row.tobytes() for row in np.ascontiguousarray(film)})


def numbered(task: Chains, split: str, n: int, first: int = 0) -> list[Clip]:
    """The first n clips of a split from number `first` on whose layouts differ."""
    out: list[Clip] = []
    seen: set[bytes] = set()
    for seed in itertools.count(first):
        clip = task.make(seed, split)
        key = task.key(clip.meta["layout"])
        if key not in seen:
            seen.add(key)
            out.append(clip)
        if len(out) == n:
            return out
    raise AssertionError("unreachable")
