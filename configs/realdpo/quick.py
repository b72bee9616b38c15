"""A few arms on two bases. Intervals are wide: it shows, it does not prove.

Command:        python -m experiments.realdpo
Expected time:  five minutes on two cores.
"""

from experiments.realdpo.config import RealDPO


def config() -> RealDPO:
    """The config of the run."""
    return RealDPO(
        name="realdpo",
        quick=True,
        bases=2,
        base_steps=1200,
        conditions=50,
        noises=2,
        looks=4,
        look_conditions=25,
        arms=("SFT", "RealDPO", "RealDPO + SFT anchor", "null: RealDPO, coin-flipped pairs"),
    )
