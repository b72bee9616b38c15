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
    """A camera's note that the sensor was held on its side is obeyed."""
    upright = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8)
    lying = Image.fromarray(np.rot90(upright).copy())
    exif = lying.getexif()
    exif[0x0112] = 6  # turn by a quarter, clockwise
    for name in ("a.png", "a.tiff", "a.webp"):
        lying.save(tmp_path / name, exif=exif, lossless=True)
        np.testing.assert_array_equal(files.read_image(tmp_path / name), upright)
    with pytest.raises(FileNotFoundError, match="none.png: no such picture"):
        files.read_image(tmp_path / "none.png")
    grey = Image.fromarray(np.rot90(upright[..., 0]).copy())
    grey.save(tmp_path / "grey.tiff", exif=exif)
    np.testing.assert_array_equal(files.read_image(tmp_path / "grey.tiff")[..., 0], upright[..., 0])
    (tmp_path / "torn.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(ValueError, match="torn.png: cannot be read as a picture"):
        files.read_image(tmp_path / "torn.png")
    Image.fromarray(upright).save(tmp_path / "c.bmp")
    with pytest.raises(ValueError, match="c.bmp: cannot be read as a PNG picture"):
        files.read_image(tmp_path / "c.bmp", formats=("PNG",))


def test_what_is_transparent_lies_over_white(tmp_path):
    """Whatever colour hides there: full, half and no opacity, of RGBA, grey, and a palette with a clear entry."""
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0], rgba[0, :, 3] = 200, (255, 51, 0)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    expected = [[200, 0, 0], [244, 204, 204], [255, 255, 255]]  # 0.2 * 200 + 0.8 * 255 = 244
    np.testing.assert_array_equal(files.read_image(tmp_path / "rgba.png")[0], expected)
    Image.fromarray(rgba[..., [0, 3]], "LA").save(tmp_path / "la.png")
    np.testing.assert_array_equal(files.read_image(tmp_path / "la.png")[0, :, 1], [200, 244, 255])
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 9, 9, 70, 80, 90])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "p.png", transparency=0)
    np.testing.assert_array_equal(files.read_image(tmp_path / "p.png")[0], [[255] * 3, [70, 80, 90]])
    data = (tmp_path / "rgba.png").read_bytes()
    np.testing.assert_array_equal(pixels.decode(data, "x")[0], expected)


def test_grey_of_16_bits_keeps_its_range(tmp_path):
    """A ramp, which Pillow's conversion makes white from 256 on."""
    grey = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(grey).save(tmp_path / "a.png")
    shown = files.read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(shown, np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, -1))
    Image.fromarray(grey.astype(np.float32)).save(tmp_path / "f.tiff")
    with pytest.raises(ValueError, match="f.tiff: .*floating-point values, expected 8 or 16 bits"):
        files.read_image(tmp_path / "f.tiff")


def test_png_bytes():
    frame = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(pixels.decode(pixels.png(frame), "x"), frame)
    assert Image.open(io.BytesIO(pixels.png(frame))).format == "PNG"
