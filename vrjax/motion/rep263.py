"""HumanML3D's 263-d features of 22 joints: y-up, 20 frames a second (its `process_file`; facts only).

| columns | what |
| --- | --- |
| 0 | **half** the yaw to the next frame, radians |
| 1:3 | the root's velocity (x, z) to the next frame, in that frame's heading |
| 3 | the root's height |
| 4:67 | the other joints in the heading's frame, x and z from the root |
| 67:193 | their rotations by swings, first column then second column (not the order of the 276-d features) |
| 193:259 | velocities of all joints to the next frame, in the heading's frame |
| 259:263 | contacts of left ankle, left toe, right ankle, right toe: squared speed under 0.002 |

Lengths are metres, velocities metres a frame. Kept as the public features have them: the heading takes the hips with
the opposite sign of the shoulders and is smoothed over time; frame 0 has the identity for its heading; the first
rotation of an arm is relative to the root, not to the spine; and where the heading passes -z, the sign of the yaw step
turns round, so that the way back bends there (`to_263(..., unwrap=True)` keeps it, and the way back is exact).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vrjax.motion.rotations import Real, about, compose, inverse, length, rotate, unit
from vrjax.motion.shapes import expect

WIDTH, JOINTS = 263, 22
FEET = np.array([7, 10, 8, 11])  # left ankle, left toe, right ankle, right toe
CONTACT = 0.002  # m² in a frame: 4.5 cm
_SIGMA = 20  # frames over which the heading is smoothed
_CHAINS = ((0, 2, 5, 8, 11), (0, 1, 4, 7, 10), (0, 3, 6, 9, 12, 15), (9, 14, 17, 19, 21), (9, 13, 16, 18, 20))
_LINKS = sorted((b, a, 0 if a == chain[0] else a) for chain in _CHAINS for a, b in zip(chain, chain[1:], strict=False))
_PARENTS = np.array([parent for _, parent, _ in _LINKS])  # of joints 1..21
_BEFORE = np.array([before for _, _, before in _LINKS])  # the joint that their rotations are relative to
_X, _Y, _Z = np.eye(3, dtype=np.float32)
# Where the bone that ends in each of joints 1..21 points at rest.
_REST = np.stack([_X, -_X, _Y, -_Y, -_Y, _Y, -_Y, -_Y, _Y, _Z, _Z, _Y, _X, -_X, _Z, *[-_Y] * 6])


def _above() -> np.ndarray:
    """Which of bones 1..21 lie between the root and each joint, as zeros and ones."""
    out = np.zeros((JOINTS, JOINTS), np.float32)
    for joint, parent, _ in _LINKS:
        out[joint] = out[parent]
        out[joint, joint] = 1
    return out[:, 1:]


_ABOVE = _above()


def to_263(
    joints: Float[Real, "..."],
    *,
    target_offsets: Float[Real, "..."] | None = None,
    unwrap: bool = False,
) -> Float[Array, "t 263"]:
    """The features of a motion, which is brought onto the floor (its lowest joint of all frames), to the origin (the
    root of frame 0) and to face +z in frame 0.

    Args:
        joints (T + 1, 22, 3): metres, y up (`axes.y_up` turns z-up ones), 20 frames a second, at least two frames.
        target_offsets (22, 3): the bones of a skeleton onto which the motion is brought first, each along its rest
            direction (`skeleton` makes them of a pose): every bone keeps its swing, and the root is scaled by the ratio
            of the lower legs. None: no retargeting. HumanML3D's own features retarget to the pose of its clip 000021.
        unwrap: keeps the sign of the yaw where the heading passes -z, which the public features turn round.

    Returns:
        One row a frame but the last. Frame 0's heading is the identity, so `from_263` gives the moved joints.

    Raises:
        ValueError: another shape, or fewer than two frames.
    """
    if expect("to_263", joints=(joints, ("frames", JOINTS, 3)))["frames"] < 2:
        raise ValueError(f"to_263: joints has {len(joints)} frames, expected at least 2")
    joints = jnp.asarray(joints)
    if target_offsets is not None:
        joints = _retargeted(joints, jnp.asarray(target_offsets))
    ground = jnp.stack([joints[0, 0, 0], joints[..., 1].min(), joints[0, 0, 2]])
    joints = rotate(about("y", _heading(_sideways(joints[0], hips=1.0))), joints - ground)

    yaw = _heading(_smoothed(_sideways(joints, hips=-1.0))).at[0].set(0.0)
    turn = about("y", yaw)
    steps = joints[1:] - joints[:-1]
    local = rotate(turn[:, None], joints.at[..., ::2].add(-joints[:, :1, ::2]))
    swings = jnp.concatenate([turn[:, None], _swings(joints)], axis=1)
    rotations = compose(inverse(swings[:, _BEFORE]), swings[:, 1:])
    blocks = (
        _half((yaw[1:] - yaw[:-1]) / 2, unwrap)[:, None],
        rotate(turn[1:], steps[:, 0])[:, ::2],
        joints[:-1, 0, 1:2],
        local[:-1, 1:],
        inverse(rotations)[:-1, :, :2],
        rotate(turn[:-1, None], steps),
        jnp.sum(steps[:, FEET] ** 2, axis=-1) < CONTACT,
    )
    return jnp.concatenate([block.reshape(len(steps), -1).astype(joints.dtype) for block in blocks], axis=1)


def from_263(rows: Float[Real, "..."]) -> Float[Array, "t 22 3"]:
    """Joints of features: the heading and the root by summing up their velocities, the rest by position.

    This is the public `recover_from_ric`, from which HumanML3D's metrics are taken: it reads neither the rotations nor
    the joints' velocities.

    Args:
        rows (T, 263): features that are not normalised.

    Returns:
        Positions in metres, y up, from (0, height, 0) with the identity as heading, a frame for each row.

    Raises:
        ValueError: another shape, or no rows.
    """
    if not expect("from_263", rows=(rows, ("frames", WIDTH)))["frames"]:
        raise ValueError("from_263: rows has no frames, expected at least 1")
    rows = jnp.asarray(rows)
    yaw = 2 * jnp.concatenate([jnp.zeros(1, rows.dtype), jnp.cumsum(rows[:-1, 0])])
    back = about("y", -yaw)
    steps = jnp.zeros((len(rows), 3), rows.dtype).at[1:, ::2].set(rows[:-1, 1:3])  # each in the next row's heading
    root = jnp.cumsum(rotate(back, steps), axis=0).at[:, 1].set(rows[:, 3])
    others = rotate(back[:, None], rows[:, 4:67].reshape(-1, JOINTS - 1, 3))
    return jnp.concatenate([root[:, None], others.at[..., ::2].add(root[:, None, ::2])], axis=1)


def skeleton(pose: Float[Real, "..."]) -> Float[Array, "22 3"]:
    """The bones of one pose (22, 3), whatever it does, along their rest directions: `target_offsets` of `to_263`."""
    expect("skeleton", pose=(pose, (JOINTS, 3)))
    return jnp.zeros((JOINTS, 3)).at[1:].set(length(_bones(jnp.asarray(pose)))[:, None] * _REST)


# ------------------------------------------------------------------------------------------------------------- heading


def _sideways(joints: Array, *, hips: float) -> Array:
    """Unit vectors to the body's right: across the shoulders, and across the hips with the given sign."""
    across = hips * (joints[..., 2, :] - joints[..., 1, :]) + joints[..., 17, :] - joints[..., 16, :]
    return unit(across)


