"""rDPO (arXiv 2403.00409): the unbiased form of DPO for labels that may be wrong."""

from jax.typing import ArrayLike
from jaxtyping import Array, Float

from vrjax.align.losses import _checks
from vrjax.align.losses._method import pairs
from vrjax.align.losses.dpo import dpo


def robust(win_gap: ArrayLike, lose_gap: ArrayLike, *, beta: ArrayLike, flipped: float) -> Float[Array, "..."]:
    """`((1 - flipped) dpo(win, lose) - flipped dpo(lose, win)) / (1 - 2 flipped)`.

    Where a share `flipped` of the labels is swapped at random, its expectation is that of `dpo` with the true labels.
    It may be negative.

    Raises:
        ValueError: `flipped` outside [0, 0.5), or beta not positive.
    """
    _checks.share("robust", "flipped", flipped)
    right, wrong = dpo(win_gap, lose_gap, beta=beta), dpo(lose_gap, win_gap, beta=beta)
    return ((1.0 - flipped) * right - flipped * wrong) / (1.0 - 2.0 * flipped)


METHOD = pairs(robust, flipped="flipped")
