"""The key-and-door grid, learned: frame by frame, two denoising steps each, from films that are drawn on the fly.

Command:        vrjax learn configs/world_model/grid.py
Expected time:  not measured
Expected score: not measured

Frames of 16 x 16 are 4 tokens of 192 components, all that a square of 8 pixels has. In most of what happens somebody
walks to the goal by the key and the door; `item` is the key, or whoever holds it, so that what is read says who does.
"""

import dataclasses

from configs.world_model import push
from vrjax.world.learned import Spec
from vrjax.world.learned.train import WorldConfig


def config() -> WorldConfig:
    """The config of the run."""
    other = push.config()
    return dataclasses.replace(
        other,
        name="world-grid",
        model=dataclasses.replace(other.model, in_channels=192, out_channels=192),
        spec=Spec(world="grid", moving=("agent", "item"), still=("door", "goal"), scale=2.0),
        steps=4000,
    )
