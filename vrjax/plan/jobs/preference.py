"""The update of a preference run, with the sampling of its losers where it has any."""

from jax.sharding import Mesh

from vrjax.align import losses, ready, step
from vrjax.align.config import AlignConfig
from vrjax.plan.jobs import Job, Latent, training
from vrjax.plan.jobs.training import estimate, examples, latent

__all__ = ["Config", "estimate", "examples", "forwards", "job", "latent", "wanting"]

Config, wanting = AlignConfig, ready.wanting


def job(config: AlignConfig, mesh: Mesh, latent: Latent) -> Job:
    """The update; operations are those of `forwards`."""
    spec = config.preference
    kind = f"preference, {spec.loss}, {spec.losers} losers, reference {config.reference.kind}"
    return training.update(config, mesh, latent, step.abstract, kind=kind, forwards=forwards(config))


def forwards(config: AlignConfig) -> float | int:
    """The cost of one pair in forward passes; a backward pass counts as two.

    It is 3 for every clip that the policy learns from, 1 for every clip that the reference is asked for, and those of
    the sampler.
    """
    method = losses.METHODS[config.preference.loss]
    asked = method.needs_reference and config.reference.kind not in ("precomputed", "none")
    cost = (3 + asked) * config.clips
    if method.needs_losers and config.rollout.source != "stored":
        spec = config.rollout
        sampled = spec.candidates or config.preference.losers
        cost += sampled * spec.steps * (1 if spec.guidance == 1.0 else 2)
    return cost
