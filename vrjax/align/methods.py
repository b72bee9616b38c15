"""From a config to a loss: what each method of `vrjax.align.losses` takes from the measured errors of a batch."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from vrjax.align import losses
from vrjax.align.config import Preference
from vrjax.align.errors import Measured

Batch = dict[str, Any]


def needs_losers(spec: Preference) -> bool:
    """Whether the method looks at losers at all."""
    return spec.loss != "sft"


def needs_reference(spec: Preference) -> bool:
    """Whether the method compares with a reference."""
    return spec.loss not in ("sft", "reference_free")


def pair_losses(spec: Preference, measured: Measured, batch: Batch) -> Float[Array, " b"]:
    """The loss of every pair of a batch, mean over its losers.

    Args:
      spec: which loss, and its numbers.
      measured: errors of policy and reference, (b,) and (b, losers); with parts for local_dpo (one) and dense_dpo.
      batch: for dense_dpo `label` (b, parts), for local_dpo `masks` (b, 1, ...).

    Raises:
      ValueError: the batch lacks what the method needs.
    """
    policy = measured.policy
    win, lose = measured.win_gap, measured.lose_gap
    beta = losses.beta_at(measured.sigma, spec.beta, weighting=spec.weighting)
    each = losses.over_losers
    match spec.loss:
        case "sft":
            return losses.sft(policy.win)
        case "dpo":
            return each(losses.dpo, win, lose, beta=beta)
        case "ipo":
            return each(losses.ipo, win, lose, beta=beta)
        case "hinge":
            return each(losses.hinge, win, lose, beta=beta)
        case "smoothed":
            return each(losses.smoothed, win, lose, beta=beta, flipped=spec.flipped)
        case "robust":
            return each(losses.robust, win, lose, beta=beta, flipped=spec.flipped)
        case "dpop":
            return each(losses.dpop, win, lose, beta=beta, weight=spec.anchor)
        case "reg_dpo":
            return each(_reg_dpo, win, lose, win_error=policy.win, beta=beta, weight=spec.anchor)
        case "reference_free":
            return each(losses.reference_free, policy.win, policy.lose, beta=beta, margin=spec.margin)
        case "kto":
            # Every clip counts for itself: the winner as wanted, its losers as unwanted.
            baseline = losses.kto_baseline(jnp.concatenate([win[:, None], lose], 1))
            wanted = losses.kto(win, 1, beta=beta, baseline=baseline, utility=spec.utility)
            unwanted = losses.kto(lose, -1, beta=beta[:, None], baseline=baseline, utility=spec.utility)
            return 0.5 * (wanted + jnp.mean(unwanted, -1))
        case "local_dpo":
            return _local(spec, measured, beta, batch)
        case "dense_dpo":
            win_parts, lose_parts = _parts(spec, measured)
            if "label" not in batch:
                raise ValueError("dense_dpo: the batch has no 'label' (b, parts) with the verdict on each segment")
            loss = losses.dense_dpo(win_parts, lose_parts[:, 0], batch["label"], beta=beta[:, None])
            return jnp.sum(loss, -1)
    raise ValueError(f"unknown preference loss {spec.loss!r}")


def _reg_dpo(win: Any, lose: Any, *, win_error: Any, beta: Any, weight: Any) -> Array:
    return losses.reg_dpo(win, lose, win_error, beta=beta, weight=weight)


def _local(spec: Preference, measured: Measured, beta: Array, batch: Batch) -> Array:
    win_parts, lose_parts = _parts(spec, measured)
    masks = batch["masks"]
    if masks.shape[1] != 1:
        raise ValueError(f"local_dpo: expected one mask per pair, found {masks.shape[1]}")
    # A mask may be smaller than the clip where it is constant: its mean is the region's share all the same.
    share = jnp.mean(masks.astype(jnp.float32), tuple(range(1, masks.ndim)))
    n = lambda x: x[:, None]
    loss = losses.local_dpo(
        n(win_parts[:, 0]),
        lose_parts[..., 0],
        n(measured.win_gap),
        measured.lose_gap,
        n(measured.policy.win),
        beta=n(beta),
        boost=n(spec.boost * (1.0 - share)),
        sft_weight=spec.anchor,
    )
    return jnp.mean(loss, -1)


def _parts(spec: Preference, measured: Measured) -> tuple[Array, Array]:
    """Gaps of the parts: (b, parts) of winners, (b, losers, parts) of losers."""
    policy, reference = measured.policy, measured.reference
    if policy.win_parts is None or policy.lose_parts is None:
        raise ValueError(f"{spec.loss}: the batch has no 'masks' (b, parts, ...)")
    return policy.win_parts - reference.win_parts, policy.lose_parts - reference.lose_parts
