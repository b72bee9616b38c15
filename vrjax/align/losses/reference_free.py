"""A pair loss without a reference, in the manner of SimPO (Meng et al. 2024, arXiv 2405.14734)."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from vrjax.align.losses._method import Method, over_losers
from vrjax.align.losses.dpo import logit


def reference_free(
    win_error: ArrayLike, lose_error: ArrayLike, *, beta: ArrayLike, margin: ArrayLike = 0.0
) -> Float[Array, "..."]:
    """`-log sigmoid((beta / 2) (lose_error - win_error) - margin)`: the reference's errors are taken as 0.

    The policy's own errors on real and generated clips differ from the start, so unlike `dpo` this is not log 2 at the
    first step; `margin` is how far apart (in logits) they should be.
    """
    return jax.nn.softplus(jnp.asarray(margin) - logit(win_error, lose_error, beta=beta))


def _apply(spec: Any, measured: Any, batch: Any, beta: Any) -> Array:
    policy = measured.policy
    return over_losers(reference_free, policy.win, policy.lose, beta=beta, margin=spec.margin)


METHOD = Method(_apply, needs_reference=False, reads=("margin",))
