"""Every shipped training seed, and the causal control.

Command:        python -m experiments.chain_of_steps --full
Expected time:  about an hour on two cores.

Numbers are per training seed, such that every ensemble comparison has at least 1,800 pairs in all.
"""

from experiments.chain_of_steps.config import ChainOfSteps


def config() -> ChainOfSteps:
    """The config of the run."""
    return ChainOfSteps(
        name="chain_of_steps_full",
        models=("worlds", "worlds-1", "worlds-2", "worlds-3", "worlds-4"),
        causal="worlds-causal",
        readouts=16,
        readouts_maze=40,
        disturbed=12,
        disturbed_every=1,
        transplants=16,
        probes=24,
        swaps=20,
        ablations=32,
        ensembles=120,
        mid=(2, 4),
    )
