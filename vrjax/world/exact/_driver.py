"""Who drives the ego of `drive` when it is told where to: to a point, or along lanes behind whatever is in the way."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vrjax import drive
from vrjax.drive import lanes as lane_graph
from vrjax.drive import traffic
from vrjax.drive.boxes import ego_box, footprint, scene
from vrjax.drive.dynamics import WHEELBASE
from vrjax.drive.lanes import LANES, STOP, SUCCESSORS, Lanes
from vrjax.drive.state import EGO_SIZE
from vrjax.drive.stepping import STEER

RIGHT, STRAIGHT, LEFT = range(SUCCESSORS)
"""Which of a lane's successors leads where."""
FRONT = WHEELBASE / 2 + EGO_SIZE[0] / 2
"""Metres from the rear axle to the front bumper."""
LOOK, LOOK_TIME = 2.0, 0.4
"""The driver steers towards a point so many metres ahead, and so many seconds."""
BRAKING = 3.0
"""In m/s^2, of who was told to stop."""


class Path(NamedTuple):
    """Up to three lanes one after the other.

    Attributes:
        lanes (3,): -1 where there are fewer.
        points (p, 2), along (p,), yaw (p,): the polyline, metres along it and its direction.
    """

    lanes: Int[Array, "3"]
    points: Float[Array, "p 2"]
    along: Float[Array, " p"]
    yaw: Float[Array, " p"]

    @property
    def length(self) -> Float[Array, ""]:
        return self.along[-1]


def path(lanes: Lanes, chain: Int[Array, "3"]) -> Path:
    """Lanes of a chain as one polyline; the last point repeats where there are fewer."""
    points, yaw = [lanes.points[chain[0]]], [lanes.yaw[chain[0]]]
    for lane in chain[1:]:
        points.append(jnp.where(lane >= 0, lanes.points[lane], points[-1][-1]))
        yaw.append(jnp.where(lane >= 0, lanes.yaw[lane], yaw[-1][-1]))
    joined = jnp.concatenate(points)
    return Path(chain, joined, lane_graph.measured(joined[None])[0], jnp.concatenate(yaw))


def beside(way: Path, x: Array, y: Array) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Of the place on a path that is nearest to a point: metres along, how far left of it the point is, direction."""
    s, away, i = lane_graph.nearest(way.points, way.along, x, y)
    to, yaw = jnp.stack([x, y]) - way.points[i], way.yaw[i]
    side = jnp.cos(yaw) * to[1] - jnp.sin(yaw) * to[0]
    return s, jnp.where(side < 0, -away, away), yaw


def inner(lanes: Lanes) -> Bool[Array, " l"]:
    """Which lanes lie within a junction: those that lead from a lane to a lane."""
    leads_on = jnp.any(lanes.successors >= 0, -1)
    follows = jnp.any(lanes.successors[..., None] == jnp.arange(LANES), (0, 1))
    return leads_on & follows


def lane_of(lanes: Lanes, ego: Float[Array, "5"], last: Int[Array, ""]) -> Int[Array, ""]:
    """The lane on which the ego's rear axle is, in its direction within 60 degrees, the nearest of them.

    Lanes within a junction, which cross each other, do not count: there, and off the road, it is still the `last`.
    """

    def judge(lane: Array) -> Array:
        s, away, i = lane_graph.nearest(lanes.points[lane], lanes.along[lane], ego[0], ego[1])
        fits = (away <= lanes.half_width[lane]) & (jnp.cos(ego[2] - lanes.yaw[lane, i]) > 0.5)
        return jnp.where(fits & (s > 0) & (s < lanes.along[lane, -1]), away, jnp.inf)

    away = jax.vmap(judge)(jnp.arange(LANES))
    away = jnp.where(inner(lanes) | (lanes.along[:, -1] <= 0), jnp.inf, away)
    return jnp.where(jnp.any(jnp.isfinite(away)), jnp.argmin(away), last).astype(jnp.int32)


def chain(lanes: Lanes, lane: Array, route: Int[Array, "3"], turn: Int[Array, ""] | int) -> Int[Array, "3"]:
    """The lanes ahead: from `lane` by its successor `turn`; where that is none, by the route, else straight on."""
    after = lanes.successors[lane]
    usual = jnp.where(after[STRAIGHT] >= 0, after[STRAIGHT], jnp.max(after))
    usual = jnp.where((lane == route[0]) & (route[1] >= 0), route[1], usual)
    wished = jnp.where(jnp.asarray(turn) >= 0, after[jnp.clip(turn, 0, SUCCESSORS - 1)], -1)
    second = jnp.where(wished >= 0, wished, usual)
    third = jnp.where(second >= 0, jnp.max(lanes.successors[second]), -1)
    return jnp.stack([lane, second, third]).astype(jnp.int32)


def out_of(lanes: Lanes, lane: Array) -> Int[Array, "3"]:
    """The lanes on which one is after a turn to the right, straight on and to the left; -1 where there is no such."""
    turns = lanes.successors[lane]
    return jnp.where(turns >= 0, jnp.max(lanes.successors[turns], -1), -1)


def towards(
    ego: Float[Array, "5"], point: Float[Array, "2"], dt: Array
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Acceleration and steering that bring the rear axle towards a point within `dt`, and the metres to drive.

    The way is the arc through the point; the speed after the step is the one that covers the way in `dt`. A point at
    constant speed on an arc is kept exactly, others are caught up with, each step leaving at most 71 % of the error.
    Who is told to go backwards brakes.
    """
    to = point - ego[:2]
    ahead = jnp.cos(ego[2]) * to[0] + jnp.sin(ego[2]) * to[1]
    left = jnp.cos(ego[2]) * to[1] - jnp.sin(ego[2]) * to[0]
    square = jnp.maximum(ahead**2 + left**2, 1e-6)
    forward = ahead > 0
    steer = jnp.where(forward, jnp.arctan(WHEELBASE * 2 * left / square), 0.0)
    half = jnp.arctan2(left, jnp.maximum(ahead, 1e-6))  # half of the angle that the arc turns by
    far = jnp.where(forward, jnp.sqrt(square) / jnp.sinc(half / jnp.pi), 0.0)
    return (far / dt - ego[3]) / dt, jnp.clip(steer, -STEER, STEER), far


