"""The bounds T1 and T3 on random pairs of discrete measures on the line, observed with noise of any width."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.inverse import names
from experiments.inverse.config import Inverse
from experiments.inverse.keys import data_sets, exact
from vrjax.inverse import bounds
from vrjax.study.tables import Bench, Tables

KEPT = ("w1_prior", "w2_prior", "w1_posterior", "evidence", "t1", "t3")
SHARPEST, WIDEST = 0.03, 3.0  # of the noise
SMALL, LARGE = 0.1, 2.0  # of the spread of the points: both bounds are met where the noise is wide beside it


def measure(study: Inverse, here: Bench, seed: int) -> Tables:
    """All of a seed: `KEPT` of `bounds.Comparison` and `noise_std`, (pairs,) each."""
    return here.part(names.part(seed, names.BOUNDS), lambda: _measure(study, seed))


def _measure(study: Inverse, seed: int) -> Tables:
    sizes = study.bounds
    with exact():
        found = _compared(data_sets(study, names.BOUNDS, seed, sizes.atoms, sizes.pairs), sizes.atoms)
        return {name: np.asarray(value) for name, value in found.items()}


@jax.jit(static_argnames="atoms")
def _compared(keys: Any, atoms: int) -> dict[str, Any]:
    return jax.vmap(lambda key: compared(key, atoms))(keys)


def compared(key: Any, atoms: int) -> dict[str, Any]:
    """A pair of measures of two to `atoms` points. Half of the second ones are the first moved a little, for which the
    bound is sharpest; the observation lies near a point that has mass, so that its evidence is no rounding."""
    places, weigh, held, how, see, noise = jax.random.split(key, 6)
    near, moved, spread = jax.random.uniform(how, (3,))
    x, other = SMALL * (LARGE / SMALL) ** spread * jax.random.normal(places, (2, atoms))
    x_hat = jnp.where(near < 0.5, x + 10.0 ** (-3 * moved) * other, other)
    a, a_hat = jax.random.exponential(weigh, (2, atoms)) * jnp.pad(
        jax.random.bernoulli(held, 0.6, (2, atoms - 2)), ((0, 0), (2, 0)), constant_values=True
    )
    width = SHARPEST * (WIDEST / SHARPEST) ** jax.random.uniform(noise)
    y = x[0] + 1.5 * width * jax.random.normal(see)
    likelihood, hat = (bounds.gaussian_log_likelihood(points, y, width) for points in (x, x_hat))
    found = bounds.compare(x, x_hat, likelihood, hat, bounds.likelihood_lipschitz(width), a=a, a_hat=a_hat)
    return {name: getattr(found, name) for name in KEPT} | {"noise_std": width}
