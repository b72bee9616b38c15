"""From a camera's space, where bodies are estimated from video, to a world with a floor; and back into the picture.

A camera's space is OpenCV's: x right, y down, z forward. ViMoGen keeps, beside the rows in the world, where the camera
was: nine numbers a frame, the 6-D form of R and then T, such that `view = point @ R + T` for row vectors has the axes
of PyTorch3D (x left, y up, z forward). The camera is taken to look horizontally.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vrjax.motion.canonical import Placement, canonicalise, place
from vrjax.motion.kinematics import Motion
from vrjax.motion.rep276 import encode, from_276
from vrjax.motion.rotations import Real, compose, inverse, matrix, rot6d, rotate

Number = float | int | Array

TO_WORLD = np.array([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]], np.float32)
"""OpenCV's camera axes in a world with z up: the camera looks along -y."""
TO_VIEW = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
"""World to view, for row vectors."""


class Seen(NamedTuple):
    """A motion in the world and the camera that saw it.

    Attributes:
        rows (t, 276): canonical, on the floor.
        extrinsic (t, 9): the camera, equal in all frames; see the module.
        intrinsic (3, 3): focal length and centre, in pixels; the identity if unknown.
    """

    rows: Float[Array, "t 276"]
    extrinsic: Float[Array, "t 9"]
    intrinsic: Float[Array, "3 3"]


def camera_to_world(
    rows: Float[Real, "t 276"],
    *,
    focal_length: Number | None = None,
    width: Number | None = None,
    height: Number | None = None,
) -> Seen:
    """Rows in a camera's space as rows in a canonical world with a floor, as many.

    Args:
        rows: `to_276(..., canonical=False)` of a motion in OpenCV's camera space. They are read by velocity.
        focal_length, width, height: in pixels, all three or none.

    Raises:
        ValueError: some of the three but not all, or as `from_276`.
    """
    seen = from_276(rows, equal_length=True)
    moved, placement = canonicalise(camera_motion(seen), floor=True)
    out = encode(moved)
    camera = jnp.broadcast_to(extrinsic(placement), (out.shape[0], 9))
    return Seen(out, camera, intrinsic(focal_length, width, height))


def camera_motion(motion: Motion) -> Motion:
    """A motion in OpenCV's camera space in a world with z up, not yet canonical."""
    return place(motion, TO_WORLD, jnp.zeros(3))


def extrinsic(placement: Placement) -> Float[Array, "9"]:
    """The camera's nine numbers in a world that `canonicalise` moved by `placement`."""
    turn = compose(placement.rotation, TO_VIEW)
    return jnp.concatenate([rot6d(turn), -rotate(inverse(turn), placement.shift)])


def intrinsic(focal_length: Number | None, width: Number | None, height: Number | None) -> Float[Array, "3 3"]:
    """`[[f, 0, width / 2], [0, f, height / 2], [0, 0, 1]]`, in pixels; the identity where nothing is given.

    Raises:
        ValueError: some are given but not all.
    """
    given = (focal_length, width, height)
    if all(x is None for x in given):
        return jnp.eye(3)
    if any(x is None for x in given):
        raise ValueError(f"camera: found focal_length, width, height = {given}, expected all three or none")
    f, w, h = (jnp.asarray(x, jnp.float32) for x in given)
    o, l = jnp.zeros_like(f), jnp.ones_like(f)
    return jnp.stack([jnp.stack([f, o, w / 2]), jnp.stack([o, f, h / 2]), jnp.stack([o, o, l])])


def view(points: Float[Real, "*n 3"], extrinsic: Float[Real, "9"]) -> Float[Array, "*n 3"]:
    """Points of the world in PyTorch3D's camera axes: x left, y up, z forward, in metres."""
    extrinsic = jnp.asarray(extrinsic)
    return rotate(inverse(matrix(extrinsic[:6])), points) + extrinsic[6:]


def project(
    points: Float[Real, "*n 3"], extrinsic: Float[Real, "9"], intrinsic: Float[Real, "3 3"]
) -> Float[Array, "*n 2"]:
    """Where points of the world are in the picture: (u to the right, v down), in pixels.

    A point in the camera's plane has no place in the picture: its coordinates are not finite.
    """
    left, up, forward = jnp.moveaxis(view(points, extrinsic), -1, 0)
    seen = rotate(intrinsic, jnp.stack([-left / forward, -up / forward, jnp.ones_like(forward)], -1))
    return seen[..., :2]
