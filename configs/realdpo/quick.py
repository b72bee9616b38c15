"""A few arms on two bases: it shows, it does not prove. Numbers with their intervals, no verdicts.

Command:        python -m experiments.realdpo
Expected time:  five minutes on two cores.
"""

from experiments.realdpo.config import RealDPO


def config() -> RealDPO:
    """The config of the run."""
    return RealDPO(
        name="realdpo",
        quick=True,
        first=2000,  # bases and conditions of its own: nothing of the full run is looked at
        bases=2,
        base_steps=1200,
        conditions=50,
        noises=2,
        looks=4,
        look_conditions=25,
        arms=(
            "SFT",
            "RealDPO",
            "null: RealDPO, coin-flipped pairs",
            "SFT on valid base samples",
            "SFT, real clips of the same conditions",
            "RealDPO + SFT anchor",
        ),
    )
