"""Elliptical slice sampling (Murray, Adams & MacKay 2010, AISTATS, figure 2).

The kernel is our own, since blackjax's (1.7.1) has three ways to go wrong unseen: a proposal of value NaN is accepted,
because its loop runs while `value <= slice`; from a value of plus infinity the loop never ends; and in float32 neither
does it where the slice's height rounds to the state's own value, which a likelihood of -1,000 that is flat around the
state meets once in about 30,000 steps. Here a NaN is outside the slice, the state itself is always inside, and the
loop is bounded.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from vrjax.inverse.latent.core import Chain, Info, LogLikelihood, Seen, begin, over_chains, scalar, walk

MOST = 200  # shrinks of one step; the bracket is then some 1e-60 wide


def elliptical_slice(
    key: Any,
    log_likelihood: LogLikelihood,
    z0: Float[Array, "chains r"],
    steps: int,
    *,
    args: tuple = (),
    burn: int = 0,
    thin: int = 1,
    how: str = "vmap",
    mesh: Any = None,
) -> Chain:
    """Samples `exp(-|z|^2 / 2 + log L(z))` on ellipses through the state and a fresh normal. Nothing is to be tuned.

    A step asks until a point of the ellipse lies in the slice, and chains that run together wait for the slowest.

    Args:
        key, log_likelihood, z0, steps, args, burn, thin, how, mesh: as in `pcn`.

    Returns:
        A `Chain`. Of `info`, `evaluations` is the number of points asked, `acceptance` its inverse in a step (1: the
        first point was taken), 0 where none of 200 points lay in the slice and the state stayed; also `finite`,
        `burn_finite`.

    Raises:
        ValueError: as `vrjax.inverse.latent.core.begin`; what `over_seeds` raises.
    """
    z0, start = begin(log_likelihood, z0, args, steps=steps, burn=burn, thin=thin)
    counts = {"steps": steps, "burn": burn, "thin": thin}
    return _run(key, z0, start, args, log_likelihood=log_likelihood, how=how, mesh=mesh, **counts)


def turn(key: Any, state: tuple[Any, Any], value_at: Callable[[Any], Any]) -> tuple[tuple[Any, Any], Seen]:
    """One step for `exp(-|w|^2 / 2 + value_at(w))` from `(w, value_at(w))`."""
    w, value = state
    fresh, coin, first, shrinks = jax.random.split(key, 4)
    other = jax.random.normal(fresh, w.shape, w.dtype)
    height = value - jax.random.exponential(coin, dtype=w.dtype)

    def outside(carry):
        return ~carry[-1] & (carry[0] < MOST)

    def shrink(carry):
        count, low, high, _, _, finite, _ = carry
        angle = low + (high - low) * jax.random.uniform(jax.random.fold_in(shrinks, count), dtype=w.dtype)
        # Of an empty bracket, angle 0 is the state itself, which is inside: value >= height.
        point = w * jnp.cos(angle) + other * jnp.sin(angle)
        there = value_at(point)
        low, high = jnp.where(angle < 0, angle, low), jnp.where(angle < 0, high, angle)
        return count + 1, low, high, point, there, finite & jnp.isfinite(there), there >= height

    # The bracket is the whole ellipse, cut at a place that is uniform on it.
    cut = 2 * jnp.pi * jax.random.uniform(first, dtype=w.dtype)
    begun = (jnp.zeros((), jnp.int32), cut - 2 * jnp.pi, cut, w, value, jnp.array(True), jnp.array(False))
    count, _, _, point, there, finite, found = lax.while_loop(outside, shrink, begun)
    state = (jnp.where(found, point, w), jnp.where(found, there, value))
    return state, Seen(jnp.where(found, 1 / count.astype(w.dtype), 0), count, finite)


@partial(jax.jit, static_argnames=("log_likelihood", "steps", "burn", "thin", "how", "mesh"))
def _run(key, z0, start, args, *, log_likelihood, steps, burn, thin, how, mesh):
    def one(key, z, value, args):
        value_at = scalar(log_likelihood, args)
        z, log_density, seen, fine, _ = walk(
            key,
            lambda key, state, tuning: turn(key, state, value_at),
            (z, value),
            lambda state: (state[0], state[1] - 0.5 * jnp.sum(state[0] ** 2)),
            steps=steps,
            burn=burn,
            thin=thin,
        )
        return Chain(z, log_density, Info(seen.acceptance, seen.evaluations, seen.finite, fine))

    return over_chains(one, key, z0, start, args, how, mesh)
