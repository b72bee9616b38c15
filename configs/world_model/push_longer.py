"""The pushing world of `configs/world_model/push.py`, gone on with: as many films again as two thirds of its own.

Command:        vrjax learn configs/world_model/push_longer.py        (behind `vrjax learn configs/world_model/push.py`)
Expected time:  not measured
Expected score: not measured
"""

import dataclasses

from configs.world_model import push
from vrjax.train.config import Optim
from vrjax.world.learned.train import WorldConfig


def config() -> WorldConfig:
    """The config of the run."""
    begun = push.config()
    return dataclasses.replace(
        begun,
        name="world-push-longer",
        start="runs/world-push/world/network",
        seed=1,
        steps=8000,
        optim=Optim(lr=1.5e-3, warmup=50),
    )
