"""One seed of one small world, trained for a minute: it shows, it does not prove.

Command:        python -m experiments.world_model
Expected time:  12.6 minutes on one core that other jobs shared, two of them training; on two quiet cores not measured
"""

from configs.world_model import full
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


def config() -> WorldModel:
    """The config of the run."""
    return WorldModel(
        name="world_model_quick",
        quick=True,
        seeds=(0,),
        trainings=Trainings(updates=250, batch=16, reading=500, extra=0, regressor=0),
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
