"""Still images on the host, uint8 (h, w, 3): PNG bytes, sizes, and frames side by side. NumPy and Pillow only."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from vrjax.files.pixels import decode as decode
from vrjax.files.pixels import png as png
from vrjax.files.pixels import to_float as to_float
from vrjax.files.pixels import to_uint8 as to_uint8


def check(frame: np.ndarray, what: str) -> np.ndarray:
    """The frame itself; ValueError that names `what` unless it is a non-empty uint8 (h, w, 3)."""
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
        found = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise ValueError(f"{what}: found {found}, expected a uint8 array (h, w, 3)")
    if not frame.size:
        raise ValueError(f"{what}: the image is empty, {frame.shape}")
    return frame


def fit(frame: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The frame at size (h, w): scaled to cover it, bilinear, and cropped about the centre. Its own size: unchanged."""
    from PIL import Image

    (h, w), (high, wide) = frame.shape[:2], size
    if (h, w) == (high, wide):
        return frame
    scale = max(high / h, wide / w)
    large = (max(wide, math.ceil(w * scale - 1e-6)), max(high, math.ceil(h * scale - 1e-6)))
    scaled = np.asarray(Image.fromarray(frame).resize(large, Image.Resampling.BILINEAR))
    top, left = (large[1] - high) // 2, (large[0] - wide) // 2
    return np.ascontiguousarray(scaled[top : top + high, left : left + wide])


def stitch(frames: Sequence[np.ndarray], gap: int = 8) -> UInt8[np.ndarray, "h w 3"]:
    """All frames in a row from left to right, at the first one's height, with white bars of `gap` pixels between.

    Raises:
        ValueError: no frames.
    """
    if not frames:
        raise ValueError("stitch: no frames")
    high = frames[0].shape[0]
    parts: list[np.ndarray] = []
    for frame in frames:
        wide = max(1, round(frame.shape[1] * high / frame.shape[0]))
        parts += [np.full((high, gap, 3), 255, np.uint8), fit(frame, (high, wide))]
    return np.concatenate(parts[1:], axis=1)
