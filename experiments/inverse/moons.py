"""Two moons in the plane, of which the height is observed: a law around two curves, and posteriors of several parts.

The moons are half circles of radius 1, (cos t, sin t) and (1 - cos t, 1/2 - sin t), with normal noise around both. The
empirical measure and a network fitted in Wasserstein-2 are the priors.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr

from experiments.inverse import clouds, names
from experiments.inverse.clouds import Problem
from experiments.inverse.config import Inverse
from experiments.inverse.keys import FIXED, data_sets, exact
from vrjax.flow import draws
from vrjax.inverse import distances, generators
from vrjax.inverse.generators import Generator
from vrjax.study.tables import Bench, Tables


def measure(study: Inverse, here: Bench, seed: int) -> Tables:
    """All of a seed: `sizes` (n,), `y` (k,), and what `clouds.rates` tells of "empirical" and "generator", all k
    observations being those whose W1 in both dimensions is found."""
    return here.part(names.part(seed, names.MOONS), lambda: _measure(study, here, seed))


def _measure(study: Inverse, here: Bench, seed: int) -> Tables:
    sizes = study.moons
    keys = lambda size: data_sets(study, names.MOONS, seed, size, sizes.repeats)
    arms = {names.GENERATOR: generators.mlp(2)}
    with here.bar(f"seed {seed}: moons", len(sizes.sizes)) as tick:
        found = clouds.rates(sizes, problem(study), _fixed(study)[1], keys, arms, tick)
    return found | {"sizes": np.asarray(sizes.sizes), "y": np.asarray(sizes.y)}


def problem(study: Inverse) -> Problem:
    """The problem, the same for all seeds."""
    sizes = study.moons
    with exact():
        ways = np.asarray(distances.directions(_fixed(study)[0], sizes.directions, 2))
    return Problem(
        true=law(),
        params=np.asarray(sizes.around),
        start=None,
        seen=np.array([[0.0, 1.0]]),
        y=np.asarray(sizes.y)[:, None],
        noise_std=np.full(len(sizes.y), sizes.noise_std),
        directions=ways,
        few=np.arange(len(sizes.y)),
    )


@functools.cache
def law() -> Generator:
    """Both moons as a map of three normal numbers: the place on the curves, and the noise. Its parameter is the
    standard deviation of the noise around them."""

    def init(key: Any, data: Any = None) -> Any:
        del key, data
        return jnp.asarray(0.08)

    def apply(around: Any, z: Any) -> Any:
        place = 2.0 * ndtr(z[0])
        lower = place >= 1.0
        t = jnp.pi * jnp.where(lower, place - 1.0, place)
        curve = jnp.where(lower, jnp.stack([1.0 - jnp.cos(t), 0.5 - jnp.sin(t)]), jnp.stack([jnp.cos(t), jnp.sin(t)]))
        return curve + around * z[1:]

    return Generator(init, apply, 3, (2,))


def _fixed(study: Inverse) -> Any:
    """Keys of what is the same for all seeds: directions, and the references."""
    with draws.settled(True):
        return jax.random.split(data_sets(study, names.MOONS, FIXED, 0, 1)[0])
