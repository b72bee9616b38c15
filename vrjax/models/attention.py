"""Scaled dot-product attention for one example: one dispatch over the implementations."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

IMPLEMENTATIONS = ("auto", "xla")


def attend(
    q: Float[Array, "n heads d"],
    k: Float[Array, "m heads d"],
    v: Float[Array, "m heads d"],
    *,
    mask: Bool[Array, "n m"] | None = None,
    impl: str = "auto",
) -> Float[Array, "n heads d"]:
    """softmax(q k^T / sqrt(d)) v per head, softmax in float32."""
    if impl not in IMPLEMENTATIONS:
        raise ValueError(f"attend: unknown impl {impl!r}, expected one of {IMPLEMENTATIONS}")
    scores = jnp.einsum("nhd,mhd->hnm", q, k, preferred_element_type=jnp.float32) * (q.shape[-1] ** -0.5)
    if mask is not None:
        scores = jnp.where(mask, scores, -jnp.inf)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    return jnp.einsum("hnm,mhd->nhd", weights, v)
