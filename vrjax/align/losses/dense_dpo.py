"""DenseDPO (Wu et al. 2025, arXiv 2506.03517): two aligned clips, and a verdict for every short segment of them."""

from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from vrjax.align.losses._method import Method
from vrjax.align.losses.dpo import dpo


def dense_dpo(first_gap: ArrayLike, second_gap: ArrayLike, label: ArrayLike, *, beta: ArrayLike) -> Float[Array, "..."]:
    """Per segment: `dpo` of the better side against the other; 0 where the verdict is a tie.

    Args:
        first_gap, second_gap: (..., segments) gaps of the two clips, each the mean over one segment's elements.
        label: (..., segments): 1 where the first clip's segment is better, -1 where the second's is, 0 for a tie.
        beta: as for `dpo`.

    Returns:
        (..., segments). The published loss sums it over segments.
    """
    label = jnp.asarray(label)
    first, second = jnp.asarray(first_gap), jnp.asarray(second_gap)
    sign = jnp.sign(label).astype(jnp.result_type(first, second))
    return jnp.abs(sign) * dpo(sign * first, sign * second, beta=beta)


def _apply(spec: Any, measured: Any, batch: Any, beta: Any) -> Array:
    win, lose = measured.part_gaps("dense_dpo")
    if "label" not in batch:
        raise ValueError("dense_dpo: the batch has no 'label' (b, parts) with the verdict on each segment")
    return jnp.sum(dense_dpo(win, lose[:, 0], batch["label"], beta=beta[:, None]), -1)


METHOD = Method(_apply, needs_masks=True, most_losers=1)
