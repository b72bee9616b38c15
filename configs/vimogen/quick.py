"""The shipped model as teacher and a few items: it shows, it does not prove.

Command:        python -m experiments.vimogen
Expected time:  five minutes on two cores.
"""

from experiments.vimogen.config import Gate, Trainings, ViMoGen


def config() -> ViMoGen:
    """The config of the run."""
    return ViMoGen(
        name="vimogen_quick",
        quick=True,
        seeds=(0,),
        shipped=True,
        items=16,
        clips=128,
        distilled=("throw",),
        gate=Gate(jitter=0.04, cosine=0.8),
        trainings=Trainings(short=40),
        resamples=2000,
        group=16,
    )
