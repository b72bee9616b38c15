"""One seed of one skill, trained for a minute or two: it shows, it does not prove.

Command:        python -m experiments.babyvision
Expected time:  not measured yet
"""

from experiments.babyvision.config import BabyVision, Drawings, Heads, Skill, Trainings


def config() -> BabyVision:
    """The config of the run."""
    return BabyVision(
        name="babyvision_quick",
        quick=True,
        seeds=(0,),
        skills=(Skill(task="draw_find_the_same", updates=120, seeds=1),),
        trainings=Trainings(batch=16, extra=10),
        taught=("draw_find_the_same",),
        drawings=Drawings(items=32, draws=2),
        heads=Heads(seen=200),
        known=200,
        resamples=2000,
    )
