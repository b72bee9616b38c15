"""Of MiniDrive: places are metres, of the ego's rear axle and of the middle of everybody else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from vrjax import drive as minidrive
from vrjax.drive import roads
from vrjax.drive.boxes import ego_box
from vrjax.drive.cameras import FOV
from vrjax.drive.dynamics import WHEELBASE, bicycle
from vrjax.drive.state import EGO_SIZE, PEDESTRIAN, WALKING
from vrjax.drive.stepping import STEER
from vrjax.world import protocol
from vrjax.world.exact import drive

TOLERANCE, EPSILON = 1.0, 0.02
MOVING = None
PAIR = ("CAM_FRONT", "CAM_FRONT_LEFT")
ODDS = "hazard"
RUNS = 36
"""Rollouts of a check where nothing else is asked for: in 24 of them only seven bodies come back into sight."""
STEP = 0.1
"""Seconds of a step for which the scenes below are made."""


def whole():
    """The example with two cameras that look at common points."""
    return drive.example(*PAIR, drive.ABOVE)


def agent(decoded):
    """Place (d,) of the agent."""
    return decoded["ego"][:2]


def others(decoded):
    """Places (n, d) of all bodies but the agent."""
    return decoded["actors"].position[:, :2]


def put(state, agent, others):
    """The state with agent (d,) and others (n, d) elsewhere."""
    position = state.actors.position.at[:, :2].set(others)
    return state._replace(ego=state.ego.at[:2].set(agent), actors=state.actors._replace(position=position))


def boxes(decoded):
    """Bounds along the world's axes of the ego and of the actors."""

    def bound(x, y, length, width, yaw):
        c, s = jnp.abs(jnp.cos(yaw)), jnp.abs(jnp.sin(yaw))
        return jnp.stack([x, y, (c * length + s * width) / 2, (s * length + c * width) / 2], -1)

    ego, now = ego_box(decoded["ego"]), decoded["actors"]
    size = jnp.maximum(now.size, 0.1)
    rest = bound(now.position[:, 0], now.position[:, 1], size[:, 0], size[:, 1], now.yaw)
    return jnp.concatenate([bound(*ego)[None], rest])


def rest():
    """An action that does nothing."""
    return jnp.zeros(2)


