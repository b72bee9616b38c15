"""A world at one moment, as a pytree of equal shapes for every kind of map."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from vrjax.drive.lanes import Lanes
from vrjax.drive.roads import Roads
from vrjax.flow import words

SEMANTIC = ("sky", "road", "marking", "pavement", "terrain", "vehicle", "pedestrian", "building", "vegetation", "pole")
"""Names of the labels in `Views.semantic`, in order."""
SKY, ROAD, MARKING, GROUND_PAVEMENT, TERRAIN, VEHICLE, PEDESTRIAN, BUILDING, VEGETATION, POLE = range(len(SEMANTIC))
EGO_SIZE = (4.6, 1.9, 1.6)
"""Length, width and height of the ego's box in metres."""
WALKING, CROSSING, CROSSED = range(3)
"""What a pedestrian does: walks along the pavement and may cross; crosses; walks on and crosses no more."""


class Actors(NamedTuple):
    """Everything else that moves; n slots, of which some may be empty.

    Attributes:
        position (n, 3): centre of the box in m. size (n, 3): length, width, height in m.
        yaw (n,): in rad. v (n,): speed in m/s, along yaw.
        kind (n,): `VEHICLE` or `PEDESTRIAN`, as in `SEMANTIC`.
        id (n,): 1 to n, as in `Views.instance`; never changes.
        colour (n, 3): in [0, 1].
        active (n,): whether there is anyone: vehicles leave where their lane ends, and never come back.
        lane, successor (n,): a vehicle's lane and the one that it has chosen after it (-1: none). along (n,): metres.
        turns (n,): how many successors a vehicle has chosen; a part of the keys of these choices.
        piece (n,), along (n,), left (n,): where a pedestrian is on the roads' pieces, see `roads.place`.
        side (n,): of the road on which a pedestrian started, 1 left, -1 right. way (n,): 1 along the piece, -1 against.
        pace (n,): a pedestrian's constant speed in m/s. mode (n,): `WALKING`, `CROSSING` or `CROSSED`.
    """

    position: Float[Array, "*b n 3"]
    size: Float[Array, "*b n 3"]
    yaw: Float[Array, "*b n"]
    v: Float[Array, "*b n"]
    kind: Int[Array, "*b n"]
    id: Int[Array, "*b n"]
    colour: Float[Array, "*b n 3"]
    active: Bool[Array, "*b n"]
    lane: Int[Array, "*b n"]
    successor: Int[Array, "*b n"]
    turns: Int[Array, "*b n"]
    along: Float[Array, "*b n"]
    piece: Int[Array, "*b n"]
    left: Float[Array, "*b n"]
    side: Float[Array, "*b n"]
    way: Float[Array, "*b n"]
    pace: Float[Array, "*b n"]
    mode: Int[Array, "*b n"]


class Static(NamedTuple):
    """Boxes that never move; m slots, of which some may be empty.

    Attributes:
        position (m, 3), size (m, 3), yaw (m,), colour (m, 3), active (m,): as those of `Actors`.
        kind (m,): `BUILDING`, `VEGETATION` or `POLE`. id (m,): after those of the actors.
        signal (m,): which arm's signal a pole carries, -1 for none.
    """

    position: Float[Array, "*b m 3"]
    size: Float[Array, "*b m 3"]
    yaw: Float[Array, "*b m"]
    kind: Int[Array, "*b m"]
    id: Int[Array, "*b m"]
    colour: Float[Array, "*b m 3"]
    active: Bool[Array, "*b m"]
    signal: Int[Array, "*b m"]


class Weather(NamedTuple):
    """What changes colours and nothing else.

    Attributes:
        rain, darkness (): from 0, a clear day, to 1.
    """

    rain: Float[Array, "*b"]
    darkness: Float[Array, "*b"]


class State(NamedTuple):
    """One world. World axes: x and y on the ground, z up; metres, radians, seconds.

    Attributes:
        ego (5,): x, y of the rear axle, yaw, v, and the steering angle last applied.
        actors, static, roads, lanes, weather: see there.
        route (3,): lanes that the ego is to follow, -1 where there are fewer; `drive.route(state)` is the polyline.
        hazard (): probability that a walking pedestrian starts to cross within 0.1 s.
        key: what all randomness comes from; it never changes, draws of step k are keyed by `fold_in(key, k)`.
        tick (): how many steps there were. time (): in s.
    """

    ego: Float[Array, "*b 5"]
    actors: Actors
    static: Static
    roads: Roads
    lanes: Lanes
    route: Int[Array, "*b 3"]
    weather: Weather
    hazard: Float[Array, "*b"]
    key: Key[Array, "*b"]
    tick: Int[Array, "*b"]
    time: Float[Array, "*b"]

    __repr__ = words.line


def route(state: State) -> Float[Array, "k 2"]:
    """The lanes of `state.route` as one polyline, in metres; where there are fewer lanes its last point repeats."""
    points, last = [], state.lanes.points[state.route[0], 0]
    for lane in state.route:
        row = jnp.where(lane >= 0, state.lanes.points[lane], last)
        points.append(row)
        last = row[-1]
    return jnp.concatenate(points)
