"""The 276 numbers: recorded public rows, both inverse paths, invariances; and what stands on them, frame by frame."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tests.motion.motion_oracles import angle_between, axis_angle, forward, random_rotations, recorded
from vrjax import motion
from vrjax.motion import canonical, kinematics, rep276, rotations
from vrjax.motion.canonical import canonicalise, place
from vrjax.motion.kinematics import Motion

Z = recorded("clip_zup")
TO_276 = jax.jit(motion.to_276, static_argnames=("canonical", "floor"))
CANONICALISE = jax.jit(canonicalise, static_argnames="floor")
PLACE = jax.jit(lambda m, yaw, shift: place(m, rotations.about("z", yaw), shift))
FORWARD = jax.jit(kinematics.forward)
FROM_276 = jax.jit(motion.from_276, static_argnames=("path", "equal_length"))


def close(a, b, atol=1e-5):
    np.testing.assert_allclose(a, b, rtol=0, atol=atol)


CLIP = Motion(Z["joints"], *(np.zeros((31, *n), np.float32) for n in ((3, 3), (21, 3, 3), (3,))))


@functools.cache
def clip(first_order: bool = True) -> Motion:
    """The recorded clip's 31 frames, its rotations by the public first-order form or exactly."""
    turn = lambda name: rotations.matrix_from_axis_angle(Z[name].reshape(31, -1, 3), first_order=first_order)
    return Motion(jnp.asarray(Z["joints"]), turn("global_orient")[:, 0], turn("body_pose"), jnp.asarray(Z["transl"]))


def smooth_motion(seed: int, frames: int = 9) -> Motion:
    """A true motion of a random body: rotations that turn steadily, joints by forward kinematics."""
    rng = np.random.default_rng(seed)
    times = np.arange(frames)[:, None, None]
    spin = Rotation.from_rotvec((times * rng.normal(size=(22, 3)) * 0.05).reshape(-1, 3)).as_matrix()
    turns = spin.reshape(frames, 22, 3, 3) @ random_rotations(seed, 22)
    transl, offsets = np.cumsum(rng.normal(size=(frames, 3)) * 0.05, 0), rng.normal(size=(22, 3)) * 0.3
    rest = np.array(kinematics.REST_PELVIS)
    joints = np.stack([forward(r[0], r[1:], t, offsets, rest) for r, t in zip(turns, transl, strict=True)])
    return Motion(*(jnp.asarray(x, jnp.float32) for x in (joints, turns[:, 0], turns[:, 1:], transl)))


def test_recorded_rows():
    close(TO_276(*clip(), canonical=False), Z["rep_world"])
    close(TO_276(*clip()), Z["rep_pelvis"])
    close(TO_276(*clip(), floor=True), Z["rep_floor"])


def test_recorded_placement():
    for floor, name in ((False, "pelvis"), (True, "floor")):
        moved, placement = CANONICALISE(clip(), floor=floor)
        close(placement.rotation, Z["R_inv"], 1e-6)
        close(placement.shift, Z[f"delta_{name}"], 1e-6)
        close(moved.joints[:-1], Z[f"joints_{name}"], 2e-6)
        close(moved.transl, Z[f"transl_{name}"], 2e-6)


def test_recorded_inverses():
    for path in rep276.PATHS:
        found = FROM_276(Z["rep_floor"], path=path)
        # The public turns are no exact rotations (axes divided by angle + 1e-6): integrated, they drift apart.
        close(axis_angle(found.root), Z["inv_global_orient"], 1e-5 if path == "velocity" else 3e-5)
        close(axis_angle(found.body).reshape(30, 63), Z["inv_body_pose"])
        close(found.transl, Z["inv_transl"])
        close(found.joints, Z["inv_joints"])
    longer = FROM_276(Z["rep_floor"], equal_length=True)
    close(longer.joints, Z["inv_equal_joints"])
    close(longer.transl, Z["inv_equal_transl"])
    close(axis_angle(longer.root), Z["inv_equal_global_orient"])
    close(longer.body[-1], longer.body[-2], 0)


