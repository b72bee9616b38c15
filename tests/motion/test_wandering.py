"""Motions at random: true motions of the program's body, smooth, different from each other, of no verb."""

import jax
import numpy as np
import pytest

from tests.motion.motion_oracles import forward
from vrjax.motion import program
from vrjax.motion.kinematics import REST_PELVIS
from vrjax.motion.program import body, splits, verbs, wandering

FRAMES = 61
ANKLES, ELBOWS = (7, 8), (18, 19)


WANDER = jax.jit(jax.vmap(lambda key: program.wander(key, FRAMES)))
KEYS = jax.random.split(jax.random.key(0), 200)


@pytest.fixture(scope="module")
def motion():
    return jax.device_get(WANDER(KEYS))


def test_joints_are_forward_kinematics_of_the_rotations(motion):
    for i in range(0, 200, 40):
        for t in (0, 30, 60):
            parts = motion.root[i, t], motion.body[i, t], motion.transl[i, t]
            exact = forward(*parts, program.OFFSETS, np.array(REST_PELVIS))
            np.testing.assert_allclose(motion.joints[i, t], exact, rtol=0, atol=3e-6)


def test_they_move_smoothly_and_near_the_floor(motion):
    joints = motion.joints.astype(np.float64)
    speed = np.linalg.norm(np.diff(joints, axis=1), axis=-1) * 20
    others = np.delete(speed, ELBOWS, -1)
    assert np.percentile(others, 99) < 3 and others.max() < 6  # metres a second
    assert np.percentile(speed, 99.9) < 6  # an elbow turns over where its hand passes close to the shoulder
    assert joints[..., 2].min() > -0.03 and joints[..., 2].max() < 2.2
    still = speed.max((1, 2)) < 1e-3
    assert still.sum() < 4  # all stays: (0.4 and so on) to the power of its parts


def test_they_go_where_no_verb_of_training_goes(motion):
    """Feet apart, and one of them lifted, farther than scripts of S ask for."""
    rows = [row for row in verbs.LOWER if row.name not in splits.UNSEEN_VERBS]
    apart = np.linalg.norm((motion.joints[:, :, 7] - motion.joints[:, :, 8])[..., :2], axis=-1).max(1)
    lifted = np.abs(motion.joints[:, :, 7, 2] - motion.joints[:, :, 8, 2]).max(1)
    most = max(row.lift + row.tuck for row in rows) * 1.1 + 0.02
    assert (lifted > most).mean() > 0.05
    assert (apart > 0.45).mean() > 0.05


def test_targets_stay_in_their_ranges():
    made = jax.device_get(jax.jit(jax.vmap(lambda key: wandering.targets(key, FRAMES)))(KEYS))
    for name, column in (("pitch", 0), ("roll", 1), ("twist", 2)):
        values = getattr(made, name)
        assert values.min() >= wandering.TRUNK.low[column] and values.max() <= wandering.TRUNK.high[column]
    far = np.linalg.norm(made.hands, axis=-1)
    assert far.min() >= wandering.HAND_LEAST - 1e-6 and far.max() <= body.REACH + 1e-6
    stays = np.ptp(made.ankles[:, :, 0] - made.pelvis, axis=1).max(-1)
    assert 0 < (np.ptp(made.hands[:, :, 0], axis=1).max(-1) < 1e-6).mean() < 0.6
    assert stays.max() > 0.3
    assert np.ptp(made.yaw, axis=1).max() == 0 and np.ptp(made.yaw[:, 0]) > 5


def test_one_key_is_one_motion(motion):
    again = jax.device_get(WANDER(KEYS[::-1]))
    np.testing.assert_array_equal(again.joints[::-1], motion.joints)
    ends = motion.joints[:, 30].reshape(200, -1)
    assert np.abs(ends[:, None] - ends[None] + np.eye(200)[..., None]).max(-1).min() > 0.02


def test_one_frame_is_no_motion():
    with pytest.raises(ValueError, match="wander: frames must be at least 2, found 1"):
        program.wander(jax.random.key(0), 1)