def act(key, state, steps):
    """Pedal and wheel, each anew every third of a second or so, gently."""
    del state
    drawn = jax.random.uniform(key, (steps // 3 + 1, 2), minval=-1.0, maxval=1.0)
    return jnp.repeat(drawn * jnp.array([0.3, 0.4]) + jnp.array([0.1, 0.0]), 3, 0)[:steps]


def seen(decoded):
    """Whether the middle of an actor is in the field of the front camera, within 60 m."""
    ego = decoded["ego"]
    to = others(decoded) - ego[:2]
    ahead = to @ jnp.stack([jnp.cos(ego[2]), jnp.sin(ego[2])])
    left = to @ jnp.stack([-jnp.sin(ego[2]), jnp.cos(ego[2])])
    wide = np.tan(np.radians(FOV / 2))
    return decoded["actors"].active & (ahead > 2) & (ahead < 60) & (jnp.abs(left) < wide * ahead)


def hide(key, state, steps):
    """A turn of the head: at walking speed the car turns away by a right angle, and back."""
    turn = steps // 3
    v = jnp.pi / 2 / (turn * STEP) * WHEELBASE / jnp.tan(STEER)
    state = state._replace(ego=state.ego.at[3].set(v))
    side = jnp.where(jax.random.bernoulli(key), 1.0, -1.0)
    wheel = jnp.zeros(steps).at[:turn].set(side).at[turn : 2 * turn].set(-side)
    return state, jnp.stack([jnp.zeros(steps), wheel], 1)


def lone(states):
    """The same roads without anybody and without signals, whose colours change by themselves."""
    actors, static = states.actors, states.static
    static = static._replace(active=static.active & (static.signal < 0))
    return states._replace(actors=actors._replace(active=jnp.zeros_like(actors.active)), static=static)


def tour(key, state, steps):
    """A full circle at constant speed, 360 degrees, with the wheel hard over."""
    side = jnp.where(jax.random.bernoulli(key), 1.0, -1.0)
    v = 2 * jnp.pi * WHEELBASE / jnp.tan(STEER) / (steps * STEP)
    state = state._replace(ego=state.ego.at[3].set(v))
    return state, jnp.stack([jnp.zeros(steps), jnp.broadcast_to(side, (steps,))], 1)


def cross(frames, decoded, truth):
    """Mean absolute difference of colours of the second camera's pixels that the first one sees too, by the exact depth
    there: 0 where no pixel is seen by both."""
    fields, views = {name: decoded[name] for name in drive.State._fields}, truth.views
    index = jnp.array([views.names.index(name) for name in PAIR])
    pick = lambda held: held[index]
    pair = minidrive.Cameras(
        pick(views.rotation), pick(views.centre), pick(views.intrinsics), views.rays[:, :, index], PAIR
    )
    depth = minidrive.render(truth.scene(drive.State(**fields)), pair).depth
    height, width = depth.shape[1:]
    rays = pair.rays[:, -1, 1]
    points = pair.centre[1][:, None, None] + depth[1] * rays
    uv, z = minidrive.project(points.reshape(3, -1).T, pair.rotation[0], pair.centre[0], pair.intrinsics[0])
    finite = jnp.isfinite(uv).all(-1) & jnp.isfinite(z)
    column, row = (jnp.where(finite, jnp.floor(uv[:, i]), -1).astype(jnp.int32) for i in range(2))
    inside = finite & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    column, row = jnp.clip(column, 0, width - 1), jnp.clip(row, 0, height - 1)
    both = inside & (jnp.abs(depth[0][row, column] / z - 1) < 0.05)
    there = frames[PAIR[0]][row, column]
    apart = jnp.abs(there - frames[PAIR[1]].reshape(-1, 3)).mean(-1)
    return jnp.sum(jnp.where(both, apart, 0.0)) / jnp.maximum(both.sum(), 1)


# ------------------------------------------------------------------------------------------------------------ requests

REQUEST, SPEED = 20, 5.0


def clear(state):
    """Nobody else, and 5 m/s; the lane that the ego is on goes on straight ahead for 20 m and more."""
    state = state._replace(actors=state.actors._replace(active=jnp.zeros_like(state.actors.active)))
    return state._replace(ego=state.ego.at[3].set(SPEED).at[4].set(0.0), time=jnp.zeros_like(state.time))


def relative(first, path):
    """(steps, 2) in the frame of the first ego, less what it would drive without any request."""
    ego = first["ego"]
    to = path - ego[:2]
    ahead = to @ np.stack([np.cos(ego[2]), np.sin(ego[2])])
    left = to @ np.stack([-np.sin(ego[2]), np.cos(ego[2])])
    return np.stack([ahead - SPEED * STEP * (1 + np.arange(len(path))), left], -1)


def requested(kind, i, reordered, state):
    """Inputs of request number i, its pieces in order or the second first, and the way that it asks for, as `relative`
    has it. Actions and trajectories: two pieces of left, right, straight on. Instructions: to stop and to drive on."""
    half = REQUEST // 2
    if kind == "instruction":
        # The way asked for: from 5 m/s to rest within the first half or the second; who drives on keeps the speed.
        stop_first = (i % 2 == 0) != reordered
        text = "stop, then keep the lane" if stop_first else "keep the lane, then stop"
        verbs = [drive.VERBS.index(drive.SAID[part]) for part in text.split(", then ")]
        code = np.zeros((10, 1), np.int32)
        code[:2, 0] = verbs
        time = STEP * (1 + np.arange(REQUEST))
        slow = np.where(time < SPEED / 3, -1.5 * time**2, -SPEED * time + SPEED**2 / 6)
        later = np.maximum(time - STEP * half, 0.0)
        wished = slow if stop_first else -1.5 * later**2
        return protocol.repeat(protocol.Instruction(jnp.asarray(code)), REQUEST), np.stack([wished, 0 * wished], -1)
    wheels = [(0.5, 0.0), (-0.5, 0.0), (0.5, -0.5), (-0.5, 0.5)][i % 4]
    wheels = wheels[::-1] if reordered else wheels
    wheel = np.repeat(np.array(wheels, np.float32), half)
    pose, way = jnp.array([0.0, 0.0, 0.0, SPEED]), []
    for value in wheel:
        pose = _bicycle(pose, value * STEER)
        way.append(np.asarray(pose[:2]))
    way = np.stack(way)
    if kind == "action":
        inputs = jnp.asarray(np.stack([0 * wheel, wheel], -1))
    else:
        c, s = np.cos(state.ego[2]), np.sin(state.ego[2])
        turned = np.stack([c * way[:, 0] - s * way[:, 1], s * way[:, 0] + c * way[:, 1]], -1)
        inputs = protocol.Waypoint(jnp.asarray(state.ego[:2] + turned, jnp.float32))
    return inputs, way - np.stack([SPEED * STEP * (1 + np.arange(REQUEST)), 0 * wheel], -1)


_bicycle = jax.jit(lambda pose, steer: bicycle(pose, 0.0, steer, STEP))


def texts(truth):
    """Tasks in the world's words, for `parse`."""
    del truth
    return ["stop", "keep the lane, then stop", "keep the lane, keep the lane, then stop"]


def violations(decoded, first):
    """Of bodies in motion: metres by which the ego leaves the way of its rear axle (it slips sideways), m/s by which a
    pedestrian's speed changes, metres of a box that never moves."""
    before = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b[:-1]]), first, decoded)
    moved = decoded["ego"][:, :2] - before["ego"][:, :2]
    middle = (decoded["ego"][:, 2] + before["ego"][:, 2]) / 2
    aside = jnp.abs(moved[:, 1] * jnp.cos(middle) - moved[:, 0] * jnp.sin(middle))
    walks = decoded["actors"].active & (decoded["actors"].kind == PEDESTRIAN)
    pace = jnp.where(walks, jnp.abs(decoded["actors"].v - before["actors"].v), 0.0)
    stays = jnp.abs(decoded["static"].position - before["static"].position).max((-2, -1))
    return {
        "slip of the ego in metres": aside,
        "change of a pedestrian's speed in m/s": pace,
        "move of a building": stays,
    }


