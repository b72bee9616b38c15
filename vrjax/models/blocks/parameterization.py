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
    """
    if predicts == "velocity":
        return said
    if predicts == "change":
        said = said + jnp.asarray(before, said.dtype)
    return (jnp.asarray(x, said.dtype) - said) / jnp.maximum(sigma, SIGMA_LEAST)
