"""Pixels: floats in [-1, 1] and 8-bit, and still pictures as files. NumPy and Pillow only."""

import io
import os
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from vrjax.files import given

MAX_PIXELS = 1 << 26  # of one image of others: far more is a decompression bomb
FORMATS = ("PNG", "JPEG", "WEBP")
BACKGROUND = "white"  # behind what is transparent, as browsers and viewers show it


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


def _shown(picture: Any) -> UInt8[np.ndarray, "h w 3"]:
    """A picture of Pillow's as a viewer shows it. Grey of 16 bits is scaled, which Pillow's own conversion cuts off."""
    from PIL import Image, ImageOps

    picture.load()  # Pillow turns TIFF itself then, and forgets the note
    picture = ImageOps.exif_transpose(picture) or picture
    if picture.mode == "F":
        raise ValueError("floating-point values, expected 8 or 16 bits a channel")
    if picture.mode.startswith("I"):
        grey = np.asarray(picture).astype(np.int64)
        if grey.min(initial=0) < 0 or grey.max(initial=0) > 0xFFFF:
            raise ValueError(f"values from {grey.min()} to {grey.max()}, expected 8 or 16 bits a channel")
        return np.repeat(((grey * 255 + 0x7FFF) // 0xFFFF).astype(np.uint8)[..., None], 3, axis=-1)
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, BACKGROUND), picture)
    return np.array(picture.convert("RGB"))


def read_image(path: str | os.PathLike, *, formats: tuple[str, ...] | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """A picture file as a viewer shows it: (h, w, 3), turned as its camera noted, what is transparent over white.

    Args:
        path: of the picture.
        formats: names of Pillow's, where no others are taken.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a picture.
    """
    from PIL import Image

    path = pathlib.Path(path)
    given.refuse(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such picture")
    try:
        # By the open file: by its name Pillow maps grey TIFF, and garbles what its camera's note turns by a quarter.
        with open(path, "rb") as file, Image.open(file, formats=formats) as picture:
            return _shown(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        kind = f"{' or '.join(formats)} picture" if formats else "picture"
        raise ValueError(f"{path}: cannot be read as a {kind} ({error})") from None


def decode(data: bytes, what: str) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of a PNG, JPEG or WebP file's bytes, as `read_image` shows them.

    Raises:
        ValueError: not one of these formats, torn, or more than `MAX_PIXELS` pixels; the message starts with `what`.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels, expected at most {MAX_PIXELS} in all")
            return _shown(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{what}: cannot be read as an image ({error}), expected {', '.join(FORMATS)}") from error


def png(frame: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """The frame as a PNG file's bytes; `decode` gives it back exactly."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return buffer.getvalue()
