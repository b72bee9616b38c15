"""Roads: up to four pieces of constant curvature and one junction. The drivable area in closed form, no polygon.

A piece is a strip of two lanes about an arc; a junction is a square whose corners are rounded by circles, and flat
where an arm is missing. Pieces and junction share their edges, so the drivable area is their union.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vrjax.drive import arcs
from vrjax.drive.arcs import Number, Real

PIECES = 4
LANE_WIDTH = 3.5
HALF_WIDTH = LANE_WIDTH
"""Of a road, in metres: one lane to each side of its centre line. Traffic keeps to the right."""
PAVEMENT = 2.4
"""Width in metres of the pavement along every edge of the road."""
CORNER = 6.0
"""Radius in metres of the kerb at a junction's corners."""
REACH = HALF_WIDTH + CORNER
"""From a junction's centre to where its arms begin, in metres."""
SEAM = 1e-3
"""Pieces overlap by this much, in metres, so that rounding opens no gap between two."""


class Roads(NamedTuple):
    """The surface of one world.

    Attributes:
        start (g, 2), heading (g,), curvature (g,), length (g,): the pieces' centre lines; length 0 where there is none.
            With a junction, piece j is arm j: it leads outward, j quarter turns to the left of the first.
        centre (2,): of the junction.
        arms (4,): which of its arms there are; none where there is no junction.
    """

    start: Float[Array, "*b g 2"]
    heading: Float[Array, "*b g"]
    curvature: Float[Array, "*b g"]
    length: Float[Array, "*b g"]
    centre: Float[Array, "*b 2"]
    arms: Bool[Array, "*b 4"]


class Strip(NamedTuple):
    """Points in the frame of one piece.

    Attributes:
        beside (...): whether they lie between its two ends.
        left (...): metres to the left of its centre line.
        forward (...): metres along its first tangent; along the piece where that is straight.
    """

    beside: Bool[Array, "..."]
    left: Float[Array, "..."]
    forward: Float[Array, "..."]


def place(
    roads: Roads, piece: Int[Real, "..."] | int, s: Number, left: Number
) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
    """x, y and heading of the point `s` metres along a piece and `left` metres to the left of its centre line."""
    start, heading, curvature = roads.start[piece], roads.heading[piece], roads.curvature[piece]
    x, y, yaw = arcs.along(start[..., 0], start[..., 1], heading, curvature, s)
    return x - left * jnp.sin(yaw), y + left * jnp.cos(yaw), yaw


def strip(roads: Roads, piece: int, x: Float[Real, "..."], y: Float[Real, "..."]) -> Strip:
    """World points in the frame of a piece."""
    heading, curvature, length = roads.heading[piece], roads.curvature[piece], roads.length[piece]
    x, y = jnp.asarray(x), jnp.asarray(y)
    forward, left = _turned(x - roads.start[piece, 0], y - roads.start[piece, 1], heading)
    end_x, end_y, turn = arcs.along(0.0, 0.0, 0.0, curvature, length)
    # Before the normal at the end: a half plane instead of an angle, right for every piece that turns less than pi.
    beyond = (forward - end_x) * jnp.cos(turn) + (left - end_y) * jnp.sin(turn)
    beside = (forward >= -SEAM) & (beyond <= SEAM) & (length > 0)
    return Strip(beside, arcs.across(curvature, forward, left), forward)


def margin(roads: Roads, x: Float[Real, "..."], y: Float[Real, "..."]) -> Float[Array, "..."]:
    """How far points lie inside of the drivable area: 0 on its edge, negative on the pavement and beyond.

    It is the distance across the road in metres, exact near the edges; far from all roads it is -inf.

    Args:
        x, y: world coordinates in metres, of equal shape.
    """
    x, y = jnp.asarray(x), jnp.asarray(y)
    found = _junction(roads, x, y)
    for piece in range(roads.length.shape[-1]):
        at = strip(roads, piece, x, y)
        found = jnp.maximum(found, jnp.where(at.beside, HALF_WIDTH - jnp.abs(at.left), -jnp.inf))
    return found


def _turned(x: Array, y: Array, angle: Array) -> tuple[Array, Array]:
    """Coordinates in a frame that is turned to the left by an angle."""
    c, s = jnp.cos(angle), jnp.sin(angle)
    return c * x + s * y, c * y - s * x


def _junction(roads: Roads, x: Array, y: Array) -> Array:
    u, v = _turned(x - roads.centre[0], y - roads.centre[1], roads.heading[0])
    inside = (jnp.maximum(jnp.abs(u), jnp.abs(v)) <= REACH + SEAM) & jnp.any(roads.arms)
    ahead = jnp.where(u >= 0, roads.arms[0], roads.arms[2])
    aside = jnp.where(v >= 0, roads.arms[1], roads.arms[3])
    kerb = jnp.sqrt((REACH - jnp.abs(u)) ** 2 + (REACH - jnp.abs(v)) ** 2) - CORNER
    found = jnp.where(ahead & aside, kerb, HALF_WIDTH)
    for arm, out in enumerate((u, v, -u, -v)):
        found = jnp.where(roads.arms[arm], found, jnp.minimum(found, HALF_WIDTH - out))
    return jnp.where(inside, found, -jnp.inf)
