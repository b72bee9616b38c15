"""Exponential moving average of a pytree: pytrees in, pytrees out."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def init(params: Any) -> Any:
    """A float32 copy of `params` (a copy, not an alias: the trained state is donated)."""
    return jax.tree.map(lambda p: jnp.array(p, jnp.float32, copy=True), params)


def decay_at(step: Array | int, decay: Any, ramp: bool = True) -> Array:
    """Decay of update number `step` (from 0): `min(decay, (1 + step) / (10 + step))`, or `decay` without ramp;
    the decay may be traced.

    The ramp lets the average forget the random initial weights: at step 0 it keeps only a tenth of them.
    """
    if isinstance(decay, (int, float)) and not 0.0 <= decay <= 1.0:
        raise ValueError(f"EMA decay must lie in [0, 1], found {decay}")
    step = jnp.asarray(step, jnp.float32)
    return jnp.minimum(decay, (1.0 + step) / (10.0 + step)) if ramp else jnp.full_like(step, decay)


def update(average: Any, params: Any, step: Array | int, decay: Any, ramp: bool = True) -> Any:
    """`d * average + (1 - d) * params` leaf by leaf in float32, with `d = decay_at(step, decay, ramp)`."""
    d = decay_at(step, decay, ramp)
    return jax.tree.map(lambda a, p: a + (1.0 - d) * (p.astype(jnp.float32) - a), average, params)
