"""What the head of a network says, and the velocity that is made of it."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

PREDICTS = ("velocity", "clean", "change")
SIGMA_LEAST = 0.05
"""The least noise level by which the distance to what was said is divided."""


def velocity(predicts: str, said: Float[Array, "*n c"], x: Any, sigma: Any, before: Any = None) -> Float[Array, "*n c"]:
    """The velocity that a head means.

    Args:
        predicts: "velocity": that is what it says; "clean": the clean latent, of which the velocity is
            (x - clean) / sigma, so that a narrow stream need not hand the noise through ("Back to Basics", arXiv
            2511.13720); "change": "clean" with `before` added, so that what stays as it was is for nothing.
        said: what it says.
        x: the noisy latent.
        sigma: its level, broadcastable to `said`; counts as at least `SIGMA_LEAST`.
        before: what "change" is added to, shaped as `said`.

    Raises:
        ValueError: a change, and nothing before it.
    """
    if predicts == "velocity":
        return said
    if predicts == "change":
        if before is None:
            raise ValueError("image: found none, expected the picture to which this network adds a change")
        said = said + jnp.asarray(before, said.dtype)
    return (jnp.asarray(x, said.dtype) - said) / jnp.maximum(sigma, SIGMA_LEAST)


def spread(time: Any, grid: tuple[int, int, int], patch: tuple[int, int, int]) -> Float[Array, "..."]:
    """The noise level at every place of a latent, (t, h, w, 1) or what broadcasts to it.

    Args:
        time: 0 to 1000; a scalar, one a frame of tokens, or one a token in (t, h, w) order.
        grid: of tokens.
        patch: of places of a token.
    """
    sigma, (p, q, r) = jnp.asarray(time, jnp.float32) / 1000.0, patch
    if sigma.ndim == 0:
        return sigma
    if len(sigma) != grid[0]:
        return sigma.reshape(grid).repeat(p, 0).repeat(q, 1).repeat(r, 2)[..., None]
    return sigma.repeat(p)[:, None, None, None]
