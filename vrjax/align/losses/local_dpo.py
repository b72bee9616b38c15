"""LocalDPO (arXiv 2601.04068): the loser is the winner with a region repainted, and only that region is compared.

The errors of a region are means over its elements (`weight` of `flow_error`), so a small region counts as much as a
large one; the published loss may raise beta with the region's share of the clip.
"""

from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from vrjax.align.losses import _checks
from vrjax.align.losses._method import Method
from vrjax.align.losses.dpo import dpo
from vrjax.align.losses.sft import sft


def local_dpo(
    win_region_gap: ArrayLike,
    lose_region_gap: ArrayLike,
    win_gap: ArrayLike,
    lose_gap: ArrayLike,
    win_error: ArrayLike,
    *,
    beta: ArrayLike,
    boost: ArrayLike = 0.0,
    global_weight: float = 1.0,
    sft_weight: ArrayLike = 1.0,
) -> Float[Array, "..."]:
    """`dpo(region; beta (1 + boost)) + global_weight dpo(whole clip; beta) + sft_weight sft`.

    Args:
        win_region_gap, lose_region_gap: gaps of the masked means of the errors over the repainted region.
        win_gap, lose_gap: gaps of the whole clip.
        win_error: the policy's own error on the winner.
        beta: as for `dpo`.
        boost: the published `eta(area)`, computed by the caller from the region's share of the clip; 0 leaves beta as
            it is. (Only a secondary account of the paper was at hand, which names eta but not its form.)
        global_weight, sft_weight: of the other two terms; 0 leaves a term out. The account calls the last one
            essential.
    """
    _checks.not_negative("local_dpo", "global_weight", global_weight)
    _checks.not_negative("local_dpo", "sft_weight", sft_weight)
    local = dpo(win_region_gap, lose_region_gap, beta=jnp.asarray(beta) * (1.0 + jnp.asarray(boost)))
    return local + global_weight * dpo(win_gap, lose_gap, beta=beta) + sft_weight * sft(win_error)


def _apply(spec: Any, measured: Any, batch: Any, beta: Any) -> Array:
    win_parts, lose_parts = measured.part_gaps("local_dpo")
    masks = batch["masks"]
    if masks.shape[1] != 1:
        raise ValueError(f"local_dpo: expected one mask per pair, found {masks.shape[1]}")
    # A mask may be smaller than the clip where it is constant: its mean is the region's share all the same.
    share = jnp.mean(masks.astype(jnp.float32), tuple(range(1, masks.ndim)))
    n = lambda x: x[:, None]
    loss = local_dpo(
        win_parts,
        lose_parts[..., 0],
        n(measured.win_gap),
        measured.lose_gap,
        n(measured.policy.win),
        beta=n(beta),
        boost=n(spec.boost * (1.0 - share)),
        sft_weight=spec.anchor,
    )
    return jnp.mean(loss, -1)


METHOD = Method(_apply, needs_masks=True, reads=("anchor", "boost"))
