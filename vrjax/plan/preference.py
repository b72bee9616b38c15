"""What a preference update needs of a TPU slice: the kind of run that `vrjax.plan.slices` learns from this room."""

import dataclasses
from typing import Any

from jax.sharding import Mesh

from vrjax.align import methods, step
from vrjax.align.config import AlignConfig
from vrjax.models.wan import flops
from vrjax.plan import slices as plans


def preference(config: AlignConfig, mesh: Mesh, latent: plans.Latent | None) -> plans.Job:
    """The update of a preference run, with the sampling of its losers where it has any.

    Args:
      config, mesh: the run and where it would live.
      latent: (t, h, w, c) of one clip; by default that of the config's procedural worlds.

    Operations by the formula: 3 forwards for every clip that the policy learns from, 1 for every clip that the
    reference is asked for, and those of the sampler.
    """
    config = dataclasses.replace(config, dtype="bfloat16") if config.dtype == "auto" else config
    latent = plans.world_latent(config) if latent is None else latent
    update, (state, base, batch, key) = step.abstract(config, mesh, latent)
    parts: dict[str, Any] = {
        "parameters": base if config.lora else state.params,
        **({"adapters": state.params} if config.lora else {}),
        "reference": state.reference,
        "moving average": state.ema,
        "optimiser": state.optimizer,
        "batch": (batch, key, state.step),
    }
    tokens = plans.tokens(config.model, latent)
    forward = flops.forward(config.model, tokens, config.model.text_len) * config.data.batch
    spec = config.preference
    kind = f"preference, {spec.loss}, {spec.losers} losers, reference {config.reference.kind}"
    if config.lora:
        kind += f", LoRA of rank {config.lora.rank}"
    return plans.Job(kind, lambda: update.lower(state, base, batch, key), parts, forwards(config) * forward, tokens)


def forwards(config: AlignConfig) -> float | int:
    """The cost of one pair in forward passes; a backward pass counts as two."""
    clips = config.clips
    asked = methods.needs_reference(config.preference) and config.reference.kind not in ("precomputed", "none")
    cost = (3 + asked) * clips
    if methods.needs_losers(config.preference) and config.rollout.source != "stored":
        spec = config.rollout
        sampled = spec.candidates or config.preference.losers
        cost += sampled * spec.steps * (1 if spec.guidance == 1.0 else 2)
    return cost
