"""HumanML3D's features: against outputs of the public code, a restatement by quaternions, and what must not matter."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d

from tests.motion.motion_oracles import FIXTURES
from vrjax import motion
from vrjax.motion import axes, rep263

CLOSE = 5e-5
to_263 = jax.jit(motion.to_263, static_argnames="unwrap")
from_263 = jax.jit(motion.from_263)


@functools.cache
def public() -> dict[str, np.ndarray]:
    with np.load(FIXTURES / "humanml3d.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file}


# ------------------------------------------------------------------------------- the features again, by quaternions


def times(p, q):
    w, v, x, u = p[..., :1], p[..., 1:], q[..., :1], q[..., 1:]
    return np.concatenate([w * x - (v * u).sum(-1, keepdims=True), w * u + x * v + np.cross(v, u)], -1)


def back(q):
    return q * [1, -1, -1, -1]


def apply(q, p):
    return times(times(q, np.concatenate([0 * p[..., :1], p], -1)), back(q))[..., 1:]


def normal(v):
    return v / np.sqrt((v**2).sum(-1, keepdims=True))


def between(u, v):
    """The quaternion of the smallest rotation from one unit vector to another."""
    return normal(np.concatenate([1 + (u * v).sum(-1, keepdims=True), np.cross(u, v)], -1))


def ahead(joints, hips):
    across = hips * (joints[..., 2, :] - joints[..., 1, :]) + joints[..., 17, :] - joints[..., 16, :]
    return np.cross([0.0, 1, 0], normal(across))


REST = np.array(
    """1 0 0, -1 0 0, 0 1 0, 0 -1 0, 0 -1 0, 0 1 0, 0 -1 0, 0 -1 0, 0 1 0, 0 0 1, 0 0 1, 0 1 0, 1 0 0, -1 0 0, 0 0 1,
    0 -1 0, 0 -1 0, 0 -1 0, 0 -1 0, 0 -1 0, 0 -1 0""".replace(",", " ").split(),
    float,
).reshape(21, 3)
TREE = {0: (1, 2, 3), 1: (4,), 4: (7,), 7: (10,), 2: (5,), 5: (8,), 8: (11,), 3: (6,), 6: (9,), 9: (12, 13, 14)}
TREE |= {12: (15,), 13: (16,), 16: (18,), 18: (20,), 14: (17,), 17: (19,), 19: (21,)}


def features(joints):
    joints = joints.astype(np.float64)
    joints = joints - [joints[0, 0, 0], joints[..., 1].min(), joints[0, 0, 2]]
    joints = apply(between(normal(ahead(joints[0], 1)), np.array([0.0, 0, 1])), joints)
    smooth = normal(gaussian_filter1d(ahead(joints, -1), 20, axis=0, mode="nearest"))
    heading = between(smooth, np.broadcast_to([0.0, 0, 1], smooth.shape))
    heading[0] = [1, 0, 0, 0]
    local = {}
    todo = [(0, child, heading) for child in TREE[0]]
    while todo:
        joint, child, above = todo.pop()
        bone = normal(joints[:, child] - joints[:, joint])
        world = between(np.broadcast_to(REST[child - 1], bone.shape), bone)
        local[child] = times(back(above), world)
        todo += [(child, next_, heading if child == 9 and next_ > 12 else world) for next_ in TREE.get(child, ())]
    turns = np.stack([local[joint] for joint in range(1, 22)], 1)
    columns = [apply(turns, np.broadcast_to(axis, (*turns.shape[:2], 3))) for axis in np.eye(3)[:2]]
    steps = np.diff(joints, axis=0)
    placed = apply(heading[:, None], joints - joints[:, :1] * [1, 0, 1])
    parts = (
        np.arcsin(times(heading[1:], back(heading[:-1]))[:, 2:3]),
        apply(heading[1:], steps[:, 0])[:, [0, 2]],
        joints[:-1, 0, 1:2],
        placed[:-1, 1:],
        np.concatenate(columns, -1)[:-1],
        apply(heading[:-1, None], steps),
        (steps[:, [7, 10, 8, 11]] ** 2).sum(-1) < 0.002,
    )
    return np.concatenate([part.reshape(len(steps), -1) for part in parts], 1)


# ---------------------------------------------------------------------------------------------------------- parity


@pytest.mark.parametrize("name", ["", "_retargeted", "_turning"])
def test_the_public_code_s_rows_and_joints(name):
    """A walk as it is, brought onto other bones, and turning one and a half times, where the yaw's sign turns round."""
    data = public()
    joints = data["turning" if name == "_turning" else "joints"]
    rows = to_263(joints, target_offsets=data["offsets"] if name == "_retargeted" else None)
    np.testing.assert_allclose(rows, data[f"rows{name}"], atol=CLOSE)
    np.testing.assert_array_equal(rows[:, 259:], data[f"rows{name}"][:, 259:])
    np.testing.assert_allclose(from_263(data[f"rows{name}"]), data[f"recovered{name}"], atol=CLOSE)


