"""Pictures of a study, put together."""

import numpy as np
from PIL import Image

from vrjax.report import parts
from vrjax.study import page


def curve(title):
    return parts.Curve(title, [parts.Series("a", np.arange(3.0))])


def size(path):
    with Image.open(path) as image:
        return image.size


def test_parts_stand_under_each_other_and_those_of_a_row_side_by_side(tmp_path):
    wide, high = size(page.draw(tmp_path / "one.png", curve("one")))
    assert size(page.draw(tmp_path / "row.png", [curve("one")])) == (wide, high)
    assert size(page.draw(tmp_path / "two.png", curve("one"), curve("two"))) == (wide, 2 * high)
    grid = page.draw(tmp_path / "grid.png", [curve("one"), curve("two")], [curve("three")])
    assert size(grid) == (2 * wide, 2 * high)
    with Image.open(grid) as image:
        drawn = np.asarray(image) < 128
    quarters = [drawn[y : y + high, x : x + wide].any() for y in (0, high) for x in (0, wide)]
    assert quarters == [True, True, True, False]


def test_a_page_of_motions_leaves_a_strip_of_skeletons_and_no_video(tmp_path):
    rest = np.random.default_rng(0).normal(size=(1, 3, 4, 22, 3))
    body = parts.Body("Walk ahead", "a person walks", rest)
    page.write(tmp_path, parts.Page("Motions", scrubbers=[parts.Scrubber([body])]))
    assert (tmp_path / "report.html").exists() and not (tmp_path / "videos").exists()
    (strip,) = (tmp_path / "figures").iterdir()
    wide, high = size(strip)
    assert strip.suffix == ".png" and wide > 2 * high / 2 > 200
