"""Of the pushing world: places are pixels, x to the right and y down."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.world import protocol
from vrjax.world.exact import push
from vrjax.world.exact.push import AGENT, HALF, ROUND, SIZE

TOLERANCE, EPSILON = 0.5, 0.05
FIXED = ("walls", "told")
MOVING = "agent"
REACH = AGENT + HALF + ROUND
"""From the agent's centre to a block's when they touch face to face."""


def agent(decoded):
    """Place (d,) of the agent."""
    return decoded["agent"]


def others(decoded):
    """Places (n, d) of all bodies but the agent."""
    return decoded["blocks"]


def put(state, agent, others):
    """The state with agent (d,) and others (n, d) elsewhere."""
    return state._replace(agent=agent, blocks=others)


def boxes(decoded):
    """The agent's disc by the square about it; the goal and the walls are part of a layout too."""
    square = lambda places, half: jnp.concatenate([places, jnp.full_like(places, half)], -1)
    blocks = jnp.concatenate([decoded["blocks"], decoded["goal"][None]])
    parts = (square(decoded["agent"][None], AGENT), square(blocks, HALF + ROUND), decoded["walls"])
    return jnp.concatenate(parts)


def rest():
    """An action that does nothing."""
    return jnp.zeros(2)


def act(key, state, steps):
    """Half of the time towards a block, with noise, so that something is pushed; else anywhere."""
    toward, shake = jax.random.split(key)
    noise = jax.random.uniform(shake, (steps, 2), minval=-1.0, maxval=1.0)
    way = state.blocks[0] - state.agent
    way = way / jnp.maximum(jnp.max(jnp.abs(way)), 1e-3)
    return jnp.where(jax.random.bernoulli(toward), 0.5 * way + 0.5 * noise, noise)


def seen(decoded):
    """Whether any of a block is within the picture of the camera "agent", 8 x 8 pixels of the plane."""
    return jnp.max(jnp.abs(decoded["blocks"] - decoded["agent"]), -1) < SIZE / 4 + HALF + ROUND


def hide(key, state, steps):
    """Away from the blocks and back."""
    side = jax.random.uniform(key, (), minval=-0.4, maxval=0.4)
    from_blocks = state.agent - state.blocks.mean(0)
    way = from_blocks / jnp.maximum(jnp.linalg.norm(from_blocks), 1e-3)
    way = jnp.array([way[0] - side * way[1], way[1] + side * way[0]])
    # It begins beside a block, so that there is somewhere to go.
    beside = jnp.clip(state.blocks[0] + way * (REACH + 1.5), 2.0, SIZE - 2.0)
    return state._replace(agent=beside), _out_and_back(way * 9.0, steps)


def tour(key, state, steps):
    """Straight on by 3 to 6 pixels and back by the same way, the one of sixteen ways on which most room is left."""
    turn, length = jax.random.uniform(key, (2,))
    angles = 2 * jnp.pi * (turn + jnp.arange(16)) / 16
    ways = (3.0 + 3.0 * length) * jnp.stack([jnp.cos(angles), jnp.sin(angles)], -1)

    def room(way):
        places = state.agent + jnp.linspace(0.0, 1.0, 9)[:, None] * way
        hit = jax.vmap(lambda place: push.overlap_of(state._replace(agent=place)))(places).max()
        return jnp.maximum(hit, jnp.max(jnp.abs(places - SIZE / 2)) - (SIZE / 2 - 2.0))

    return state, _out_and_back(ways[jnp.argmin(jax.vmap(room)(ways))], steps)


def _out_and_back(way, steps):
    half = steps // 2
    out = jnp.broadcast_to(way / half, (half, 2))
    return jnp.concatenate([out, jnp.zeros((steps - 2 * half, 2)), -out])


REQUEST = 8


def clear(state):
    """The agent in the middle, blocks in corners, walls at the edge; the rest as it was."""
    corners = jnp.array([[2.6, 2.6], [SIZE - 2.6, 2.6], [2.6, SIZE - 2.6]])
    walls = state.walls.at[:, :2].set(jnp.array([[14.5, 13.0], [1.5, 13.0]])[: len(state.walls)])
    blocks = jnp.roll(corners, jnp.int32(state.goal[0]) % 3, 0)[: len(state.blocks)]
    return state._replace(agent=jnp.full(2, SIZE / 2) + 0.1 * (state.agent - SIZE / 2), blocks=blocks, walls=walls)


