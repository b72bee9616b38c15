"""Pixels: floats in [-1, 1] and 8-bit, and still pictures as files. NumPy and Pillow only."""

import io
import os
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

MAX_PIXELS = 1 << 26  # of one image of others: far more is a decompression bomb
FORMATS = ("PNG", "JPEG", "WEBP")


def to_uint8(video: Any, what: str = "pixels") -> UInt8[np.ndarray, "*shape"]:
    """Pixels in [-1, 1] -> 0 ... 255, rounded; values outside are clipped.

    Raises:
        ValueError: integers (probably pixels 0 ... 255 already), or values that are not finite.
    """
    video = np.asarray(video)
    if video.dtype == bool or np.issubdtype(video.dtype, np.integer):
        raise ValueError(f"{what}: found {video.dtype}, expected floating-point pixels in [-1, 1]")
    video = video.astype(np.float32)
    if not np.isfinite(video).all():
        count = int((~np.isfinite(video)).sum())
        raise ValueError(f"{what}: {count} of {video.size} values are not finite, expected pixels in [-1, 1]")
    return np.rint((np.clip(video, -1, 1) + 1) * 127.5).astype(np.uint8)


def to_float(pixels: UInt8[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """0 ... 255 -> float32 in [-1, 1]; the inverse of `to_uint8` on its image."""
    return pixels.astype(np.float32) / np.float32(127.5) - 1


def read_image(path: str | os.PathLike, *, formats: tuple[str, ...] | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """A picture file as a viewer shows it: (h, w, 3), turned as its camera noted; transparency is dropped.

    Args:
        path: of the picture.
        formats: names of Pillow's, where no others are taken.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a picture.
    """
    from PIL import Image, ImageOps

    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such picture")
    try:
        with Image.open(path, formats=formats) as picture:
            turned = ImageOps.exif_transpose(picture) or picture
            return np.asarray(turned.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        kind = f"{' or '.join(formats)} picture" if formats else "picture"
        raise ValueError(f"{path}: cannot be read as a {kind} ({error})") from None


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
