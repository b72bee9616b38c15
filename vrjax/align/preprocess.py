"""From a video file to pixels: one function for winners and losers alike.

(The released trainer scaled its winners to [-1, 1] and handed its losers to the VAE as 0 ... 255.)
"""

import dataclasses
import os
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vrjax.data import mp4
from vrjax.files.pixels import to_float


@dataclass(frozen=True)
class Preprocess:
    """How a clip is brought to the size of the model. Part of every cache key.

    Attributes:
        frames: frames kept: every (n // frames)-th of a file of n, from the first, so that speed is kept or raised by a
            whole factor, as the released trainers do. A shorter file is an error.
        height, width: pixels.
        crop: cut the frame, centred, to the target's aspect ratio before resizing; False squeezes it.
    """

    frames: int
    height: int
    width: int
    crop: bool = True

    def __post_init__(self):
        if min(self.frames, self.height, self.width) < 1:
            raise ValueError(f"preprocess: sizes must be positive, found {dataclasses.asdict(self)}")

    def __call__(self, path: str | os.PathLike) -> np.ndarray:
        """The clip as float32 (frames, height, width, 3) in [-1, 1].

        Raises:
            ValueError: not a whole video, or fewer frames than asked for; names the file.
        """
        pixels, total, _ = mp4.decode(path, resize=self._resize)
        if total < self.frames:
            raise ValueError(f"{path}: {total} frames, expected at least {self.frames}")
        return to_float(pixels[:: total // self.frames][: self.frames])

    def _resize(self, frame: np.ndarray) -> np.ndarray:
        h, w = frame.shape[:2]
        if (h, w) == (self.height, self.width):
            return frame
        box = None
        if self.crop:
            scale = min(h / self.height, w / self.width)
            ch, cw = self.height * scale, self.width * scale
            box = ((w - cw) / 2, (h - ch) / 2, (w + cw) / 2, (h + ch) / 2)
        image = Image.fromarray(frame)
        return np.asarray(image.resize((self.width, self.height), Image.Resampling.BICUBIC, box=box))
