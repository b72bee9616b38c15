"""Written videos say what their numbers mean, and what a rule will judge loses nothing."""

import os
import pathlib
import subprocess
import sys

import av
import numpy as np
import pytest

from tests.data import test_vbvr
from vrjax.data import mp4, vbvr


def path_of_one_pixel() -> np.ndarray:
    """A red line of one pixel on black, which turns a corner and grows with time."""
    film = np.zeros((6, 48, 64, 3), np.uint8)
    for i, frame in enumerate(film):
        frame[9, : 10 * (i + 1)] = (255, 0, 0)
        frame[9 : 9 + 6 * (i + 1), 33] = (255, 0, 0)
    return film


@pytest.mark.parametrize(
    ("codec", "matrix", "limited"), [("mpeg4", mp4.BT601, True), ("libx264", mp4.BT709, True), (mp4.LOSSLESS, 0, False)]
)
def test_what_a_file_says_of_itself(codec, matrix, limited, tmp_path):
    """Matrix, primaries, transfer and range stand in it and are what was used: plain colours come back."""
    film = np.empty((3, 32, 32, 3), np.uint8)
    film[:, :16], film[:, 16:] = (0, 200, 40), (220, 30, 180)
    mp4.encode(tmp_path / "a.mp4", film, fps=8, codec=codec)
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        said = context.colorspace, context.color_primaries, context.color_trc, context.color_range
    assert said == (matrix, mp4.BT709, mp4.BT709, 1 if limited else 2)
    found = mp4.decode(tmp_path / "a.mp4")[0]
    assert np.abs(found[:, 4:12].astype(int) - film[:, 4:12]).max() <= (4 if limited else 0)
    assert np.abs(found[:, 20:28].astype(int) - film[:, 20:28]).max() <= (4 if limited else 0)


def test_a_coloured_path_of_one_pixel(tmp_path):
    """Bit for bit without loss; with colours at half the resolution about half of its colour is gone."""
    film = path_of_one_pixel()
    mp4.encode(tmp_path / "exact.mp4", film, fps=8, codec=mp4.LOSSLESS)
    found, _, fps = mp4.decode(tmp_path / "exact.mp4")
    np.testing.assert_array_equal(found, film)
    assert fps == 8
    mp4.encode(tmp_path / "played.mp4", film, fps=8, codec="libx264")
    shown = mp4.decode(tmp_path / "played.mp4")[0].astype(float)
    line = film[..., 0] > 0
    colour = shown[..., 0] - shown[..., 1:].mean(-1)
    assert 0.35 < colour[line].mean() / 255 < 0.65


def test_predictions_are_exact_at_the_true_size(tmp_path):
    film = path_of_one_pixel()
    where = (tmp_path, "In-Domain_50", "t", 0, film.astype(np.float32) / 127.5 - 1)
    np.testing.assert_array_equal(mp4.decode(vbvr.write_prediction(*where, upscale=1))[0], film)
    assert mp4.decode(vbvr.write_prediction(*where, size=(45, 81)))[0].shape == (6, 45, 81, 3)  # odd sides too
    with pytest.raises(ValueError, match="give one of them"):
        vbvr.write_prediction(*where, size=(48, 64), upscale=2)


def test_an_ffmpeg_without_the_codec(tmp_path, monkeypatch):
    monkeypatch.setattr(av.codec, "codecs_available", {"mpeg4"})
    with pytest.raises(ValueError, match="'libx264rgb': this FFmpeg was built without it"):
        vbvr.write_prediction(tmp_path, "In-Domain_50", "t", 0, test_vbvr.tiny().video)


ENCODE = """
import hashlib, sys, tempfile
import numpy as np
from vrjax.data import mp4
draw = np.random.default_rng(0)
for shape in [(13, 48, 80, 3)] * 6 + [(5, 16, 32, 3)] * 2:
    film = np.clip(np.cumsum(draw.normal(0, 3, shape), 2) + 128, 0, 255).astype(np.uint8)
    for codec in mp4.CODECS:
        with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
            mp4.encode(file.name, film, fps=16, codec=codec)
            print(codec, hashlib.sha256(file.read()).hexdigest())
"""


def test_equal_pixels_give_equal_bytes_whatever_memory_holds():
    """glibc fills what it hands out: an encoder that reads what it did not write gives other bytes."""
    root = pathlib.Path(__file__).parents[2]
    starts = [{"MALLOC_PERTURB_": filling} for filling in ("1", "85", "170")]
    running = [
        subprocess.Popen([sys.executable, "-c", ENCODE], stdout=subprocess.PIPE, cwd=root, env=os.environ | start)
        for start in starts
    ]
    said = [process.communicate()[0] for process in running]
    assert said[0].count(b"libx264 ") == 8 and said[0] == said[1] == said[2]
