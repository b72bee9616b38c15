"""Reading and writing video files, strictly: every frame there, or an error that names the file.

Written files say what their numbers mean: matrix, primaries, transfer and range. H.264 for players is BT.709, limited
range, with colours at half the resolution: the colour of a line one pixel wide is about halved. MPEG-4 part 2 is what
VBVR has and what OpenCV reads, which takes every file for BT.601 whatever it says; so that is its matrix, and said.
What rules will judge is written without loss, as RGB: equal pixels come out of every reader, OpenCV's too.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import av
import av.codec
import av.error
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from vrjax.files import given
from vrjax.files.pixels import to_uint8
from vrjax.files.writing import atomic

BT709, BT601, RGB = 1, 6, 0  # code points of matrices in ISO/IEC 23091-2; 1 is BT.709 among primaries and transfers too


class Coding(NamedTuple):
    """How frames are written: FFmpeg's options and pixel format, and the matrix from RGB."""

    options: dict[str, str]
    pixels: str = "yuv420p"
    matrix: int = BT709


CODECS = {
    # Constant finest quantiser, what VBVR's own generators write (fourcc mp4v); every OpenCV and FFmpeg reads it.
    "mpeg4": Coding({"flags": "+qscale", "global_quality": str(2 * 118)}, matrix=BT601),
    # Browsers play this one. x264's macroblock tree reads memory that it never wrote: equal pixels, other bytes.
    "libx264": Coding({"crf": "10", "x264-params": "mbtree=0"}),
    "libx264rgb": Coding({"qp": "0"}, "rgb24", RGB),
}
PLAYED = "libx264" if "libx264" in av.codec.codecs_available else "mpeg4"  # an FFmpeg without GPL parts lacks it
LOSSLESS = "libx264rgb"


def encode(path: str | os.PathLike, pixels: np.ndarray, *, fps: int, codec: str = "mpeg4") -> None:
    """Write uint8 (t, h, w, 3) as an mp4 file with exactly t frames. Equal pixels give equal bytes.

    Raises:
        ValueError: an unknown codec or one that FFmpeg lacks here, another shape, or sides that the codec cannot take
            (libx264: odd ones).
    """
    if codec not in CODECS:
        raise ValueError(f"codec={codec!r}: expected one of {list(CODECS)}")
    if codec not in av.codec.codecs_available:
        raise ValueError(f"codec={codec!r}: this FFmpeg was built without it; expected one with x264 (pip install av)")
    if pixels.ndim != 4 or pixels.shape[-1] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise ValueError(f"{path}: video is {pixels.dtype} {pixels.shape}, expected uint8 (t, h, w, 3), t >= 1")
    if codec == "libx264" and (pixels.shape[1] % 2 or pixels.shape[2] % 2):
        raise ValueError(f"{path}: libx264 needs even sides, found frames of {pixels.shape[1]} x {pixels.shape[2]}")
    options, kind, matrix = CODECS[codec]
    with av.open(os.fspath(path), "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = pixels.shape[1], pixels.shape[2], kind
        context = stream.codec_context
        context.thread_count = 1
        context.colorspace, context.color_primaries, context.color_trc = matrix, BT709, BT709
        context.color_range = ColorRange.JPEG if matrix == RGB else ColorRange.MPEG
        for frame in pixels:
            shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            if matrix != RGB:
                to = Colorspace.ITU709 if matrix == BT709 else Colorspace.ITU601
                ranges = {"src_color_range": ColorRange.JPEG, "dst_color_range": ColorRange.MPEG}
                tags = {"dst_color_primaries": BT709, "dst_color_trc": BT709}
                shown = shown.reformat(format=kind, dst_colorspace=to, **ranges, **tags)
            container.mux(stream.encode(shown))
        container.mux(stream.encode(None))


def decode(
    path: str | os.PathLike,
    *,
    max_frames: int | None = None,
    resize: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, int, float]:
    """Read a video file.

    Args:
        path: of the file. What a player shows is read: turned as the camera noted, without what an edit list cuts off.
        max_frames: at most so many frames, spread evenly with the first and the last among them (the answer of a
            reasoning video is at its end).
        resize: applied to each kept frame, uint8 (h, w, 3), as it comes; a long film never lies in memory in full size.

    Returns:
        Kept frames, uint8 (t, h, w, 3); how many frames are shown; frames per second (0.0 if the file does not say).

    Raises:
        ValueError: not a video, no frames, a frame that the decoder finds damaged, or a file that
            breaks off before its last frame.
    """
    given.refuse(path)
    os.stat(path)  # FileNotFoundError
    try:
        # All that is there, and what of it is shown: a cut without encoding anew keeps frames before its first one.
        with av.open(os.fspath(path), options={"ignore_editlist": "1"}) as container:
            if not container.streams.video:
                raise ValueError(f"{path}: no video stream, expected one")
            there = sum(1 for packet in container.demux(video=0) if packet.size)
        with av.open(os.fspath(path)) as container:
            total = sum(1 for packet in container.demux(video=0) if packet.size and not packet.is_discard)
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
                    if frame.rotation % 90:
                        raise ValueError(f"{path}: turned by {frame.rotation} degrees, expected quarters")
                    pixels = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                    frames.append(pixels if resize is None else resize(pixels))
                seen += 1
    except av.error.FFmpegError as error:
        raise ValueError(f"{path}: cannot be read as a video ({error})") from error
    if seen != total or (declared and there != declared):
        found = seen if seen != total else there
        raise ValueError(f"{path}: breaks off; {found} frames can be read, expected {declared or total}")
    return np.stack(frames), total, fps


def write(path: str | os.PathLike, video: Any, *, fps: int = 16, upscale: int = 1, codec: str = "mpeg4") -> None:
    """Write pixels in [-1, 1], (t, h, w, 3), as a video file: all of it under its final name, or nothing.

    Args:
        upscale: every pixel becomes a square of so many, which keeps small pictures clear of the codec's losses.
    """
    pixels = enlarge(to_uint8(video, f"{path}: video"), upscale)
    with atomic(path) as scratch:
        encode(scratch, pixels, fps=fps, codec=codec)


def enlarge(pixels: np.ndarray, factor: int) -> np.ndarray:
    """(..., h, w, c) with every pixel repeated `factor` times along h and w."""
    return pixels if factor == 1 else pixels.repeat(factor, -3).repeat(factor, -2)
