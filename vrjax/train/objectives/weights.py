"""What counts how much in the loss: padded places not at all, some channels more, some noise levels more.

The mean over a batch of `mean(weight * error)` with `example_weights` is ViMoGen's loss (its public training code): the
sum of mask x level weight x channel weight x error over the whole batch, divided by the sum of the mask alone.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from vrjax.train.objectives.levels import shift_sigma

LEVELS = 1000  # of the schedule over which the weights of levels have mean 1
WEIGHTINGS = ("none", "bsmntw", "clean")


def level_weight(sigma: Any, shift: Any = 1.0, weighting: str = "bsmntw") -> Float[Array, "..."]:
    """The weight of noise levels.

    "bsmntw": a bell around sigma 0.5, 0 at its ends, e^(-2 (sigma - 0.5)²) - e^(-0.5). "clean": sigma², by which errors
    of the velocity are those of the clean example, at every level alike. Both are scaled to mean 1 over the 1000 levels
    of the schedule with this shift.

    Args:
        sigma: noise levels, 0 to 1, after the shift.
        shift: of the schedule.
        weighting: which.
    """
    bell = jnp.square if weighting == "clean" else lambda level: jnp.exp(-2.0 * (level - 0.5) ** 2) - np.exp(-0.5)
    schedule = shift_sigma(jnp.asarray(np.linspace(1.0, 0.0, LEVELS + 1)[:-1], jnp.float32), shift)
    return bell(jnp.asarray(sigma, jnp.float32)) / jnp.mean(bell(schedule))


def channel_weights(spec: Sequence[tuple[int, float]], channels: int) -> Float[np.ndarray, " channels"]:
    """Weights by channel: 1, and from each named channel on the weight beside it. `((258, 3.0),)` is ViMoGen's.

    Raises:
        ValueError: channels that do not rise, or lie outside of 0 to channels - 1; weights that are not finite or
            below 0.
    """
    starts = [start for start, _ in spec]
    if sorted(set(starts)) != starts or any(not 0 <= start < channels for start in starts):
        raise ValueError(f"objective.channel_weights: channels {starts}, expected rising ones of 0 to {channels - 1}")
    out = np.ones(channels, np.float32)
    for start, weight in spec:
        if not (np.isfinite(weight) and weight >= 0):
            raise ValueError(f"objective.channel_weights: weight {weight}, expected a finite number >= 0")
        out[start:] = weight
    return out


def example_weights(
    latent: Float[Array, "b *n c"],
    sigma: Float[Array, " b"],
    *,
    mask: Shaped[Array, "b ..."] | None = None,
    channel_mask: Float[Array, "b c"] | None = None,
    channels: Sequence[tuple[int, float]] = (),
    weighting: str = "none",
    shift: Any = 1.0,
) -> Float[Array, "b ..."] | None:
    """Weights of the errors of a batch, broadcastable to `latent`; None where everything counts alike.

    Args:
        latent: the clean examples.
        sigma: their noise levels.
        mask: 1 where an example counts and 0 where it is padded: the first axes of `latent`, at least the batch.
        channel_mask: 1 for the channels of an example that count, 0 for others.
        channels: see `channel_weights`.
        weighting: "none", or one of `level_weight`.
        shift: of the noise levels.

    Raises:
        ValueError: an unknown weighting; see `channel_weights`.
    """
    if weighting not in WEIGHTINGS:
        raise ValueError(f"objective.weighting: found {weighting!r}, expected one of {WEIGHTINGS}")
    if mask is None and channel_mask is None and not channels and weighting == "none":
        return None
    ranked = lambda x: x.reshape(x.shape + (1,) * (latent.ndim - x.ndim))
    weight = ranked(jnp.ones(len(latent)))
    if mask is not None:
        weight = weight * ranked(jnp.asarray(mask, jnp.float32))
    if channel_mask is not None:
        weight = weight * channel_mask.reshape(len(latent), *(1,) * (latent.ndim - 2), -1)
    weight = weight / jnp.mean(weight)  # of the whole batch, so that accumulation and sharding change nothing
    if channels:
        weight = weight * channel_weights(channels, latent.shape[-1])
    if weighting != "none":
        weight = weight * ranked(level_weight(sigma, shift, weighting))
    return weight
