"""Sizes of the BabyVision study; the values lie in `configs/babyvision`.

What was chosen was chosen on validation items and pilot seeds (`tuning.md`), before a test item was drawn.
"""

import dataclasses
from typing import ClassVar

from experiments.babyvision import names
from vrjax.study.sizes import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Skill:
    """One subtype and how it is learned.

    Attributes:
        task: `draw_...`.
        updates: of its specialist.
        seeds: of the study's training seeds, how many it is measured on; the first ones.
    """

    task: str
    updates: int
    seeds: int = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trainings:
    """Of a seed's specialists."""

    recipe: str = "specialist"
    """The file of `configs/babyvision` that says how a specialist is trained."""
    batch: int | None = None
    """In the place of the recipe's."""
    extra: int = 200
    """Updates of each training that goes on from a specialist, or of a skill from another one's weights."""
    lr: float = 3e-4
    """Of those that go on with the same skill."""
    beta: float = 100.0
    """Of the preferences: right drawings against the specialist's own."""
    closest: float = 1e-3
    """A drawing nearer than this to the right one (mean squared difference) is no loser."""

    def __post_init__(self):
        if not min(self.lr, self.beta) > 0:
            raise ValueError(f"babyvision: lr={self.lr}, beta={self.beta}, expected numbers above 0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawings:
    """Of what a model draws."""

    items: int = 128
    """Of each difficulty."""
    draws: int = 4
    """Of each item, from noises of their own."""
    steps: int = 8
    """Denoising steps."""
    shift: float = 3.0
    """Of their levels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heads:
    """Of heads that answer without drawing, on what a network has made of the question."""

    seen: int = 2000
    """Items of the training split that a head is fitted on."""
    block: int = 3
    """After which block of the network it reads, 0 the first."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BabyVision(Study):
    """What is measured, and how much."""

    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = ("seed", "transfers", "taught")

    seeds: tuple[int, ...]
    """Training seeds."""
    skills: tuple[Skill, ...]
    """The first is the primary claim's."""
    transfers: tuple[tuple[str, str], ...] = ()
    """Pairs of skills: what is learned of the second one by going on from the first."""
    taught: tuple[str, ...] = ()
    """Skills that are gone on with, as before and by preferences."""
    parts: tuple[str, ...] = names.PARTS
    """Which of them are measured."""
    trainings: Trainings = Trainings()
    drawings: Drawings = Drawings()
    heads: Heads = Heads()
    known: int = 1000
    """Items of the training split that trivial solvers see."""
    resamples: int = 10_000
    group: int = 16
    """Items in one call of a compiled program."""
    seed: int = 0
    """Of noise."""

    def __post_init__(self):
        super().__post_init__()
        tasks = [skill.task for skill in self.skills]
        if len(set(self.seeds)) < len(self.seeds) or len(set(tasks)) < len(tasks):
            raise ValueError(f"babyvision: seeds {self.seeds}, skills {', '.join(tasks)}: expected each once")
        if strange := [name for name in self.parts if name not in names.PARTS]:
            raise ValueError(f"babyvision: parts: found {strange[0]!r}, expected some of {', '.join(names.PARTS)}")
        if strange := [one for pair in (*self.transfers, self.taught) for one in pair if one not in tasks]:
            raise ValueError(
                f"babyvision: {strange[0]!r} is no skill of this study, expected one of {', '.join(tasks)}"
            )
        if any(not 1 <= skill.seeds <= len(self.seeds) or skill.updates < 1 for skill in self.skills):
            raise ValueError(f"babyvision: skills: expected 1 to {len(self.seeds)} seeds and at least 1 update of each")

    def skill(self, task: str) -> Skill:
        """The skill of a task."""
        return next(skill for skill in self.skills if skill.task == task)

    def of(self, seed: int) -> tuple[Skill, ...]:
        """The skills that a seed learns."""
        return tuple(skill for skill in self.skills if seed in self.seeds[: skill.seeds])
