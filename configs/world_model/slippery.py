"""The pushing world with a slippery floor, learned: half of its steps the agent stays where it is.

Command:        vrjax learn configs/world_model/slippery.py
Expected time:  11 minutes of one core whose neighbour is busy as well, and one more for reader and measuring
Expected score: after one step of a walk the mean of the draws is .18 pixels off the law's, their spread is .36 of its
                in two denoising steps and .43 in four, and .52 and .59 of what happens lie in the central .90 of the
                draws (`python -m experiments.world_model.pilots chance`, one seed)

What is left to chance is drawn between the denoising steps of a frame, at levels at which a noisy frame says which of
two futures it shows. An agent (a block as well) one pixel further changes a frame by 2.5 (6.6) in units of the noise,
so that is from 0.3 to 0.6: these levels are trained and asked for here, where `configs/world_model/push.py`, whose
world leaves nothing to chance, has levels near 1.
"""

import dataclasses

from configs.world_model import push
from vrjax.world.learned.train import WorldConfig


def config() -> WorldConfig:
    """The config of the run."""
    plain = push.config()
    spec = dataclasses.replace(plain.spec, options=(*plain.spec.options, ("stay", 0.5)), shift=1.0)
    levels = dataclasses.replace(plain.objective, shift=1.0, low=0.2)
    return dataclasses.replace(plain, name="world-slippery", steps=3000, spec=spec, objective=levels)
