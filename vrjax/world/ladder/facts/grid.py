"""Of the key-and-door grid: places are cells, x to the right and y down. Others are key, door and goal."""

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.world import protocol
from vrjax.world.exact import grid
from vrjax.world.exact.grid import CELLS, MOVES

TOLERANCE, EPSILON = 0.5, 0.05
FIXED = ("walls", "told")
MOVING = None
NAMES = ("key", "door", "goal")


def agent(decoded):
    """Place (d,) of the agent."""
    return decoded["agent"].astype(jnp.float32)


def others(decoded):
    """Places (n, d) of all bodies but the agent."""
    return jnp.stack([decoded[name] for name in NAMES]).astype(jnp.float32)


def put(state, agent, others):
    """The state with agent (d,) and others (n, d) elsewhere."""
    whole = lambda place: jnp.clip(jnp.round(place), 0, CELLS - 1).astype(jnp.int32)
    return state._replace(agent=whole(agent), **dict(zip(NAMES, whole(others), strict=True)))


def boxes(decoded):
    """Cells: agent, key, door, goal; a key that is held is where the agent is."""
    places = jnp.concatenate([agent(decoded)[None], others(decoded)])
    places = places.at[1].set(jnp.where(decoded["held"], places[0], places[1]))
    return jnp.concatenate([places, jnp.full_like(places, 0.5)], -1)


def rest():
    """An action that does nothing."""
    return jnp.zeros(2)


def act(key, state, steps):
    """One of four ways, or none."""
    del state
    return jnp.asarray(MOVES, jnp.float32)[jax.random.randint(key, (steps,), 0, 5)]


def seen(decoded):
    """Whether the agent stands on it: its glyph covers what lies there."""
    return jnp.any(others(decoded) != agent(decoded), -1)


def hide(key, state, steps):
    """Next to the goal, onto it for some steps, and off again."""
    way = jnp.asarray(MOVES, jnp.int32)[1:]
    beside = state.goal + way
    free = (
        ~state.walls[beside[:, 1], beside[:, 0]] & jnp.any(beside != state.door, -1) & jnp.any(beside != state.key, -1)
    )
    pick = jnp.argmax(free + jax.random.uniform(key, (4,)))
    state = state._replace(agent=beside[pick])
    on = -way[pick].astype(jnp.float32)
    half = steps // 2
    actions = jnp.zeros((steps, 2)).at[0].set(on).at[half].set(-on)
    return state, actions


def tour(key, state, steps):
    """One or two cells along one way, a wait, and back."""
    which, length = jax.random.split(key)
    way = jnp.asarray(MOVES, jnp.float32)[jax.random.randint(which, (), 1, 5)]
    more = jax.random.bernoulli(length).astype(jnp.float32)
    return state, jnp.zeros((steps, 2)).at[0].set(way).at[1].set(more * way).at[-2].set(-more * way).at[-1].set(-way)


REQUEST = 4


