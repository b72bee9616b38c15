"""Demystifying Video Reasoning (Chain-of-Steps, arXiv 2603.16870) on embedded specialists: what is measured, how much.

The values lie in `configs/chain_of_steps/quick.py`, `full.py` and `pilot.py`. All run the same code and the same
statistics; they differ in who is measured and on how many instances. What is claimed, and what the ensemble's dose is
chosen among, was fixed in `claims.json` before any test instance was sampled.
"""

import dataclasses
from typing import ClassVar

from vrjax.study.sizes import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChainOfSteps(Study):
    """Sizes of the study. Numbers of instances are those of one training seed."""

    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = (
        "training",
        "causal",
        "skipped",
        "explored",
        "explored_swaps",
        "attributed",
    )

    training: tuple[int, ...] = ()
    """Training seeds. Seed k is the pair reasoner-k and entrant-k, trained where it is not; none: the shipped pair."""
    causal: tuple[int, ...] = ()
    """Training seeds of the frame-causal reasoners, a control."""
    split: str = "test"
    """Which layouts."""
    block: int = 400
    """Clips kept for each training seed: seed number i of `training` has those from i * block on, so that no two seeds
    share an instance."""
    skipped: int = 0
    """Blocks that are left out at first."""
    steps: int = 20
    """Sampler steps (Euler) of readouts and of the entrant."""
    shift: float = 3.0
    """Shift of the sampling grid, as in training."""
    few_steps: int = 8
    """Sampler steps of swaps and ensembles."""
    disturbed_steps: int = 12
    """Sampler steps of disturbed runs."""
    noises: int = 3
    """Initial noises per instance, and members of an ensemble."""
    trajectories: int
    """Instances of each world whose steps are read out."""
    paths: int
    """Mazes of which every estimate is read against all paths."""
    beliefs: int = 48
    """Validation mazes on which each seed's believer is calibrated."""
    memory: int
    """Clips of the entrant with edited frames."""
    edited: tuple[int, ...] = (10,)
    """Steps at which they are edited; the claim's is the first (sigma .75)."""
    disturbed: int
    """Mazes with several goals that are disturbed."""
    swapped: int
    """Pairs of mazes whose goals' tokens are swapped."""
    ensembles: int
    """Mazes of the ensemble's arms."""
    chosen: int = 96
    """Validation mazes on which the ensemble's dose is chosen."""
    explored: int = 0
    """Instances of every part of the exploratory list; none: it is left out."""
    explored_swaps: int = 0
    """Pairs of mazes that are swapped at every dose."""
    attributed: int = 0
    """Clips of each of two worlds whose runs are attributed; none: it is left out."""
    ablated: int = 11
    """Tokens of each step and block that are ablated on each of them."""
    timed: int = 9
    """Pairs of sampling a clip and attributing it whose cost is compared."""
    shown: int = 2
    """Clips of each world to look at, of the first seed."""
    resamples: int = 10_000
    """Bootstrap draws."""
    group: int = 8
    """Instances in one call of a compiled program."""

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = ("trajectories", "paths", "memory", "disturbed", "swapped", "ensembles")
        for name in (*sizes, "explored", "explored_swaps", "attributed"):
            if (size := getattr(self, name)) > self.block:
                raise ValueError(f"{self.name}: {name} is {size}, but a seed has a block of {self.block} clips")
