"""Diffusion-DPO (Wallace et al. 2023, arXiv 2311.12908), on flow errors Flow-DPO (Liu et al. 2025, arXiv 2501.13918).

`-log sigmoid(u)` with `u = -(beta / 2) (win_gap - lose_gap)`. RealDPO (arXiv 2510.14955) is this loss with a real clip
as the winner and the base model's samples as losers. At policy = reference it is log 2, and its gradient is
`(beta / 4) grad(win_gap - lose_gap)`.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from vrjax.align.losses import _checks
from vrjax.align.losses._method import pairs


def logit(win_gap: ArrayLike, lose_gap: ArrayLike, *, beta: ArrayLike) -> Float[Array, "..."]:
    """`u = (beta / 2) (lose_gap - win_gap)`: the difference of implicit rewards, the margin that is logged."""
    _checks.positive("dpo", "beta", beta)
    return 0.5 * jnp.asarray(beta) * (jnp.asarray(lose_gap) - jnp.asarray(win_gap))


def dpo(win_gap: ArrayLike, lose_gap: ArrayLike, *, beta: ArrayLike) -> Float[Array, "..."]:
    """`-log sigmoid((beta / 2) (lose_gap - win_gap))`.

    Args:
        win_gap, lose_gap: error of the policy minus error of the reference, broadcast against each other.
        beta: inverse temperature, for errors that are means over elements: published runs use 100 to 5000. An array
            (see `beta_at`) weights every element by its own.

    Raises:
        ValueError: beta is a plain number that is not positive and finite.
    """
    return jax.nn.softplus(-logit(win_gap, lose_gap, beta=beta))


def beta_at(sigma: ArrayLike, beta: ArrayLike, *, weighting: str = "constant") -> Float[Array, "..."]:
    """Beta at a noise level: "constant", or Flow-DPO's "squared", `beta (1 - sigma)^2`, which trusts clean levels more.

    Raises:
        ValueError: another weighting.
    """
    sigma = jnp.asarray(sigma)
    if weighting == "constant":
        return jnp.broadcast_to(jnp.asarray(beta, sigma.dtype), sigma.shape)
    if weighting == "squared":
        return jnp.asarray(beta) * jnp.square(1.0 - sigma)
    raise ValueError(f"beta_at: unknown weighting {weighting!r}, expected 'constant' or 'squared'")


METHOD = pairs(dpo)
