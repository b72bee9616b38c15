"""Keys of data sets: one of its own for each experiment, seed, size and repeat, and exact numbers to draw them in."""

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from experiments.inverse import names
from experiments.inverse.config import Inverse
from vrjax.flow import draws

FIXED = 1 << 20
"""In a seed's place: what is drawn once for all seeds."""


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """float64, and draws that depend on their keys alone."""
    with draws.settled(True), jax.enable_x64(True):
        yield


def data_sets(study: Inverse, experiment: str, seed: int, size: int, repeats: int) -> Key[Array, " r"]:
    """Keys (repeats,) of the data sets `(experiment, seed, size, r)`. The first ones are the same for any `repeats`.

    Args:
        experiment: one of `names.EXPERIMENTS`.
        seed: of the study, or `FIXED`.
        size: points of a data set, or what else stands in its place.
    """
    key = draws.key(study.seed)
    for number in (names.EXPERIMENTS.index(experiment), seed, size):
        key = jax.random.fold_in(key, number)
    with draws.settled(True):
        return jax.vmap(lambda repeat: jax.random.fold_in(key, repeat))(jnp.arange(repeats, dtype=jnp.uint32))
