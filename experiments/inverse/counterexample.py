"""Partial observation of an unbounded prior: no constant bounds the posterior's W1 by the prior's W1, one does by W2.

x is in the plane and only x1 is observed. The prior is a bulk and a tail, which begins at x2 = K with mass K^-p, p > 2,
and lies where x1 is large: second moments are bounded whatever K is. The other prior has its tail moved by h in x1
alone. That costs h K^-p in W1, but changes how likely the tail is after an observation by a factor of its own, and the
tail is K away: the ratio of the posteriors' W1 to the priors' grows as K, while W2 = h K^(-p/2) keeps its bound.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.inverse import names
from experiments.inverse.config import Counterexample, Inverse
from experiments.inverse.keys import data_sets, exact
from vrjax.inverse import bounds
from vrjax.study.tables import Bench, Tables

KEPT = ("w1_prior", "w2_prior", "w1_posterior", "evidence", "t1", "t3")


def measure(study: Inverse, here: Bench, seed: int) -> Tables:
    """All of a seed, exact W1 and W2 by POT.

    Returns:
        `far` (f,); `KEPT` of `bounds.Comparison`, and `moved`, the shift h, (f, r) of r pairs of priors at each
        distance. The pairs are the same at all distances but for the tail's place and mass.
    """
    return here.part(names.part(seed, names.COUNTEREXAMPLE), lambda: _measure(study, here, seed))


def _measure(study: Inverse, here: Bench, seed: int) -> Tables:
    sizes = study.counterexample
    keys = data_sets(study, names.COUNTEREXAMPLE, seed, 0, sizes.pairs)
    rows: dict[str, list[Any]] = {name: [] for name in (*KEPT, "moved")}
    with exact(), here.bar(f"seed {seed}: partial observation", len(sizes.far) * len(keys)) as tick:
        for far in sizes.far:
            for key in keys:
                drawn = pair(key, far, sizes)
                found = compared(**drawn)
                for name in KEPT:
                    rows[name].append(float(getattr(found, name)))
                rows["moved"].append(float(drawn["x"][-1, 0] - drawn["x_hat"][-1, 0]))
                tick(1)
    shape = (len(sizes.far), sizes.pairs)
    return {"far": np.asarray(sizes.far)} | {k: np.asarray(v).reshape(shape) for k, v in rows.items()}


def pair(key: Any, far: float, sizes: Counterexample) -> dict[str, Any]:
    """Two priors of the same weights, an observation of x1 and its noise; to be called in float64.

    Returns:
        `x`, `x_hat` (n, 2), the last `sizes.tail` points being the tail; `a` (n,); `y`, `noise_std`.
    """
    spots, spread, weigh, tail, move, see, noise = jax.random.split(key, 7)
    x1 = jax.random.normal(spots, (sizes.bulk,))
    body = jnp.stack([x1, x1 + 0.5 * jax.random.normal(spread, (sizes.bulk,))], 1)
    along, height = jax.random.uniform(tail, (2, sizes.tail), minval=jnp.array([[0.5], [1.0]]), maxval=2.0)
    mass = far**-sizes.power
    share = jax.random.exponential(weigh, (sizes.bulk + sizes.tail,))
    share = [part / part.sum() for part in (share[: sizes.bulk], share[sizes.bulk :])]
    shift = jax.random.uniform(move, minval=0.02, maxval=0.2)
    end = jnp.stack([along, far * height], 1)
    return {
        "x": np.asarray(jnp.concatenate([body, end])),
        "x_hat": np.asarray(jnp.concatenate([body, end - jnp.array([1.0, 0.0]) * shift])),
        "a": np.asarray(jnp.concatenate([(1 - mass) * share[0], mass * share[1]])),
        "y": float(0.5 * jax.random.normal(see)),
        "noise_std": float(0.3 * 4.0 ** jax.random.uniform(noise)),
    }


def compared(x: np.ndarray, x_hat: np.ndarray, a: np.ndarray, y: float, noise_std: float) -> bounds.Comparison:
    """Both priors and their posteriors, x1 being observed."""
    likelihood, hat = (bounds.gaussian_log_likelihood(points[:, 0], y, noise_std) for points in (x, x_hat))
    return bounds.compare(x, x_hat, likelihood, hat, bounds.likelihood_lipschitz(noise_std), a=a, a_hat=a)
