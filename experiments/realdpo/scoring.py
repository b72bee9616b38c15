"""Scores of a model on fixed conditions and noises."""

import dataclasses
from typing import Any

import numpy as np

from experiments.realdpo.config import RealDPO
from experiments.realdpo.network import Sampler
from vrjax.study.tables import Tables
from vrjax.tasks.discs import physics, verifier
from vrjax.tasks.discs.physics import Clips


@dataclasses.dataclass(frozen=True)
class Exam:
    """Conditions that models are judged on, the same for all bases and arms.

    Attributes:
        clips: by family.
        seed: of the initial noises.
    """

    clips: dict[str, Clips]
    seed: int


def exam(study: RealDPO) -> Exam:
    """The study's own conditions: one disc, and two discs as the held-out family of motions."""
    made = {f: physics.make(f, study.conditions, split=study.split, seed=0) for f in physics.FAMILIES}
    return Exam(made, seed=1)


def look(study: RealDPO) -> Exam:
    """Validation conditions for SFT's best point: one disc, no test condition among them."""
    return Exam({"bounce": physics.make("bounce", study.look_conditions, split="val", seed=1)}, seed=2)


def score(study: RealDPO, sampler: Sampler, params: Any, what: Exam) -> Tables:
    """{"<family>/<measure>": (bases, conditions, noises)} of every measure of `verifier.Verdict`, float32."""
    out: Tables = {}
    for family, clips in what.clips.items():
        noises = study.noises if family == "bounce" else study.held_noises
        paths = sampler(params, [clips] * study.bases, noises, what.seed)
        judged = [verifier.judge(clips, path) for path in paths]
        for name in verifier.Verdict._fields:
            out[f"{family}/{name}"] = np.stack([getattr(v, name) for v in judged]).astype(np.float32)
    return out


def valid(table: Tables, family: str = "bounce", tolerance: float | None = None) -> np.ndarray:
    """(bases, conditions, noises) of 0 and 1: which samples are true clips. The primary measure, on one disc.

    Two discs are judged with twice the tolerance: a contact multiplies small errors, and the bases (on the validation
    split) hardly ever come nearer.
    """
    if tolerance is None:
        tolerance = verifier.TOLERANCE if family == "bounce" else verifier.LOOSE
    return (table[f"{family}/error"] < tolerance).astype(np.float64)
