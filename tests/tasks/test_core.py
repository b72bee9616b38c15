"""Draws, palette, raster, symmetries and splits."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from vrjax import tasks
from vrjax.tasks import core


def test_draws_are_splitmix64():
    rng = core.Draws()
    rng._state = 1234567
    # the generator's published test vector for seed 1234567
    assert [rng.bits() for _ in range(5)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_draws_depend_on_all_of_the_salt_and_are_uniform():
    first = {core.Draws(*salt).bits() for salt in [(), (1,), ("1",), (1, 2), (2, 1), ("a", "b"), ("ab",)]}
    assert len(first) == 7
    rng = core.Draws("uniform")
    counts = np.bincount([rng.below(7) for _ in range(7000)], minlength=7)
    assert ((counts - 1000) ** 2 / 1000).sum() < 22.5  # chi-square, 6 degrees of freedom, p = 0.001
    counts = np.bincount([rng.choice(range(4), [0.4, 0.0, 0.2, 0.4]) for _ in range(5000)], minlength=4)
    assert counts[1] == 0 and np.all(np.abs(counts / 5000 - [0.4, 0, 0.2, 0.4]) < 0.03)
    orders = np.bincount(
        [list(itertools.permutations(range(3))).index(tuple(rng.sample(range(3), 3))) for _ in range(6000)]
    )
    assert len(orders) == 6 and ((orders - 1000) ** 2 / 1000).sum() < 20.5
    assert {rng.between(-1, 1) for _ in range(100)} == {-1, 0, 1}


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=3, max_side=6), elements=st.integers(0, len(core.NAMES) - 1)))
@settings(deadline=None)
def test_raster_to_pixels_and_back(raster):
    video = core.paint(raster)
    assert video.shape == (*raster.shape[:-2], 4 * raster.shape[-2], 4 * raster.shape[-1], 3)
    assert np.array_equal(core.block_mean(video), core.COLOURS[raster])
    assert np.array_equal(core.nearest(core.block_mean(video)), raster)


def test_block_mean_is_the_mean():
    video = np.random.default_rng(0).normal(size=(3, 8, 12, 3))
    expected = video.reshape(3, 2, 4, 3, 4, 3).mean(axis=(2, 4))
    assert np.abs(core.block_mean(video) - expected).max() < 1e-12


def test_nearest_is_nearest():
    means = np.random.default_rng(0).normal(size=(50, 3))
    for colours in (core.NAMES, ("wall", "red", "floor")):
        far = {c: ((means - core.PALETTE[c]) ** 2).sum(-1) for c in colours}
        assert [core.NAMES[i] for i in core.nearest(means, colours)] == [
            min(colours, key=lambda c: far[c][i]) for i in range(50)
        ]


def test_colours_of_a_world_are_far_apart():
    for name in tasks.names():
        shades = [np.array(core.PALETTE[c]) for c in tasks.get(name).colours]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(shades, 2)) > 0.7


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=5), elements=st.integers(0, 2)))
@settings(deadline=None)
def test_canonical_is_the_same_for_the_eight_symmetries_and_no_others(grid):
    key = core.canonical(grid, extra=1)
    turned = [np.rot90(g, k) for g in (grid, grid.T) for k in range(4)]
    assert {core.canonical(g, extra=1) for g in turned} == {key}
    assert core.canonical(grid, extra=2) != key
    other = grid.copy()
    other[0, 0] = 3
    assert core.canonical(other, extra=1) != key


def test_canonical_tells_shapes_apart():
    assert core.canonical(np.zeros((2, 6))) != core.canonical(np.zeros((3, 4)))


def test_fold_shares():
    folds = [core.fold(i.to_bytes(4, "little")) for i in range(5000)]
    shares = [folds.count(s) / 5000 for s in ("train", "val", "test")]
    assert np.all(np.abs(np.array(shares) - [0.8, 0.1, 0.1]) < 0.02)


def test_shapes_differ_in_the_plane():
    """No shape is a shifted other one, so a picture names it without its token grid."""
    padded = set()
    for shape in core.SHAPES.values():
        cells = np.argwhere(np.array(shape))
        padded.add(tuple(map(tuple, cells - cells.min(0))))
    assert len(padded) == len(core.SHAPES) == 6


def test_a_task_is_found_by_its_file(tmp_path, monkeypatch):
    source = "from vrjax.tasks.maze import Maze\n\n\nclass Labyrinth(Maze):\n    name = 'labyrinth'\n"
    (tmp_path / "labyrinth.py").write_text(source)
    before = tasks.names()
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    assert set(tasks.names()) == {*before, "labyrinth"}
    task = tasks.get("labyrinth", size=6)
    clip = task.make(0, split="test")
    assert clip.meta["world"] == "labyrinth" and task.score(clip, clip.video) == 1.0
