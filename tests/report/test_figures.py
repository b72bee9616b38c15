"""Figures: the right marks at the right places, no leaking state, atomic and reproducible files."""

import io
import sys

import matplotlib
import numpy as np
import pytest
import report_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vrjax.files import writing as _files
from vrjax.report import figures
from vrjax.report.parts import Curve, Effect, Forest, HeatMap, Series


@pytest.fixture(scope="module")
def run():
    return samples.case(0, seeds=1, steps=6)


def everything(run):
    return {
        "curve": lambda: figures.curve(samples.curves()[0]),
        "forest": lambda: figures.forest(samples.forest()),
        "map": lambda: figures.heat_map(HeatMap("Energy", np.eye(4), rows="abcd")),
        "diverging": lambda: figures.heat_map(HeatMap("Excess", np.eye(4) - 0.5, center=0.0)),
        "film_strip": lambda: figures.film_strip(run.x0[0], sigma=run.sigma, truth=run.truth, title="A maze"),
    }


NAMES = ("curve", "forest", "map", "diverging", "film_strip")


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_saves_the_same_bytes_twice_and_leaves_no_state(tmp_path, run, name):
    before = dict(matplotlib.rcParams)
    make = everything(run)[name]
    first = figures.save(make(), tmp_path / "deep" / "a.png", dpi=60).read_bytes()
    second = figures.save(make(), tmp_path / "b.png", dpi=60).read_bytes()
    assert first == second
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    image = np.asarray(Image.open(tmp_path / "b.png").convert("RGB"))
    assert image.std() > 5 and (image[0, 0] == 255).all()


def test_a_notebook_shows_the_picture_that_is_saved(tmp_path):
    figure = figures.curve(Curve("c", [Series("model", np.arange(4.0))]))
    with Image.open(io.BytesIO(figure._repr_png_())) as shown:
        with Image.open(figures.save(figure, tmp_path / "c.png", dpi=figure.dpi)) as saved:
            np.testing.assert_array_equal(np.asarray(shown), np.asarray(saved))


@pytest.mark.parametrize("name", NAMES)
def test_no_text_is_cut_off(run, name):
    figure = everything(run)[name]()
    figure.canvas.draw()
    frame = figure.bbox
    for text in figure.findobj(matplotlib.text.Text):
        if text.get_visible() and text.get_text().strip() and text.axes is not None:
            if text in (*text.axes.get_xticklabels(), *text.axes.get_yticklabels()) and not _in_view(text):
                continue
            box = text.get_window_extent()
            assert frame.x0 - 1 <= box.x0 and box.x1 <= frame.x1 + 1, (text.get_text(), box)
            assert frame.y0 - 1 <= box.y0 and box.y1 <= frame.y1 + 1, (text.get_text(), box)


def _in_view(text) -> bool:
    low, high = sorted(text.axes.get_xlim() if text in text.axes.get_xticklabels() else text.axes.get_ylim())
    place = text.get_position()[0 if text in text.axes.get_xticklabels() else 1]
    return low <= place <= high


def test_svg_and_pdf_are_reproducible_too(tmp_path):
    for kind in ("svg", "pdf"):
        a = figures.save(figures.curve(samples.curves()[0]), tmp_path / f"a.{kind}").read_bytes()
        b = figures.save(figures.curve(samples.curves()[0]), tmp_path / f"b.{kind}").read_bytes()
        assert a == b


def test_curve_draws_the_numbers_and_tells_the_null_apart():
    y = np.array([3.0, 2.0, np.nan, 1.0])
    part = Curve("t", [Series("model", y, low=y - 1, high=y + 1), Series("null", [1, 1, 1, 1], role="null")])
    (axis,) = figures.curve(part).axes
    model, null = axis.get_lines()
    np.testing.assert_array_equal(model.get_xydata()[:, 1], y)
    assert model.get_linestyle() == "-" and null.get_linestyle() == "--" and model.get_color() != null.get_color()
    band = axis.collections[0].get_paths()
    assert {round(v, 6) for v in np.concatenate([p.vertices[:, 1] for p in band])} >= {0.0, 1.0, 2.0, 3.0, 4.0}
    assert [t.get_text() for t in axis.get_legend().get_texts()] == ["model", "null"]
    assert all(float(t) == int(t) for t in axis.get_xticks())


