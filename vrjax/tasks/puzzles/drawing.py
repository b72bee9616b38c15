"""Puzzles as tasks: films of two frames, the question, and the question with its answer drawn over it.

    task = tasks.get("draw_maze")               # one for every file of a subtype; tasks.get("draw_maze", size=256)
    clip = task.make(3, "test")                 # video (2, 64, 64, 3); also of the splits "harder" and "hardest"
    task.score(clip, video)                     # read off the last frame, see `decoding`

So whatever is done to models of tasks is done to models that draw answers: trained, watched along the denoising steps,
drawn several times and chosen among, taught by preferences.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from vrjax.files import named
from vrjax.tasks.core import Answer, Clip, Draws, Layout, Task
from vrjax.tasks.puzzles import decoding, item, making

BEFORE = "draw_"
"""What the names of these tasks begin with; then comes that of the subtype's file."""
HARDER: Mapping[str, int] = {"harder": 2, "hardest": 3}
"""Splits of puzzles that are of no difficulty one is trained on."""
TOKEN = 8
"""Pixels of a side of what `symbols` tells apart."""
KEPT = 30.0
"""PSNR, in dB, from which on the rest of a picture counts as kept."""


@dataclasses.dataclass(frozen=True)
class Drawing(Task):
    """One subtype's puzzles, answered by drawing.

    `solved` reads the last frame as the drawn answers of BabyVision-Gen are read here: what is marked is the answer and
    nothing else. `score` is 0 unless solved; else 1/2 + 1/2 min(PSNR / `KEPT`, 1) of what is not marked. Candidates are
    the things that could be circled, `slots` of them at most, where one is; elsewhere the right answer is the only one.

    Attributes:
        frames: 2.
        difficulty: 1, 2 or 3, of the splits that are not named in `HARDER`.
        size: pixels of a side.
    """

    frames: int = 2
    difficulty: int = 1
    size: int = 64

    splits: ClassVar[tuple[str, ...]] = (*making.SPLITS, *HARDER)
    subtype: ClassVar[str] = ""

    def __post_init__(self):
        if self.frames != 2 or self.difficulty not in making.DIFFICULTIES or self.size not in making.SIZES:
            raise ValueError(
                f"{self.name}: frames={self.frames}, difficulty={self.difficulty}, size={self.size}: expected 2 frames "
                f"(question and answer), difficulty 1 to 3, size {making.SIZES.start} to {making.SIZES.stop - 1}"
            )

    def draw(self, rng: Draws, split: str) -> Layout | None:
        """Which item: `index`, and its own split and difficulty. None where its answer cannot be read as it is drawn:
        letters of a few pixels."""
        layout: Layout = {"index": rng.below(making.FIRST_ID), "split": split if split in making.SPLITS else "test"}
        layout["difficulty"] = HARDER.get(split, self.difficulty)
        told = self.item(layout)
        written = isinstance(told.annotation, item.Glyphs) and told.answer_image is not None
        return None if written and not decoding.judge(told, told.answer_image) else layout

    def key(self, layout: Layout) -> bytes:
        """The item's name."""
        return repr(sorted(layout.items())).encode()

    def belongs(self, layout: Layout, split: str) -> bool:
        """Always: splits of items are told apart where they are made."""
        return True

    def item(self, layout: Layout) -> item.Item:
        """The item of a layout."""
        return _item(self.subtype, layout["index"], layout["split"], layout["difficulty"], self.size)

    def answers(self, layout: Layout) -> list[Answer]:
        """The right one first."""
        told = self.item(layout)
        if not isinstance(told.annotation, item.Circle) or len(told.annotation.right) != 1:
            return [Answer(told.answer, 1.0, -1)]
        (right,), count = told.annotation.right, len(told.annotation.boxes)
        label = lambda which: told.options[which] if told.options else str(which)
        others = [which for which in range(count) if which != right][: self.slots - 1]
        return [Answer(label(right), 1.0, right), *(Answer(label(which), 0.0, which) for which in others)]

    def film(self, layout: Layout, move: Any) -> np.ndarray:
        """Pictures uint8 (2, h, w, 3); a move is the number of what is circled, -1 the right answer."""
        told, last = self.item(layout), None
        if move is not None and move >= 0:
            assert isinstance(told.annotation, item.Circle)
            last = making.annotated(told.image, told.annotation._replace(right=(move,)))
        elif move is not None:
            last = told.answer_image
        return np.stack([told.image, told.image if last is None else last])

    def prompt(self, layout: Layout) -> str:
        """What who draws the answer is asked for."""
        return self.item(layout).prompt

    @staticmethod
    def paint(raster: np.ndarray) -> np.ndarray:
        """Pixels float32 in [-1, 1] of 8 bits."""
        return raster.astype(np.float32) / 127.5 - 1.0

    def symbols(self, clip: Clip) -> dict[str, np.ndarray]:
        """`marked`: 1 where the right answer touches a square of `TOKEN` pixels."""
        first, last = (np.asarray(frame) for frame in (clip.video[0], clip.video[-1]))
        side = len(first) // TOKEN
        changed = (first != last).any(-1)[: side * TOKEN, : side * TOKEN].reshape(side, TOKEN, side, TOKEN)
        touched = changed.any((1, 3)).astype(np.int64)
        return {"marked": np.stack([np.zeros_like(touched), touched])}

    def describe(self, layout: Layout, raster: np.ndarray) -> dict[str, Any]:
        """What is marked in a picture (h, w, 3) of 8 bits, see `decoding.Drawn`."""
        return decoding.decode(self.item(layout), raster)._asdict()

    def read(self, clip: Clip, frame: Any) -> dict[str, Any]:
        """What one frame shows: `raster`, its pixels in 8 bits; `answer`, the label of the candidate that is marked,
        else None; and the fields of `decoding.Drawn`, among them `right`."""
        layout = self._layout(clip)
        picture = self._pictures(np.asarray(frame), clip.first_frame.shape, "frame")
        told = self.describe(layout, picture)
        moves = {answer.move: answer.label for answer in self.answers(layout)}
        one = moves.get(told["marked"][0]) if len(told["marked"]) == 1 else None
        return {"raster": picture, "answer": moves[-1] if -1 in moves and told["right"] else one, **told}

    def score(self, clip: Clip, video: Any) -> float:
        """See the class. Raises as `Task.score` does."""
        found = self._last(clip, video)
        return 0.5 + 0.5 * min(found.preservation / KEPT, 1.0) if found.right else 0.0

    def solved(self, clip: Clip, video: Any) -> bool:
        """See the class. Raises as `Task.solved` does."""
        return self._last(clip, video).right

    def _last(self, clip: Clip, video: Any) -> decoding.Drawn:
        told = self.item(self._layout(clip))
        return decoding.decode(told, self._pictures(np.asarray(video), clip.video.shape, "video")[-1])

    def _pictures(self, pixels: np.ndarray, shape: tuple[int, ...], what: str) -> np.ndarray:
        if pixels.shape != shape:
            raise ValueError(f"{self.name}: {what} has shape {pixels.shape}, expected {shape}")
        if not np.isfinite(pixels).all():
            raise ValueError(f"{self.name}: {what} holds values that are not finite, expected numbers in [-1, 1]")
        return np.round((np.clip(pixels.astype(np.float32), -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)


@functools.lru_cache(512)
def _item(subtype: str, index: int, split: str, difficulty: int, size: int) -> item.Item:
    from vrjax.tasks import puzzles

    return puzzles.make(subtype, index, split=split, difficulty=difficulty, size=size)


def names() -> tuple[str, ...]:
    """The names of these tasks."""
    from vrjax.tasks import puzzles

    return tuple(BEFORE + name for name in puzzles.files())


@functools.cache
def kind(name: str) -> type[Drawing]:
    """The class of one of `names()`. Raises ValueError for another name."""
    from vrjax.tasks import puzzles

    if name not in names():
        raise ValueError(named.unknown("task", name, names()))
    made = type(name, (Drawing,), {"name": name, "subtype": puzzles.named_so(name.removeprefix(BEFORE))})
    return dataclasses.dataclass(frozen=True)(made)
