"""Supervised fine-tuning: the policy's own error on the preferred example, no reference and no loser."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from vrjax.align.losses._method import Method


def sft(win_error: ArrayLike) -> Float[Array, "..."]:
    """The flow-matching error itself, which is what makes SFT the zero of this family."""
    return jnp.asarray(win_error)


METHOD = Method(lambda spec, measured, batch, beta: sft(measured.policy.win), needs_losers=False, needs_reference=False)
