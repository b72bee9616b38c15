"""Cameras on the ego: where they are, the ray of every pixel, and points in their pictures.

Camera axes are x right, y down, z forward; the ego's x forward, y left, z up, from the rear axle on the ground. Pixel
(row 0, column 0) covers [0, 1)^2 of u, v, so its centre is (0.5, 0.5); depth is z, not the length of the ray.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vrjax.drive.arcs import Real

FOV = 75.0
"""Degrees across the picture; neighbours are 60 apart, so they overlap by 15."""
NEAREST = 1e-6
"""Depth in metres up to which a point has no place in a picture."""
MOUNTS = {
    "CAM_FRONT_LEFT": (1.75, 0.50, 60.0),
    "CAM_FRONT": (1.95, 0.00, 0.0),
    "CAM_FRONT_RIGHT": (1.75, -0.50, -60.0),
    "CAM_BACK_RIGHT": (1.05, -0.50, -120.0),
    "CAM_BACK": (0.40, 0.00, 180.0),
    "CAM_BACK_LEFT": (1.05, 0.50, 120.0),
}
"""Metres ahead of the rear axle and to its left, and degrees to the left that each camera looks to."""
HEIGHT = 1.65
"""Of all cameras above the ground, in metres: they stand on the roof and see nothing of the ego."""
SAMPLES = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25), (0.0, 0.0))
"""Where in a pixel rays go, as offsets from its centre: four for colours, then the centre for everything else."""
CENTRE = len(SAMPLES) - 1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cameras:
    """A set of n pinhole cameras that look from the ego.

    Attributes:
        rotation (n, 3, 3), centre (n, 3): camera = rotation @ (point - centre), in the ego's frame.
        intrinsics (n, 3, 3): pixels = intrinsics @ camera / z.
        rays (3, 5, n, h, w): directions in the ego's frame of depth 1, for each of `SAMPLES`.
        names: of the cameras.
    """

    rotation: Any
    centre: Any
    intrinsics: Any
    rays: Any
    names: tuple[str, ...] = dataclasses.field(metadata=dict(static=True))


def cameras(height: int = 48, width: int = 80, names: Sequence[str] = tuple(MOUNTS)) -> Cameras:
    """The six cameras of a car under the names of nuScenes, or some of them. Make them once: rays are computed here.

    Args:
        height, width: of the pictures in pixels. The field of view is 75 degrees across, pixels are square.
        names: of `MOUNTS`, in the order of the pictures.

    Raises:
        ValueError: a size below 1, no camera or an unknown one.
    """
    if height < 1 or width < 1:
        raise ValueError(f"drive: pictures must be at least 1 x 1 pixel, found {height} x {width}")
    names = tuple(names)
    if not names or not set(names) <= MOUNTS.keys():
        raise ValueError(f"drive: cameras must be some of {', '.join(MOUNTS)}, found {', '.join(names) or 'none'}")
    ahead, left, yaw = np.array([MOUNTS[name] for name in names]).T
    c, s = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    zero, one = np.zeros_like(c), np.ones_like(c)
    rotation = np.stack([s, -c, zero, zero, zero, -one, c, s, zero], -1).reshape(-1, 3, 3)
    focal = width / 2 / np.tan(np.radians(FOV) / 2)
    intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    shift = np.array(SAMPLES)[:, :, None, None]
    u, v = np.arange(width) + 0.5 + shift[:, 0], np.arange(height)[:, None] + 0.5 + shift[:, 1]
    shape = (len(SAMPLES), height, width)
    pixel = np.stack([np.broadcast_to(a, shape) for a in ((u - width / 2) / focal, (v - height / 2) / focal, 1.0)])
    rays = np.einsum("nij,ishw->jsnhw", rotation, pixel)
    single = lambda held: jnp.asarray(held, jnp.float32)
    centre = np.stack([ahead, left, HEIGHT * one], -1)
    return Cameras(
        single(rotation), single(centre), single(np.tile(intrinsics, (len(names), 1, 1))), single(rays), names
    )


def project(
    points: Float[Real, "n 3"], R: Float[Real, "3 3"], centre: Float[Real, "3"], K: Float[Real, "3 3"]
) -> tuple[Float[Array, "n 2"], Float[Array, " n"]]:
    """Where points are in a picture: camera = R @ (point - centre), (u, v, 1) = K @ camera / z.

    Args:
        points: in the world's frame, or whichever R and centre refer to, in metres.
        R: rotation into the camera's frame (x right, y down, z forward).
        centre: of the camera.
        K: intrinsics; the last row is (0, 0, 1).

    Returns:
        Pixels (u, v), and depths z in metres. Where z <= 1e-6, at or behind the camera, u and v are NaN: such a point
        is in no picture, and is never mirrored into it. Points beside the picture keep their u and v.
    """
    points, R, centre, K = (jnp.asarray(held) for held in (points, R, centre, K))
    x, y, z = (_row(R[i], points - centre) for i in range(3))
    seen = z > NEAREST
    safe = jnp.where(seen, z, 1.0)
    ray = jnp.stack([x / safe, y / safe, jnp.ones_like(z)], -1)
    uv = jnp.stack([_row(K[0], ray), _row(K[1], ray)], -1)
    return jnp.where(seen[:, None], uv, jnp.nan), z


def extrinsics(cameras: Cameras, ego: Float[Real, "5"]) -> tuple[Float[Array, "n 3 3"], Float[Array, "n 3"]]:
    """Rotations and centres of the cameras in the world's frame, as `project` takes them."""
    ego = jnp.asarray(ego)
    c, s = jnp.cos(ego[2]), jnp.sin(ego[2])
    x, y, z = (cameras.rotation[..., i] for i in range(3))
    rotation = jnp.stack([c * x - s * y, s * x + c * y, z], -1)
    at = cameras.centre
    centre = jnp.stack([ego[0] + c * at[:, 0] - s * at[:, 1], ego[1] + s * at[:, 0] + c * at[:, 1], at[:, 2]], -1)
    return rotation, centre


def _row(row: Array, points: Array) -> Array:
    """A product of three terms by hand: exact to float32 on accelerators whose products are coarser by default."""
    return row[0] * points[:, 0] + row[1] * points[:, 1] + row[2] * points[:, 2]
