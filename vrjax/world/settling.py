"""Along the denoising steps of one frame: where things are, and how they look given where they are.

    x0 = w.denoise(state, action, key, Record(fields=("x0",))).x0[:, 0]         # (steps, h, w, c)
    told = settling.along(w, x0, like)                                          # like: a State of the exact world
    settling.left(told.look)                                                    # of many frames: what is left to do

A step's clean estimate is read like any frame, and the exact world draws what it read: the difference between the two
pictures is what is wrong with the look, wherever things are. "Chain-of-Steps" (arXiv 2603.16870) on a causal world.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vrjax.flow import words
from vrjax.world.learned import patches as squares
from vrjax.world.learned import practice, reader
from vrjax.world.learned.world import Learned
from vrjax.world.protocol import State


class Along(NamedTuple):
    """Of every denoising step's clean estimate.

    Attributes:
        places: (steps, K, 2) of what moves, in units of the world.
        look: (steps,) root of the mean square of the estimate less the exact world's picture of those places.
        frames: (steps, H, W, 3) the estimates, in [-1, 1].
    """

    places: Float[Array, "steps K 2"]
    look: Float[Array, " steps"]
    frames: Float[Array, "steps H W 3"]

    __repr__ = words.line


def placed(w: Learned, like: State, places: Float[Array, "K 2"]) -> State:
    """The exact world's State `like` with what moves at other places, in the order of the world's `spec.moving`."""
    home, decoded, at = w.spec.home, dict(w.spec.home.decode(like)), 0
    for name, shape in practice.check(home, w.spec.moving).items():
        count = 1 if len(shape) == 1 else shape[0]
        decoded[name] = places[at : at + count].reshape(shape)
        at += count
    return home.encode(decoded)


def along(w: Learned, x0: Float[Array, "steps h w c"], like: State) -> Along:
    """Places and look of clean estimates.

    Args:
        w: a learned world with a reader.
        x0: latents, one a denoising step, of any sampler of this world's frames.
        like: of the exact world: all that does not move is as it is here.

    Raises:
        ValueError: the world reads nothing.
    """
    read = w.reader
    if read is None:
        raise ValueError("settling: the world has no reader, so nothing says where things are")
    shapes = practice.check(w.spec.home, w.spec.moving).values()
    count = sum(1 if len(shape) == 1 else shape[0] for shape in shapes)

    def one(latent):
        frame = jnp.clip(squares.decode(w.patches, latent), -1.0, 1.0)
        places = (reader.read(read, frame) / w.spec.scale)[:count]
        drawn = w.spec.home.render(placed(w, like, places))
        return Along(places, jnp.sqrt(jnp.mean((frame - drawn) ** 2)), frame)

    return jax.vmap(one)(x0)


def left(values: Float[np.ndarray, "n steps"]) -> Float[np.ndarray, "n steps"]:
    """What is left to do after each step, as a share of what there was: the excess over the last step, over the mean
    excess of the first. Means over n go from 1 to 0, whatever the unit.

    Args:
        values: something that falls along the steps, of n frames.

    Raises:
        ValueError: in the mean the first step has no excess over the last: there is nothing to settle.
    """
    values = np.asarray(values, np.float64)
    excess: Any = values - values[:, -1:]
    first = excess[:, 0].mean()
    if not first > 0:
        raise ValueError(f"settling: the first step exceeds the last by {first:g} in the mean, expected more than 0")
    return excess / first


def lead(place: Float[np.ndarray, "n steps"], look: Float[np.ndarray, "n steps"]) -> Float[np.ndarray, " n"]:
    """By what share of the steps the place is settled before the look: the area between what is `left` of either, above
    0 where the place comes first. Args and raises as `left`."""
    return (left(look) - left(place)).mean(1)