def along(state: drive.State, way: Path, dt: Array) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Acceleration and steering of who follows a path as traffic does: behind leads, at lanes' limits, before red.

    The end of the path is a lead at rest, so that nobody drives off the map.
    """
    ego, lanes, driver = state.ego, state.lanes, drive.IDM()
    s, _, _ = beside(way, ego[0], ego[1])
    boxes = scene(state)
    flat = footprint(boxes.position, boxes.size, boxes.yaw)
    speeds = jnp.concatenate([state.actors.v, jnp.zeros_like(state.static.yaw)])
    middle, front = s + WHEELBASE / 2, s + FRONT
    gaps, lead_v = traffic.leads(
        flat, speeds, boxes.active, (way.points, way.along, way.yaw), middle, front, ego_box(ego)[3]
    )
    lead = jnp.argmin(gaps)

    # Each lane's limit holds from its beginning on, and is braked for comfortably before.
    number = way.points.shape[0] // way.lanes.shape[0]
    begins, ends = way.along[::number], way.along[number - 1 :: number]
    limits = lanes.limit[way.lanes]
    wished = jnp.sqrt(limits**2 + 2 * driver.b * jnp.maximum(begins - s, 0.0))
    wished = jnp.min(jnp.where((way.lanes >= 0) & (ends > s), wished, limits[0]))
    driver = driver._replace(v0=wished)

    v = ego[3]
    accel = drive.idm(gaps[lead], v, lead_v[lead], driver)
    accel = jnp.minimum(accel, drive.idm(way.length - front, v, 0.0, driver))
    line, signal = ends[0] - STOP - front, lanes.signal[way.lanes[0]]
    go = lane_graph.green(lanes, state.time)[signal]
    red = (signal >= 0) & ~go & traffic.can_wait(line, v)
    accel = jnp.minimum(accel, jnp.where(red, drive.idm(line + driver.s0, v, 0.0, driver), jnp.inf))

    look = s + LOOK + LOOK_TIME * v
    beyond = jnp.maximum(look - way.length, 0.0)
    aim = jnp.stack([jnp.interp(look, way.along, way.points[:, i]) for i in range(2)])
    aim = aim + beyond * jnp.stack([jnp.cos(way.yaw[-1]), jnp.sin(way.yaw[-1])])
    return jnp.clip(accel, -traffic.HARDEST, driver.a_max), towards(ego, aim, dt)[1]
