"""Videos and contact sheets: what comes back is what was written, and bad input leaves no file."""

import errno
import os

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vrjax.files import writing as _files
from vrjax.report import video


def clip(frames: int = 9, height: int = 40, width: int = 40, block: int = 4) -> np.ndarray:
    """Random colours in blocks: hard edges, the worst case of a video codec."""
    rng = np.random.default_rng(0)
    small = rng.uniform(-1, 1, (frames, -(-height // block), -(-width // block), 3))
    return small.repeat(block, 1).repeat(block, 2)[:, :height, :width].astype(np.float32)


def test_mp4_keeps_size_count_and_colours(tmp_path):
    original = clip()
    path = video.save(tmp_path / "deep" / "er" / "clip.mp4", original, fps=8, scale=8)
    back = video.load(path)
    assert back.shape == (9, 320, 320, 3) and back.dtype == np.float32
    middle = back[:, 16::32, 16::32]  # block centres: away from the chroma bleeding at the edges
    assert np.abs(middle - original[:, 2::4, 2::4]).max() < 0.12
    assert np.abs(middle - original[:, 2::4, 2::4]).mean() < 0.02


def test_mp4_plays_at_the_given_rate(tmp_path):
    import av

    path = video.save(tmp_path / "clip.mp4", clip(8), fps=7.5, scale=2)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate) == 7.5
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert abs(container.duration / 1e6 - 8 / 7.5) < 0.05


@pytest.mark.parametrize("height, width", [(41, 40), (40, 41), (41, 41), (1, 1)])
def test_odd_sizes_are_padded_by_their_edge(tmp_path, height, width):
    frames = np.full((2, height, width, 3), 0.5, np.float32)
    back = video.load(video.save(tmp_path / "clip.mp4", frames))
    assert back.shape == (2, height + height % 2, width + width % 2, 3)
    assert np.abs(back - 0.5).max() < 0.05


def test_gif_is_exact_where_colours_are_few_and_does_not_flicker(tmp_path):
    palette = np.array([[0, 0, 0], [255, 255, 255], [226, 38, 36], [38, 172, 64]], np.uint8)
    frames = palette[np.random.default_rng(1).integers(0, 4, (5, 10, 10))]
    frames[:, 0] = palette[2]
    path = video.save(tmp_path / "clip.gif", frames, fps=8, scale=3)
    back = np.round((video.load(path) + 1) * 127.5).astype(np.uint8)
    np.testing.assert_array_equal(back, frames.repeat(3, 1).repeat(3, 2))
    with Image.open(path) as image:
        assert image.info["loop"] == 0 and abs(image.info["duration"] - 125) <= 5


def test_gif_keeps_frames_that_do_not_change(tmp_path):
    frames = np.zeros((6, 8, 8, 3), np.uint8)
    frames[3:] = 200
    back = video.load(video.save(tmp_path / "clip.gif", frames, fps=10))
    with Image.open(tmp_path / "clip.gif") as image:
        total = sum(_duration(image, i) for i in range(image.n_frames))
    assert total == 600 and back[0].max() < -0.99 and back[-1].min() > 0.5


def _duration(image, i):
    image.seek(i)
    return image.info["duration"]


def test_png_strip_is_exact(tmp_path):
    frames = np.random.default_rng(2).integers(0, 256, (3, 4, 5, 3), np.uint8)
    path = video.save(tmp_path / "strip.png", frames)
    image = np.asarray(Image.open(path))
    assert image.shape == (4, 3 * 5 + 2 * 2, 3)
    np.testing.assert_array_equal(image[:, 7:12], frames[1])
    assert (image[:, 5:7] == 255).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.integers(0, 3))
def test_grid_puts_every_picture_in_its_place(steps, frames, height, width, gap):
    rng = np.random.default_rng(steps * 100 + frames)
    x0 = rng.integers(0, 256, (steps, frames, height, width, 3), np.uint8)
    truth = rng.integers(0, 256, (frames, height, width, 3), np.uint8)
    sheet = video.grid(x0, truth=truth, gap=gap)
    for s in range(steps):
        for f in range(frames):
            y, x = s * (height + gap), f * (width + gap)
            np.testing.assert_array_equal(sheet[y : y + height, x : x + width], x0[s, f])
    np.testing.assert_array_equal(sheet[-height:, :width], truth[0])


def test_grid_chooses_steps_and_frames():
    x0 = np.arange(4 * 5, dtype=np.uint8).reshape(4, 5, 1, 1, 1).repeat(3, -1)
    sheet = video.grid(x0, steps=(0, -1), frames=(1, 3), gap=0)
    np.testing.assert_array_equal(sheet[..., 0], [[1, 3], [16, 18]])
    with pytest.raises(ValueError, match=r"steps: \[4\]"):
        video.grid(x0, steps=(4,))


def test_jax_arrays_and_half_precision_are_read(tmp_path):
    frames = jnp.asarray(clip(2), jnp.bfloat16)
    back = video.load(video.save(tmp_path / "clip.gif", frames))
    assert back.shape == (2, 40, 40, 3)


@pytest.mark.parametrize(
    "frames, message",
    [
        (np.zeros((4, 8, 8)), r"\(\.\.\., height, width, 3\), found \(4, 8, 8\)"),
        (np.zeros((8, 8, 3)), r"expected \(t, h, w, 3\), found \(8, 8, 3\)"),
        (np.zeros((4, 8, 8, 1)), "height, width, 3"),
        (np.zeros((0, 8, 8, 3)), "empty"),
        (np.zeros((4, 8, 8, 3), np.int32), "int32"),
        (np.full((4, 8, 8, 3), np.nan), "768 of 768 values are not finite"),
    ],
)
def test_bad_videos_are_refused_and_nothing_is_written(tmp_path, frames, message):
    for name in ("clip.mp4", "clip.gif", "clip.png"):
        with pytest.raises(ValueError, match=message):
            video.save(tmp_path / name, frames)
    assert not list(tmp_path.iterdir())


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match="scale"):
        video.save(tmp_path / "clip.mp4", clip(), scale=0)
    with pytest.raises(ValueError, match="fps"):
        video.save(tmp_path / "clip.mp4", clip(), fps=0)
    with pytest.raises(ValueError, match="unknown suffix '.avi'"):
        video.save(tmp_path / "clip.avi", clip())
    with pytest.raises(ValueError, match="16384"):
        video.save(tmp_path / "clip.gif", np.zeros((1, 2, 5000, 3), np.uint8), scale=4)
    assert not list(tmp_path.iterdir())


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.mp4"):
        video.load(tmp_path / "nowhere.mp4")
    whole = video.save(tmp_path / "whole.mp4", clip(), scale=4).read_bytes()
    for name, data in (
        ("torn.mp4", whole[:300]),
        ("text.mp4", b"not a video"),
        ("text.gif", b"GIF89a"),
        ("none.mp4", b""),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=name):
            video.load(tmp_path / name)


def test_a_full_disk_leaves_the_old_file_and_no_scratch(tmp_path, monkeypatch):
    path = video.save(tmp_path / "clip.gif", clip(2))
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_files.os, "fsync", full)
    for name in ("clip.gif", "clip.mp4"):
        with pytest.raises(OSError, match=f"{name} not written: no space left on the disk"):
            video.save(tmp_path / name, clip(3))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["clip.gif"]
