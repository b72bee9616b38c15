"""Every arm on eight bases.

Command:        python -m experiments.realdpo --full
Expected time:  about 40 minutes of one core, base by base (`--only 0 2 4 6` and `--only 1 3 5 7` on two cores).
"""

from experiments.realdpo.config import RealDPO


def config() -> RealDPO:
    """The config of the run."""
    return RealDPO(name="realdpo_full")
