"""The hinge of SLiC (Zhao et al. 2023, arXiv 2305.10425) on gaps: no gradient beyond the margin."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from vrjax.align.losses import _checks
from vrjax.align.losses._method import pairs


def hinge(win_gap: ArrayLike, lose_gap: ArrayLike, *, beta: ArrayLike = 1.0) -> Float[Array, "..."]:
    """`max(0, 1 - beta h)` with `h = lose_gap - win_gap`: zero once `h` exceeds `1 / beta`.

    Raises:
        ValueError: beta is a plain number that is not positive and finite.
    """
    _checks.positive("hinge", "beta", beta)
    return jax.nn.relu(1.0 - jnp.asarray(beta) * (jnp.asarray(lose_gap) - jnp.asarray(win_gap)))


METHOD = pairs(hinge)