def test_the_restatement_agrees():
    for name in ("joints", "turning"):
        rows = features(public()[name])
        np.testing.assert_allclose(to_263(public()[name]), rows, atol=CLOSE)


def test_the_sign_that_turns_round_is_the_only_difference_of_unwrapped_rows():
    joints = public()["turning"]
    rows, whole = np.asarray(to_263(joints)), np.asarray(to_263(joints, unwrap=True))
    assert (np.abs(rows - whole).max(0) > 0).tolist() == [True] + [False] * 262
    assert (rows[:, 0] != whole[:, 0]).sum() == 1
    expected = np.asarray(placed(joints))[:-1]
    np.testing.assert_allclose(from_263(whole), expected, atol=CLOSE)
    assert np.abs(from_263(rows) - expected).max() > 0.01


def placed(joints):
    """The frame of the rows: on the floor, from the origin, facing +z."""
    joints = joints - np.array([joints[0, 0, 0], joints[..., 1].min(), joints[0, 0, 2]])
    return apply(between(normal(ahead(joints[0], 1)), np.array([0.0, 0, 1])), joints)


# ---------------------------------------------------------------------------------------------------------- invariants


@settings(max_examples=10, deadline=None)
@given(st.floats(-3, 3), st.floats(-5, 5), st.floats(-5, 5), st.floats(-2, 2))
def test_place_and_direction_do_not_matter(yaw, x, z, height):
    joints = public()["joints"]
    c, s = np.cos(yaw), np.sin(yaw)
    turned = joints @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T + [x, height, z]
    np.testing.assert_allclose(to_263(np.float32(turned)), to_263(joints), atol=2e-4)  # float32 at 5 m


def test_round_trip_and_retargeting_onto_its_own_bones():
    joints = public()["joints"]
    rows = to_263(joints)
    np.testing.assert_allclose(from_263(rows), placed(joints)[:-1], atol=CLOSE)
    same = to_263(joints, target_offsets=rep263.skeleton(joints[0]))
    np.testing.assert_allclose(same, rows, atol=CLOSE)
    longer = to_263(joints, target_offsets=1.5 * rep263.skeleton(joints[0]))
    np.testing.assert_allclose(longer[:, 3], 1.5 * rows[:, 3], atol=CLOSE)
    np.testing.assert_allclose(longer[:, 67:193], rows[:, 67:193], atol=CLOSE)


def test_degenerate_poses_have_finite_rows_and_slopes():
    joints = jnp.asarray(public()["joints"])
    slope = jax.jit(jax.grad(lambda j: motion.to_263(j)[:, :259].sum()))
    upright = joints.at[:, 15].set(joints[:, 12] - jnp.array([0, 0, 0.2]))  # the head's bone opposite to its rest
    for case in (joints, upright, upright.at[:, 20].set(upright[:, 18])):  # and one without length
        assert bool(jnp.isfinite(to_263(case)).all()) and bool(jnp.isfinite(slope(case)).all())


def test_a_wrong_shape_is_one_line():
    joints = public()["joints"]
    for wrong in (joints[:, :21], joints[:1], joints[None]):
        with pytest.raises(ValueError, match="to_263: joints has"):
            motion.to_263(wrong)
    with pytest.raises(ValueError, match=r"target_offsets has shape \(24, 3\), expected \(22, 3\)"):
        motion.to_263(joints, target_offsets=np.zeros((24, 3), np.float32))
    with pytest.raises(ValueError, match=r"rows has shape \(4, 276\), expected \(frames, 263\)"):
        motion.from_263(np.zeros((4, 276), np.float32))


def test_up_and_back():
    points = np.float32([[1, 2, 3]])
    assert np.asarray(axes.y_up(points)).tolist() == [[-1, 3, 2]]
    np.testing.assert_array_equal(axes.z_up(axes.y_up(points)), points)
    assert np.linalg.det(np.asarray(axes.turned(np.eye(3, dtype=np.float32)))) == pytest.approx(1)
