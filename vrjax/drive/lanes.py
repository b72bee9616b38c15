"""The lane graph: polylines that vehicles follow, which lane comes after which, and the signals at a junction."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vrjax.drive.arcs import Number, Real

LANES, POINTS, SUCCESSORS = 20, 24, 3
STOP = 5.4
"""Metres before its end at which a lane with a signal has its stop line: in front of the zebra crossing."""
GREEN, CYCLE = 5.0, 8.0
"""Seconds for which one arm of a junction has green, and after which the next arm follows; red for all in between."""


class Lanes(NamedTuple):
    """Lanes as polylines; those that a world does not have are of length 0.

    Attributes:
        points (l, p, 2): in the direction of travel, in metres.
        yaw (l, p): the lane's direction there, unwrapped.
        along (l, p): metres from the lane's beginning.
        half_width (l,): in metres.
        successors (l, 3): lanes that begin where this one ends, -1 for none.
        probability (l, 3): with which a vehicle takes each; sums to 1 where there are successors.
        limit (l,): desired speed of traffic in m/s.
        signal (l,): which arm's signal ends this lane, -1 for none.
    """

    points: Float[Array, "*b l p 2"]
    yaw: Float[Array, "*b l p"]
    along: Float[Array, "*b l p"]
    half_width: Float[Array, "*b l"]
    successors: Int[Array, "*b l 3"]
    probability: Float[Array, "*b l 3"]
    limit: Float[Array, "*b l"]
    signal: Int[Array, "*b l"]


def at(
    lanes: Lanes, lane: Int[Real, ""] | int, s: Number
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """x, y and direction at `s` metres along a lane; beyond its ends it goes on straight."""
    along = lanes.along[lane]
    i = jnp.clip(jnp.sum(along[1:-1] <= s), 0, along.shape[0] - 2)
    share = (s - along[i]) / jnp.maximum(along[i + 1] - along[i], 1e-6)
    x, y = lanes.points[lane, i] + share * (lanes.points[lane, i + 1] - lanes.points[lane, i])
    bent = jnp.clip(share, 0, 1) * (lanes.yaw[lane, i + 1] - lanes.yaw[lane, i])
    return x, y, lanes.yaw[lane, i] + bent


def nearest(
    points: Float[Real, "k 2"], along: Float[Real, " k"], x: Number, y: Number
) -> tuple[Float[Array, ""], Float[Array, ""], Int[Array, ""]]:
    """The point of a polyline that is nearest to (x, y).

    Args:
        points, along: the polyline and the metres from its beginning; points may repeat.

    Returns:
        Metres along it, the distance to it, and the index of the segment.
    """
    points, along = jnp.asarray(points), jnp.asarray(along)
    step = points[1:] - points[:-1]
    to = jnp.stack([x - points[:-1, 0], y - points[:-1, 1]], -1)
    square = jnp.sum(step**2, -1)
    share = jnp.clip(jnp.sum(to * step, -1) / jnp.maximum(square, 1e-9), 0, 1)
    away = jnp.sum((to - share[:, None] * step) ** 2, -1)
    i = jnp.argmin(away)
    return along[i] + share[i] * (along[i + 1] - along[i]), jnp.sqrt(away[i]), i


def path(
    lanes: Lanes, lane: Int[Real, ""] | int, successor: Int[Real, ""] | int
) -> tuple[Float[Array, "k 2"], Float[Array, " k"], Float[Array, " k"]]:
    """A lane and the one after it as one polyline: points, metres along, directions. Without one the end repeats."""
    more = jnp.asarray(successor) >= 0
    length = lanes.along[lane, -1]
    points = jnp.where(more, lanes.points[successor], lanes.points[lane, -1])
    along = length + jnp.where(more, lanes.along[successor], 0.0)
    yaw = jnp.where(more, lanes.yaw[successor], lanes.yaw[lane, -1])
    join = lambda a, b: jnp.concatenate([a, b])
    return join(lanes.points[lane], points), join(lanes.along[lane], along), join(lanes.yaw[lane], yaw)


def choice(lanes: Lanes, lane: Int[Real, ""] | int, uniform: Number) -> Int[Array, ""]:
    """The successor that a number in [0, 1) chooses with the lane's probabilities; -1 where there is none."""
    edges = jnp.cumsum(lanes.probability[lane])
    i = jnp.clip(jnp.sum(uniform >= edges), 0, SUCCESSORS - 1)
    # Rounding may leave the last edge below 1, and then i on a successor that is not there.
    i = jnp.minimum(i, SUCCESSORS - 1 - jnp.argmax(lanes.probability[lane][::-1] > 0))
    return jnp.where(jnp.any(lanes.successors[lane] >= 0), lanes.successors[lane, i], -1)


def green(lanes: Lanes, time: Number) -> Bool[Array, "4"]:
    """Which arms of the junction have green: one at a time, so that no two streams meet."""
    arms = jnp.max(lanes.signal) + 1
    phase = jnp.mod(jnp.floor(jnp.asarray(time) / CYCLE), jnp.maximum(arms, 1))
    return (jnp.arange(4) == phase) & (jnp.mod(time, CYCLE) < GREEN)


def measured(points: Float[Real, "l p 2"]) -> Float[Array, "l p"]:
    """Metres from the beginning of each polyline to each of its points."""
    steps = jnp.sqrt(jnp.sum(jnp.diff(jnp.asarray(points), axis=-2) ** 2, -1))
    return jnp.cumsum(jnp.pad(steps, [(0, 0), (1, 0)]), -1)


at_each = jax.vmap(at, in_axes=(None, 0, 0))
"""`at` for one lane and one distance per entry."""
