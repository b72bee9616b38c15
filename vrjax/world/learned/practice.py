"""What a learned world learns from: films of an exact one in which something happens, drawn on the fly.

An agent that acts at random rarely meets anything. Here it holds to one purpose for a few steps and then takes up
another: to go somewhere, to go at one of the things that there are (a little beside it, now and then), to shove one of
them towards some place, to do what is usual in the world, or to do as chance will. It has been about for a while when a
film begins.

Who plans shoves, in most of what is planned: a network that has seen things met in passing alone is wrong about the
step in which one moves by as much as it moves.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from vrjax.flow import words
from vrjax.world.exact import Exact
from vrjax.world.protocol import State

BURN = 12
"""Steps before a film begins, up to so many."""
HOLD = 0.25
"""Probability that the purpose changes in a step."""
BESIDE, TREMBLE = 0.7, 0.15
"""Standard deviations: of how far beside a thing the agent goes, and of each action, in units of the action."""
SHOVES = 0.6
"""Probability that a purpose is to shove a thing, or what is usual."""
MIDST = 0.25
"""Share of the plane, from each edge, that no thing is shoved towards: what is at an edge cannot be shoved from it."""
BEHIND, ALIGNED = 3.5, 0.85
"""A shove begins so far behind the thing, in units of the action, and goes at it once the cosine between the way to the
thing and its own way is so large."""


class Film(NamedTuple):
    """What was seen and done.

    Attributes:
        frames: (f, H, W, 3).
        actions: (f, a), each of the frame that it led to; zeros of the first.
        places: (f, K, 2) of the things that were asked for, as the world has them.
    """

    frames: Float[Array, "f H W 3"]
    actions: Float[Array, "f a"]
    places: Float[Array, "f K 2"]

    __repr__ = words.line


def places_of(home: Exact, names: tuple[str, ...], state: State) -> Float[Array, "K 2"]:
    """Places of things by their names in what the world decodes, (2,) or (n, 2) each, one below the other."""
    decoded = home.decode(state)
    return jnp.concatenate(
        [jnp.zeros((0, 2)), *[jnp.asarray(decoded[name], jnp.float32).reshape(-1, 2) for name in names]]
    )


def check(home: Exact, names: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Shapes of what is named, in their order.

    Raises:
        ValueError: a world whose actions are not vectors of the plane; a name that it does not decode, or that is no
            place.
    """
    if home.inputs["action"].shape != (2,):
        raise ValueError(f"{home.name}: actions of shape {home.inputs['action'].shape}, expected (2,): ways to go")
    decoded = jax.eval_shape(lambda: home.decode(home.make(jax.random.key(0))))
    for name in names:
        shape = decoded[name].shape if name in decoded else None
        if shape is None or shape[-1:] != (2,) or len(shape) > 2:
            known = ", ".join(name for name, value in decoded.items() if value.shape[-1:] == (2,))
            raise ValueError(f"{home.name}: {name!r} is no place, expected some of {known}")
    return {name: decoded[name].shape for name in names}


class _Purpose(NamedTuple):
    which: Any  # 0: a way, 1 ... K - 1: a thing, K (at least 1): none
    way: Any
    to: Any  # a place of the plane
    beside: Any
    shoves: Any  # whether the thing is shoved towards `to`, or what is usual done; otherwise the agent goes at it


def _drawn(home: Exact, count: int, moved: int, key: Array, usual: bool = False) -> _Purpose:
    """Of `count` things of which the first `moved` can be, the agent among them; `usual`: what is usual may be one."""
    keys, space, plane = jax.random.split(key, 5), home.inputs["action"], home.inputs.get("trajectory")
    way = jax.random.uniform(keys[1], space.shape, minval=space.low, maxval=space.high)
    to = jnp.zeros(2)
    if plane is not None:
        edge = MIDST * (plane.high - plane.low)
        to = jax.random.uniform(keys[4], plane.shape, minval=plane.low + edge, maxval=plane.high - edge)
    which = jax.random.randint(keys[0], (), 0, max(count, 1) + 1)
    shoves = jax.random.bernoulli(keys[3], SHOVES) & (moved > 1 or usual)
    which = jnp.where(shoves, 1 + which % max(moved - 1, 1), which)
    return _Purpose(which, way, to, BESIDE * jax.random.normal(keys[2], (2,)), shoves)


