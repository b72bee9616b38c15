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
