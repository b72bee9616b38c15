"""The four kinds of maps, all of one shape: a straight road, a curve, a T junction and a crossing."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from vrjax.drive import arcs
from vrjax.drive.arcs import Number
from vrjax.drive.lanes import LANES, POINTS, Lanes, measured
from vrjax.drive.roads import HALF_WIDTH, LANE_WIDTH, PIECES, REACH, Roads, place

KINDS = ("straight", "curve", "t", "crossing")
STRAIGHT, ARM, BEFORE = 240.0, 110.0, 100.0
"""Metres of a straight road, of a junction's arm, and of the straight piece before and after a curve."""
FAST, SLOW = 11.0, 5.0
"""Desired speed of traffic in m/s on straight roads, and on turns at a junction."""
SIDEWAYS = 2.2
"""Largest sideways acceleration of traffic on a curve, in m/s^2, which limits its speed there."""
TURNS = (0.3, 0.4, 0.3)
"""Probabilities of right, straight on and left at a junction; those that are there share the others' parts equally."""


class Map(NamedTuple):
    """What a world is built on.

    Attributes:
        roads, lanes: surface and lane graph.
        first: lane on which the ego starts.
        span (2,): metres along it between which it starts.
    """

    roads: Roads
    lanes: Lanes
    first: Int[Array, ""]
    span: Float[Array, "2"]


def draw(key: Key[Array, ""], kind: Int[Array, ""] | int) -> Map:
    """A map of `KINDS[kind]`, turned by a random angle; the curve's radius and angle are random too."""
    turn, own = jax.random.split(key)
    heading = jax.random.uniform(turn, (), minval=-np.pi, maxval=np.pi)
    return jax.lax.switch(kind, [_straight, _curve, _t, _crossing], own, heading)


def _lane(roads: Roads, piece: int, left: float, back: bool) -> tuple[Array, Array]:
    """Points and directions of a lane beside one whole piece."""
    s = roads.length[piece] * jnp.linspace(0.0, 1.0, POINTS)
    x, y, yaw = place(roads, piece, s, left)
    points = jnp.stack([x, y], -1)
    return (points[::-1], yaw[::-1] + jnp.pi) if back else (points, yaw)


def _turn(x: Number, y: Number, yaw: Number, curvature: float, length: float) -> tuple[Array, Array]:
    """Points and directions of an arc."""
    x, y, yaw = arcs.along(x, y, yaw, curvature, length * jnp.linspace(0.0, 1.0, POINTS))
    return jnp.stack([x, y], -1), yaw


def _filled(rows: list[tuple[Array, Array]], successors: list, limits: Array, signals: list) -> Lanes:
    """Lanes of what there is, and the rest of length 0."""
    empty = LANES - len(rows)
    pad = lambda held, value: jnp.pad(held, [(0, empty)] + [(0, 0)] * (held.ndim - 1), constant_values=value)
    points = pad(jnp.stack([row[0] for row in rows]), 0.0)
    held = np.array(successors, np.int32).reshape(len(rows), 3)
    shares = np.where(held >= 0, TURNS, 0.0)
    missing = 1 - shares.sum(1, keepdims=True)
    count = (held >= 0).sum(1, keepdims=True)
    shares = np.where(held >= 0, shares + missing / np.maximum(count, 1), 0.0)
    return Lanes(
        points=points,
        yaw=pad(jnp.stack([row[1] for row in rows]), 0.0),
        along=measured(points),
        half_width=jnp.full(LANES, LANE_WIDTH / 2),
        successors=pad(jnp.asarray(held), -1),
        probability=pad(jnp.asarray(shares, jnp.float32), 0.0),
        limit=pad(limits, FAST),
        signal=pad(jnp.asarray(signals, jnp.int32), -1),
    )


def _pieces(starts: list, headings: list, curvatures: list, lengths: list, centre: Array, arms: tuple) -> Roads:
    empty = PIECES - len(headings)
    row = lambda held: jnp.pad(jnp.stack([jnp.asarray(one, jnp.float32) for one in held]), (0, empty))
    start = jnp.pad(
        jnp.stack([jnp.stack([jnp.asarray(p[0]), jnp.asarray(p[1])]) for p in starts]), [(0, empty), (0, 0)]
    )
    return Roads(start, row(headings), row(curvatures), row(lengths), centre, jnp.array(arms))


def _straight(key: Array, heading: Array) -> Map:
    start = (-STRAIGHT / 2 * jnp.cos(heading), -STRAIGHT / 2 * jnp.sin(heading))
    roads = _pieces([start], [heading], [0.0], [STRAIGHT], jnp.zeros(2), (False,) * 4)
    rows = [_lane(roads, 0, -LANE_WIDTH / 2, False), _lane(roads, 0, LANE_WIDTH / 2, True)]
    lanes = _filled(rows, [[-1] * 3] * 2, jnp.full(2, FAST), [-1] * 2)
    return Map(roads, lanes, jnp.int32(0), jnp.array([40.0, 110.0]))


