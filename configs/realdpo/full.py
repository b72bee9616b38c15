"""Every arm on five bases.

Command:        python -m experiments.realdpo --full
Expected time:  25 minutes of one core.
"""

from experiments.realdpo.config import RealDPO


def config() -> RealDPO:
    """The config of the run."""
    return RealDPO(name="realdpo_full")
