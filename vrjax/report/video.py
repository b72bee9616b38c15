"""Videos as files: MP4, GIF, a PNG strip; and the step x frame contact sheet.

    save("run/maze.mp4", video, fps=8, scale=8)          # (t, h, w, 3) in [-1, 1] or uint8
    save("run/maze.gif", video, fps=8, scale=4)
    save("run/maze.png", video)                           # frames side by side
    save_image("run/steps.png", grid(traj_x0, steps=(0, 3, 9, 19)), scale=2)

Small worlds should be scaled up before MP4: colour is stored at half resolution there (4:2:0, the only layout every
player reads), and blocks of a few pixels would bleed. GIF and PNG keep every pixel.
"""

import os
import pathlib
from fractions import Fraction

import av
import av.codec
import av.error
import numpy as np
from PIL import Image, UnidentifiedImageError

from vrjax.files.pixels import to_float
from vrjax.files.writing import atomic
from vrjax.report.parts import Array, Integer, Number, pixels

_LONGEST = 16_384  # H.264 and GIF both stop near here


def save(path: str | os.PathLike[str], video: Array, fps: Number = 8, scale: Integer = 1) -> pathlib.Path:
    """Writes a video; the suffix (.mp4, .gif, .png) chooses the format. The file appears whole or not at all.

    Args:
        path: where; parent folders are made.
        video: (t, h, w, 3), floats in [-1, 1] (beyond is clipped) or uint8.
        fps: frames per second, not read for .png. A GIF counts in hundredths of a second: 50 at most, rounded.
        scale: integer enlargement, nearest neighbour.

    An MP4 needs even sides: an odd side gets its last row or column once more, so `load` returns one pixel more there.

    Raises:
        ValueError: wrong shape or dtype, values that are not finite, a bad fps or scale, an unknown suffix.
    """
    target = pathlib.Path(path)
    frames = _frames(video)
    if not (np.isfinite(fps) and 0 < fps <= 1000):
        raise ValueError(f"fps: expected a number in (0, 1000], found {fps!r}")
    frames = enlarge(frames, scale)
    if max(frames.shape[1:3]) > _LONGEST:
        raise ValueError(f"video: {frames.shape[2]} x {frames.shape[1]} px after scale, at most {_LONGEST} per side")
    kind = target.suffix.lower()
    if kind == ".mp4":
        with atomic(target) as scratch:
            _write_mp4(scratch, frames, fps)
    elif kind == ".gif":
        with atomic(target) as scratch:
            _write_gif(scratch, frames, fps)
    elif kind == ".png":
        save_image(target, strip(frames))
    else:
        raise ValueError(f"{target}: unknown suffix {kind!r}, expected .mp4, .gif or .png")
    return target


