"""Five bases trained from scratch, powered comparisons.

Command:        python -m experiments.vchain --full
Expected time:  about 40 minutes on one core.
"""

from experiments.vchain.config import VChain


def config() -> VChain:
    """The config of the run."""
    return VChain(name="vchain_full", bases=(0, 1, 2, 3, 4))
