"""Reading and writing video files, strictly: every frame there, or an error that names the file."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import av
import av.error
import numpy as np

CODECS = {
    # Constant finest quantiser, what VBVR's own generators write (fourcc mp4v); every OpenCV and FFmpeg reads it.
    "mpeg4": {"flags": "+qscale", "global_quality": str(2 * 118)},
    # Browsers play this one.
    "libx264": {"crf": "10"},
}


def to_uint8(video: Any, what: str) -> np.ndarray:
    """Pixels in [-1, 1] -> 0 ... 255, rounded; values outside are clipped.

    Raises:
        ValueError: integers (probably pixels 0 ... 255 already), or values that are not finite.
    """
    video = np.asarray(video)
    if video.dtype == bool or np.issubdtype(video.dtype, np.integer):
        raise ValueError(f"{what}: found {video.dtype}, expected floating-point pixels in [-1, 1]")
    video = video.astype(np.float32)
    if not np.isfinite(video).all():
        raise ValueError(f"{what}: holds values that are not finite, expected pixels in [-1, 1]")
    return np.rint((np.clip(video, -1, 1) + 1) * 127.5).astype(np.uint8)


def to_float(pixels: np.ndarray) -> np.ndarray:
    """0 ... 255 -> float32 in [-1, 1]; the inverse of `to_uint8` on its image."""
    return pixels.astype(np.float32) / np.float32(127.5) - 1


def encode(path: str | os.PathLike, pixels: np.ndarray, *, fps: int, codec: str = "mpeg4") -> None:
    """Write uint8 (t, h, w, 3) as an mp4 file with exactly t frames. Equal pixels give equal bytes.

    Raises:
        ValueError: an unknown codec, another shape, or sides that the codec cannot take (libx264: odd ones).
    """
    if codec not in CODECS:
        raise ValueError(f"codec={codec!r}: expected one of {list(CODECS)}")
    if pixels.ndim != 4 or pixels.shape[-1] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise ValueError(f"{path}: video is {pixels.dtype} {pixels.shape}, expected uint8 (t, h, w, 3), t >= 1")
    if codec == "libx264" and (pixels.shape[1] % 2 or pixels.shape[2] % 2):
        raise ValueError(f"{path}: libx264 needs even sides, found frames of {pixels.shape[1]} x {pixels.shape[2]}")
    with av.open(os.fspath(path), "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=fps, options=CODECS[codec])
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = pixels.shape[1], pixels.shape[2], "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode(None))


def decode(
    path: str | os.PathLike,
    *,
    max_frames: int | None = None,
    resize: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, int, float]:
    """Read a video file.

    Args:
        max_frames: at most so many frames, spread evenly with the first and the last among them (the answer of a
            reasoning video is at its end).
        resize: applied to each kept frame, uint8 (h, w, 3), as it comes; a long film never lies in memory in full size.

    Returns:
        Kept frames, uint8 (t, h, w, 3); how many frames the file has; frames per second (0.0 if the file does not say).

    Raises:
        ValueError: not a video, no frames, a frame that the decoder finds damaged, or a file that
            breaks off before its last frame.
    """
    if os.path.getsize(path) == 0:
        raise ValueError(f"{path}: the file is empty, expected a video")
    try:
        with av.open(os.fspath(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path}: no video stream, expected one")
            total = sum(1 for packet in container.demux(video=0) if packet.size)
        if total == 0:
            raise ValueError(f"{path}: the video has no frames")
        keep = set(range(total))
        if max_frames is not None and max_frames < total:
            keep = set(np.linspace(0, total - 1, max_frames).round().astype(int).tolist())
        frames, seen = [], 0
        with av.open(os.fspath(path)) as container:
            stream = container.streams.video[0]
            declared, fps = stream.frames, float(stream.average_rate or 0)
            for frame in container.decode(stream):
                if frame.is_corrupt:  # FFmpeg fills in what it cannot read
                    raise ValueError(f"{path}: frame {seen} is damaged")
                if seen in keep:
                    pixels = frame.to_ndarray(format="rgb24")
                    frames.append(pixels if resize is None else resize(pixels))
                seen += 1
    except av.error.FFmpegError as error:
        raise ValueError(f"{path}: cannot be read as a video ({error})") from error
    if seen != total or (declared and seen != declared):
        raise ValueError(f"{path}: breaks off; {seen} frames can be read, expected {declared or total}")
    return np.stack(frames), total, fps


def write(path: str | os.PathLike, video: Any, *, fps: int = 16, upscale: int = 1, codec: str = "mpeg4") -> None:
    """Write pixels in [-1, 1], (t, h, w, 3), as a video file: all of it under its final name, or nothing.

    Args:
        upscale: every pixel becomes a square of so many, which keeps small pictures clear of the codec's losses.
    """
    path = pathlib.Path(path)
    pixels = enlarge(to_uint8(video, f"{path}: video"), upscale)
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary(path.parent, suffix=".mp4") as scratch:
        encode(scratch, pixels, fps=fps, codec=codec)
        os.replace(scratch, path)


def enlarge(pixels: np.ndarray, factor: int) -> np.ndarray:
    """(..., h, w, c) with every pixel repeated `factor` times along h and w."""
    return pixels if factor == 1 else pixels.repeat(factor, -3).repeat(factor, -2)


@contextlib.contextmanager
def temporary(folder: pathlib.Path, suffix: str = "") -> Iterator[pathlib.Path]:
    """A hidden file name in `folder` (so on the same disk), removed at the end unless it was renamed."""
    handle, name = tempfile.mkstemp(prefix=".", suffix=suffix, dir=folder)
    os.close(handle)
    os.chmod(name, 0o644)
    try:
        yield pathlib.Path(name)
    finally:
        pathlib.Path(name).unlink(missing_ok=True)
