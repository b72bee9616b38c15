"""The shipped base and a few scenes: it shows, it does not prove.

Command:        python -m experiments.vchain
Expected time:  two minutes on two cores.
"""

from experiments.vchain.config import VChain


def config() -> VChain:
    """The config of the run."""
    return VChain(
        name="vchain",
        quick=True,
        bases=(0,),
        shipped=True,
        scenes=20,
        curve_scenes=10,
        rates=(0.25,),
        noisy_tries=(0.25,),
        group=10,
    )