def cross(frames, decoded, truth):
    """Mean absolute difference of the two cameras' colours at the 8 x 8 points that the camera "agent" sees two by two,
    where the room's picture has them. The room's pixels are twice as large, so edges are blurred by half a pixel."""
    del truth
    near = frames["agent"].reshape(SIZE // 2, 2, SIZE // 2, 2, 3).mean((1, 3))
    at = jnp.arange(SIZE // 2) + 0.5 - SIZE / 4
    x, y = decoded["agent"][0] + at, decoded["agent"][1] + at
    wide = jax.scipy.ndimage.map_coordinates
    rows, columns = jnp.meshgrid(y - 0.5, x - 0.5, indexing="ij")
    told = jnp.stack([wide(frames["room"][..., c], [rows, columns], order=1, mode="nearest") for c in range(3)], -1)
    inside = ((rows > 0) & (rows < SIZE - 1) & (columns > 0) & (columns < SIZE - 1))[..., None]
    return jnp.sum(jnp.where(inside, jnp.abs(told - near), 0.0)) / jnp.maximum(3 * jnp.sum(inside), 1)


def asked(kind, moves, state):
    """An instruction is the list of the edges that the larger components lead to, each once in a row of them."""
    if kind == "action":
        return jnp.asarray(moves, jnp.float32)
    if kind == "trajectory":
        return protocol.Waypoint(jnp.asarray(state.agent + np.cumsum(moves, 0), jnp.float32))
    return protocol.Instruction(jnp.asarray(_edges(np.asarray(moves))))


def _edges(moves):
    rows: list[Any] = []
    for x, y in moves:
        edge = (2 if x > 0 else 1) if abs(x) >= abs(y) else (4 if y > 0 else 3)
        row = (push.VERBS.index("go"), 0, edge)
        rows += [row] if max(abs(x), abs(y)) > 1e-6 and (not rows or rows[-1] != row) else []
    return np.asarray(push.coded(rows[: push.ROWS]).code)


def texts(truth):
    """Tasks in the world's words, for `parse`."""
    told = ["go to the left, then go to the top", "go to the right, go to the bottom, then go to the left"]
    told += ["go to the goal", "push the red block to the goal", "push the red block to the top, then go to the bottom"]
    return told


def violations(decoded, first):
    """In pixels: how deep two bodies overlap beyond what the world allows, and how far a block moves that neither the
    agent nor another block is near."""
    fields = {name: decoded[name] for name in ("agent", "blocks", "goal", "walls", "told")}
    depth = jax.vmap(push.overlap_of)(push.State(**fields)) - push.TOLERANCE
    before = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b[:-1]]), first, decoded)
    gaps = jnp.linalg.norm(before["blocks"] - before["agent"][:, None], axis=-1)
    pairs = jnp.linalg.norm(before["blocks"][:, :, None] - before["blocks"][:, None], axis=-1)
    pairs = jnp.where(jnp.eye(pairs.shape[-1], dtype=bool), jnp.inf, pairs)
    alone = (gaps > 5.5) & (pairs.min(-1) > 5.5)
    moved = jnp.linalg.norm(decoded["blocks"] - before["blocks"], axis=-1)
    return {"overlap in pixels": jnp.maximum(depth, 0.0), "move of what nothing touches": jnp.where(alone, moved, 0.0)}


# ------------------------------------------------------------------------------------------------------------- planning

PLANNERS = {
    "near": dict(steps=10, horizon=5, candidates=32, iterations=2),
    "goal": dict(steps=30, horizon=14, candidates=64, iterations=4),
}


def reach(key, state, goals):
    """Places for the agent, each within 4 pixels of the one before along both axes."""

    def one(place, key):
        place = jnp.clip(place + jax.random.uniform(key, (2,), minval=-4.0, maxval=4.0), 2.5, SIZE - 2.5)
        return place, place

    return jax.lax.scan(one, state.agent, jax.random.split(key, goals))[1]


def short(decoded, place):
    """How far the agent is from a place, mean over time."""
    return jnp.mean(jnp.sqrt(jnp.sum((decoded["agent"] - place) ** 2, -1) + 1e-6))


def there(decoded, place):
    """Whether the agent is at a place (d,)."""
    return jnp.linalg.norm(decoded["agent"] - place, axis=-1) < 1.0


def goal(state):
    """Of the world's own task: the cost and its arguments."""
    return push.cost, ()


# --------------------------------------------------------------------------------------------------------------- chance

TOSSES = 5


def coin(truth):
    """The agent pushes the red block to the right, five times; otherwise at four fifths of the speed."""
    state = jax.jit(truth.make)(jax.random.key(0))
    n = len(state.blocks)
    blocks = jnp.stack([jnp.full(n, 12.5), 5.0 + 4.0 * jnp.arange(n)], -1).at[0].set(jnp.array([5.5, 5.0]))
    walls = state.walls.at[:, :2].set(jnp.stack([jnp.full(truth.walls, 4.0), 12.0 - 3.0 * jnp.arange(truth.walls)], -1))
    state = state._replace(agent=jnp.array([3.0, 5.0]), blocks=blocks, walls=walls, told=jnp.zeros((), jnp.int32))
    right = jnp.tile(jnp.array([1.0, 0.0]), (TOSSES, 1))
    return state, right, 0.8 * right


TALLY = True


def outcome(decoded):
    """Whether the red block is ahead of the agent by 0.3 pixels: by 0.4 to 0.5 if it slipped in the step before, and by
    less than 0.2 if it did not, whatever happened earlier. Tallied, it is the number of slips."""
    return (decoded["blocks"][0, 0] - decoded["agent"][0] - REACH > 0.3).astype(jnp.float32)


def faces(decoded, first):
    """Each coin: the block is ahead."""
    del first
    return jax.vmap(outcome)(decoded) > 0.5