# ------------------------------------------------------------------------------------------------------------- planning

PLANNERS = {
    "near": dict(steps=10, horizon=6, candidates=32, iterations=2),
    "goal": dict(steps=30, horizon=10, candidates=32, iterations=2),
}


def reach(key, state, goals):
    """Places within a second each: at the ego's speed along an arc of its own."""
    v = jnp.maximum(state.ego[3], 2.0)

    def one(pose, key):
        pose = bicycle(pose, 0.0, jax.random.uniform(key, (), minval=-0.2, maxval=0.2), 10 * STEP)
        return pose, pose[:2]

    return jax.lax.scan(one, state.ego[:4].at[3].set(v), jax.random.split(key, goals))[1]


def short(decoded, place):
    """How far the ego is from a place, mean over time, and the least twice: it drives on."""
    away = jnp.sqrt(jnp.sum((decoded["ego"][:, :2] - place) ** 2, -1) + 1e-6)
    return jnp.mean(away) + jnp.min(away)


def there(decoded, place):
    """Whether the agent is at a place (d,)."""
    return jnp.linalg.norm(decoded["ego"][:2] - place, axis=-1) < 1.0


def goal(state):
    """Of the world's own task: the cost and its arguments."""
    return drive.cost, ()


def solved(truth, start, states):
    """Fifteen metres of the route in three seconds, on the road, without a hit at any moment."""
    told, first = jax.vmap(truth.decode)(states), truth.decode(start)
    hit = told["hit_actors"].any(-1) | told["hit_static"].any(-1) | ~told["on_road"]
    return (told["route_along"][-1] - first["route_along"] > 12.0) & ~hit.any()


# ------------------------------------------------------------------------------------------------ chance, time, contact

TOSSES = 14
FIRST = True
"""Only the first coin that falls counts: who crosses has crossed."""


def coin(truth):
    """A pedestrian alone on a straight pavement, who may cross; the car coasts, otherwise it brakes."""
    alone = dataclasses.replace(truth, kind="straight")
    state = jax.jit(alone.make)(jax.random.key(1))
    now = state.actors
    slot = jnp.argmax((now.kind == PEDESTRIAN) & now.active)
    one = jnp.arange(len(now.active)) == slot
    state = state._replace(
        actors=now._replace(
            active=one, mode=jnp.where(one, WALKING, now.mode), along=jnp.where(one, 120.0, now.along),
            pace=jnp.where(one, 1.4, now.pace),
        )
    )  # fmt: skip
    coast = jnp.zeros((TOSSES, 2))
    return state, coast, coast.at[:, 0].set(-0.2)


def outcome(decoded):
    """For how many steps the pedestrian waited: fourteen less those on the road."""
    now = decoded["actors"]
    walked = jnp.abs(jnp.where(now.active, now.left - now.side * (roads.HALF_WIDTH + 1.4), 0.0)).sum()
    return TOSSES - walked / (1.4 * STEP)


def faces(decoded, first):
    """Each coin: the pedestrian is no longer on the pavement."""
    left = jnp.concatenate([first["actors"].left[None], decoded["actors"].left])
    went = jnp.abs(jnp.diff(left, axis=0)) > 0.01
    return jnp.any(went & decoded["actors"].active, -1)


def salient(decoded):
    """Flags of what one would tell of a moment: off the road; a building, tree or pole hit."""
    return jnp.stack([~decoded["on_road"], decoded["hit_static"].any(-1)])


def contact(truth, key):
    """The ego drives straight at a box: a state without anybody, and the seconds until they touch."""
    state = lone(truth.make(key))
    ego, still = state.ego.at[3].set(8.0).at[4].set(0.0), state.static
    gap = 4.0 + 3.0 * jax.random.uniform(key)
    front = WHEELBASE / 2 + EGO_SIZE[0] / 2
    ahead = ego[:2] + (front + gap + 0.5) * jnp.stack([jnp.cos(ego[2]), jnp.sin(ego[2])])
    size = still.size.at[0].set(1.0)
    position = still.position.at[:, :2].add(1000.0).at[0, :2].set(ahead)
    still = still._replace(
        position=position, size=size, yaw=still.yaw.at[0].set(ego[2]), active=still.active.at[0].set(True)
    )
    return state._replace(ego=ego, static=still), gap / 8.0


def touched(decoded):
    """Whether the ego touches the box of `contact`."""
    return decoded["hit_static"][0]
