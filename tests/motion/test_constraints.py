"""Constraint errors and the skate ratio against plain NumPy, and what is no constraint."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vrjax.motion import constraints


@pytest.fixture(scope="module")
def joints():
    return np.random.default_rng(0).normal(size=(30, 22, 3)).astype(np.float32)


def test_errors_are_the_distances_that_were_planted(joints):
    frames, off = [0, 11, 29], np.array([[0.3, 0.0, 0.4], [0.0, 0.0, 0.0], [0.0, 1.2, 0.5]], np.float32)
    targets = joints[frames] + off[:, None]
    np.testing.assert_allclose(constraints.keyframe_error(joints, frames, targets), [0.5, 0.0, 1.3], atol=1e-6)
    found = constraints.end_effector_error(joints, frames, (20, 21), targets[:, 20:22])
    np.testing.assert_allclose(found, [[0.5] * 2, [0.0] * 2, [1.3] * 2], atol=1e-6)
    np.testing.assert_allclose(constraints.path_error(joints, frames, targets[:, 0, :2]), [0.3, 0.0, 1.2], atol=1e-6)
    y_up = constraints.path_error(joints, frames, targets[:, 0, ::2], up_axis=1)
    np.testing.assert_allclose(y_up, [0.5, 0.0, 0.5], atol=1e-6)
    told = constraints.summary(found, within=0.6)
    assert float(told["mean"]) == pytest.approx(0.6) and float(told["within"]) == pytest.approx(4 / 6)
    assert float(told["p95"]) == pytest.approx(np.percentile(found, 95))


def test_the_skate_ratio_counts_steps_on_the_floor(joints):
    x = np.abs(joints) * np.float32(0.005)
    x[:, [10, 11], 2] *= 8
    toes = np.float64(x[:, [10, 11]])
    down = [(i, f) for i in range(29) for f in (0, 1) if toes[i, f, 2] < 0.05 and toes[i + 1, f, 2] < 0.05]
    skates = [np.linalg.norm(toes[i + 1, f] - toes[i, f]) * 20 > 0.2 for i, f in down]
    assert 5 < sum(skates) < len(skates)
    assert float(constraints.foot_skate_ratio(x)) == pytest.approx(np.mean(skates), abs=1e-6)
    turned = np.roll(x, 1, axis=-1)  # (x, y, z) -> (z, x, y)
    assert float(constraints.foot_skate_ratio(turned, up_axis=0)) == pytest.approx(np.mean(skates), abs=1e-6)
    assert float(constraints.foot_skate_ratio(x + np.float32(1))) == 0.0
    still = np.zeros((4, 22, 3), np.float32)
    assert float(constraints.foot_skate_ratio(still)) == 0.0


def test_they_are_functions_of_jax(joints):
    frames = jnp.array([1, 5])
    error = lambda x: constraints.keyframe_error(x, frames, x[frames] + 1.0).sum()
    slope = jax.jit(jax.grad(lambda x: constraints.path_error(x, frames, jnp.ones((2, 2))).sum()))(jnp.asarray(joints))
    away = np.float64(joints[[1, 5], 0, :2]) - 1
    np.testing.assert_allclose(slope[frames, 0, :2], away / np.linalg.norm(away, axis=1, keepdims=True), atol=1e-5)
    assert float(jnp.abs(slope).sum() - jnp.abs(slope[frames, 0]).sum()) == 0.0
    many = jax.jit(jax.vmap(error))(jnp.stack([jnp.asarray(joints)] * 2))
    np.testing.assert_allclose(many, 2 * np.sqrt(3), rtol=1e-6)
    held = jax.grad(lambda x: constraints.keyframe_error(x, frames, joints[frames]).sum())(jnp.asarray(joints))
    assert bool(jnp.isfinite(held).all())


def test_what_is_no_constraint(joints):
    for call, message in (
        (lambda: constraints.keyframe_error(joints, [30], joints[:1]), "frames: expected 0 to 29, found 30"),
        (lambda: constraints.keyframe_error(joints, [-1], joints[:1]), "frames: expected 0 to 29, found -1"),
        (lambda: constraints.path_error(joints, [0], np.ones((2, 2), np.float32)), r"path: expected \(1, 2\), found"),
        (lambda: constraints.path_error(joints, [0], joints[:1, 0, :2], up_axis=3), "up_axis: expected 0, 1 or 2"),
        (lambda: constraints.foot_skate_ratio(joints[:1]), "joints: expected at least 2 frames, found 1"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
