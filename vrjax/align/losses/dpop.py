"""DPO may lower its loss by raising both errors, the loser's faster; a penalty on the winner's does not let it."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from vrjax.align.losses import _checks
from vrjax.align.losses._method import pairs
from vrjax.align.losses.dpo import dpo


def dpop(
    win_gap: ArrayLike, lose_gap: ArrayLike, *, beta: ArrayLike, weight: ArrayLike, inside: bool = False
) -> Float[Array, "..."]:
    """DPO with a penalty on winners that got worse than under the reference, `weight * max(0, win_gap)`.

    Args:
        win_gap, lose_gap, beta: as for `dpo`.
        weight: of the penalty, at least 0; with 0 it is `dpo`.
        inside: False adds the penalty to the loss, so that it never saturates. True takes it off the margin, as Smaug's
            DPO-Positive does (Pal et al. 2024, arXiv 2402.13228): `dpo(win_gap + weight max(0, win_gap), lose_gap)`.
    """
    _checks.not_negative("dpop", "weight", weight)
    penalty = jnp.asarray(weight) * jax.nn.relu(jnp.asarray(win_gap))
    if inside:
        return dpo(jnp.asarray(win_gap) + penalty, lose_gap, beta=beta)
    return dpo(win_gap, lose_gap, beta=beta) + penalty


METHOD = pairs(dpop, weight="anchor")
