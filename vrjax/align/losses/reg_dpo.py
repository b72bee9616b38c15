"""Reg-DPO (arXiv 2511.01450): DPO anchored by the winner's own error."""

from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from vrjax.align.losses import _checks
from vrjax.align.losses._method import Method, over_losers
from vrjax.align.losses.dpo import dpo
from vrjax.align.losses.sft import sft


def reg_dpo(
    win_gap: ArrayLike, lose_gap: ArrayLike, win_error: ArrayLike, *, beta: ArrayLike, weight: ArrayLike
) -> Float[Array, "..."]:
    """`dpo + weight * sft`: the winner's own flow-matching error kept in the loss."""
    _checks.not_negative("reg_dpo", "weight", weight)
    return dpo(win_gap, lose_gap, beta=beta) + jnp.asarray(weight) * sft(win_error)


def _apply(spec: Any, measured: Any, batch: Any, beta: Any) -> Array:
    def loss(win: Any, lose: Any, *, win_error: Any, beta: Any) -> Array:
        return reg_dpo(win, lose, win_error, beta=beta, weight=spec.anchor)

    return over_losers(loss, measured.win_gap, measured.lose_gap, win_error=measured.policy.win, beta=beta)


METHOD = Method(_apply, reads=("anchor",))
