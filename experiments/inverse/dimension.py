"""Rates in d dimensions: the empirical measure, a rich generator and the class that holds the truth.

The true law is the image of a standard normal under `S = grad(|x|^2 / 2 + sum_k a_k softplus(b_k x + c_k))`, an optimal
map with random ridges, the same for all seeds; the first half of the coordinates is observed, under two noises. Three
priors are made of a data set: the measure of its points; a network fitted in Wasserstein-2; and the class of all maps
of the form of S, fitted alike: the best of random starts and of one at the truth, so that what is measured is the least
W2 and not where Adam stops.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.inverse import clouds, names
from experiments.inverse.clouds import Problem
from experiments.inverse.config import Inverse
from experiments.inverse.keys import FIXED, data_sets, exact
from vrjax.flow import draws
from vrjax.inverse import distances, generators
from vrjax.study.tables import Bench, Tables

RESTRICTED = "restricted"
STEEP = 2.0
"""The length of every b_k: a ridge is about as wide as the latent."""


def measure(study: Inverse, here: Bench, seed: int) -> Tables:
    """All of a seed.

    Returns:
        `dimensions` (d,), `sizes` (n,), of which the first p have plans and the first f have fits, `observed` (e,),
        those of the k observations whose W1 in all dimensions is found; and with a leading axis of d what
        `clouds.rates` tells of the arms "empirical", "generator" and "restricted".
    """
    return here.part(names.part(seed, names.DIMENSION), lambda: _measure(study, here, seed))


def _measure(study: Inverse, here: Bench, seed: int) -> Tables:
    sizes, rows = study.dimension, {}
    for d in sizes.dimensions:
        one = problem(study, d)
        arms = {names.GENERATOR: generators.mlp(d), RESTRICTED: one.true}
        keys = lambda size, d=d: jax.vmap(jax.random.fold_in, (0, None))(
            data_sets(study, names.DIMENSION, seed, size, sizes.repeats), d
        )
        with here.bar(f"seed {seed}: {d} dimensions", len(sizes.sizes)) as tick:
            found = clouds.rates(sizes, one, _fixed(study, d)[1], keys, arms, tick)
        for name, value in found.items():
            rows.setdefault(name, []).append(value)
    out = {name: np.stack(values) for name, values in rows.items()}
    return out | {
        "dimensions": np.asarray(sizes.dimensions),
        "sizes": np.asarray(sizes.sizes),
        "observed": one.few,
    }


@functools.cache
def problem(study: Inverse, d: int) -> Problem:
    """The problem of a dimension, the same for all seeds; one object, so that `start` is compiled once.

    A ridge adds up to a_k to the map's slope across it, a_k in (1/2, 3/2), beside 1. Observations are every one of the
    truths under the first noise, then under the next.
    """
    sizes, true = study.dimension, generators.convex(d, study.dimension.ridges)
    with exact():
        rows, offsets, amount, truth, noise, sides = jax.random.split(_fixed(study, d)[0], 6)
        params: dict[str, Any] = {
            "amount": jnp.log(jnp.expm1(jax.random.uniform(amount, (sizes.ridges,), minval=0.5, maxval=1.5))),
            "rows": STEEP * distances.directions(rows, sizes.ridges, d),
            "offsets": jax.random.normal(offsets, (sizes.ridges,)),
        }
        seen = np.eye(d)[: (d + 1) // 2]
        z = jax.random.normal(truth, (sizes.observations, d))
        x = np.asarray(jax.vmap(true.apply, (None, 0))(params, z)) @ seen.T
        unit = np.asarray(jax.random.normal(noise, x.shape))
        ways = np.ones((1, 1)) if d == 1 else np.asarray(distances.directions(sides, sizes.directions, d))
    starts = np.arange(len(sizes.noise_std))[:, None] * sizes.observations
    params = {name: np.asarray(value) for name, value in params.items()}
    return Problem(
        true=true,
        params=params,
        start=true._replace(init=lambda key, data=None: {name: jnp.float32(value) for name, value in params.items()}),
        seen=seen,
        y=np.concatenate([x + std * unit for std in sizes.noise_std]),
        noise_std=np.repeat(np.asarray(sizes.noise_std), sizes.observations),
        directions=ways,
        few=(starts + np.arange(sizes.exact)).ravel(),
    )


def _fixed(study: Inverse, d: int) -> Any:
    """Keys of what is the same for all seeds: the problem, and the references."""
    with draws.settled(True):
        return jax.random.split(data_sets(study, names.DIMENSION, FIXED, d, 1)[0])
