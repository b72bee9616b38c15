"""What is acted in: keys of episodes, walks in which the agent may stay, goals in turn, and one pair of glasses.

All that is read off frames, of learned worlds and of the exact one, is read by the same reader off frames that went
through the same squares: what a reader misses is then no difference between worlds.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key

from experiments.world_model import names
from experiments.world_model.config import WorldModel
from vrjax.flow import draws
from vrjax.world.exact import push
from vrjax.world.exact.push import AGENT, BORDER, HALF, MIDDLE, NEAR, ROUND, SIZE, Push
from vrjax.world.learned import patches as squares
from vrjax.world.learned import practice, reader
from vrjax.world.learned.world import Learned

PACE = 1.0
"""Of a walk, in units of the action."""
LAYOUTS = 16
"""Of which one is chosen for a walk."""
ROOM, CLEAR = AGENT + 2**0.5 * HALF + ROUND, 0.5
"""Pixels from the agent's centre to that of a block that it cannot touch, whichever way; and those beyond."""
BEHIND = 0.5
"""What a pixel of the agent counts in the cost of a plan, in pixels of the block."""
APART = 2.5
"""Pixels from one goal to the next, at least."""
WAYS = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)


def keys(study: WorldModel, seed: int, what: str, count: int) -> Key[Array, " n"]:
    """Of `count` episodes of a part and seed; the first are the same for any count."""
    key = draws.key(study.seed)
    for number in (names.PARTS.index(what), seed):
        key = jax.random.fold_in(key, number)
    return jax.vmap(lambda n: jax.random.fold_in(key, n))(jnp.arange(count, dtype=jnp.uint32))


def walked(home: Push, key: Any, steps: int) -> tuple[push.State, Float[Array, "t 2"], Float[Array, "2"]]:
    """A layout from which the agent can walk on straight, actions that do, and the unit vector of their way.

    The first of `LAYOUTS` and of the four ways on which nothing is within `CLEAR` pixels of its path.
    """
    states = jax.vmap(home.make)(jax.random.split(key, LAYOUTS))
    ways, far = jnp.asarray(WAYS), PACE * jnp.arange(steps + 1)
    path = states.agent[:, None, None] + far[:, None] * ways[:, None]  # (layout, way, step, 2)
    border = SIZE / 2 - BORDER - AGENT - jnp.abs(path - SIZE / 2).max(-1)
    gaps = jnp.linalg.norm(path[..., None, :] - states.blocks[:, None, None], axis=-1).min(-1) - ROOM
    clear = jnp.minimum(jnp.minimum(border, gaps).min(-1), CLEAR)
    layout, which = jnp.unravel_index(jnp.argmax(clear), clear.shape)
    way = ways[which]
    return jax.tree.map(lambda a: a[layout], states), jnp.broadcast_to(PACE * way, (steps, 2)), way


def futures(home: Push, state: push.State, actions: Float[Array, "t 2"], coins: Float[Array, "k t"]) -> push.State:
    """The States (k, t, ...) after each action, under each row of coins: 1 where the agent stays."""

    def one(row):
        def step(now, at):
            coin, action = at
            now = dataclasses.replace(home, stay=coin).step(now, action, jax.random.key(0))
            return now, now

        return lax.scan(step, state, (row, actions))[1]

    return jax.vmap(one)(coins)


def glimpse(w: Learned, frame: Float[Array, "H W 3"]) -> Float[Array, "K 2"]:
    """Places of what moves in a frame of the exact world, as a learned world's squares and reader tell them."""
    assert w.reader is not None
    shown = jnp.clip(squares.decode(w.patches, squares.encode(w.patches, frame)), -1.0, 1.0)
    return moving(w, reader.read(w.reader, shown) / w.spec.scale)


def seen(w: Learned, state: push.State) -> Float[Array, "K 2"]:
    """`glimpse` of the exact world's picture of a State."""
    return glimpse(w, w.spec.home.render(state))


def moving(w: Learned, places: Any) -> Any:
    """Of places (K, 2) of all that is read those of what moves, which comes first."""
    shapes = practice.check(w.spec.home, w.spec.moving).values()
    return places[: sum(1 if len(shape) == 1 else shape[0] for shape in shapes)]


def places(w: Learned, decoded: Any) -> Any:
    """Of what a world decodes, places (..., K, 2) of what moves."""
    lead = decoded[w.spec.moving[0]].shape[:-1]
    return jnp.concatenate([decoded[name].reshape(*lead, -1, 2) for name in w.spec.moving], -2)


def goals(begin: Any, key: Any, count: int) -> Float[Array, "n 2"]:
    """Goals one after the other in the middle of the plane, where there is room to push from any side; each at least
    `APART` pixels from the one before it, the first from `begin` (2,), where the block is."""

    def following(before, key):
        drawn = jax.random.uniform(key, (64, 2), minval=SIZE / 2 - MIDDLE, maxval=SIZE / 2 + MIDDLE)
        far = jnp.linalg.norm(drawn - before, axis=-1)
        chosen = drawn[jnp.argmax(jnp.minimum(far, APART))]  # the first that is far enough
        return chosen, chosen

    return lax.scan(following, begin, jax.random.split(key, count))[1]


def reached(state: push.State, goal: Any) -> Any:
    """Whether the block is at a goal."""
    return jnp.linalg.norm(state.blocks[0] - goal) < NEAR


def to(decoded: Any, goal: Any) -> Any:
    """The cost of `push`, where the goal is told and not decoded."""
    return push.cost(dict(decoded) | {"goal": jnp.broadcast_to(goal, decoded["agent"].shape)}, BEHIND)
