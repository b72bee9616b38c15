"""ViMoGen's 276 numbers (`vrjax.motion.rep276`), where the motion is; joints by their velocities, as in MBench."""

from jaxtyping import Array, Float

from vrjax.motion import rep276
from vrjax.motion.kinematics import Motion

WIDTH = rep276.WIDTH


def encode(motion: Motion) -> Float[Array, "t 276"]:
    """Rows of a motion, z up, place and direction as they are."""
    return rep276.to_276(*motion, canonical=False)


def decode(rows: Float[Array, "t d"]) -> Float[Array, "t 22 3"]:
    """Joints of rows, z up."""
    return rep276.from_276(rows).joints
