"""Flow matching: the error of a velocity on one example, the times it is measured at, and condition dropout.

Everything here is a pure function of arrays and of a *velocity* `(x, level) -> v | Prediction`, written for one
example. Noise and level are arguments, not hidden draws: a preference loss measures a winner and a loser, a policy and
a reference, at the same noise and level by calling `flow_error` four times with the same two values.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vrjax.flow import Level, Prediction


class Draw(NamedTuple):
    """What is random in one flow-matching measurement of one example (or of a batch, with a leading axis)."""

    noise: Array
    sigma: Array


def level_of(sigma: Any) -> Level:
    """The level the network is shown for a noise level: time is `1000 * sigma`, both float32."""
    sigma = jnp.asarray(sigma, jnp.float32)
    return Level(sigma, 1000.0 * sigma)


def shift_sigma(sigma: Any, shift: float) -> Any:
    """Moves noise levels towards 1: `shift * sigma / (1 + (shift - 1) * sigma)`, the warp of the sampling grids."""
    return shift * sigma / (1.0 + (shift - 1.0) * sigma)


def noisy(x0: Float[Array, "..."], noise: Float[Array, "..."], sigma: Any) -> Float[Array, "..."]:
    """The state between data (sigma 0) and noise (sigma 1): `(1 - sigma) x0 + sigma noise`."""
    return (1.0 - sigma) * x0 + sigma * noise


def flow_error(velocity: Any, x0: Float[Array, "..."], noise: Float[Array, "..."], level: Level, weight=None) -> Array:
    """Mean squared error of a velocity against `noise - x0`, at one noise, one level, for one example.

    Args:
      velocity: `(x, level) -> v` or `Prediction`.
      x0: the clean example, any shape.
      noise: standard Gaussian of the same shape.
      level: the noise level, as a `Level` of scalars.
      weight: optional weights broadcastable to `x0` (for example 0 on frames that are given); the result is then the
        weighted mean, `sum(weight * error) / sum(weight)`.

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
    return jnp.sum(weight * error) / jnp.sum(weight)


def flow_matching(velocity: Any, x0: Float[Array, "..."], key: Array, times: Any, weight=None) -> Array:
    """Flow-matching loss of one example: `flow_error` at noise from `key` and at the noise level `times`, a scalar."""
    noise = jax.random.normal(key, x0.shape, jnp.float32)
    return flow_error(velocity, x0, noise, level_of(times), weight)


def stratified_uniform(key: Array, count: int) -> Float[Array, " count"]:
    """`count` uniforms on (0, 1), one in each of `count` equal strata, in random order (float32).

    The strata are shuffled so that an example's place in the batch says nothing about its level.
    """
    place, order = jax.random.split(key)
    u = (jnp.arange(count) + jax.random.uniform(place, (count,))) / count
    tiny = float(jnp.finfo(jnp.float32).eps)
    return jax.random.permutation(order, jnp.clip(u, tiny, 1.0 - tiny))


def sample_sigmas(
    key: Array,
    count: int,
    *,
    kind: str = "uniform",
    shift: float | int = 1.0,
    mean: float | int = 0.0,
    std: float | int = 1.0,
    low: float | int = 0.0,
    high: float | int = 1.0,
) -> Float[Array, " count"]:
    """Noise levels for a batch: stratified, through the chosen distribution's quantile function, then shifted.

    Args:
      key: PRNG key.
      count: number of levels.
      kind: "uniform", or "logit_normal" (`sigmoid(mean + std * z)`, z standard Gaussian; Esser et al. 2024).
      shift: `shift_sigma` is applied last; 1 changes nothing.
      mean, std: of the logit, for "logit_normal" only.
      low, high: the part of [0, 1] that the levels are brought to before the shift, for an expert that sees only some.

    Returns:
      `count` float32 values strictly between 0 and 1.
    """
    u = stratified_uniform(key, count)
    if kind == "uniform":
        sigma = u
    elif kind == "logit_normal":
        sigma = jax.nn.sigmoid(mean + std * jax.scipy.stats.norm.ppf(u))
    else:
        raise ValueError(f"unknown time sampler {kind!r}: expected 'uniform' or 'logit_normal'")
    if (low, high) != (0.0, 1.0):
        sigma = low + (high - low) * sigma
    return shift_sigma(sigma, shift)


def drop(key: Array, condition: Any, rate: float) -> Any:
    """Condition dropout for a batch: with probability `rate`, an example's condition becomes zeros (the empty prompt).

    `condition` is a pytree of arrays with the batch on axis 0; all of one example's arrays are dropped together.
    Rate 0 returns the tree itself.
    """
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"condition dropout must lie in [0, 1], found {rate}")
    if rate == 0.0:
        return condition
    count = jax.tree.leaves(condition)[0].shape[0]
    keep = jax.random.bernoulli(key, 1.0 - rate, (count,))

    def mask(x):
        return jnp.where(keep.reshape((count,) + (1,) * (x.ndim - 1)), x, jnp.zeros_like(x))

    return jax.tree.map(mask, condition)


def zero_velocity_error(x0: Array, axis: Any = None) -> Array:
    """Expected `flow_error` of a velocity that is always 0: `1 + mean(x0**2)`. The loss's natural unit."""
    return 1.0 + jnp.mean(jnp.square(x0.astype(jnp.float32)), axis=axis)
