"""Sampled rows: the viewer's record of them, and the files beside it."""

import jax
import numpy as np
import pytest
import report_samples as samples
from scipy.spatial.transform import Rotation

from vrjax import motion
from vrjax.motion import files
from vrjax.report import bodies, html


@pytest.fixture(scope="module")
def rows():
    """(seed, step, frame, 276) of walks in other directions; the joints hang on turned frames, as in true rows."""
    turn = lambda frames, n: Rotation.from_rotvec(
        np.random.default_rng(n).normal(size=(frames * n, 3)) * 0.1
    ).as_matrix()
    made = []
    for heading in (0.0, 0.8):
        joints = samples.walk(13, heading)
        root, body = turn(13, 1), turn(13, 21).reshape(13, 21, 3, 3)
        made.append(motion.to_276(joints, root, body, joints[:, 0], canonical=False))
    first = np.stack(made)[:, None]
    return np.concatenate([first + 0.01, first], 1)


def test_joints_are_those_of_the_ways_from_the_first_row(rows):
    body = bodies.of_rows("walk", "a person walks", rows, truth=rows[0, 1], solved=[True, False], sigma=[1.0, 0.5])
    assert body.joints.shape == (2, 2, 12, 22, 3) and body.solved == (True, False)
    np.testing.assert_allclose(body.joints[0, 1], samples.walk(13)[:12], atol=1e-5)
    np.testing.assert_allclose(body.truth, body.joints[0, 1], atol=1e-6)
    first, ways = rows[1, 0, 0, 126:192].reshape(22, 3), rows[1, 0, :, 192:258].reshape(12, 22, 3).astype(float)
    expected = first + np.concatenate([np.zeros((1, 22, 3)), np.cumsum(ways, 0)[:-1]])
    np.testing.assert_allclose(body.joints[1, 0], expected, atol=1e-5)
    placed = bodies.of_rows("walk", "p", rows, path="position")
    np.testing.assert_allclose(placed.joints, rows[..., 126:192].reshape(2, 2, 12, 22, 3), atol=1e-6)
    assert 'data-ref="view"' in html.render(html.Page("t", scrubbers=[html.Scrubber([body])]))


def test_files_are_read_back(rows, tmp_path):
    made = bodies.write(tmp_path / "new", rows[:, -1])
    assert [path.name for path in made] == ["seed-0.npy", "seed-0.bvh", "seed-1.npy", "seed-1.bvh"]
    for seed in (0, 1):
        np.testing.assert_array_equal(files.read(made[2 * seed]).motion, rows[seed, -1])
        back = motion.read_bvh(made[2 * seed + 1])
        np.testing.assert_allclose(back.joints[:, 0], motion.from_276(rows[seed, -1]).joints[:, 0], atol=1e-5)
        np.testing.assert_allclose(back.root, motion.from_276(rows[seed, -1]).root, atol=1e-5)
    named = bodies.write(tmp_path, rows[:, -1], ["T2M, guided", "../M2M"])
    assert [path.name for path in named[::2]] == ["T2M-guided.npy", "M2M.npy"] and named[2].parent == tmp_path


@pytest.mark.parametrize(
    "make, said",
    [
        (
            lambda rows: bodies.of_rows("walk", "p", rows[0]),
            r"walk: rows has shape \(2, 12, 276\), expected \(seed, step",
        ),
        (lambda rows: bodies.of_rows("walk", "p", rows[..., :263]), r"263\), expected \(seed, step, frame, 276\)"),
        (lambda rows: bodies.of_rows("walk", "p", rows * np.nan), "13248 of 13248 values of rows are not finite"),
        (lambda rows: bodies.of_rows("walk", "p", rows, truth=rows[0, 0, :9]), "truth has 9 frames, expected 12"),
        (lambda rows: bodies.of_rows("walk", "p", rows, path="sideways"), "path"),
        (lambda rows: bodies.write("x", rows[:, 0], ["a"]), r"labels \['a'\], expected 2 that differ"),
        (lambda rows: bodies.write("x", rows[:, 0], ["a!", "A"]), "expected 2 that differ"),
        (lambda rows: bodies.write("x", rows), r"expected \(seed, frame, 276\)"),
    ],
)
def test_rows_that_do_not_fit_are_named(make, said, rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=said):
        make(rows)
    assert not list(tmp_path.iterdir())


def test_rows_of_jax_are_taken(rows):
    made = bodies.of_rows("walk", "p", jax.numpy.asarray(rows[:1, :1]))
    np.testing.assert_allclose(made.joints, bodies.of_rows("w", "p", rows).joints[:1, :1], atol=1e-6)
