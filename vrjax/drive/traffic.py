"""How everyone but the ego moves: vehicles follow lanes and leads, pedestrians walk and now and then cross.

Randomness is exogenous: a pedestrian's draw is keyed by the world's key, the step and the slot; a vehicle's choice at a
junction by the world's key, the slot and how many it made before. So with equal keys the same pedestrian steps onto the
road at the same moment and the same vehicle turns the same way, whatever the ego does.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from vrjax.drive import lanes as lane_graph
from vrjax.drive import roads
from vrjax.drive.arcs import Number, Real
from vrjax.drive.boxes import ego_box, footprint
from vrjax.drive.dynamics import IDM, advance, idm
from vrjax.drive.state import CROSSED, CROSSING, PEDESTRIAN, VEHICLE, WALKING, State

HARDEST = 8.0
"""Braking in m/s^2 beyond which no vehicle goes."""
CLEARANCE = 0.4
"""Metres of air beside a vehicle within which something on its path is a lead."""
STEP = 0.1
"""Seconds to which `State.hazard` refers."""
KERB = 1.4
"""Metres from the road's edge at which pedestrians walk."""
TURN_BACK = 3.0
"""Metres from the end of a piece at which they turn round."""
SLOWLY, OVER = 1.0, 0.5
"""Who drives slower, in m/s, and is not farther over a stop line, in m, waits at it as one before it."""
DECIDES, TURNS = 0, 1  # what a key is folded with first


