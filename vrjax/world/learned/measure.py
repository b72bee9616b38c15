"""How far a learned world strays from the exact one, when the same things are done in both."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vrjax.flow import words
from vrjax.world.learned import practice
from vrjax.world.learned.world import Learned
from vrjax.world.rollouts import rollout


class Drift(NamedTuple):
    """Means over episodes.

    Attributes:
        learned: (steps, K) distance between the places of moving things in both worlds, in units of the world.
        frozen: the same, of a world in which nothing moves: what there was to be known.
        frames: (steps,) mean squared error of the frames; frozen_frames: of the first one.
    """

    learned: Float[Array, "steps K"]
    frozen: Float[Array, "steps K"]
    frames: Float[Array, " steps"]
    frozen_frames: Float[Array, " steps"]

    __repr__ = words.line


@partial(jax.jit, static_argnames=("episodes", "steps"))
def drift(w: Learned, key: Key[Array, ""], *, episodes: int, steps: int) -> Drift:
    """Acts in both worlds as in training, from what the exact one shows first.

    Args:
        w: the learned world, which has a reader.
        key: of episodes and the learned world's chance.
        episodes: over which means are taken.
        steps: of each.
    """
    spec, home = w.spec, w.spec.home

    def one(key):
        seen, chance = jax.random.split(key)
        film = practice.film(home, spec.names, seen, steps + 1, shoved=spec.moving[1:])
        begun = w.encode(film.frames[0], chance)
        _, told = rollout(w, begun, film.actions[1:], chance, record=("decoded", "frames"))
        found = jnp.concatenate([told.decoded[name].reshape(steps, -1, 2) for name in spec.moving], 1)
        there = film.places[:, : found.shape[1]]
        far = lambda a: jnp.linalg.norm(a - there[1:], axis=-1)
        error = lambda frames: jnp.mean((frames - film.frames[1:]) ** 2, (1, 2, 3))
        return Drift(far(found), far(there[:1]), error(told.frames), error(film.frames[:1]))

    found = jax.vmap(one)(jax.random.split(key, episodes))
    return jax.tree.map(lambda a: a.mean(0), found)
