"""Contact sheets: clips of a world as a picture, one row per clip, one column per frame."""

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vrjax import tasks
from vrjax.files.writing import atomic
from vrjax.report.figures import Shown

DPI = 100
GAP, MARGIN, TITLE, HEAD, REST = 8, 28, 70, 44, 16  # pixels: between frames, round all, and lines of text
WIDE = 640  # pixels, at least, so that prompts can be read beside few frames
PAPER, INK, SOFT, FRAME = "#fbfaf7", "#22262b", "#767d86", "#c9c6bd"
GOOD, HALF, BAD = "#1e7d46", "#a86a00", "#b3322b"


def contact_sheet(
    world: tasks.Task | str,
    split: str = "test",
    seeds: Iterable[int] = range(6),
    path: str | os.PathLike[str] | None = None,
    *,
    scale: int = 2,
) -> Figure:
    """Draws clips of a world with prompt, answer and score.

    Args:
        world: a world or its name.
        split: one of `world.splits`.
        seeds: which clips.
        path: where to write the picture (its suffix is the format; nothing half-written is left there), or None.
        scale: pixels of the sheet per pixel of the film.

    Returns:
        The figure, `scale` times the film's pixels without resampling when saved at its own resolution.

    Raises:
        ValueError: for an unknown world or split, no seeds, or a scale below 1.
    """
    world = tasks.get(world) if isinstance(world, str) else world
    clips = [world.make(seed, split) for seed in seeds]
    if not clips:
        raise ValueError("seeds is empty, expected at least one")
    if scale < 1:
        raise ValueError(f"scale is {scale}, expected at least 1")

    frames, height, width, _ = clips[0].video.shape
    strip = frames * scale * width + (frames - 1) * GAP
    tall = HEAD + scale * height
    wide = max(strip, WIDE)
    total = (2 * MARGIN + wide, TITLE + MARGIN + len(clips) * (tall + REST))
    sheet = np.empty((total[1], total[0], 3), np.float32)
    sheet[:] = [int(PAPER[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    pen = _Pen(total)

    pen.write(MARGIN, 20, f"{world.name} · {split}", size=15, weight="bold")
    detail = f"{frames} frames of {width} × {height} pixels, {len(clips)} clips"
    pen.write(total[0] - MARGIN, 24, detail, size=9, colour=SOFT, ha="right")
    for f in range(frames):
        label = "given" if f == 0 else str(f)
        pen.write(
            MARGIN + f * (scale * width + GAP) + scale * width / 2, TITLE - 22, label, size=8, colour=SOFT, ha="center"
        )

    top = TITLE
    for clip in clips:
        score = world.score(clip, clip.video)
        room = wide * 0.72
        pen.write(MARGIN, top + 4, _fit(clip.prompt, room / 8.4), size=10.5, weight="bold")
        pen.write(MARGIN, top + 22, f"seed {clip.meta['seed']}", size=8, colour=SOFT)
        pen.write(total[0] - MARGIN, top + 5, _fit(clip.answer, (wide - room) / 7.5), size=9.5, ha="right")
        pen.write(total[0] - MARGIN, top + 22, f"score {score:.2f}", size=8, colour=_shade(score), ha="right")
        _lay(sheet, clip.video, top + HEAD, scale)
        top += tall + REST
    pen.figure.figimage(sheet, origin="upper")
    if path is not None:
        with atomic(path) as scratch:
            pen.figure.savefig(scratch, dpi=DPI)
    return pen.figure


class _Pen:
    """Writes text on a figure at pixel positions counted from the upper left."""

    def __init__(self, size: tuple[int, int]):
        self.size = size
        self.figure = Shown(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor=PAPER)
        FigureCanvasAgg(self.figure)

    def write(
        self,
        x: int | float,
        y: int | float,
        text: str,
        *,
        size: int | float,
        colour: str = INK,
        ha: str = "left",
        weight: str = "normal",
    ):
        text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))
        where = (x / self.size[0], 1 - y / self.size[1])
        # parse_math off: a dollar sign in a prompt is a dollar sign, not a formula that may fail to parse
        style: dict[str, Any] = {"fontsize": size, "color": colour, "ha": ha, "va": "top", "fontweight": weight}
        self.figure.text(*where, text, parse_math=False, **style)


def _shade(score: float) -> str:
    return GOOD if score == 1 else HALF if score > 0 else BAD


def _fit(text: str, letters: int | float) -> str:
    return text if len(text) <= letters else text[: max(1, int(letters) - 1)] + "…"


def _lay(sheet: np.ndarray, video: Any, top: int, scale: int) -> None:
    """Puts the frames of a video side by side on the sheet, each with a hairline round it."""
    pixels = (np.clip(np.asarray(video, np.float32), -1, 1) + 1) / 2
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    line = [int(FRAME[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    _, height, width, _ = pixels.shape
    for f, frame in enumerate(pixels):
        left = MARGIN + f * (width + GAP)
        sheet[top - 1 : top + height + 1, left - 1 : left + width + 1] = line
        sheet[top : top + height, left : left + width] = frame
