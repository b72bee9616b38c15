"""Demystifying Video Reasoning (Chain-of-Steps, arXiv 2603.16870) on the embedded worlds: what is measured, and how
much.

Command:        python -m experiments.chain_of_steps            (quick: the shipped model, minutes on two cores)
                python -m experiments.chain_of_steps --full     (powered: all shipped training seeds)

Both run the same code and the same statistics; they differ in how many instances, seeds and steps are looked at. The
statistics, margins and the ensemble's steps and blocks below were fixed before any test instance was sampled.
"""

import dataclasses
import math
import re

from vrjax.models.embedded import shipped


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChainOfSteps:
    """Sizes of the study. Instances are test clips, numbered from 0 (training seed k of the full study uses the k-th
    block of
    them, so that no two seeds share an instance)."""

    name: str
    """The run folder is runs/<name>."""
    models: tuple[str, ...]
    """Shipped models that are measured, one per training seed."""
    causal: str | None
    """Shipped model with causal attention, a control; None leaves it out."""
    split: str = "test"
    """Which layouts."""
    steps: int = 20
    """Sampler steps of the readouts (Euler)."""
    shift: float = 3.0
    """Shift of the sampling grid, as in training."""
    seeds: int = 3
    """Initial noises per instance, and members of an ensemble."""
    worlds: tuple[str, ...] = ("maze", "maze_goals", "tictactoe", "occluder", "ball", "pick")
    """Worlds whose steps are read out."""
    readouts: int = 8
    """Instances per world and training seed for the readouts."""
    readouts_maze: int = 24
    """The same for the unique maze, the main world."""
    disturbed: int = 8
    """Instances for the perturbation sweeps, on the two maze worlds."""
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

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value < 1:
                raise ValueError(f"chain_of_steps: {field.name} must be at least 1, found {value}")
        if not self.models:
            raise ValueError("chain_of_steps: models is empty, expected at least one")


def quick() -> ChainOfSteps:
    """The shipped model, in at most four minutes on two cores. Most intervals are wide: it shows, it does not prove."""
    return ChainOfSteps(name="chain_of_steps", models=("worlds",), causal=None)


def full() -> ChainOfSteps:
    """Every shipped training seed (worlds, worlds-1, ...), and the causal control where it is shipped.

    The number of instances per seed is such that every ensemble comparison has at least 1,800 pairs in all.
    """
    models = tuple(n for n in shipped.names() if re.fullmatch(r"worlds(-\d+)?", n))
    each = lambda total: math.ceil(total / len(models)) if models else total
    return ChainOfSteps(
        name="chain_of_steps_full",
        models=models,
        causal="worlds-causal" if "worlds-causal" in shipped.names() else None,
        readouts=each(80),
        readouts_maze=each(200),
        disturbed=each(60),
        disturbed_every=1,
        transplants=each(80),
        probes=each(120),
        swaps=each(100),
        ablations=each(160),
        ensembles=each(600),
        mid=(2, 4),
    )