def load(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads an MP4 (or whatever ffmpeg reads) or a GIF -> float32 (t, h, w, 3) in [-1, 1].

    A GIF holds equal neighbouring frames as one long frame, and gives back that one; count frames in MP4s.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a video, is torn, or has no frames.
    """
    source = pathlib.Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such video")
    try:
        frames = _read_gif(source) if source.suffix.lower() == ".gif" else _read_av(source)
    except (av.error.FFmpegError, UnidentifiedImageError, OSError, EOFError) as error:
        raise ValueError(f"{source}: cannot be read as a video ({error})") from error
    if not frames:
        raise ValueError(f"{source}: holds no frames")
    return to_float(np.stack(frames))


def save_image(path: str | os.PathLike[str], image: Array, scale: Integer = 1) -> pathlib.Path:
    """Writes one image (h, w, 3) losslessly as PNG."""
    target = pathlib.Path(path)
    picture = pixels(image, "image")
    if picture.ndim != 3:
        raise ValueError(f"image: expected (h, w, 3), found {picture.shape}")
    if target.suffix.lower() != ".png":
        raise ValueError(f"{target}: unknown suffix {target.suffix!r}, expected .png")
    with atomic(target) as scratch:
        Image.fromarray(enlarge(picture[None], scale)[0]).save(scratch, "PNG", optimize=True)
    return target


def enlarge(frames: np.ndarray, scale: Integer) -> np.ndarray:
    """(..., h, w, 3) -> (..., h * scale, w * scale, 3), nearest neighbour."""
    if isinstance(scale, bool) or not isinstance(scale, (int, np.integer)) or scale < 1:
        raise ValueError(f"scale: expected an integer of at least 1, found {scale!r}")
    return frames if scale == 1 else frames.repeat(scale, axis=-3).repeat(scale, axis=-2)


def strip(video: Array, gap: int = 2, ground: int = 255) -> np.ndarray:
    """(t, h, w, 3) -> uint8 (h, t * w + gaps, 3): the frames side by side."""
    return tile(_frames(video)[None], gap, ground)


def grid(
    x0: Array,
    *,
    steps: Array | None = None,
    frames: Array | None = None,
    truth: Array | None = None,
    gap: int = 2,
    ground: int = 255,
) -> np.ndarray:
    """The contact sheet of one run: a row per denoising step, a column per frame.

    Args:
        x0: (step, frame, h, w, 3), e.g. the decoded `Trajectory.x0`.
        steps, frames: positions to show, all if left out; negative ones count from the end.
        truth: (frame, h, w, 3), added as a last row under a wider gap.
        gap, ground: pixels between the pictures, and their grey level.

    Returns:
        uint8 (H, W, 3).
    """
    sheet = pixels(x0, "x0")
    if sheet.ndim != 5:
        raise ValueError(f"x0: expected (step, frame, h, w, 3), found {sheet.shape}")
    rows, columns = positions("steps", steps, sheet.shape[0]), positions("frames", frames, sheet.shape[1])
    picture = tile(sheet[rows][:, columns], gap, ground)
    if truth is None:
        return picture
    last = pixels(truth, "truth")
    if last.shape != sheet.shape[1:]:
        raise ValueError(f"truth: expected {sheet.shape[1:]} as one step of x0, found {last.shape}")
    bar = np.full((3 * gap, picture.shape[1], 3), ground, np.uint8)
    return np.concatenate([picture, bar, tile(last[None][:, columns], gap, ground)])


def tile(images: np.ndarray, gap: int = 2, ground: int = 255) -> np.ndarray:
    """uint8 (row, column, h, w, 3) -> uint8 (H, W, 3) with `gap` pixels of `ground` between the images."""
    rows, columns, height, width, _ = images.shape
    out = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), ground, np.uint8)
    for r in range(rows):
        for c in range(columns):
            y, x = r * (height + gap), c * (width + gap)
            out[y : y + height, x : x + width] = images[r, c]
    return out


def _frames(video: Array) -> np.ndarray:
    frames = pixels(video)
    if frames.ndim != 4:
        raise ValueError(f"video: expected (t, h, w, 3), found {frames.shape}")
    return frames


def positions(name: str, chosen: Array | None, count: int) -> list[int]:
    """Chosen places on an axis of `count`, all of them for None; negative ones count from the end."""
    if chosen is None:
        return list(range(count))
    bad = [i for i in chosen if not -count <= i < count]
    if bad or not len(chosen):
        raise ValueError(f"{name}: {bad or 'nothing'} chosen, expected positions in 0..{count - 1}")
    return [int(i) % count for i in chosen]


def _write_mp4(path: pathlib.Path, frames: np.ndarray, fps: Number) -> None:
    height, width = frames.shape[1:3]
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rate = Fraction(float(fps)).limit_denominator(1001)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        if "libx264" in av.codec.codecs_available:
            stream = container.add_stream("libx264", rate=rate, options={"crf": "12", "preset": "medium"})
        else:  # an ffmpeg without GPL parts
            stream = container.add_stream("mpeg4", rate=rate, options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode(None))


def _write_gif(path: pathlib.Path, frames: np.ndarray, fps: Number) -> None:
    # One palette for the whole clip: frames that do not change must not flicker.
    count, height, width, _ = frames.shape
    whole = Image.fromarray(frames.reshape(count * height, width, 3))
    colours = whole.getcolors(256)
    palette = whole.quantize(256 if colours is None else max(1, len(colours)), dither=Image.Dither.NONE)
    pictures = [Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
    duration = max(20, round(100 / fps) * 10)
    pictures[0].save(
        path, "GIF", save_all=True, append_images=pictures[1:], duration=duration, loop=0, optimize=False, disposal=1
    )


def _read_av(path: pathlib.Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError(f"{path}: holds no video stream")
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def _read_gif(path: pathlib.Path) -> list[np.ndarray]:
    frames = []
    with Image.open(path) as image:
        for i in range(getattr(image, "n_frames", 1)):
            image.seek(i)
            frames.append(np.asarray(image.convert("RGB")))
    return frames
