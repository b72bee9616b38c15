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
    side = 2 * video.shape[2]
    assert sheet.shape[1] == 2 * MARGIN + 9 * side + 8 * GAP
    top = TITLE + HEAD
    for f, frame in enumerate(video):
        left = MARGIN + f * (side + GAP)
        shown = sheet[top : top + side, left : left + side]
        expected = (frame.repeat(2, 0).repeat(2, 1) + 1) / 2 * 255
        assert np.abs(shown - expected).max() <= 1


def test_hostile_prompts_are_text(tmp_path, monkeypatch):
    world = tasks.get("maze")
    clip = world.make(0, "large")
    contact_sheet(world, "large", [0], tmp_path / "a.png")
    for hostile in ("$\\frac{1}{0$ <script>alert(1)</script>", "\x00\n\t\u202e", "{%s} " * 500):
        said = clip._replace(prompt=hostile, answer=hostile)
        monkeypatch.setattr(tasks.Maze, "make", lambda self, seed, split, said=said: said)
        contact_sheet(world, "large", [0], tmp_path / "b.png")
        assert pixels(tmp_path / "b.png").shape == pixels(tmp_path / "a.png").shape


def test_bad_arguments_write_nothing(tmp_path):
    path = tmp_path / "sheet.png"
    world = tasks.get("ball")
    bad_calls = [
        (("chess", "test", [0], path), {}),
        ((world, "nowhere", [0], path), {}),
        ((world, "test", [], path), {}),
        ((world, "test", [0], path), {"scale": 0}),
    ]
    for args, options in bad_calls:
        with pytest.raises(ValueError):
            contact_sheet(*args, **options)
    with pytest.raises(ValueError):
        contact_sheet(world, "test", [0], tmp_path / "sheet.unknown")
    assert not list(tmp_path.iterdir())