def _curve(key: Array, heading: Array) -> Map:
    radius_key, angle_key, side_key = jax.random.split(key, 3)
    radius = jax.random.uniform(radius_key, (), minval=30.0, maxval=60.0)
    angle = jax.random.uniform(angle_key, (), minval=1.0, maxval=1.7)
    curvature = jnp.where(jax.random.bernoulli(side_key), 1.0, -1.0) / radius
    start = (-BEFORE * jnp.cos(heading), -BEFORE * jnp.sin(heading))
    bend = arcs.along(*start, heading, 0.0, BEFORE)
    end = arcs.along(*bend, curvature, radius * angle)
    pieces = [(start, heading), (bend[:2], bend[2]), (end[:2], end[2])]
    roads = _pieces(
        [p[0] for p in pieces], [p[1] for p in pieces], [0.0, curvature, 0.0], [BEFORE, radius * angle, BEFORE],
        jnp.zeros(2), (False,) * 4,
    )  # fmt: skip
    share = jnp.linspace(0.0, 1.0, POINTS - 2) * roads.length[1]

    def lane(left: float, back: bool) -> tuple[Array, Array]:
        ends = [place(roads, 0, 0.0, left), place(roads, 2, BEFORE, left)]
        bent = place(roads, 1, share, left)
        x, y, yaw = (jnp.concatenate([ends[0][i][None], bent[i], ends[1][i][None]]) for i in range(3))
        points = jnp.stack([x, y], -1)
        return (points[::-1], yaw[::-1] + jnp.pi) if back else (points, yaw)

    limit = jnp.minimum(FAST, jnp.sqrt(SIDEWAYS * (radius - LANE_WIDTH / 2)))
    rows = [lane(-LANE_WIDTH / 2, False), lane(LANE_WIDTH / 2, True)]
    lanes = _filled(rows, [[-1] * 3] * 2, jnp.full(2, 1.0) * limit, [-1] * 2)
    return Map(roads, lanes, jnp.int32(0), jnp.array([40.0, 85.0]))


def _t(key: Array, heading: Array) -> Map:
    return _junction(key, heading, (True, True, True, False))


def _crossing(key: Array, heading: Array) -> Map:
    return _junction(key, heading, (True,) * 4)


def _junction(key: Array, heading: Array, arms: tuple) -> Map:
    """Lanes 0-3 lead in on the arms, 4-7 out, 8 + 3 j + i from arm j to the right (i = 0), straight on and to the left.

    Turns are quarters of circles about the corners of the junction's square, so a right turn runs along the kerb.
    """
    number = sum(arms)
    headings = [heading + j * jnp.pi / 2 for j in range(number)]
    roads = _pieces(
        [(REACH * jnp.cos(a), REACH * jnp.sin(a)) for a in headings], headings, [0.0] * number, [ARM] * number,
        jnp.zeros(2), arms,
    )  # fmt: skip
    nothing = (jnp.zeros((POINTS, 2)), jnp.zeros(POINTS))
    side, quarter = LANE_WIDTH / 2, np.pi / 2
    lead_in = [_lane(roads, j, side, True) if arms[j] else nothing for j in range(4)]
    lead_out = [_lane(roads, j, -side, False) if arms[j] else nothing for j in range(4)]
    right, left = REACH - HALF_WIDTH / 2, REACH + HALF_WIDTH / 2
    shapes = ((-1 / right, quarter * right), (0.0, 2 * REACH), (1 / left, quarter * left))
    turns, after_turns, after_in, limits = [], [], [], []
    for j in range(4):
        goals = [(j + i + 1) % 4 for i in range(3)]
        open_ = [arms[j] and arms[goal] for goal in goals]
        points, yaw = lead_in[j]
        for there, (curvature, length) in zip(open_, shapes, strict=True):
            turns.append(_turn(points[-1, 0], points[-1, 1], yaw[-1], curvature, length) if there else nothing)
            limits.append(FAST if curvature == 0 else SLOW)
        after_turns += [[-1, 4 + goal, -1] if there else [-1] * 3 for there, goal in zip(open_, goals, strict=True)]
        after_in.append([8 + 3 * j + i if there else -1 for i, there in enumerate(open_)])
    lanes = _filled(
        [*lead_in, *lead_out, *turns],
        [*after_in, *([[-1] * 3] * 4), *after_turns],
        jnp.array([FAST] * 8 + limits),
        [j if arms[j] else -1 for j in range(4)] + [-1] * 16,
    )
    # The ego comes by any arm; they are numbered from the first of the three that a T has.
    first = jax.random.randint(key, (), 0, number)
    return Map(roads, lanes, first, jnp.array([ARM - 75.0, ARM - 25.0]))
