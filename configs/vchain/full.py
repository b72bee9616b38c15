"""Eight bases trained from scratch, registered claims (experiments/vchain/claims.json).

Command:        python -m experiments.vchain --full
Expected time:  about an hour on one core; `--only K ...` measures some of the bases, one process a core.
"""

from experiments.vchain.config import VChain


def config() -> VChain:
    """The config of the run."""
    return VChain(name="vchain_full", bases=tuple(range(10, 18)))
