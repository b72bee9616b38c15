"""Where a motion begins: turned so that the body first faces along y, the pelvis over the origin, feet on the floor.

Moving a motion moves its joints and its parameters alike. A root turns about the resting pelvis and not about the
origin, so that `transl` follows `R (transl + rest) - rest + shift`; leaving the resting pelvis out costs decimetres.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from vrjax.motion.kinematics import REST_PELVIS, Motion
from vrjax.motion.rotations import Real, compose, rotate, unit

LEFT_HIP, RIGHT_HIP = 1, 2


class Placement(NamedTuple):
    """What was done to a motion: `moved = rotation @ point + shift`.

    Attributes:
        rotation (3, 3): applied first.
        shift (3,): in metres, in the turned frame.
    """

    rotation: Float[Array, "3 3"]
    shift: Float[Array, "3"]


def facing(hips: Float[Real, "2 3"]) -> Float[Array, "3 3"]:
    """The rotation about z that brings the horizontal way from the left hip to the right one to x.

    Its rows are x, y and z of the body's frame: x along the hips, z up, y = z x x forward. Of hips exactly above each
    other nothing can be told, and the identity comes back.

    Args:
        hips: left and right hip in a frame whose z points up.
    """
    hips = jnp.asarray(hips)
    across = (hips[1] - hips[0]) * jnp.array([1.0, 1.0, 0.0], hips.dtype)
    x = jnp.where(jnp.any(unit(across) != 0), unit(across), jnp.eye(3, dtype=across.dtype)[0])
    z = jnp.eye(3, dtype=across.dtype)[2]
    return jnp.stack([x, jnp.cross(z, x), z])


def place(
    motion: Motion,
    rotation: Float[Real, "3 3"],
    shift: Float[Real, "3"],
    *,
    rest_pelvis: Float[Real, "3"] | tuple[float, ...] = REST_PELVIS,
) -> Motion:
    """The motion turned by `rotation` about the origin, then moved by `shift`, in metres.

    Args:
        motion: joints and parameters, any number of frames.
        rotation, shift: see `Placement`.
        rest_pelvis: where the body's pelvis is when `transl` is zero; SMPL-X's mean body, if not given.
    """
    rest = jnp.asarray(rest_pelvis, jnp.asarray(motion.transl).dtype)
    return Motion(
        rotate(rotation, motion.joints) + shift,
        compose(rotation, motion.root),
        motion.body,
        rotate(rotation, motion.transl + rest) - rest + shift,
    )


def canonicalise(
    motion: Motion, *, floor: bool = False, rest_pelvis: Float[Real, "3"] | tuple[float, ...] = REST_PELVIS
) -> tuple[Motion, Placement]:
    """The motion as it would be, had it begun at the origin facing along y.

    Args:
        motion: joints and parameters in a world whose z points up.
        floor: the lowest joint of all frames comes to height 0, instead of the first frame's pelvis.
        rest_pelvis: see `place`.

    Returns:
        The moved motion, and what moved it.
    """
    rotation = facing(motion.joints[0, LEFT_HIP : RIGHT_HIP + 1])
    turned = rotate(rotation, motion.joints)
    shift = -turned[0, 0]
    if floor:
        shift = jnp.stack([shift[0], shift[1], -jnp.min(turned[..., 2])])
    return place(motion, rotation, shift, rest_pelvis=rest_pelvis), Placement(rotation, shift)
