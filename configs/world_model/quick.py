"""One seed of one small world, trained for a minute: it shows, it does not prove.

Command:        python -m experiments.world_model
Expected time:  five minutes on two cores, most of it compiling.
"""

import dataclasses

from configs.world_model import full, push
from experiments.world_model import names
from experiments.world_model.config import (
    Calibration,
    Horizon,
    Methods,
    Planning,
    Search,
    Settling,
    Trainings,
    WorldModel,
)
from vrjax.train.config import Checkpoint, Data


def config() -> WorldModel:
    """The config of the run."""
    recipe = push.config()
    recipe = dataclasses.replace(recipe, steps=250, reading=500, data=Data(batch=16), checkpoint=Checkpoint(every=125))
    return WorldModel(
        name="world_model_quick",
        quick=True,
        seeds=(0,),
        trainings=Trainings(recipe=recipe, extra=0, regressor=0),
        parts=(names.HORIZON, names.CALIBRATION, names.SETTLING, names.METHODS),
        steps=(1, 2),
        windows=(1,),
        planned=(names.steps(2),),
        horizon=Horizon(episodes=32, steps=12),
        calibration=Calibration(situations=24, draws=19, steps=3),
        settling=Settling(frames=32, steps=8, bank=128),
        planning=Planning(episodes=8, act=3, goals=1, search=Search(horizon=8, candidates=16)),
        methods=Methods(exact=16, learned=8, act=3, steps=12, pairs=full.pairs()),
        group=8,
        resamples=2000,
    )
