"""Combinators that impose something on the data estimate: a known first frame."""

from typing import Any

import jax.numpy as jnp

from vrjax.flow.core import Level, Prediction, Velocity, as_prediction


def clamp_first_frame(velocity: Velocity, first: Any, *, tokens_per_frame: int | None = None) -> Velocity:
    """Impose a clean first latent frame (or the first k), as Wan 2.2's image-to-video model TI2V-5B expects it.

    The network sees `x` with its first frame replaced by `first`, whatever the state holds there. Of the answer, the
    first frame is replaced by the velocity that leads there, `(x - first) / sigma`: its data estimate is `first` at
    every step, so every solver ends on it; a state that already holds the clean frame keeps it exactly.

    Args:
        velocity: of video states `(t, h, w, c)`.
        first: `(h, w, c)`, or `(k, h, w, c)`.
        tokens_per_frame: if given, the network is shown one time per token, 0 for those of the clean frames (tokens in
            (t, h, w) order); otherwise the one time of the level.

    Raises:
        ValueError: when `first` does not fit the state.
    """

    def clamped(x, level: Level) -> Prediction:
        clean = jnp.asarray(first, x.dtype)
        clean = clean[None] if clean.ndim == x.ndim - 1 else clean
        if clean.ndim != x.ndim or clean.shape[1:] != x.shape[1:] or clean.shape[0] > x.shape[0]:
            raise ValueError(f"clamp_first_frame: first frames of shape {clean.shape} do not fit a state {x.shape}")
        k = clean.shape[0]
        shown = level
        if tokens_per_frame is not None:
            noisy = jnp.arange(x.shape[0] * tokens_per_frame) >= k * tokens_per_frame
            shown = level._replace(time=jnp.where(noisy, level.time, 0.0))
        prediction = as_prediction(velocity(x.at[:k].set(clean), shown))
        towards = _over_sigma(x[:k] - clean, level.sigma)
        return prediction._replace(v=jnp.asarray(prediction.v, x.dtype).at[:k].set(towards))

    return clamped


def _over_sigma(a, sigma):
    """`a / sigma`, and 0 at sigma 0, with finite gradients at both."""
    return jnp.where(sigma > 0, a / jnp.where(sigma > 0, sigma, 1.0), 0.0)
