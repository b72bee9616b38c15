"""Contact sheets: the clip's own pixels, strings that cannot hurt, errors before anything is written."""

import numpy as np
import pytest
from matplotlib.image import imread

from vrjax import tasks
from vrjax.report.sheet import GAP, HEAD, MARGIN, TITLE, contact_sheet


def pixels(path):
    return np.round(imread(path)[..., :3] * 255).astype(int)


@pytest.mark.parametrize("name", tasks.names())
def test_shows_the_clips_pixel_by_pixel(name, tmp_path):
    contact_sheet(name, "test", [3], tmp_path / "sheet.png", scale=2)
    sheet = pixels(tmp_path / "sheet.png")
    video = tasks.get(name).make(3, "test").video
    assert sheet.shape[1] == 2 * MARGIN + 9 * 80 + 8 * GAP
    top = TITLE + HEAD
    for f, frame in enumerate(video):
        left = MARGIN + f * (80 + GAP)
        shown = sheet[top : top + 80, left : left + 80]
        expected = (frame.repeat(2, 0).repeat(2, 1) + 1) / 2 * 255
        assert np.abs(shown - expected).max() <= 1


def test_models_rows_and_hostile_names(tmp_path):
    world = tasks.get("maze")
    clips = [world.make(i, "large") for i in range(2)]
    hostile = ["$\\frac{1}{0$ <script>alert(1)</script>", "\x00\n\t\u202e", "{%s} " * 500]
    videos = {name: [clip.video + 3 for clip in clips] for name in hostile}  # out of range on purpose
    contact_sheet(world, "large", range(2), tmp_path / "a.png", videos=videos)
    contact_sheet(world, "large", range(2), tmp_path / "b.png")
    with_rows, without = pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png")
    assert with_rows.shape[0] > without.shape[0] + 6 * 96 and with_rows.shape[1] == without.shape[1]


def test_bad_arguments_write_nothing(tmp_path):
    path = tmp_path / "sheet.png"
    world = tasks.get("ball")
    video = world.make(0, "test").video
    bad_calls = [
        (("chess", "test", [0], path), {}),
        ((world, "nowhere", [0], path), {}),
        ((world, "test", [], path), {}),
        ((world, "test", [0], path), {"scale": 0}),
        ((world, "test", [0], path), {"videos": {"m": []}}),
        ((world, "test", [0], path), {"videos": {"m": [video[:-1]]}}),
        ((world, "test", [0], path), {"videos": {"m": [video * np.nan]}}),
    ]
    for args, options in bad_calls:
        with pytest.raises(ValueError):
            contact_sheet(*args, **options)
    with pytest.raises(ValueError):
        contact_sheet(world, "test", [0], tmp_path / "sheet.unknown")
    assert not list(tmp_path.iterdir())
