"""Demystifying Video Reasoning (Chain-of-Steps, arXiv 2603.16870) on the embedded tasks: what is measured, how much.

The values lie in `configs/chain_of_steps/quick.py` and `full.py`. Both run the same code and the same statistics; they
differ in how many instances, seeds and steps are looked at. The statistics, margins and the ensemble's steps and blocks
were fixed before any test instance was sampled.
"""

import dataclasses

from vrjax.study.command import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChainOfSteps(Study):
    """Sizes of the study. Instances are test clips, numbered from 0 (training seed k of the full study uses the k-th
    block of them, so that no two seeds share an instance)."""

    models: tuple[str, ...]
    """Shipped models that are measured, one per training seed."""
    causal: str | None = None
    """Shipped model with causal attention, a control; None leaves it out."""
    split: str = "test"
    """Which layouts."""
    steps: int = 20
    """Sampler steps of the readouts (Euler)."""
    shift: float = 3.0
    """Shift of the sampling grid, as in training."""
    seeds: int = 3
    """Initial noises per instance, and members of an ensemble."""
    tasks: tuple[str, ...] = ("maze", "maze_goals", "tictactoe", "occluder", "ball", "pick")
    """Tasks whose steps are read out."""
    readouts: int = 8
    """Instances per task and training seed for the readouts."""
    readouts_maze: int = 24
    """The same for the unique maze, the main task."""
    disturbed: int = 8
    """Instances for the perturbation sweeps, on the two maze tasks."""
    disturbed_steps: int = 12
    """Sampler steps of the perturbation sweeps."""
    disturbed_every: int = 2
    """Every how many steps noise is injected."""
    transplants: int = 16
    """Instances among which failing and succeeding seeds are looked for."""
    probes: int = 48
    """Instances for the linear probes."""
    swaps: int = 16
    """Pairs of prompts for latent swapping."""
    ablations: int = 16
    """Instances for skipping blocks."""
    layer_steps: int = 8
    """Sampler steps of swaps, ablations and probes."""
    ensembles: int = 8
    """Instances per training seed for the ensemble arms."""
    ensemble_steps: int = 8
    """Sampler steps of the ensemble arms."""
    early: tuple[int, ...] = (1, 3)
    """Lengths of the coupled windows at the start; the first is the claim's."""
    mid: tuple[int, ...] = (3,)
    """Steps at which states are re-noised or averaged."""
    resamples: int = 10_000
    """Bootstrap draws."""
    group: int = 8
    """Instances in one call of a compiled program."""
