"""Rotations against scipy's, recorded public outputs, and their own inverses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tests.motion.motion_oracles import random_rotations, recorded
from vrjax import motion
from vrjax.motion import rotations

MANY = random_rotations(0, 64)
# The identity, angles from tiny to a half turn, and the half turns about the axes and between them.
ANGLES = [0.0, 1e-7, 1e-5, 1e-3, 0.009, 0.011, 0.1, 1.0, 2.0, 3.0, 3.14, 3.1415, np.pi]
AXES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, -2, 0.5], [-1, -1, -1]], float)
VECTORS = np.concatenate([a * AXES / np.linalg.norm(AXES, axis=1, keepdims=True) for a in ANGLES])


def close(a, b, atol=2e-6):
    np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def test_recorded_public_outputs():
    z = recorded("rotations")
    close(motion.matrix(z["rot6d_in"]), z["rot6d_matrix"], 1e-6)
    close(motion.rot6d(z["rot6d_matrix"]), z["matrix_rot6d"], 0)
    public = rotations.matrix_from_axis_angle(z["axis_angle_in"], first_order=True)
    close(public, z["axis_angle_matrix_public"], 3e-7)
    close(motion.rot6d(public), z["axis_angle_rot6d_public"], 3e-7)
    close(rotations.matrix_from_axis_angle(z["axis_angle_in"]), z["axis_angle_matrix_exact"], 3e-7)
    close(rotations.axis_angle(z["axis_angle_matrix_public"]), z["axis_angle_back_public"], 1e-6)
    close(rotations.axis_angle(z["rot6d_matrix"]), z["rot6d_axis_angle"], 1e-6)


def test_the_public_form_differs_from_the_exact_one():
    z = recorded("rotations")
    public = rotations.matrix_from_axis_angle(z["axis_angle_in"], first_order=True)
    apart = np.abs(public - rotations.matrix_from_axis_angle(z["axis_angle_in"])).max()
    assert 8e-7 < apart < 2e-6


def test_the_order_of_the_six_numbers():
    m = np.arange(9.0).reshape(3, 3)
    np.testing.assert_array_equal(motion.rot6d(m), [0, 1, 3, 4, 6, 7])
    close(motion.matrix(motion.rot6d(MANY)), MANY)


def test_six_numbers_are_made_orthogonal():
    """A scaled and sheared frame gives the rotation that QR finds; undetermined columns are zero, never NaN."""
    raw = np.random.default_rng(1).normal(size=(32, 6))
    q, r = np.linalg.qr(raw.reshape(32, 3, 2))
    q = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None]
    close(motion.matrix(raw)[..., :2], q, 5e-6)
    close(np.linalg.det(np.asarray(motion.matrix(raw))), 1.0, 1e-5)
    close(motion.matrix(np.zeros(6)), np.zeros((3, 3)), 0)
    assert np.isfinite(jax.grad(lambda x: motion.matrix(x).sum())(jnp.zeros(6))).all()


def test_axis_angle_and_quaternions_equal_scipy():
    exact = Rotation.from_rotvec(VECTORS).as_matrix()
    close(rotations.matrix_from_axis_angle(VECTORS), exact, 5e-7)
    close(rotations.matrix_from_axis_angle(rotations.axis_angle(exact)), exact)
    below = np.linalg.norm(VECTORS, axis=1) < 3.1  # beyond, float32 does not tell the axis' sign
    close(rotations.axis_angle(exact[below]), VECTORS[below], 3e-6)
    wxyz = Rotation.from_matrix(MANY).as_quat(canonical=True, scalar_first=True)
    close(rotations.quaternion(MANY), wxyz, 1e-6)
    close(rotations.matrix_from_quaternion(3 * wxyz), MANY)
    turns = Rotation.from_matrix(random_rotations(2, 64)) * Rotation.from_matrix(MANY).inv()
    close(rotations.angle_between(MANY, random_rotations(2, 64)), turns.magnitude(), 3e-6)


def test_gradients_are_finite_and_right():
    """Everywhere, the identity and half turns included; and equal to the difference quotient at a generic one."""
    weight = jnp.asarray(np.random.default_rng(3).normal(size=3))
    turn = lambda v: jnp.sum(rotations.axis_angle(rotations.matrix_from_axis_angle(v)) * weight)
    assert np.isfinite(jax.vmap(jax.grad(turn))(jnp.asarray(VECTORS, jnp.float32))).all()
    near = jnp.asarray(VECTORS[(np.linalg.norm(VECTORS, axis=1) < 3.1)], jnp.float32)
    close(jax.vmap(jax.grad(turn))(near), np.broadcast_to(weight, near.shape), 1e-4)
    assert np.isfinite(jax.grad(lambda m: rotations.angle_between(m, jnp.eye(3)))(jnp.eye(3))).all()


def test_slerp():
    a, b = MANY[:8], random_rotations(4, 8)
    close(rotations.slerp(a, b, jnp.zeros(8)), a)
    close(rotations.slerp(a, b, jnp.ones(8)), b, 5e-6)
    third = rotations.slerp(a, b, jnp.full(8, 1 / 3))
    close(rotations.angle_between(a, third) * 3, rotations.angle_between(a, b), 5e-6)


def test_turns_about_axes():
    for axis in "xyz":
        close(rotations.about(axis, np.array([0.3, -2.0])), Rotation.from_euler(axis, [0.3, -2.0]).as_matrix(), 1e-7)
    with pytest.raises(ValueError, match="unknown axis 'w', expected 'x', 'y' or 'z'"):
        rotations.about("w", np.array(0.0))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_forms_are_inverses_of_each_other(seed):
    m = random_rotations(seed, 8)
    for there, back in (
        (rotations.rot6d, rotations.matrix),
        (rotations.quaternion, rotations.matrix_from_quaternion),
        (rotations.axis_angle, rotations.matrix_from_axis_angle),
    ):
        close(back(there(m)), m, 3e-6)
