"""Sizes and hyperparameters of the study, fixed before the test split was sampled; the values lie in `configs/realdpo`.

Everything in `Tuned` was chosen on the validation split: its own bases, its own real clips, its own test conditions.
"""

import dataclasses
import math
from typing import ClassVar

from vrjax.study.sizes import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuned:
    """Chosen on the validation split."""

    sft_lr: float = 3e-4
    """SFT, and SFT on filtered base samples."""
    dpo_lr: float = 3e-5
    """DPO and its relatives without an anchor."""
    beta: float = 30.0
    """DPO and its relatives."""
    high: float = 1.0
    """Largest noise level of all preference arms but the "cleaner half" ones."""
    anchored_lr: float = 3e-4
    """Reg-DPO."""
    anchored_beta: float = 3.0
    """Reg-DPO."""
    anchor: float = 1.0
    """Reg-DPO: weight of the winner's own error."""
    dpop_lr: float = 1e-4
    """DPOP."""
    dpop_beta: float = 10.0
    """DPOP."""
    penalty: float = 3.0
    """DPOP: weight of max(0, win gap)."""
    kto_lr: float = 3e-4
    """KTO."""
    kto_beta: float = 3.0
    """KTO; without DPO's factor one half."""
    free_lr: float = 1e-5
    """Reference-free."""
    free_beta: float = 10.0
    """Reference-free."""
    grpo_lr: float = 1e-4
    """GRPO."""
    released_lr: float = 3e-5
    """The released recipe, whose own 1e-6 is for a model of 5 billion weights."""
    follow: float = 0.1
    """The moving references: how much of the way to the policy each move goes."""
    follow_every: float = 10
    """Updates between these moves."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RealDPO(Study):
    """One run of the study."""

    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = ("first", "warmup", "arms")

    split: str = "test"
    """Split of the conditions that arms are judged on: "test", or "val" while tuning."""
    first: int = 10
    """Seed of the first base; those of the validation split begin at 1000, and 0 to 4 were the first run's."""
    bases: int = 8
    """Independently trained bases, each with its own training clips, real clips, test conditions and noises."""
    dim: int = 64
    layers: int = 3
    heads: int = 4
    base_steps: int = 1500
    """Updates of a base; every third on two discs."""
    base_batch: int = 48
    base_clips: int = 16384
    """Clips per family and base."""
    broken: float = 0.5
    """Share of a base's training clips that break physics."""
    base_lr: float = 3e-3
    reals: int = 64
    """Real clips of one disc that post-training has, per base."""
    losers: int = 3
    """Base samples per real clip."""
    batch: int = 16
    """Pairs (or clips) per post-training update."""
    steps: int = 200
    """Updates of an arm with one loser and a live reference; its bill is the budget of all others."""
    released_steps: int = 400
    """Updates of the released recipe, whose warm-up alone is 100."""
    grpo_steps: int = 160
    """Updates of GRPO: as many as it takes to learn, at a bill of its own."""
    warmup: int = 20
    decay: float = 1e-4
    """Weight decay, as released."""
    sampler_steps: int = 10
    """Euler steps, for losers, scoring and GRPO alike."""
    shift: float = 1.0
    conditions: int = 200
    """Test conditions per family and base: no two bases share one."""
    noises: int = 4
    """Samples per condition of one disc; the same initial noises for all arms of a base."""
    held_noises: int = 2
    """Samples per condition of two discs, the held-out family."""
    looks: int = 8
    """Snapshots of SFT, and of GRPO, at which the best validation point is sought."""
    look_conditions: int = 100
    """Validation conditions for that."""
    group: int = 8
    """GRPO: samples per prompt."""
    prompts: int = 8
    """GRPO: prompts per update."""
    resamples: int = 4000
    arms: tuple[str, ...] = ()
    """Names of the arms to run; all by default."""
    tuned: Tuned = Tuned()

    def __post_init__(self):
        super().__post_init__()
        for name, value in dataclasses.asdict(self.tuned).items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"realdpo: tuned.{name} must be positive and finite, found {value}")
        if self.split not in ("test", "val"):
            raise ValueError(f"realdpo: split must be 'test' or 'val', found {self.split!r}")

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the bases."""
        return tuple(self.first + i for i in range(self.bases))

    def of(self, seed: int) -> "RealDPO":
        """The same study of one base alone."""
        return dataclasses.replace(self, first=seed, bases=1)

    def shape(self) -> "RealDPO":
        """The study without what no compiled program depends on: equal shapes share programs within a process."""
        return dataclasses.replace(self, name="", quick=False, split="test", first=0, arms=(), tuned=Tuned())
