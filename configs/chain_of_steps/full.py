"""The registered study: eight training seeds of each specialist, and two of the frame-causal control.

Command:        python -m experiments.chain_of_steps --full
                (one process a core: add --only 0 2 4 6, and --only 1 3 5 7; then the command without it)
Expected time:  300 core minutes of training and about 80 of measuring the primaries (the bill in claims.json, a loaded
                machine's); what explores comes on top.

Sizes and windows are those of `experiments/chain_of_steps/registered.md`, fixed on pilot seeds and validation clips.
"""

from experiments.chain_of_steps.config import ChainOfSteps


def config() -> ChainOfSteps:
    """The config of the run."""
    return ChainOfSteps(
        name="chain_of_steps_full",
        training=tuple(range(8)),
        causal=(0, 1),
        trajectories=48,
        paths=120,
        memory=96,
        edited=(10, 6, 15),
        disturbed=120,
        swapped=48,
        ensembles=120,
        explored=48,
        explored_swaps=16,
        attributed=20,
    )
