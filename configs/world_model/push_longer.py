"""The pushing world of `configs/world_model/push.py`, gone on with: as many films again as two thirds of its own.

Command:        vrjax learn configs/world_model/push_longer.py        (behind `vrjax learn configs/world_model/push.py`)
Expected time:  38 minutes of one quiet core
Expected score: the table of `vrjax/world/learned/weights/push/README.md`: after twelve steps the agent is 0.50 pixels
                off and the block 0.69, where the world that it went on from is 0.61 and 0.87
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
