"""The key-and-door grid, learned: frame by frame, two denoising steps each, from films that are drawn on the fly.

Command:        vrjax learn configs/world_model/grid.py
Expected time:  20 minutes of one core whose neighbour trained something else, one of them for reader and measuring
Expected score: after one step the agent is 0.05 cells off, after six 0.2 (0.7 and 2.2 where nothing moves); planned
                through it the key was fetched in 63 and 64 of 64 layouts, the flag reached in 64 and 62, through the
                exact world in all (`experiments/world_model/cells.md`, seeds 0 and 1)

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
