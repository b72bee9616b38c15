"""A body of 22 joints: its tree, forward kinematics, and the exact inverse kinematics of limbs with two bones.

The joints and their order are SMPL-X's without hands and face (SMPL's first 22). A pose is the pelvis' rotation in the
world, `root`, the rotations of the other 21 joints in their parents' frames, `body`, and `transl`, the displacement of
the pelvis from its place at rest. In the frame of rest x points to the body's left, y up and z forward, as in SMPL.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vrjax.motion.rotations import Real, compose, inverse, length, rotate, unit

JOINTS = (
    *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle"),
    *("spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder"),
    *("right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
)
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
REST_PELVIS = (0.00312325, -0.35140744, 0.01203655)
"""Where SMPL-X's mean body has its pelvis when `transl` is zero, in metres: the point about which its root turns."""
FEET = (10, 11)


class Motion(NamedTuple):
    """A motion in world coordinates, in metres, one entry a frame.

    Attributes:
        joints (t, 22, 3): positions.
        root (t, 3, 3): the pelvis' rotation.
        body (t, 21, 3, 3): the other joints' rotations in their parents' frames.
        transl (t, 3): displacement of the pelvis from its place at rest.
    """

    joints: Float[Array, "*t 22 3"]
    root: Float[Array, "*t 3 3"]
    body: Float[Array, "*t 21 3 3"]
    transl: Float[Array, "*t 3"]


def global_rotations(root: Float[Real, "*t 3 3"], body: Float[Real, "*t 21 3 3"]) -> Float[Array, "*t 22 3 3"]:
    """Every joint's rotation in the world."""
    body, found = jnp.asarray(body), [jnp.asarray(root)]
    for joint, parent in enumerate(PARENTS[1:]):
        found.append(compose(found[parent], body[..., joint, :, :]))
    return jnp.stack(found, -3)


def local_rotations(
    rotations: Float[Real, "*t 22 3 3"],
) -> tuple[Float[Array, "*t 3 3"], Float[Array, "*t 21 3 3"]]:
    """Root and body of rotations in the world; the inverse of `global_rotations`."""
    rotations = jnp.asarray(rotations)
    parents = rotations[..., np.array(PARENTS[1:]), :, :]
    return rotations[..., 0, :, :], compose(inverse(parents), rotations[..., 1:, :, :])


def forward(
    root: Float[Real, "*t 3 3"],
    body: Float[Real, "*t 21 3 3"],
    transl: Float[Real, "*t 3"],
    offsets: Float[Real, "22 3"],
    *,
    rest_pelvis: Float[Real, "3"] | tuple[float, ...] = REST_PELVIS,
) -> Float[Array, "*t 22 3"]:
    """Forward kinematics: where the joints are.

    Args:
        root, body: rotations of the pelvis in the world and of the others in their parents' frames.
        transl: displacement of the pelvis, in metres.
        offsets: each joint's place in its parent's frame, in metres; the first row, the pelvis', is not read.
        rest_pelvis: where the pelvis is when `transl` is zero.
    """
    rotations, offsets = global_rotations(root, body), jnp.asarray(offsets)
    found = [jnp.asarray(transl) + jnp.asarray(rest_pelvis, offsets.dtype)]
    for joint, parent in enumerate(PARENTS[1:], start=1):
        found.append(found[parent] + rotate(rotations[..., parent, :, :], offsets[joint]))
    return jnp.stack(found, -2)


def two_bone(
    start: Float[Real, "*n 3"],
    target: Float[Real, "*n 3"],
    first: Float[Real, ""] | float | int,
    second: Float[Real, ""] | float | int,
    pole: Float[Real, "*n 3"],
) -> tuple[Float[Array, "*n 3"], Float[Array, "*n 3"]]:
    """Where a limb of two bones bends and ends so that it reaches for a target: exact, by the law of cosines.

    Args:
        start: where the limb is attached (hip, shoulder), in metres.
        target: where its end (ankle, wrist) shall be.
        first, second: lengths of the two bones.
        pole: the direction to which the middle joint (knee, elbow) bends; not along the line to the target.

    Returns:
        The middle joint and the end. The end is the target, or, beyond the reach of the limb (farther than
        `first + second` or nearer than `|first - second|`), the nearest point on the line to it.
    """
    start, target = jnp.asarray(start), jnp.asarray(target)
    reach = length(target - start)[..., None]
    along = unit(target - start)
    far = jnp.clip(reach, jnp.abs(first - second), first + second)
    across = unit(jnp.asarray(pole) - jnp.sum(along * pole, -1, keepdims=True) * along)
    down = (first**2 - second**2 + far**2) / (2 * jnp.where(far == 0, 1.0, far))
    square = first**2 - down**2
    # At full stretch the root has no gradient. A compiler may compute `square` twice and round it to either side of 0:
    # what the root is taken of there must be small too.
    out = jnp.where(square <= 0, 0.0, jnp.sqrt(jnp.maximum(square, 1e-12)))
    return start + down * along + out * across, start + far * along


def aim(
    bone: Float[Real, "*m 3"], side: Float[Real, "*m 3"], to_bone: Float[Real, "*n 3"], to_side: Float[Real, "*n 3"]
) -> Float[Array, "*n 3 3"]:
    """The rotation that brings one direction exactly to another, and a second one as near as it then can.

    Args:
        bone, side: directions in the resting frame, not parallel.
        to_bone, to_side: where they shall point, not parallel.
    """
    return compose(_frame(to_bone, to_side), inverse(_frame(bone, side)))


def _frame(first: Float[Real, "*n 3"], second: Float[Real, "*n 3"]) -> Float[Array, "*n 3 3"]:
    x = unit(first)
    z = unit(jnp.cross(x, jnp.asarray(second)))
    return jnp.stack([x, jnp.cross(z, x), z], -1)
