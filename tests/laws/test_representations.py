"""What every representation of motions must do. A new one is one file in its folder, and one row here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.motion.motion_oracles import recorded
from vrjax.motion import Motion, representations

# name -> how far joints may be from where they were, in metres
ROWS = {"vimogen": 1e-5, "humanml3d": 5e-5}


def clip() -> Motion:
    """The recorded clip, turning half a turn on its way, away from the origin."""
    data = recorded("clip_zup")
    matrices = lambda v: Rotation.from_rotvec(v.reshape(-1, 3)).as_matrix().reshape(len(v), -1, 3, 3)
    yaw = Rotation.from_euler("z", np.linspace(2, 5.5, len(data["transl"]))[:, None]).as_matrix()
    turn = lambda points: np.einsum("tij,t...j->t...i", yaw, points) + np.array([1.0, -2, 0.5])
    joints, root = turn(data["joints"]), yaw @ matrices(data["global_orient"])[:, 0]
    transl = joints[:, 0] - data["smplx_root"]
    return Motion(*map(np.float32, (joints, root, matrices(data["body_pose"]), transl)))


def aligned(joints, to):
    """Joints moved and turned about z so that frame 0 has pelvis and line of hips where `to` has them."""
    sideways = lambda j: np.arctan2(*(j[0, 2] - j[0, 1])[1::-1])
    joints, to = np.float64(joints), np.float64(to)
    turn = Rotation.from_euler("z", sideways(to) - sideways(joints)).as_matrix()
    return (joints - joints[0, 0]) @ turn.T + to[0, 0]


def test_every_representation_has_a_row():
    assert set(ROWS) == set(representations.names())


@pytest.mark.parametrize("name", ROWS)
def test_law(name):
    found, motion = representations.get(name), clip()
    encode, decode = jax.jit(found.encode), jax.jit(found.decode)
    rows = encode(motion)
    assert rows.shape == (len(motion.joints) - 1, found.WIDTH) and rows.dtype == jnp.float32
    joints = decode(rows)
    np.testing.assert_allclose(aligned(joints, motion.joints), motion.joints[:-1], atol=ROWS[name])
    both = jax.tree.map(lambda x: jnp.stack([x, x[::-1]]), motion)
    batch = jax.jit(jax.vmap(lambda m: found.decode(found.encode(m))))(both)
    np.testing.assert_allclose(batch[0], joints, atol=ROWS[name])
    slopes = jax.jit(jax.grad(lambda m: (found.decode(found.encode(m)) ** 2).sum()))(motion)
    assert all(bool(jnp.isfinite(slope).all()) for slope in jax.tree.leaves(slopes))
    assert bool(jnp.any(slopes.joints != 0))
    with pytest.raises(ValueError, match=f"{found.WIDTH}"):
        found.decode(rows[:, 1:])
    with pytest.raises(ValueError, match="2"):
        found.encode(jax.tree.map(lambda x: x[:1], motion))


def test_an_unknown_name_is_one_line():
    with pytest.raises(ValueError, match="unknown representation 'vimogem', did you mean 'vimogen'"):
        representations.get("vimogem")
