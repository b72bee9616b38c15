"""The world from above, about the ego."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vrjax.drive import roads
from vrjax.drive.boxes import ego_box, scene
from vrjax.drive.state import BUILDING, PEDESTRIAN, POLE, VEGETATION, VEHICLE, State, route

LAYERS = ("drivable", "lane", "route", "vehicle", "pedestrian", "building", "vegetation", "pole", "ego")
"""What the last axis of `raster` holds, in order."""
LINE = 0.25
"""Half of the width in metres at which centre lines are drawn; more where cells are so large that gaps would show."""


def raster(state: State, size: int, metres: float) -> Float[Array, "s s 9"]:
    """A bird's-eye view: one layer for each of `LAYERS`, 1 where a cell's centre is in it and 0 elsewhere.

    The ego's rear axle is in the middle of the square and it looks up: row 0 is ahead, column 0 to the left. The centre
    of cell (i, j) is (size / 2 - i - 0.5) * metres / size ahead and (size / 2 - j - 0.5) * metres / size to the left.

    Args:
        state: what to draw.
        size: cells a side.
        metres: that a side is long.

    Raises:
        ValueError: a size below 1, or metres not finite or not above 0.
    """
    if size < 1 or not (math.isfinite(metres) and metres > 0):
        raise ValueError(f"drive: raster needs 1 cell or more and metres above 0, found {size} and {metres}")
    cell = metres / size
    ahead = (size / 2 - jnp.arange(size) - 0.5)[:, None] * cell
    left = (size / 2 - jnp.arange(size) - 0.5)[None, :] * cell
    x0, y0, yaw = state.ego[:3]
    x = x0 + jnp.cos(yaw) * ahead - jnp.sin(yaw) * left
    y = y0 + jnp.sin(yaw) * ahead + jnp.cos(yaw) * left

    width = max(LINE, 0.71 * cell)
    boxes = scene(state)
    own = ego_box(state.ego)
    where = jnp.concatenate([boxes.position[:, :2], own[None, :2]])
    extent = jnp.concatenate([boxes.size[:, :2], own[None, 2:4]])
    turn = jnp.append(boxes.yaw, own[4])
    dx, dy = x[..., None] - where[:, 0], y[..., None] - where[:, 1]
    along, across = jnp.cos(turn) * dx + jnp.sin(turn) * dy, jnp.cos(turn) * dy - jnp.sin(turn) * dx
    inside = (jnp.abs(along) <= extent[:, 0] / 2) & (jnp.abs(across) <= extent[:, 1] / 2)
    inside &= jnp.append(boxes.active, True)
    kinds = [VEHICLE, PEDESTRIAN, BUILDING, VEGETATION, POLE]
    layers = [
        roads.margin(state.roads, x, y) >= 0,
        _near(state.lanes.points, x, y, width),
        _near(route(state)[None], x, y, width),
        *(jnp.any(inside[..., :-1] & (boxes.kind == kind), -1) for kind in kinds),
        inside[..., -1],
    ]
    return jnp.stack(layers, -1).astype(jnp.float32)


def _near(lines: Float[Array, "l p 2"], x: Array, y: Array, width: float) -> Array:
    """Whether points are within a distance of any of some polylines; one that has no length is not there."""

    def line(found: Array, points: Array) -> tuple[Array, None]:
        start, step = points[:-1], jnp.diff(points, axis=0)
        square = jnp.sum(step**2, -1)
        dx, dy = x[..., None] - start[:, 0], y[..., None] - start[:, 1]
        share = jnp.clip((dx * step[:, 0] + dy * step[:, 1]) / jnp.maximum(square, 1e-9), 0, 1)
        away = (dx - share * step[:, 0]) ** 2 + (dy - share * step[:, 1]) ** 2
        return found | jnp.any((away <= width**2) & (square > 0), -1), None

    return jax.lax.scan(line, jnp.zeros(x.shape, bool), lines)[0]
