"""The update of a flow-matching run of all weights, or of adapters; what every kind of training has in common."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from jax.sharding import Mesh

from vrjax.models import family
from vrjax.plan import shapes
from vrjax.plan.jobs import Estimate, Job, Latent
from vrjax.plan.topology import Chip
from vrjax.train import step
from vrjax.train.config import TrainConfig

Config = TrainConfig

KEPT = {"full": (1, 0), "attention": (3, 0), "dots_no_batch": (10, 2), "dots": (12, 2), "none": (30, 5)}
"""Arrays of the stream's and of the inner width that a block keeps for its backward pass, by what it recomputes."""

AGAIN = {"full": (1, 1), "attention": (1, 0), "dots_no_batch": (0, 1), "dots": (0, 1), "none": (0, 0)}
"""How often the backward pass repeats the forward pass of everything but attention, and of attention."""


def latent(config: TrainConfig) -> Latent:
    """That of the procedural tasks, or motions, that the config trains on."""
    from vrjax import tasks
    from vrjax.models.embedded import conditions

    if config.data.motions is not None:
        return config.data.motions.latent
    clip = tasks.get(sorted(config.data.mix)[0]).make(0, split=config.data.split)
    return conditions.encode(clip, config.data.codec_factor).shape


def examples(config: TrainConfig) -> int:
    """Clips, or pairs, of a micro-batch."""
    return config.data.batch // config.accumulate


def wanting(config: TrainConfig) -> list[str]:
    """See `vrjax.train.ready`."""
    from vrjax.train import ready

    return ready.wanting(config)


def job(config: TrainConfig, mesh: Mesh, latent: Latent) -> Job:
    """The update; operations are three times those of a forward pass."""
    return update(config, mesh, latent, step.abstract, kind="flow matching", forwards=3.0)


def update(config: Any, mesh: Mesh, latent: Latent, abstract: Any, *, kind: str, forwards: float | int) -> Job:
    """The job of an update.

    Args:
        config, mesh, latent: see `Kind`.
        abstract: `abstract(config, mesh, latent) -> update, (state, base, batch, key)`, as `vrjax.train.step`'s.
        kind: what it is, for people.
        forwards: cost of one example, in forward passes of one clip.
    """
    config = dataclasses.replace(config, dtype="bfloat16") if config.dtype == "auto" else config
    of, lora = family.of(config.model), config.lora
    run, (state, base, batch, key) = abstract(config, mesh, latent)
    parts = {
        "parameters": base if lora else state.params,
        "adapters": state.params if lora else (),
        "reference": getattr(state, "reference", ()),
        "moving average": state.ema,
        "optimiser": state.optimizer,
        "batch": (batch, key, state.step),
    }
    work = forwards * of.flops(config.model, latent) * config.data.batch
    kind += ", all weights" if lora is None else f", LoRA of rank {lora.rank}"
    return Job(kind, lambda: run.lower(state, base, batch, key), parts, work, of.tokens(config.model, latent))


def estimate(config: TrainConfig, mesh: Mapping[str, int], chip: Chip, latent: Latent) -> Estimate:
    """Crude: what is kept, computed, gathered and exchanged, from shapes alone."""
    model, of = config.model, family.of(config.model)
    needs, tokens, (count, _) = of.needs(model, latent), of.tokens(model, latent), shapes.weights(model)
    remat = getattr(model, "remat", "none")
    split, tensor = shapes.ways(config, mesh, "embed", "mlp"), shapes.ways(config, mesh, "heads")
    context = shapes.ways(config, mesh, "tokens")
    examples = config.data.batch / config.accumulate / shapes.ways(config, mesh, "batch")
    here = tokens / context * examples * config.clips  # tokens of a micro-batch on a chip

    copies = 2 + (2 if config.optim.kind == "adamw" else 1)  # weights, average, moments
    state = 4 * count / split * ((2 if config.lora else copies) + 1 + (config.accumulate > 1))
    kept = KEPT[remat][0] * needs.dim + KEPT[remat][1] * needs.inner / tensor
    gathered = 2 * 2 * count / needs.layers / tensor
    live = here * (2 * 2 * needs.inner + 4 * 8 * needs.dim)  # one block, some of it in full precision
    memory = state + 2 * kept * here * needs.layers + live + gathered

    attention = 4.0 * tokens * tokens * needs.dim * needs.layers
    rest = of.flops(model, latent) - attention
    work = (3 + AGAIN[remat][0]) * rest + (4.5 + AGAIN[remat][1]) * attention
    compute = work * config.data.batch * config.clips / math.prod(mesh.values()) / chip.flops
    weights = 2 * count / tensor * (3 * config.accumulate + 2) * (1 - 1 / max(1, split // tensor))
    exchanged = (12 if context > 1 else 0) + (24 if tensor > 1 else 0)
    exchange = 2 * here * needs.dim * needs.layers * config.accumulate * exchanged
    return Estimate(memory, compute + (weights + exchange) / chip.ici_bandwidth)
