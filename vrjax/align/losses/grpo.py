"""Group-relative policy optimisation on a stochastic sampler: Flow-GRPO (arXiv 2505.05470), DanceGRPO (2505.07818).

The two differ in the sampler (`vrjax.flow.sde("flow_grpo" | "dance_grpo")`) and in how rewards are normalised; the
clipped objective is the same. Their log-densities are means over elements, so the clip range is tiny.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from vrjax.align.losses import _checks


def grpo(
    log_prob: ArrayLike, old_log_prob: ArrayLike, advantage: ArrayLike, *, clip: float = 1e-4
) -> Float[Array, "..."]:
    """`max(-A rho, -A clip(rho, 1 - clip, 1 + clip))` with `rho = exp(log_prob - old_log_prob)`.

    Args:
        log_prob: of each recorded step under the policy that is trained (`vrjax.flow.log_prob`).
        old_log_prob: under the policy that made the trajectory; held fixed. Where both are equal rho is exactly 1.
        advantage: of the trajectory, broadcast over its steps; see `advantages`.
        clip: half-width of the interval of ratios that still have a gradient (1e-4 for log-densities that are means).
    """
    _checks.positive("grpo", "clip", clip)
    advantage = lax.stop_gradient(jnp.asarray(advantage))
    rho = jnp.exp(jnp.asarray(log_prob) - lax.stop_gradient(jnp.asarray(old_log_prob)))
    return jnp.maximum(-advantage * rho, -advantage * jnp.clip(rho, 1.0 - clip, 1.0 + clip))


def advantages(
    rewards: Float[Array | np.ndarray, "groups size"], *, scale: str = "global", eps: float = 1e-4, limit: float = 5.0
) -> Float[Array, "groups size"]:
    """`(r - mean of its group) / (std + eps)`, cut to [-limit, limit].

    Args:
        rewards: one row per prompt.
        scale: what the standard deviation is taken over: "global", all rewards (Flow-GRPO's default), or "group".
        eps: added to it.
        limit: largest absolute advantage.

    A group whose rewards are all equal has advantages of 0: it teaches nothing and may as well be dropped.
    """
    rewards = jnp.asarray(rewards)
    centred = rewards - jnp.mean(rewards, 1, keepdims=True)
    if scale == "global":
        std = jnp.std(rewards)
    elif scale == "group":
        std = jnp.std(rewards, 1, keepdims=True)
    else:
        raise ValueError(f"advantages: unknown scale {scale!r}, expected 'global' or 'group'")
    return jnp.clip(centred / (std + eps), -limit, limit)


def gaussian_kl(mean: ArrayLike, reference_mean: ArrayLike, std: ArrayLike) -> Float[Array, "..."]:
    """`(mean - reference_mean)^2 / (2 std^2)` per element: the divergence of two transitions of equal noise.

    The published codes take its mean over elements, times 0.04. Steps without noise (std 0) give 0.
    """
    std = jnp.asarray(std)
    inverse = jnp.where(std > 0, 1.0 / jnp.where(std > 0, std, 1.0), 0.0)
    return 0.5 * jnp.square((jnp.asarray(mean) - jnp.asarray(reference_mean)) * inverse)
