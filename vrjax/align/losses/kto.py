"""Diffusion-KTO (Li et al. 2024, arXiv 2404.04465): single examples with a thumb up or down, no pairs."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from vrjax.align.losses import _checks
from vrjax.align.losses._method import Method

UTILITIES = ("sigmoid", "loss_averse", "risk_seeking")


def kto(
    gap: ArrayLike,
    label: ArrayLike,
    *,
    beta: ArrayLike,
    baseline: ArrayLike = 0.0,
    utility: str = "sigmoid",
    desirable: ArrayLike = 1.0,
    undesirable: ArrayLike = 1.0,
) -> Float[Array, "..."]:
    """`w (1 - U(y beta (g - baseline)))` with `g = -gap` and y = +1 for wanted, -1 for unwanted examples.

    Args:
        gap: error of the policy minus error of the reference, per example.
        label: above 0 (or True) for wanted examples, else unwanted.
        beta: inverse temperature; without the factor 1/2 of `dpo`, as published (1000).
        baseline: the reference point that gains and losses are counted from, see `kto_baseline`.
        utility: "sigmoid" (Kahneman-Tversky), "loss_averse" `log sigmoid(z)`, "risk_seeking" `-log sigmoid(-z)`.
        desirable, undesirable: weights w of the two kinds.

    Raises:
        ValueError: an unknown utility, or beta not positive.
    """
    _checks.positive("kto", "beta", beta)
    wanted = jnp.asarray(label) > 0
    z = jnp.where(wanted, 1.0, -1.0) * jnp.asarray(beta) * (-jnp.asarray(gap) - jnp.asarray(baseline))
    if utility == "sigmoid":
        gain = jax.nn.sigmoid(z)
    elif utility == "loss_averse":
        gain = jax.nn.log_sigmoid(z)
    elif utility == "risk_seeking":
        gain = jax.nn.softplus(z)
    else:
        raise ValueError(f"kto: unknown utility {utility!r}, expected one of {', '.join(UTILITIES)}")
    return jnp.where(wanted, desirable, undesirable) * (1.0 - gain)


def kto_baseline(gap: ArrayLike) -> Float[Array, ""]:
    """`max(0, mean(-gap))` over all examples, held fixed: the published guess at the divergence from the reference."""
    return lax.stop_gradient(jnp.maximum(jnp.mean(-jnp.asarray(gap)), 0.0))


def _apply(spec: Any, measured: Any, batch: Any, beta: Any) -> Array:
    """Every clip counts for itself: the winner as wanted, its losers as unwanted."""
    win, lose = measured.win_gap, measured.lose_gap
    baseline = kto_baseline(jnp.concatenate([win[:, None], lose], 1))
    wanted = kto(win, 1, beta=beta, baseline=baseline, utility=spec.utility)
    unwanted = kto(lose, -1, beta=beta[:, None], baseline=baseline, utility=spec.utility)
    return 0.5 * (wanted + jnp.mean(unwanted, -1))


METHOD = Method(_apply, reads=("utility",))
