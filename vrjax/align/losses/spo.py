"""SPO, step-aware preference optimisation (Liang et al. 2024, arXiv 2406.04314).

From one noisy state several next states are drawn with a stochastic step, a step-aware reward ranks them, and the best
is compared with the worst by the exact densities of the two transitions.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from vrjax.align.losses import _checks


def spo(
    win_log_ratio: ArrayLike, lose_log_ratio: ArrayLike, *, beta: ArrayLike = 10.0, clip: float = 0.1
) -> Float[Array, "..."]:
    """`-log sigmoid(beta (log rho_w - log rho_l))` with `rho = clip(p_policy / p_reference, 1 - clip, 1 + clip)`.

    Args:
        win_log_ratio, lose_log_ratio: log-density of the transition under the policy minus that under the reference
            (`vrjax.flow.log_prob`).
        beta: inverse temperature.
        clip: half-width of the interval of ratios that still have a gradient.

    Raises:
        ValueError: beta is not positive or clip not in (0, 1).
    """
    _checks.positive("spo", "beta", beta)
    if not 0.0 < clip < 1.0:
        raise ValueError(f"spo: clip must lie in (0, 1), found {clip}")
    # Clipping the logarithm is clipping the ratio, without the overflow of exp.
    low, high = jnp.log1p(-clip), jnp.log1p(clip)
    win = jnp.clip(jnp.asarray(win_log_ratio), low, high)
    lose = jnp.clip(jnp.asarray(lose_log_ratio), low, high)
    return jax.nn.softplus(-jnp.asarray(beta) * (win - lose))