def clear(state):
    """The agent in the middle of a room whose pillars and inner wall are gone; key and goal in its corners and the
    door in the wall about it."""
    edge = jnp.zeros_like(state.walls).at[0].set(True).at[-1].set(True).at[:, 0].set(True).at[:, -1].set(True)
    corners = jnp.roll(jnp.array([[1, 1], [6, 1], [1, 6], [6, 6]], jnp.int32), state.goal[1] % 4, 0)
    agent = 3 + (state.agent >= CELLS // 2).astype(jnp.int32)
    return state._replace(agent=agent, walls=edge, key=corners[0], goal=corners[1], door=jnp.array([0, 3], jnp.int32))


def asked(kind, moves, state):
    """Ten steps at most: an instruction has no more parts."""
    moves = np.sign(np.where(np.abs(moves) >= np.abs(moves).max(-1, keepdims=True), moves, 0))
    if kind == "action":
        return jnp.asarray(moves, jnp.float32)
    if kind == "trajectory":
        return protocol.Waypoint(jnp.asarray(state.agent + np.cumsum(moves, 0), jnp.float32))
    ways = {(1, 0): "right", (-1, 0): "left", (0, 1): "down", (0, -1): "up"}
    rows = [(grid.VERBS.index(ways[int(x), int(y)]),) for x, y in moves if x or y]
    return protocol.Instruction(jnp.asarray(grid.coded(rows[: grid.ROWS]).code))


def texts(truth):
    """Tasks in the world's words, for `parse`."""
    told = ["take the key", "take the key, then open the door", "take the key, open the door, then go to the goal"]
    return told


def violations(decoded, first):
    """In cells: standing in a wall, walking more than one cell a step, a place of key, door or goal that moves."""
    walls = jax.vmap(lambda wall, at: wall[at[1], at[0]])(decoded["walls"], decoded["agent"])
    before = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b[:-1]]), first, decoded)
    step = jnp.abs(decoded["agent"] - before["agent"]).sum(-1)
    moved = jnp.abs(jax.vmap(others)(decoded) - jax.vmap(others)(before)).sum((-1, -2))
    return {
        "cells deep in a wall": walls.astype(jnp.float32),
        "cells a step beyond one": jnp.maximum(step - 1, 0).astype(jnp.float32),
        "move of what nothing touches": moved,
    }


# ------------------------------------------------------------------------------------------------------------- planning

PLANNERS = {
    "near": dict(steps=8, horizon=4, candidates=64, iterations=2),
    "goal": dict(steps=40, horizon=4, candidates=128, iterations=3),
}


def reach(key, state, goals):
    """The cells a random walk of three steps comes to: each can be reached from the one before."""
    locked = (jnp.arange(CELLS)[:, None] == state.door[1]) & (jnp.arange(CELLS) == state.door[0])
    barred = state.walls | locked

    def walk(place, key):
        to = place + jnp.asarray(MOVES, jnp.int32)[jax.random.randint(key, (), 1, 5)]
        return jnp.where(barred[to[1], to[0]], place, to), None

    def one(place, key):
        place = jax.lax.scan(walk, place, jax.random.split(key, 3))[0]
        return place, place.astype(jnp.float32)

    return jax.lax.scan(one, state.agent, jax.random.split(key, goals))[1]


def short(decoded, place):
    """Cells between the agent and a place, mean over time."""
    return jnp.mean(jnp.abs(decoded["agent"] - place).sum(-1))


def there(decoded, place):
    """Whether the agent is at a place (d,)."""
    return jnp.all(decoded["agent"] == place, axis=-1)


def goal(state):
    """Of the world's own task: the cost and its arguments."""
    return grid.cost, (grid.steps_left(state),)


# --------------------------------------------------------------------------------------------------------------- chance

TOSSES = 5


def coin(truth):
    """An empty room, and five steps to the right; otherwise five steps down."""
    state = jax.jit(truth.make)(jax.random.key(0))
    edge = np.ones((CELLS, CELLS), bool)
    edge[1:-1, 1:-1] = False
    corner = jnp.array([6, 6], jnp.int32)
    state = state._replace(
        agent=jnp.array([1, 1], jnp.int32), key=corner, door=jnp.array([0, 3], jnp.int32), goal=corner,
        held=jnp.array(False), opened=jnp.array(False), walls=jnp.asarray(edge),
    )  # fmt: skip
    right = jnp.tile(jnp.array([1.0, 0.0]), (TOSSES, 1))
    return state, right, right[:, ::-1]


def outcome(decoded):
    """How many steps did not come off: cells that are missing from the way of five, along either axis."""
    return TOSSES + 2.0 - decoded["agent"].sum(-1).astype(jnp.float32)


def faces(decoded, first):
    """Each coin: the agent stayed."""
    path = jnp.concatenate([first["agent"][None], decoded["agent"]])
    return jnp.all(path[1:] == path[:-1], -1)
