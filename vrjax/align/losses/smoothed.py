"""cDPO: label smoothing, for labels that may be wrong (see `robust` for its unbiased form)."""

from jax.typing import ArrayLike
from jaxtyping import Array, Float

from vrjax.align.losses import _checks
from vrjax.align.losses._method import pairs
from vrjax.align.losses.dpo import dpo


def smoothed(win_gap: ArrayLike, lose_gap: ArrayLike, *, beta: ArrayLike, flipped: float) -> Float[Array, "..."]:
    """`(1 - flipped) dpo(win, lose) + flipped dpo(lose, win)`: a label is believed with probability `1 - flipped`.

    Its minimum over the margin is finite, at `log((1 - flipped) / flipped)`. With `flipped` 0 it is `dpo`.

    Raises:
        ValueError: `flipped` outside [0, 0.5), or beta not positive.
    """
    _checks.share("smoothed", "flipped", flipped)
    right, wrong = dpo(win_gap, lose_gap, beta=beta), dpo(lose_gap, win_gap, beta=beta)
    return (1.0 - flipped) * right + flipped * wrong


METHOD = pairs(smoothed, flipped="flipped")
