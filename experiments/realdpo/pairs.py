"""What an arm trains on: real clips, base samples beside them, and the null models of both."""

import dataclasses

import numpy as np

from experiments.realdpo import inputs, network
from experiments.realdpo.arms import Regime
from experiments.realdpo.config import RealDPO
from vrjax.study.tables import Tables
from vrjax.tasks.discs import physics, verifier
from vrjax.tasks.discs.physics import Clips


@dataclasses.dataclass(frozen=True)
class Material:
    """Of one base.

    Attributes:
        real: its real clips, one disc only: two discs are the held-out family.
        samples: (reals, losers, frames, bodies, 2) what the base makes of their first frames.
        valid: (reals, losers) the verifier's judgement of the samples.
        seed: of the nulls' choices.
    """

    real: Clips
    samples: np.ndarray
    valid: np.ndarray
    seed: int


def material(study: RealDPO, params, sampler: network.Sampler) -> list[Material]:
    """Real clips and base samples for every base."""
    reals = [physics.make("bounce", study.reals, split="real", seed=seed) for seed in study.seeds]
    samples = sampler(params, reals, study.losers, (study.first + 500,))
    judged = [verifier.judge(clips, found).valid() for clips, found in zip(reals, samples, strict=True)]
    return [Material(*one) for one in zip(reals, samples, judged, study.seeds, strict=True)]


def rows(arm: Regime, own: Material) -> Tables:
    """The training rows of an arm for one base; with losers `lose` and `weight`, the share of losers that count (for a
    sum over losers: their number).

    Raises:
        ValueError: there is nothing to train on (no valid sample, or no invalid one).
    """
    take = np.arange(arm.reals or len(own.real))
    real, samples, valid = own.real.take(take), own.samples[take], own.valid[take]
    rng = np.random.default_rng([4, own.seed])
    out = network.rows(real)
    if arm.method == "sft" and arm.data in ("own", "same"):
        place = np.argwhere(valid)
        if not len(place):
            raise ValueError(
                f"arm {arm.name!r}: no base sample of base {own.seed} is valid, there is nothing to train on"
            )
        clip, which = place.T
        same = {k: v[clip] for k, v in out.items()}
        return same if arm.data == "same" else same | {"latent": inputs.latents(samples[clip, which])}
    if arm.method in ("sft", "grpo"):
        return out
    weight = np.ones(len(real), np.float32)
    order = np.broadcast_to(np.arange(samples.shape[1]), valid.shape)
    if arm.data == "invalid":
        order = np.argsort(valid, 1, kind="stable")  # invalid ones first, else in the order they were made
        kept = ~np.take_along_axis(valid, order, 1)[:, : arm.losers]
        weight = kept.mean(1).astype(np.float32)
        if not weight.any():
            raise ValueError(f"arm {arm.name!r}: every base sample of base {own.seed} is valid, nothing can lose")
    order = order[:, : arm.losers]
    lose = inputs.latents(np.take_along_axis(samples, order[..., None, None, None], 1).reshape(-1, *samples.shape[2:]))
    lose = lose.reshape(len(real), arm.losers, *lose.shape[1:])
    if arm.data == "other":
        shift = 1 + rng.integers(len(real) - 1, size=(len(real), arm.losers))
        lose = out["latent"][(np.arange(len(real))[:, None] + shift) % len(real)]
    if arm.data == "flipped":
        swap = (rng.random(len(real)) < 0.5)[:, None, None, None, None]
        out["latent"], lose = (
            np.where(swap, lose[:, 0], out["latent"]),
            np.concatenate([np.where(swap, out["latent"], lose[:, 0])[:, None], lose[:, 1:]], 1),
        )
    if arm.summed:
        weight = weight * arm.losers  # the library's loss is the mean over losers
    return out | {"lose": lose, "weight": weight}
