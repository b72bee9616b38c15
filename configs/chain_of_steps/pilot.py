"""The same on two pilot seeds, which no claim uses, and on validation clips: what the registration was fixed with.

Command:        python -m experiments.chain_of_steps --pilot
Expected time:  about 15 minutes of one core, once the pilot specialists are trained.

Its clips are not those on which believers are calibrated and the ensemble's dose is chosen.
"""

from experiments.chain_of_steps.config import ChainOfSteps


def config() -> ChainOfSteps:
    """The config of the run."""
    return ChainOfSteps(
        name="chain_of_steps_pilot",
        quick=True,
        training=(100, 101),
        split="val",
        skipped=1,
        trajectories=16,
        paths=64,
        memory=64,
        disturbed=48,
        swapped=32,
        ensembles=64,
        chosen=48,
        explored=32,
        explored_swaps=12,
        attributed=20,
    )
