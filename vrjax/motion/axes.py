"""Which way is up: the house is z-up and looks along +y; HumanML3D, BVH files and MBench's are y-up and look along +z.

Both are right-handed, with the body's left hand on the left of where it looks.
"""

import numpy as np
from jaxtyping import Array, Float

from vrjax.motion.rotations import Real, compose, rotate

_Y_UP = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]], np.float32)  # its own inverse


def y_up(vectors: Float[Real, "*n 3"]) -> Float[Array, "*n 3"]:
    """Points of a z-up world in the y-up one: (x, y, z) -> (-x, z, y), a rotation; in the unit of the points."""
    return rotate(_Y_UP, vectors)


def z_up(vectors: Float[Real, "*n 3"]) -> Float[Array, "*n 3"]:
    """Points of a y-up world in the z-up one: the same rotation, which is half a turn."""
    return rotate(_Y_UP, vectors)


def turned(rotations: Float[Real, "*n 3 3"]) -> Float[Array, "*n 3 3"]:
    """Orientations (body to world) in a z-up world as orientations in the y-up one; and back."""
    return compose(_Y_UP, rotations)
