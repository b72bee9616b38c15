"""The shipped specialists alone. Most intervals are wide: it shows, it does not prove.

Command:        python -m experiments.chain_of_steps
Expected time:  at most four minutes on two cores.
"""

from experiments.chain_of_steps.config import ChainOfSteps


def config() -> ChainOfSteps:
    """The config of the run."""
    return ChainOfSteps(
        name="chain_of_steps",
        quick=True,
        trajectories=16,
        paths=16,
        beliefs=16,
        memory=32,
        disturbed=8,
        swapped=8,
        ensembles=8,
        chosen=8,
    )
