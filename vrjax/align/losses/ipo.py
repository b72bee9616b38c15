"""IPO (Azar et al. 2023, arXiv 2310.12036): a squared loss that stops pushing once the margin is reached."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from vrjax.align.losses import _checks
from vrjax.align.losses._method import pairs


def ipo(win_gap: ArrayLike, lose_gap: ArrayLike, *, beta: ArrayLike) -> Float[Array, "..."]:
    """`(h - 1 / (2 beta))^2` with `h = lose_gap - win_gap`: the difference of gaps is drawn to `1 / (2 beta)`.

    Raises:
        ValueError: beta is a plain number that is not positive and finite.
    """
    _checks.positive("ipo", "beta", beta)
    h = jnp.asarray(lose_gap) - jnp.asarray(win_gap)
    return jnp.square(h - 0.5 / jnp.asarray(beta))


METHOD = pairs(ipo)
