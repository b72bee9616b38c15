"""Pixels there and back, and pictures as a viewer shows them."""

import io

import numpy as np
import pytest
from PIL import Image

from vrjax import files
from vrjax.files import pixels


def test_every_value_comes_back():
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(pixels.to_uint8(pixels.to_float(every)), every)
    assert pixels.to_float(every).dtype == np.float32
    assert pixels.to_uint8(np.array([-3.0, 3.0])).tolist() == [0, 255]


@pytest.mark.parametrize("wrong", [np.zeros(3, np.uint8), np.zeros(3, bool), np.array([0.0, np.nan]), [np.inf]])
def test_integers_and_what_is_not_finite_are_refused(wrong):
    with pytest.raises(ValueError, match="film: .*expected (floating-point )?pixels in"):
        pixels.to_uint8(wrong, "film")


def test_a_picture_is_read_as_a_viewer_shows_it(tmp_path):
    """A camera's note that the sensor was held on its side is obeyed; transparency is dropped."""
    upright = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8)
    lying = Image.fromarray(np.rot90(upright).copy())
    exif = lying.getexif()
    exif[0x0112] = 6  # turn by a quarter, clockwise
    lying.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(files.read_image(tmp_path / "a.png"), upright)
    Image.fromarray(np.dstack([upright, upright[..., :1]])).save(tmp_path / "b.png")
    np.testing.assert_array_equal(files.read_image(tmp_path / "b.png"), upright)
    with pytest.raises(FileNotFoundError, match="none.png: no such picture"):
        files.read_image(tmp_path / "none.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(ValueError, match="torn.png: cannot be read as a picture"):
        files.read_image(tmp_path / "torn.png")
    Image.fromarray(upright).save(tmp_path / "c.bmp")
    with pytest.raises(ValueError, match="c.bmp: cannot be read as a PNG picture"):
        files.read_image(tmp_path / "c.bmp", formats=("PNG",))


def test_png_bytes():
    frame = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(pixels.decode(pixels.png(frame), "x"), frame)
    assert Image.open(io.BytesIO(pixels.png(frame))).format == "PNG"