def test_more_arms_than_colours():
    """Arms of one colour differ in their marks, all of them are named, and beside the plot."""
    names = [f"arm {i}" for i in range(9)]
    (axis,) = figures.curve(Curve("t", [Series(name, np.arange(24.0) * i) for i, name in enumerate(names)])).axes
    assert len({(line.get_color(), line.get_marker()) for line in axis.get_lines()}) == 9
    legend = axis.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == names
    axis.figure.canvas.draw()
    assert legend.get_window_extent().x0 >= axis.get_window_extent().x1


def test_seed_series_become_one_line_a_seed():
    (axis,) = figures.curve(Curve("t", [Series("runs", np.arange(6.0).reshape(2, 3))])).axes
    drawn = [line.get_ydata() for line in axis.get_lines() if len(line.get_xdata())]
    np.testing.assert_array_equal(drawn, [[0, 1, 2], [3, 4, 5]])


def test_forest_places_intervals_and_reference():
    part = Forest("t", [Effect("a", 0.5, 0.25, 0.75, 8), Effect("b", 2.0, role="null")], reference=1.0)
    (axis,) = figures.forest(part).axes
    lines = [line.get_xydata().tolist() for line in axis.get_lines()]
    assert [[0.25, 0], [0.75, 0]] in lines and [[0.5, 0]] in lines and [[2.0, 1]] in lines
    assert [t.get_text() for t in axis.get_yticklabels()] == ["a", "b"]
    assert axis.get_ylim()[0] > axis.get_ylim()[1]  # first arm on top
    (axis,) = figures.forest(Forest("t", [Effect("a", -0.5)], reference=0)).axes
    assert "−0.500" in [t.get_text() for t in axis.texts]
    (axis,) = figures.forest(part).axes
    assert "0.500  [0.250, 0.750]  n 8" in [t.get_text() for t in axis.texts]


def test_film_strip_shows_the_chosen_cells(run):
    figure = figures.film_strip(run.x0[0], steps=(0, -1), frames=(2, 8), labels=range(0, 60, 10))
    (axis,) = figure.axes
    picture = np.asarray(axis.get_images()[0].get_array())
    np.testing.assert_array_equal(picture[:40, :40], run.x0[0, 0, 2])
    np.testing.assert_array_equal(picture[-40:, -40:], run.x0[0, -1, 8])
    assert [t.get_text() for t in axis.get_yticklabels()] == ["step 0", "50"]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["2", "8"]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.integers(0, 3))
def test_grid_puts_every_picture_in_its_place(steps, frames, height, width, gap):
    rng = np.random.default_rng(steps * 100 + frames)
    x0 = rng.integers(0, 256, (steps, frames, height, width, 3), np.uint8)
    truth = rng.integers(0, 256, (frames, height, width, 3), np.uint8)
    sheet = figures.grid(x0, truth=truth, gap=gap)
    for s in range(steps):
        for f in range(frames):
            y, x = s * (height + gap), f * (width + gap)
            np.testing.assert_array_equal(sheet[y : y + height, x : x + width], x0[s, f])
    np.testing.assert_array_equal(sheet[-height:, :width], truth[0])


def test_grid_chooses_steps_and_frames():
    x0 = np.arange(4 * 5, dtype=np.uint8).reshape(4, 5, 1, 1, 1).repeat(3, -1)
    sheet = figures.grid(x0, steps=(0, -1), frames=(1, 3), gap=0)
    np.testing.assert_array_equal(sheet[..., 0], [[1, 3], [16, 18]])
    with pytest.raises(ValueError, match=r"steps: \[4\]"):
        figures.grid(x0, steps=(4,))


def test_names_from_data_are_not_read_as_mathematics(tmp_path):
    part = Curve("cost in $ and $\\frac{", [Series("$x_1$ \\", [1.0, 2.0])])
    path = figures.save(figures.curve(part), tmp_path / "a.png", dpi=50)  # a half-read formula would raise here
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: figures.film_strip(np.zeros((2, 3, 4, 4))), "height, width, 3"),
        (lambda: figures.film_strip(np.zeros((2, 2, 4, 4, 3)), sigma=[1.0]), "sigma: expected 2 values"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_suffix_and_full_disk_leave_nothing(tmp_path, monkeypatch):
    figure = figures.curve(samples.curves()[0])
    with pytest.raises(ValueError, match="unknown suffix '.bmp'"):
        figures.save(figure, tmp_path / "a.bmp")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_files.os, "fsync", full)
    with pytest.raises(OSError, match="not written: no space left"):
        figures.save(figure, tmp_path / "a.png", dpi=50)
    assert not list(tmp_path.iterdir())
