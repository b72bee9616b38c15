"""Still images on the host, uint8 (h, w, 3): PNG bytes, sizes, and frames side by side. NumPy and Pillow only."""

import io
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

MAX_PIXELS = 1 << 26  # of one image: far more is a decompression bomb
FORMATS = ("PNG", "JPEG", "WEBP")


def check(frame: np.ndarray, what: str) -> np.ndarray:
    """The frame itself; ValueError that names `what` unless it is a non-empty uint8 (h, w, 3)."""
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
        found = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise ValueError(f"{what}: found {found}, expected a uint8 array (h, w, 3)")
    if not frame.size:
        raise ValueError(f"{what}: the image is empty, {frame.shape}")
    return frame


def to_uint8(pixels: Float32[np.ndarray, "*lead h w 3"]) -> UInt8[np.ndarray, "*lead h w 3"]:
    """[-1, 1] -> 0 ... 255, rounded; values outside are clipped."""
    return np.rint((np.clip(pixels, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)


def to_float(pixels: UInt8[np.ndarray, "*lead h w 3"]) -> Float32[np.ndarray, "*lead h w 3"]:
    """0 ... 255 -> float32 in [-1, 1]."""
    return pixels.astype(np.float32) / np.float32(127.5) - 1


def decode(data: bytes, what: str) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of a PNG, JPEG or WebP file's bytes; transparency is dropped.

    Raises:
        ValueError: not one of these formats, torn, or more than `MAX_PIXELS` pixels; the message starts with `what`.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels, expected at most {MAX_PIXELS} in all")
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{what}: cannot be read as an image ({error}), expected {', '.join(FORMATS)}") from error


def png(frame: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """The frame as a PNG file's bytes; `decode` gives it back exactly."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return buffer.getvalue()


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
