"""Noise levels: which ones a batch is trained at, and what the network is shown of them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vrjax.flow import Level


def is_number(value: Any) -> bool:
    """Whether a value is a plain number, which can be checked; a traced one is checked where it is made."""
    return isinstance(value, (int, float))


def level_of(sigma: Any) -> Level:
    """The level the network is shown for a noise level: time is `1000 * sigma`, both float32."""
    sigma = jnp.asarray(sigma, jnp.float32)
    return Level(sigma, 1000.0 * sigma)


def of_frames(sigma: Any, x: Float[Array, "f *n"]) -> Float[Array, "..."]:
    """Levels () or (f,) as they multiply the frames of x. ValueError: another shape."""
    sigma = jnp.asarray(sigma, jnp.float32)
    if sigma.shape not in ((), x.shape[:1]):
        raise ValueError(f"sigma: found shape {sigma.shape}, expected () or one for each of {len(x)} frames")
    return sigma.reshape(sigma.shape + (1,) * (x.ndim - sigma.ndim) if sigma.ndim else ())


def shift_sigma(sigma: Any, shift: float) -> Any:
    """Moves noise levels towards 1: `shift * sigma / (1 + (shift - 1) * sigma)`, the warp of the sampling grids."""
    return shift * sigma / (1.0 + (shift - 1.0) * sigma)


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
    shift: Any = 1.0,
    mean: Any = 0.0,
    std: Any = 1.0,
    low: Any = 0.0,
    high: Any = 1.0,
) -> Float[Array, " count"]:
    """Noise levels for a batch: stratified, through the chosen distribution's quantile function, then shifted.

    Args:
        key: PRNG key.
        count: number of levels.
        kind: "uniform", or "logit_normal" (`sigmoid(mean + std * z)`, z standard Gaussian; Esser et al. 2024).
        shift: `shift_sigma` is applied last; 1 changes nothing.
        mean, std: of the logit, for "logit_normal" only.
        low, high: the part of [0, 1] that the levels are brought to before the shift, for an expert that sees a part.

    All numbers may be traced.

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
    if not (is_number(low) and is_number(high) and (low, high) == (0.0, 1.0)):
        sigma = low + (high - low) * sigma
    return shift_sigma(sigma, shift)


def sample_chunk_sigmas(key: Array, count: int, chunks: Sequence[int], **how: Any) -> Float[Array, "count frames"]:
    """Noise levels for `count` videos, one for each chunk, which all of its frames have.

    Args:
        key: PRNG key.
        count: of videos.
        chunks: their lengths, the same for all videos.
        **how: see `sample_sigmas`; levels are stratified over all chunks of all videos.
    """
    found = sample_sigmas(key, count * len(chunks), **how).reshape(count, len(chunks))
    return jnp.repeat(found, np.asarray(chunks), axis=1, total_repeat_length=sum(chunks))
