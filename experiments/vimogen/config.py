"""Sizes of the ViMoGen study; the values lie in `configs/vimogen`.

What was tuned was tuned on pilot seeds and their own validation items (`tuning.md`); all of it was fixed before a test
item was sampled.
"""

import dataclasses
from typing import ClassVar

from vrjax.study.sizes import Study

SETS = ("S", "C", "V")  # order of items


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trainings:
    """Lengths of a seed's trainings, in updates."""

    teacher: int = 2400
    every: int = 2
    """One update in so many is of the branch that reads references."""
    lr: float = 4e-3
    wander: float = 0.5
    """Of what the branch of references is trained on: how much wanders at random, the rest being the set S."""
    short: int = 500
    """Of each training that goes on from the teacher."""
    short_lr: float = 1e-3
    batch: int = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gate:
    """When a film is trusted: less jitter than `jitter` (m/frame²) and a cosine of text and motion above `cosine`, both
    of the body that was lifted of it."""

    jitter: float = 0.05
    cosine: float = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViMoGen(Study):
    """What is measured, and how much."""

    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = ("seeds", "seed", "items_seed")

    seeds: tuple[int, ...]
    """Training seeds; each has test items of its own, which are numbered by its seed."""
    shipped: bool = False
    """Whether the shipped model is the teacher of seed 0, instead of one that is trained."""
    items: int = 100
    """Of each of the sets S, C and V."""
    items_seed: int = 20_000
    """Items of training seed k are those of `solved.items` with seed `items_seed + k`."""
    clips: int = 512
    """That the gated teacher makes for its student."""
    distilled: tuple[str, ...] = ("kick", "jumping_jack")
    """Verbs of V that prompts of distillation ask for; the others are the student's bound."""
    steps: int = 20
    guidance: float = 2.0
    trainings: Trainings = Trainings()
    gate: Gate = Gate()
    resamples: int = 10_000
    group: int = 32
    """Items in one call of a compiled program."""
    seed: int = 0
    """Of noises."""

    def __post_init__(self):
        super().__post_init__()
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"vimogen: seeds is {self.seeds}, expected each once")
        if self.shipped and self.seeds != (0,):
            raise ValueError(f"vimogen: the shipped teacher is of seed 0, found seeds {self.seeds}")
        if not 0 <= self.trainings.wander <= 1:
            raise ValueError(f"vimogen: trainings.wander is {self.trainings.wander}, expected 0 to 1")