def _shove(away: Array, way: Array, beside: Array) -> Array:
    """Where the agent goes, seen from it, to shove a thing that lies `away` along a way, a little aside."""
    unit = lambda a: a / jnp.maximum(jnp.linalg.norm(a), 1e-3)
    way = unit(way)
    ready = unit(away) @ way > ALIGNED
    return jnp.where(ready, away + way + 0.5 * beside * way[::-1] * jnp.array([-1, 1]), away - BEHIND * way)


def _act(
    home: Exact, names: tuple[str, ...], moved: int, state: State, purpose: _Purpose, key: Array
) -> tuple[_Purpose, Array]:
    """The purpose from here on, and the next action; the first thing named is the agent."""
    keys, space, places = jax.random.split(key, 4), home.inputs["action"], places_of(home, names, state)
    usual, turn = home.usual(state), jax.random.bernoulli(keys[1], HOLD)
    fresh = _drawn(home, len(places), moved, keys[0], usual is not None)
    purpose = jax.tree.map(lambda new, old: jnp.where(turn, new, old), fresh, purpose)
    count, thing = max(len(places), 1), purpose.way
    if len(places):
        there = places[jnp.clip(purpose.which, 0, count - 1)]
        away = there - places[0]
        other = _shove(away, purpose.to - there, purpose.beside) if usual is None else usual
        thing = jnp.where(purpose.shoves, other, away + purpose.beside)
    chance = jax.random.uniform(keys[2], space.shape, minval=space.low, maxval=space.high)
    aim = jnp.where(purpose.which == 0, purpose.way, jnp.where(purpose.which == count, chance, thing))
    return purpose, jnp.clip(aim + TREMBLE * jax.random.normal(keys[3], space.shape), space.low, space.high)


def film(
    home: Exact,
    names: tuple[str, ...],
    key: Key[Array, ""],
    frames: int,
    *,
    shoved: tuple[str, ...] = (),
    burn: int = BURN,
) -> Film:
    """A film of an exact world. Where one knows what is usual in it (`Exact.usual`), that is done in place of shoves.

    Args:
        home: the world, whose actions are ways to go in the plane of its places.
        names: of the things whose places are told, the agent first; of none, the agent only wanders.
        key: of where it begins, what is done, and all chance.
        frames: of the film.
        shoved: those of the names, the first ones behind the agent's, that can be shoved.
        burn: steps before it, up to so many.

    Raises:
        ValueError: things to be shoved that are not named first, behind the agent.
    """
    if shoved != names[1 : 1 + len(shoved)]:
        raise ValueError(f"{home.name}: shoved={shoved}, expected the first of {names[1:]}, which follow the agent")
    begin, first, later = jax.random.split(key, 3)
    state = home.make(begin)
    usual = home.usual(state) is not None
    moved = len(places_of(home, names[: 1 + len(shoved)], state)) if shoved and not usual else 0

    def one(carry, key):
        state, purpose = carry
        think, chance = jax.random.split(key)
        purpose, action = _act(home, names, moved, state, purpose, think)
        return (home.step(state, action, chance), purpose), action

    carry = (state, _drawn(home, len(places_of(home, names, state)), moved, first, usual))
    before, during = jax.random.split(later)
    # Up to so many: what is shoved ends at a border, what is usual at its goal, and films are of all that leads there.
    late = jax.random.randint(jax.random.fold_in(begin, 1), (), 0, burn + 1)
    wait = lambda carry, at: (jax.tree.map(partial(jnp.where, at[0] < late), one(carry, at[1])[0], carry), None)
    carry, _ = lax.scan(wait, carry, (jnp.arange(burn), jax.random.split(before, burn)))

    def shown(carry, key):
        carry, action = one(carry, key)
        return carry, (carry[0], action)

    _, (states, actions) = lax.scan(shown, carry, jax.random.split(during, frames - 1))
    states = jax.tree.map(lambda one, many: jnp.concatenate([one[None], many]), carry[0], states)
    actions = jnp.concatenate([jnp.zeros_like(actions[:1]), actions])
    return Film(jax.vmap(home.render)(states), actions, jax.vmap(lambda s: places_of(home, names, s))(states))


def still(home: Exact, names: tuple[str, ...], key: Key[Array, ""], scale: float = 1.0) -> tuple[Array, Array]:
    """One frame and its places in pixels, `scale` of which are a unit of the world: for `reader.fit`."""
    seen = film(home, names, key, 2)
    return seen.frames[1], scale * seen.places[1]
