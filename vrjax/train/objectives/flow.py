"""Flow matching: the error of a velocity on one example.

Everything here is a pure function of arrays and of a *velocity* `(x, level) -> v | Prediction`, written for one
example. Noise and level are arguments, not hidden draws: a preference loss measures a winner and a loser, a policy and
a reference, at the same noise and level by calling `flow_error` four times with the same two values.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vrjax.flow import Level, Prediction
from vrjax.train.objectives.levels import level_of


class Draw(NamedTuple):
    """What is random in one flow-matching measurement of one example (or of a batch, with a leading axis)."""

    noise: Array
    sigma: Array


def noisy(x0: Float[Array, "..."], noise: Float[Array, "..."], sigma: Any) -> Float[Array, "..."]:
    """The state between data (sigma 0) and noise (sigma 1): `(1 - sigma) x0 + sigma noise`."""
    return (1.0 - sigma) * x0 + sigma * noise


def flow_error(
    velocity: Any, x0: Float[Array, "..."], noise: Float[Array, "..."], level: Level, weight=None, total: Any = None
) -> Array:
    """Mean squared error of a velocity against `noise - x0`, at one noise, one level, for one example.

    Args:
        velocity: `(x, level) -> v` or `Prediction`.
        x0: the clean example, any shape.
        noise: standard Gaussian of the same shape.
        level: the noise level, as a `Level` of scalars.
        weight: optional weights broadcastable to `x0` (for example 0 on frames that are given); the result is then the
            weighted mean, `sum(weight * error) / sum(weight)`.
        total: divides the sum in the place of `sum(weight)`.

    Returns:
        A float32 scalar.
    """
    if x0.shape != noise.shape:
        raise ValueError(f"flow_error: noise has shape {noise.shape}, expected that of x0, {x0.shape}")
    sigma = jnp.asarray(level.sigma, jnp.float32)
    out = velocity(noisy(x0, noise, sigma).astype(x0.dtype), level)
    v = out.v if isinstance(out, Prediction) else out
    if v.shape != x0.shape:
        raise ValueError(f"flow_error: the velocity returned shape {v.shape}, expected that of x0, {x0.shape}")
    target = noise.astype(jnp.float32) - x0.astype(jnp.float32)
    error = jnp.square(v.astype(jnp.float32) - target)
    if weight is None:
        return jnp.mean(error)
    weight = jnp.broadcast_to(jnp.asarray(weight, jnp.float32), error.shape)
    return jnp.sum(weight * error) / (jnp.sum(weight) if total is None else total)


def flow_matching(velocity: Any, x0: Float[Array, "..."], key: Array, times: Any, weight=None) -> Array:
    """Flow-matching loss of one example: `flow_error` at noise from `key` and at the noise level `times`, a scalar."""
    noise = jax.random.normal(key, x0.shape, jnp.float32)
    return flow_error(velocity, x0, noise, level_of(times), weight)


def zero_velocity_error(x0: Array, axis: Any = None, weight: Any = None) -> Array:
    """Expected `flow_error` of a velocity that is always 0: `1 + mean(x0**2)`. The loss's natural unit.

    With a weight: `mean(weight * (1 + x0**2))`.
    """
    if weight is not None:
        return jnp.mean(weight * (1.0 + jnp.square(x0.astype(jnp.float32))), axis=axis)
    return 1.0 + jnp.mean(jnp.square(x0.astype(jnp.float32)), axis=axis)