def _heading(right: Array) -> Array:
    """The yaw, in (-pi, pi], that brings the direction ahead of `right` to +z."""
    return jnp.arctan2(-right[..., 2], -right[..., 0])


def _smoothed(track: Array) -> Array:
    """`scipy.ndimage.gaussian_filter1d(track, 20, axis=0, mode="nearest")`."""
    reach = 4 * _SIGMA
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _SIGMA) ** 2)
    kernel = jnp.asarray(kernel / kernel.sum(), track.dtype)
    padded = jnp.pad(track, ((reach, reach), (0, 0)), mode="edge")
    along = lambda column: jnp.convolve(column, kernel, mode="valid", precision="highest")
    return jax.vmap(along, 1, 1)(padded)


def _half(angle: Array, unwrap: bool) -> Array:
    """Half a yaw step, from the difference of two half yaws, within a quarter turn.

    The public features take the arcsine of a quaternion's y, which folds an angle beyond a quarter turn back; the
    rotation itself, a quaternion up to its sign, is the one half a turn away.
    """
    beyond = jnp.sign(angle) * jnp.pi
    return jnp.where(jnp.abs(angle) > jnp.pi / 2, angle - beyond if unwrap else beyond - angle, angle)


# -------------------------------------------------------------------------------------------------------------- swings


def _bones(joints: Array) -> Array:
    """Joints 1..21 from their parents."""
    return joints[..., 1:, :] - joints[..., _PARENTS, :]


def _swings(joints: Array) -> Array:
    """World rotations of joints 1..21: the smallest that bring each rest direction onto its bone, without twist.

    Two half turns, one about the rest direction u and one about the middle of u and the bone, are that rotation; about
    u, which is an axis, it changes signs only.
    """
    middle = unit(unit(_bones(joints)) + _REST)
    opposite = length(middle)[..., None] == 0  # then any axis across will do
    middle = jnp.where(opposite, np.roll(_REST, 1, axis=-1), middle)
    half_turn = 2 * middle[..., :, None] * middle[..., None, :] - jnp.eye(3)
    return half_turn * (2 * _REST**2 - 1)[:, None, :]


def _retargeted(joints: Array, offsets: Array) -> Array:
    """The motion on the bones `offsets`: each as its own swings turn it."""
    expect("to_263", target_offsets=(offsets, (JOINTS, 3)))
    lower = np.array([5, 8])  # the right leg, knee and ankle
    source = length(_bones(joints[0])[lower - 1]).sum()
    scale = jnp.abs(offsets[lower]).max(axis=-1).sum() / source
    bones = rotate(_swings(joints), offsets[1:])
    return joints[:, :1] * scale + jnp.einsum("jb,fba->fja", _ABOVE, bones, precision="highest")