def test_recorded_inverses_of_rows_that_contradict_themselves():
    by_velocity = FROM_276(Z["noisy_rep"])
    close(by_velocity.joints, Z["noisy_joints"])
    close(by_velocity.transl, Z["noisy_transl"])
    close(axis_angle(by_velocity.root), Z["noisy_global_orient"])
    by_position = FROM_276(Z["noisy_rep"], path="position")
    close(by_position.joints, Z["noisy_joints_position_path"])
    assert np.abs(by_velocity.joints - by_position.joints).max() > 0.01


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(rep276.PATHS))
def test_true_rows_come_back(seed, path):
    """Encode, invert: equal joints (to 1e-5 m) and rotations, T + 1 frames and their last body pose included."""
    there = smooth_motion(seed)
    back = FROM_276(TO_276(*there, canonical=False), path=path, equal_length=True)
    close(back.joints, there.joints)
    close(back.transl, there.transl)
    close(angle_between(back.root, there.root), 0)
    close(angle_between(back.body[:-1], there.body[:-1]), 0)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-3, 3), st.booleans())
def test_where_a_motion_begins_does_not_matter(seed, yaw, floor):
    """Turned about z and moved, a motion has the same canonical rows; and they are where they should be."""
    there = smooth_motion(seed)
    shift = jnp.asarray(np.random.default_rng(seed).normal(size=3), jnp.float32)
    moved = PLACE(there, jnp.float32(yaw), shift)
    rows = TO_276(*there, floor=floor)
    close(TO_276(*moved, floor=floor), rows, 2e-5)
    found = CANONICALISE(there, floor=floor)[0].joints
    hips = found[0, 2] - found[0, 1]
    close(hips[1], 0)
    assert hips[0] > 0
    close(found[0, 0, :2], 0)
    close(found[..., 2].min() if floor else found[0, 0, 2], 0)


def test_parameters_move_with_their_joints():
    """Forward kinematics of moved parameters gives moved joints: the root turns about the resting pelvis."""
    moved, _ = CANONICALISE(clip(), floor=True)
    again = FORWARD(moved.root, moved.body, moved.transl, Z["offsets"])
    close(again, moved.joints)
    careless = moved._replace(transl=Z["transl"] @ Z["R_inv"].T + Z["delta_floor"])
    wrong = FORWARD(careless.root, careless.body, careless.transl, Z["offsets"])
    assert np.abs(wrong - moved.joints).max() > 0.01


def test_hips_above_each_other_turn_nothing():
    hips = np.array([[0.1, 0.2, 0.9], [0.1, 0.2, 1.1]])
    close(canonical.facing(hips), np.eye(3), 0)
    assert np.isfinite(jax.jit(jax.grad(lambda h: canonical.facing(h).sum()))(jnp.asarray(hips))).all()


def test_gradients_flow_both_ways():
    rows = jnp.asarray(Z["noisy_rep"][:8])
    value = lambda rows: sum(jnp.sum(x**2) for p in rep276.PATHS for x in motion.from_276(rows, path=p))
    assert np.isfinite(jax.jit(jax.grad(value))(rows)).all()
    grads = jax.jit(jax.grad(lambda m: jnp.sum(motion.to_276(*m, floor=True) ** 2)))(smooth_motion(0))
    assert all(np.isfinite(g).all() for g in grads)


def test_batches_are_vmap():
    rows = jnp.stack([Z["rep_floor"], Z["noisy_rep"]])
    both = jax.jit(jax.vmap(motion.from_276))(rows)
    for i in range(2):
        close(both.joints[i], FROM_276(rows[i]).joints, 1e-6)


def test_statistics():
    rows = np.concatenate([Z["rep_floor"], Z["rep_floor"][:7]])
    found = rep276.statistics(rows)
    close(found.mean, rows.astype(float).mean(0), 1e-6)
    close(found.std, np.maximum(rows.astype(float).std(0, ddof=1), 1e-8), 1e-6)
    constant = rep276.statistics(np.ones((4, 276), np.float32))
    close(constant.std, 1e-8, 1e-12)
    close(rep276.denormalise(rep276.normalise(rows, found), found), rows, 1e-6)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: motion.to_276(*CLIP._replace(joints=CLIP.joints[:, :21])), r"joints has shape \(31, 21, 3\), exp"),
        (lambda: motion.to_276(*CLIP._replace(root=CLIP.root[1:])), r"root has shape \(30, 3, 3\), expected \(31,"),
        (lambda: motion.to_276(*(x[:1] for x in CLIP)), "joints has 1 frame or none, expected at least 2"),
        (lambda: motion.to_276(*CLIP, canonical=False, floor=True), "floor=True moves the motion"),
        (lambda: motion.from_276(np.zeros((4, 263))), r"rows has shape \(4, 263\), expected \(frames, 276\)"),
        (lambda: motion.from_276(np.zeros((0, 276))), "rows has no frames"),
        (lambda: motion.from_276(np.zeros((4, 276)), path="fk"), "unknown path 'fk', expected one of velocity, pos"),
    ],
)
def test_mistakes_are_told_in_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()
