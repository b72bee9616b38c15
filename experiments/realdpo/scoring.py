"""Scores of a model on fixed conditions and noises."""

import dataclasses
from typing import Any

import numpy as np

from experiments.realdpo.config import RealDPO
from experiments.realdpo.network import Sampler
from vrjax.study.tables import Tables
from vrjax.tasks.discs import physics, verifier
from vrjax.tasks.discs.physics import Clips
from vrjax.tasks.discs.verifier import Verdict


@dataclasses.dataclass(frozen=True)
class Exam:
    """Conditions that models are judged on, the same for all arms of a base.

    Attributes:
        clips: by family, those of each base.
        seed: of the initial noises.
    """

    clips: dict[str, list[Clips]]
    seed: tuple[int, ...]


def exam(study: RealDPO) -> Exam:
    """The study's own conditions: one disc, and two discs as the held-out family of motions. No two bases share one."""
    made = lambda family, seed: physics.make(family, study.conditions, split=study.split, seed=seed)
    return Exam({f: [made(f, seed) for seed in study.seeds] for f in physics.FAMILIES}, (1, study.first))


def look(study: RealDPO) -> Exam:
    """Validation conditions for SFT's best point and for curves: one disc, no test condition among them."""
    made = [physics.make("bounce", study.look_conditions, split="val", seed=seed) for seed in study.seeds]
    return Exam({"bounce": made}, (2, study.first))


def score(study: RealDPO, sampler: Sampler, params: Any, what: Exam, *, shown: int = 0) -> Tables:
    """Scores of all bases by name, no more than claims and tables need.

    Args:
        study, sampler, params: of the bases.
        what: the conditions.
        shown: of so many conditions of one disc also "paths", the first noise's positions (bases, shown, frames,
            bodies, 2) in half precision, to look at.

    "<family>/error" is that of every sample, (bases, conditions, noises), in half precision (three digits);
    "<family>/motion" the mean of a condition's samples, (bases, conditions); `rmse`, `gravity`, `gain`, and the shares
    of samples `below` the floor and `frozen` somewhere are means over all samples, (bases,).
    """
    out: Tables = {}
    for family, clips in what.clips.items():
        noises = study.noises if family == "bounce" else study.held_noises
        paths = sampler(params, clips, noises, what.seed)
        for name, values in _reduced([verifier.judge(c, p) for c, p in zip(clips, paths, strict=True)]).items():
            out[f"{family}/{name}"] = values
        if shown and family == "bounce":
            out["paths"] = np.asarray(paths)[:, :shown, 0].astype(np.float16)
    return out


def _reduced(judged: list[Verdict]) -> Tables:
    whole = Verdict(*(np.stack(values) for values in zip(*judged, strict=True)))
    over = (1, 2)
    flights = np.isfinite(whole.gravity)
    gravity = np.where(flights, whole.gravity, 0.0).sum(over) / np.maximum(flights.sum(over), 1)
    means = {
        "rmse": whole.rmse.mean(over),
        "gravity": np.where(flights.any(over), gravity, np.nan),
        "gain": whole.gain.mean(over),
        "below": (whole.below > 0).mean(over),
        "frozen": (whole.frozen > 0).mean(over),
        "motion": whole.motion.mean(2),
    }
    return {"error": whole.error.astype(np.float16)} | {k: v.astype(np.float32) for k, v in means.items()}


def valid(table: Tables, family: str = "bounce", tolerance: float | None = None) -> np.ndarray:
    """(bases, conditions, noises) of 0 and 1: which samples are true clips. The primary measure, on one disc.

    Two discs are judged with twice the tolerance: a contact multiplies small errors, and the bases (on the validation
    split) hardly ever come nearer.
    """
    if tolerance is None:
        tolerance = verifier.TOLERANCE if family == "bounce" else verifier.LOOSE
    return (table[f"{family}/error"].astype(np.float64) < tolerance).astype(np.float64)