def chosen(key: Key[Array, ""], slot: Int[Array, ""] | int, turns: Int[Array, ""] | int) -> Float[Array, ""]:
    """The number in [0, 1) that decides where a vehicle goes after its lane, see `lanes.choice`."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, TURNS), slot), turns)
    return jax.random.uniform(key)


def starts(state: State, dt: Number) -> Bool[Array, " n"]:
    """Which slots' pedestrians, were they walking, would start to cross in the next step.

    Independent for each slot and step, with probability 1 - (1 - hazard)^(dt / 0.1): the hazard at 10 Hz.
    """
    key = jax.random.fold_in(jax.random.fold_in(state.key, DECIDES), state.tick)
    probability = 1 - (1 - state.hazard) ** (jnp.asarray(dt) / STEP)
    return jax.random.uniform(key, state.actors.yaw.shape) < probability


def pedestrians(state: State, dt: Number) -> State:
    """The pedestrians `dt` seconds later: at constant speed along the pavement, or straight over the road.

    A pedestrian crosses once at most. Nobody waits for traffic, and nothing here depends on the ego or on vehicles.
    """
    now = state.actors
    own = now.active & (now.kind == PEDESTRIAN)
    mode = jnp.where((now.mode == WALKING) & starts(state, dt), CROSSING, now.mode)
    goal = -now.side * (roads.HALF_WIDTH + KERB)
    # A sign times what is rounded already: no compiler can round this in two ways, so a scan is a loop bit for bit.
    left = jnp.where(mode == CROSSING, now.left - now.side * (now.pace * dt), now.left)
    over = (mode == CROSSING) & (now.side * (left - goal) <= 0)
    left = jnp.where(over, goal, left)
    # On a bend the pavement is longer or shorter than the centre line that `along` is measured on.
    stretch = 1 - state.roads.curvature[now.piece] * now.left
    along = now.along + jnp.where(mode == CROSSING, 0.0, now.way * now.pace * dt / stretch)
    far = state.roads.length[now.piece] - TURN_BACK
    way = jnp.where(along > far, -1.0, jnp.where(along < TURN_BACK, 1.0, now.way))
    x, y, heading = roads.place(state.roads, now.piece, along, left)
    ahead = jnp.where(way > 0, heading, heading + jnp.pi)
    yaw = jnp.where(mode == CROSSING, heading - now.side * jnp.pi / 2, ahead)
    mode = jnp.where(over, CROSSED, mode)
    keep = lambda new, old: jnp.where(own, new, old)
    position = jnp.where(own[:, None], jnp.stack([x, y, now.position[:, 2]], -1), now.position)
    return state._replace(
        actors=now._replace(
            position=position, yaw=keep(yaw, now.yaw), v=keep(now.pace, now.v), along=keep(along, now.along),
            left=keep(left, now.left), way=keep(way, now.way), mode=keep(mode, now.mode),
        )
    )  # fmt: skip


def leads(
    boxes: Float[Real, "k 5"],
    speeds: Float[Real, " k"],
    there: Bool[Real, " k"],
    path: tuple[Float[Real, "p 2"], Float[Real, " p"], Float[Real, " p"]],
    along: Number,
    front: Number,
    width: Number,
) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
    """Which boxes are in the way of a car on a path.

    Args:
        boxes: as `overlap` takes them. speeds: along their yaw in m/s. there: which of them there are.
        path: points, metres along and directions of a polyline, as `lanes.path` returns them.
        along: metres along it of what must be behind a lead, the middle of the car. front: of the car's front.
        width: of the car.

    Returns:
        Gaps in m, bumper to bumper, `jnp.inf` where a box is behind or beside the corridor; and speeds along the path,
        0 where a box comes towards the car.
    """
    points, metres, yaws = path

    def see(box, speed, there):
        s, away, i = lane_graph.nearest(points, metres, box[0], box[1])
        c, sin = jnp.cos(box[4] - yaws[i]), jnp.sin(box[4] - yaws[i])
        reach = (jnp.abs(c) * box[2] + jnp.abs(sin) * box[3]) / 2
        beside = (jnp.abs(sin) * box[2] + jnp.abs(c) * box[3]) / 2
        inside = there & (away < width / 2 + beside + CLEARANCE) & (s > along)
        return jnp.where(inside, s - reach - front, jnp.inf), jnp.maximum(speed * c, 0.0)

    return jax.vmap(see)(jnp.asarray(boxes), jnp.asarray(speeds), jnp.asarray(there))


def can_wait(line: Number, v: Number) -> Bool[Array, "..."]:
    """Whether a car can still wait at a stop line: it is not too late to brake for it at three quarters of the hardest.

    The driver model comes to rest with a little too much way (its damping is 0.73 of the critical one at a standstill),
    so who stands with the bumper just over the line still waits.

    Args:
        line: metres to the line from the front.
        v: speed in m/s.
    """
    line, v = jnp.asarray(line), jnp.asarray(v)
    stands = (v < SLOWLY) & (line > -OVER)
    return stands | ((line > 0) & (line > v**2 / (2 * 0.75 * HARDEST)))


def accelerations(state: State) -> Float[Array, " n"]:
    """What every vehicle does now, in m/s^2: the intelligent driver model behind whatever is next on its path.

    A lead is the nearest box in front, of the ego, a vehicle or a pedestrian, that reaches into the corridor about its
    lane and the lane after it. A signal that is not green is a lead at rest on the stop line, unless it is too late to
    stop. Before a slower lane the desired speed falls in time to brake comfortably.
    """
    now, lanes = state.actors, state.lanes
    boxes = jnp.concatenate([footprint(now.position, now.size, now.yaw), ego_box(state.ego)[None]])
    speeds, there = jnp.append(now.v, state.ego[3]), jnp.append(now.active, True)
    go = lane_graph.green(lanes, state.time)

    def one(slot, lane, successor, along, v, size):
        front = along + size[0] / 2
        gaps, lead_v = leads(boxes, speeds, there, lane_graph.path(lanes, lane, successor), along, front, size[1])
        gaps = jnp.where(jnp.arange(gaps.shape[0]) == slot, jnp.inf, gaps)
        lead = jnp.argmin(gaps)
        length = lanes.along[lane, -1]
        slower = jnp.where(successor >= 0, lanes.limit[successor], lanes.limit[lane])
        comfortable = jnp.sqrt(slower**2 + 2 * IDM().b * jnp.maximum(length - along, 0.0))
        driver = IDM(v0=jnp.minimum(lanes.limit[lane], comfortable))
        wish = idm(gaps[lead], v, lead_v[lead], driver)
        line = length - lane_graph.STOP - front
        red = (lanes.signal[lane] >= 0) & ~go[lanes.signal[lane]] & can_wait(line, v)
        # At rest the model keeps s0 from a lead; from a line it need not.
        wish = jnp.minimum(wish, jnp.where(red, idm(line + driver.s0, v, 0.0, driver), jnp.inf))
        return jnp.clip(wish, -HARDEST, IDM().a_max)

    slots = jnp.arange(now.v.shape[0])
    return jax.vmap(one)(slots, now.lane, now.successor, now.along, now.v, now.size)


def vehicles(state: State, accel: Float[Real, " n"], dt: Number) -> State:
    """The vehicles `dt` seconds later, with these accelerations held; past the end of a lane they are on its successor.

    Who passes the end of a lane without one leaves the world.
    """
    now, lanes = state.actors, state.lanes
    own = now.active & (now.kind == VEHICLE)

    def one(slot, lane, successor, along, turns, v, accel):
        driven, speed = advance(v, accel, dt)
        along = along + driven
        length = lanes.along[lane, -1]
        over = along >= length
        gone = over & (successor < 0)
        moved = over & (successor >= 0)
        turns = turns + moved
        new = jnp.where(moved, successor, lane)
        after = jnp.where(moved, lane_graph.choice(lanes, new, chosen(state.key, slot, turns)), successor)
        along = jnp.where(moved, along - length, along)
        return (*lane_graph.at(lanes, new, along), new, after, along, turns, speed, gone)

    slots = jnp.arange(now.v.shape[0])
    found = jax.vmap(one)(slots, now.lane, now.successor, now.along, now.turns, now.v, jnp.asarray(accel))
    x, y, yaw, lane, successor, along, turns, v, gone = found
    keep = lambda new, old: jnp.where(own, new, old)
    position = jnp.where(own[:, None], jnp.stack([x, y, now.position[:, 2]], -1), now.position)
    return state._replace(
        actors=now._replace(
            position=position, yaw=keep(yaw, now.yaw), v=keep(jnp.where(gone, 0.0, v), now.v),
            lane=keep(lane, now.lane), successor=keep(successor, now.successor), along=keep(along, now.along),
            turns=keep(turns, now.turns), active=now.active & ~(own & gone),
        )
    )  # fmt: skip
