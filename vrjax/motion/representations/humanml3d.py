"""HumanML3D's 263 numbers (`vrjax.motion.rep263`) of z-up motions, with the yaw's sign kept."""

from jaxtyping import Array, Float

from vrjax.motion import axes, rep263
from vrjax.motion.kinematics import Motion

WIDTH = rep263.WIDTH


def encode(motion: Motion) -> Float[Array, "t 263"]:
    """Rows of a motion, z up, which is brought to the origin, onto the floor, and to face along y at first."""
    return rep263.to_263(axes.y_up(motion.joints), unwrap=True)


def decode(rows: Float[Array, "t d"]) -> Float[Array, "t 22 3"]:
    """Joints of rows, z up, from the origin along y."""
    return axes.z_up(rep263.from_263(rows))
