"""What every task shares: clips, the block raster, layout-disjoint splits, and the exact verifier.

A task is a small game filmed from above. Its film is a *raster*, `uint8 (t, h, w)`: one palette index per block of
`BLOCK` x `BLOCK` pixels, so the mean of a block is its colour and nothing is lost when a codec averages blocks. Two by
two blocks are one token of the embedded models, so a 10 x 10 raster is a 40 x 40 pixel frame of 5 x 5 tokens.

A task is five pure functions of a *layout* (a JSON-able dict that holds all there is to know about one instance):

    draw(rng, split) -> layout       one random instance
    key(layout) -> bytes             its identity up to symmetry; the splits are disjoint in it
    answers(layout) -> [Answer]      every answer somebody might give, with the probability that it is *the* answer
    film(layout, move) -> raster     what the video of that answer looks like
    prompt(layout) -> str            the question

Everything else (making clips, candidates, priors, scoring) follows from these and is written once, in `Task`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, SupportsIndex, TypeVar, no_type_check

import numpy as np

from vrjax.files import named

BLOCK = 4  # pixels per block
TOKEN = 2  # blocks per token of the embedded models

# Components are multiples of 1/16: sums over a block are exact in float32, and the colours survive bfloat16.
PALETTE: dict[str, tuple[float, float, float]] = {
    "floor": (0.9375, 0.9375, 0.875),
    "wall": (-0.875, -0.8125, -0.75),
    "grey": (0.0, 0.0625, 0.125),
    "red": (0.875, -0.75, -0.75),
    "green": (-0.75, 0.5, -0.625),
    "blue": (-0.8125, -0.375, 0.875),
    "yellow": (1.0, 0.625, -0.875),
    "purple": (0.375, -0.75, 0.6875),
    "cyan": (-0.625, 0.6875, 0.9375),
    "sand": (0.5, 0.4375, 0.25),
    "clay": (0.625, 0.0, -0.5),
}
NAMES = tuple(PALETTE)
COLOURS = np.array(list(PALETTE.values()), np.float32)
INDEX = {name: i for i, name in enumerate(NAMES)}
INKS = ("red", "green", "blue", "yellow", "purple", "cyan")  # the colours that objects may have

# What fits in one token: patterns of 2 x 2 blocks, all different as shapes in the plane.
SHAPES: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "square": ((1, 1), (1, 1)),
    "dash": ((1, 1), (0, 0)),
    "post": ((1, 0), (1, 0)),
    "slash": ((0, 1), (1, 0)),
    "corner": ((1, 0), (1, 1)),
    "dot": ((1, 0), (0, 0)),
}

Layout = dict[str, Any]
T = TypeVar("T")


class Clip(NamedTuple):
    """One question with its film.

    Attributes:
        video: the film of the right answer, float32 (t, h, w, 3) in [-1, 1].
        first_frame: `video[0]`, what a model is shown.
        prompt: the question, an English sentence of at most 14 words.
        answer: the answer as a short string, for people and for JSON.
        meta: JSON-able; `world`, `split`, `seed`, `choice` (index of the answer among `task.candidates`), `layout`.
    """

    video: np.ndarray
    first_frame: np.ndarray
    prompt: str
    answer: str
    meta: dict[str, Any]

    def __repr__(self) -> str:
        place = " ".join(str(self.meta[name]) for name in ("world", "split", "seed") if name in self.meta)
        return f"Clip({place}: {self.prompt!r} -> {self.answer!r}, video {np.shape(self.video)})"


class Answer(NamedTuple):
    """A possible answer: its name, the probability that the generator films it (0: wrong), and what `film` needs."""

    label: str
    prior: float
    move: Any


@no_type_check  # by run-time checkers: they would cost more than the draw, hundreds of times per clip
class Draws:
    """Random numbers from SplitMix64, so that equal seeds mean equal clips on every platform and NumPy version."""

    def __init__(self, *salt: object):
        self._state = int.from_bytes(hashlib.blake2b(repr(salt).encode(), digest_size=8).digest(), "little")

    def bits(self) -> int:
        """64 random bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        return z ^ (z >> 31)

    def below(self, n: int) -> int:
        """An integer in 0 ... n-1 (bias below n / 2**64)."""
        return (self.bits() * n) >> 64

    def between(self, low: int, high: int) -> int:
        """An integer in low ... high, both included."""
        return low + self.below(high - low + 1)

    def choice(self, items: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """One of the items, all equally likely or each with probability proportional to its weight."""
        if weights is None:
            return items[self.below(len(items))]
        u = self.bits() / 2.0**64 * math.fsum(weights)
        for item, weight in zip(items, weights, strict=True):
            u -= weight
            if u < 0:
                return item
        return items[max(i for i, weight in enumerate(weights) if weight > 0)]

    def sample(self, items: Sequence[T], k: int) -> list[T]:
        """k different items in random order (Fisher-Yates)."""
        pool = list(items)
        for i in range(k):
            j = self.between(i, len(pool) - 1)
            pool[i], pool[j] = pool[j], pool[i]
        return pool[:k]


def paint(raster: np.ndarray) -> np.ndarray:
    """Raster of palette indices (..., h, w) -> pixels float32 (..., BLOCK h, BLOCK w, 3) in [-1, 1]."""
    return COLOURS[raster].repeat(BLOCK, axis=-3).repeat(BLOCK, axis=-2)


def block_mean(video: np.ndarray) -> np.ndarray:
    """Pixels (..., h, w, 3) -> mean colour of each block (..., h / BLOCK, w / BLOCK, 3)."""
    *lead, h, w, c = video.shape
    rows = video.reshape(*lead, h // BLOCK, BLOCK, w * c)
    rows = sum(rows[..., i, :] for i in range(BLOCK))  # eight times as fast as a mean over two axes at once
    cells = np.asarray(rows).reshape(*lead, h // BLOCK, w // BLOCK, BLOCK, c)
    return np.asarray(sum(cells[..., i, :] for i in range(BLOCK))) / BLOCK**2


def nearest(means: np.ndarray, colours: Sequence[str] = NAMES) -> np.ndarray:
    """Block colours (..., 3) -> index in the palette of the nearest among `colours`, uint8 (...)."""
    index = np.array([INDEX[name] for name in colours], np.uint8)
    shades = COLOURS[index]
    # |m - s|^2 without the term |m|^2 that all shades share: a third of the time of the plain form
    distance = (shades**2).sum(-1) - 2 * (means.reshape(-1, 3) @ shades.T)
    return index[distance.argmin(axis=-1).reshape(means.shape[:-1])]


def canonical(*grids: np.ndarray, extra: object = ()) -> bytes:
    """The same bytes for a stack of equally large grids and for each of its mirror images and quarter turns."""
    stack = np.stack(grids).astype(np.uint8)
    both = (stack, stack.swapaxes(1, 2))
    turns = [g[:, ::a, ::b] for g in both for a in (1, -1) for b in (1, -1)]
    return min(bytes([t.shape[1]]) + t.tobytes() for t in turns) + repr(extra).encode()


def fold(key: bytes) -> str:
    """The split that a layout belongs to: 80 % train, 10 % val, 10 % test, by a hash of its key."""
    bucket = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") % 10
    return {0: "val", 1: "test"}.get(bucket, "train")


@dataclasses.dataclass(frozen=True)
class Task(ABC):
    """A video reasoning task: generator, renderer and exact verifier.

    `make` is a pure function of (the task's options, seed, split). The layouts of train, val and test are disjoint, and
    those of every out-of-distribution split count as test, so no other split ever shows a layout of train.

    **Scoring.** A video is read block by block (mean, then nearest colour of the task's palette), so small pixel noise
    does not matter, and is compared with the films of the right answers (those with a prior above 0):

    - `solved`: the last frame is the last frame of a right answer (in a task with more `decisive` frames, all of them
      are). The timing of the frames between does not count.
    - `score`: 0 unless solved; else 1/2 + 1/2 x m x r, where m is the share of correct frames among those in which that
      answer's film still differs from its last frame, and r the share among the others. So 1.0 means right answer *and*
      every frame right and on time; a frozen last frame scores 0.5; a frozen first frame, a film run backwards, grey,
      noise, a wrong answer or a torn wall in the last frame score 0.0.

    The experiments count `solved`, because timing is the weak side of small models (a pilot: 80 % solved, 25 % with all
    frames right); reports show both.

    Attributes:
        frames: frames of a clip, the first included.
    """

    frames: int = 9

    name: ClassVar[str] = ""
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test")
    colours: ClassVar[tuple[str, ...]] = NAMES  # what the reader may see
    decisive: ClassVar[tuple[int, ...]] = (-1,)  # the frames by which an answer is right or wrong

    def __post_init__(self):
        if self.frames < 4:
            raise ValueError(f"{self.name}: frames is {self.frames}, expected at least 4")

    @property
    def slots(self) -> int:
        """The most answers that a clip of any split has."""
        return 8

    # ---- what a task defines

    @abstractmethod
    def draw(self, rng: Draws, split: str) -> Layout | None:
        """A random layout for `split`, or None where the draw came to nothing (it is then repeated)."""

    @abstractmethod
    def key(self, layout: Layout) -> bytes:
        """The identity of a layout up to the task's symmetries."""

    @abstractmethod
    def answers(self, layout: Layout) -> list[Answer]:
        """At most `slots` different answers, right ones with their probability, wrong ones with prior 0."""

    @abstractmethod
    def film(self, layout: Layout, move: Any) -> np.ndarray:
        """The raster uint8 (t, h, w) of an answer; `move=None` is the film in which nothing ever happens."""

    @abstractmethod
    def prompt(self, layout: Layout) -> str:
        """The question."""

    @abstractmethod
    def symbols(self, clip: Clip) -> dict[str, np.ndarray]:
        """Targets for linear probes: integer arrays (t, h / 8, w / 8), one value for every token of the clip's film."""

    @abstractmethod
    def describe(self, layout: Layout, raster: np.ndarray) -> dict[str, Any]:
        """What one frame's raster (h, w) shows, in the task's own terms. `read` adds the common entries."""

    # ---- what follows from it

    def belongs(self, layout: Layout, split: str) -> bool:
        """Whether a layout is one of train, val or test."""
        return fold(self.key(layout)) == split

    paint = staticmethod(paint)  # of a film's raster; a task of other pictures has its own, and its own `_blocks`

    def make(self, seed: SupportsIndex, split: str = "train") -> Clip:
        """The clip number `seed` of a split.

        Raises:
            ValueError: if the split is unknown.
            TypeError: if the seed is not an integer.
        """
        if split not in self.splits:
            raise ValueError(f"{self.name}: {named.unknown('split', split, self.splits)}")
        try:
            seed = operator.index(seed)
        except TypeError:
            raise TypeError(f"{self.name}: seed is {seed!r}, expected an integer") from None
        rng = Draws(self.name, split, seed)
        home = split if split in ("train", "val") else "test"
        for _ in range(20_000):
            layout = self.draw(rng, split)
            if layout is not None and self.belongs(layout, home):
                break
        else:
            raise ValueError(f"{self.name}: found no layout for split {split!r} with these options: {self}")
        answers = self.answers(layout)
        choice = rng.choice(range(len(answers)), [a.prior for a in answers])
        return self.filmed(layout, choice, split=split, seed=seed)

    def filmed(self, layout: Layout, choice: int = 0, **meta: Any) -> Clip:
        """The clip of a layout, whose answer number `choice` is shown; `meta` is added to the clip's."""
        answer = self.answers(layout)[choice]
        video = self.paint(self.film(layout, answer.move))
        told = {"world": self.name, **meta, "choice": choice, "layout": layout}
        return Clip(video, video[0].copy(), self.prompt(layout), answer.label, told)

    def candidates(self, clip: Clip, *, pad: bool = True) -> list[np.ndarray]:
        """The films of all answers, each float32 (t, h, w, 3).

        With `pad` there are exactly `slots` of them, so that shapes are the same for every clip: where a layout has
        fewer answers, the list is filled with the film in which nothing happens (prior 0, label "").
        """
        layout = self._layout(clip)
        return [self.paint(self.film(layout, answer.move)) for answer in self._padded(layout, pad)]

    def prior(self, clip: Clip, *, pad: bool = True) -> np.ndarray:
        """The probability of each candidate under the generator, float64, sum 1. Wrong answers and filling have 0."""
        return np.array([answer.prior for answer in self._padded(self._layout(clip), pad)])

    def labels(self, clip: Clip, *, pad: bool = True) -> list[str]:
        """The name of each candidate, "" for filling."""
        return [answer.label for answer in self._padded(self._layout(clip), pad)]

    def _padded(self, layout: Layout, pad: bool) -> list[Answer]:
        answers = self.answers(layout)
        return answers + [Answer("", 0.0, None)] * (self.slots - len(answers) if pad else 0)

    def score(self, clip: Clip, video: Any) -> float:
        """How right a video is, in [0, 1]: see the class. 1.0 only for a right answer with every frame on time.

        Raises:
            ValueError: if the video's shape is not the clip's or a value is not finite.
        """
        raster = self._blocks(np.asarray(video), clip.video.shape, "video")
        return max((self._agreement(film, raster) for film in self._films(clip)), default=0.0)

    def solved(self, clip: Clip, video: Any) -> bool:
        """Whether the decisive frames show a right answer, whatever the frames between. Raises as `score` does."""
        shown, where = self._blocks(np.asarray(video), clip.video.shape, "video"), list(self.decisive)
        return any(np.array_equal(film[where], shown[where]) for film in self._films(clip))

    def read(self, clip: Clip, frame: Any) -> dict[str, Any]:
        """What one frame (h, w, 3) shows.

        Returns:
            `raster`: palette indices uint8 (h / 4, w / 4); `answer`: the label of the candidate whose last frame this
            is, else None; `right`: whether that is a right answer; and the task's own entries (see its `describe`).
        """
        layout = self._layout(clip)
        raster = self._blocks(np.asarray(frame), clip.first_frame.shape, "frame")
        shown = [a for a in self.answers(layout) if np.array_equal(self.film(layout, a.move)[-1], raster)]
        common = {"raster": raster, "answer": shown[0].label if shown else None}
        return common | {"right": any(a.prior > 0 for a in shown)} | self.describe(layout, raster)

    def counterfactual(self, clip: Clip) -> Clip:
        """A clip with the same first frame and another prompt, hence another answer.

        Raises:
            ValueError: if the prompt does not decide the answer in this task.
        """
        raise ValueError(f"{self.name}: has no counterfactual clips, its prompt does not decide the answer")

    def _layout(self, clip: Clip) -> Layout:
        if clip.meta.get("world") != self.name:
            raise ValueError(f"{self.name}: clip is of task {clip.meta.get('world')!r}, expected {self.name!r}")
        return clip.meta["layout"]

    def _films(self, clip: Clip) -> list[np.ndarray]:
        layout = self._layout(clip)
        return [self.film(layout, a.move) for a in self.answers(layout) if a.prior > 0]

    def _blocks(self, pixels: np.ndarray, shape: tuple[int, ...], what: str) -> np.ndarray:
        if pixels.shape != shape:
            raise ValueError(f"{self.name}: {what} has shape {pixels.shape}, expected {shape}")
        means = block_mean(pixels.astype(np.float32))
        if not np.isfinite(means).all():
            raise ValueError(f"{self.name}: {what} holds values that are not finite, expected numbers in [-1, 1]")
        return nearest(means, self.colours)

    def _agreement(self, film: np.ndarray, raster: np.ndarray) -> float:
        right = (film == raster).all(axis=(1, 2))
        if not right[list(self.decisive)].all():
            return 0.0
        resting = (film == film[-1]).all(axis=(1, 2))
        return float(0.5 + 0.5 * right[~resting].mean() * right[resting].mean())


def token_grid(film: np.ndarray, *values: int) -> np.ndarray:
    """1 where a token (2 x 2 blocks) of the raster (t, h, w) holds one of the values: int64 (t, h / 2, w / 2)."""
    t, h, w = film.shape
    tokens = np.isin(film, values).reshape(t, h // TOKEN, TOKEN, w // TOKEN, TOKEN)
    return np.asarray(tokens.any(axis=(2, 4)), np.int64)


def stamp(film: np.ndarray, y: int, x: int, shape: str, colour: str, turn: int) -> None:
    """Draws an object into all frames of a film that will be turned `turn` times, after which it stands upright."""
    pattern = np.rot90(np.array(SHAPES[shape], bool), -turn)
    film[:, y : y + 2, x : x + 2][:, pattern] = INDEX[colour]
