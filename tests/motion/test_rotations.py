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
MATRIX, AXIS_ANGLE, QUATERNION = map(jax.jit, (motion.matrix, rotations.axis_angle, rotations.quaternion))
FROM_AXIS_ANGLE = jax.jit(rotations.matrix_from_axis_angle, static_argnames="first_order")
FROM_QUATERNION, SLERP, APART = map(
    jax.jit, (rotations.matrix_from_quaternion, rotations.slerp, rotations.angle_between)
)
# The identity, angles from tiny to a half turn, and the half turns about the axes and between them.
ANGLES = [0.0, 1e-7, 1e-5, 1e-3, 0.009, 0.011, 0.1, 1.0, 2.0, 3.0, 3.14, 3.1415, np.pi]
AXES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, -2, 0.5], [-1, -1, -1]], float)
VECTORS = np.concatenate([a * AXES / np.linalg.norm(AXES, axis=1, keepdims=True) for a in ANGLES])


def close(a, b, atol=2e-6):
    np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def test_recorded_public_outputs():
    z = recorded("rotations")
    close(MATRIX(z["rot6d_in"]), z["rot6d_matrix"], 1e-6)
    close(motion.rot6d(z["rot6d_matrix"]), z["matrix_rot6d"], 0)
    public = FROM_AXIS_ANGLE(z["axis_angle_in"], first_order=True)
    close(public, z["axis_angle_matrix_public"], 3e-7)
    close(motion.rot6d(public), z["axis_angle_rot6d_public"], 3e-7)
    close(FROM_AXIS_ANGLE(z["axis_angle_in"]), z["axis_angle_matrix_exact"], 3e-7)
    close(AXIS_ANGLE(z["axis_angle_matrix_public"]), z["axis_angle_back_public"])
    close(AXIS_ANGLE(z["rot6d_matrix"]), z["rot6d_axis_angle"])


def test_the_public_form_differs_from_the_exact_one():
    z = recorded("rotations")
    public = FROM_AXIS_ANGLE(z["axis_angle_in"], first_order=True)
    apart = np.abs(public - FROM_AXIS_ANGLE(z["axis_angle_in"])).max()
    assert 8e-7 < apart < 2e-6


def test_the_order_of_the_six_numbers():
    m = np.arange(9.0).reshape(3, 3)
    np.testing.assert_array_equal(motion.rot6d(m), [0, 1, 3, 4, 6, 7])
    close(MATRIX(motion.rot6d(MANY)), MANY)


def test_six_numbers_are_made_orthogonal():
    """A scaled and sheared frame gives the rotation that QR finds; undetermined columns are zero, never NaN."""
    raw = np.random.default_rng(1).normal(size=(32, 6))
    q, r = np.linalg.qr(raw.reshape(32, 3, 2))
    q = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None]
    close(MATRIX(raw)[..., :2], q, 5e-6)
    close(np.linalg.det(np.asarray(MATRIX(raw))), 1.0, 1e-5)
    close(MATRIX(np.zeros(6)), np.zeros((3, 3)), 0)
    assert np.isfinite(jax.jit(jax.grad(lambda x: MATRIX(x).sum()))(jnp.zeros(6))).all()


def test_axis_angle_and_quaternions_equal_scipy():
    exact = Rotation.from_rotvec(VECTORS).as_matrix()
    close(FROM_AXIS_ANGLE(VECTORS), exact, 5e-7)
    close(FROM_AXIS_ANGLE(AXIS_ANGLE(exact)), exact)
    below = np.linalg.norm(VECTORS, axis=1) < 3.1  # beyond, float32 does not tell the axis' sign
    close(AXIS_ANGLE(exact[below]), VECTORS[below], 3e-6)
    wxyz = Rotation.from_matrix(MANY).as_quat(canonical=True, scalar_first=True)
    close(QUATERNION(MANY), wxyz, 1e-6)
    close(FROM_QUATERNION(3 * wxyz), MANY)
    turns = Rotation.from_matrix(random_rotations(2, 64)) * Rotation.from_matrix(MANY).inv()
    close(APART(MANY, random_rotations(2, 64)), turns.magnitude(), 3e-6)


def test_gradients_are_finite_and_right():
    """Everywhere, the identity and half turns included; and equal to the difference quotient at a generic one."""
    weight = jnp.asarray(np.random.default_rng(3).normal(size=3))
    turn = lambda v: jnp.sum(AXIS_ANGLE(FROM_AXIS_ANGLE(v)) * weight)
    slopes = np.asarray(jax.jit(jax.vmap(jax.grad(turn)))(jnp.asarray(VECTORS, jnp.float32)))
    assert np.isfinite(slopes).all()
    near = np.linalg.norm(VECTORS, axis=1) < 3.1
    close(slopes[near], np.broadcast_to(weight, (near.sum(), 3)), 1e-4)
    assert np.isfinite(jax.jit(jax.grad(lambda m: APART(m, jnp.eye(3))))(jnp.eye(3))).all()


def test_slerp():
    a, b = MANY[:8], random_rotations(4, 8)
    close(SLERP(a, b, jnp.zeros(8)), a)
    close(SLERP(a, b, jnp.ones(8)), b, 5e-6)
    third = SLERP(a, b, jnp.full(8, 1 / 3))
    close(APART(a, third) * 3, APART(a, b), 5e-6)


def test_turns_about_axes():
    angles = np.array([0.3, -2.0])
    for axis in "xyz":
        close(rotations.about(axis, angles), Rotation.from_euler(axis, angles[:, None]).as_matrix(), 1e-7)
    with pytest.raises(ValueError, match="unknown axis 'w', expected 'x', 'y' or 'z'"):
        rotations.about("w", np.array(0.0))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_forms_are_inverses_of_each_other(seed):
    m = random_rotations(seed, 8)
    for there, back in (
        (rotations.rot6d, MATRIX),
        (QUATERNION, FROM_QUATERNION),
        (AXIS_ANGLE, FROM_AXIS_ANGLE),
    ):
        close(back(there(m)), m, 3e-6)
