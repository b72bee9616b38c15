"""The linear Gaussian problem, where nothing is approximated but by the data: y = A x + noise, x of N(0, C).

The prior is the Gaussian of the data's mean and covariance, an affine generator in closed form. It and its posteriors
are Gaussians as the true ones are, so that W2 (Bures) and sliced W1 (folded normals) are exact. These moments minimise
a lower bound of W2 to the data (Gelbrich); at one small size an affine generator is fitted to the same data by
exact plans too, and the fit that minimises W2 itself stands beside them.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from experiments.inverse import names
from experiments.inverse.config import Gaussian, Inverse
from experiments.inverse.keys import FIXED, data_sets, exact
from vrjax.inverse import distances, generators
from vrjax.study.tables import Bench, Tables

DISTANCES = ("prior w2", "prior sliced w1", "posterior w2", "posterior sliced w1")


def measure(study: Inverse, here: Bench, seed: int) -> Tables:
    """All of a seed.

    Returns:
        `dimensions` (d,), `sizes` (n,); with r data sets and k observations:

        - `prior w2`, `prior sliced w1` (d, n, r), `posterior w2`, `posterior sliced w1` (d, n, r, k);
        - of one data set in each of the `plan dimensions` (p,), the same distances of both priors as
          `moments <distance>` and `plan <distance>`, (p,) or (p, k); of the fit `plan train w2`, `plan best known`,
          what more steps reach, and `plan trace`, the trace of its covariance over that of the data's, (p,).
    """
    return here.part(names.part(seed, names.GAUSSIAN), lambda: _measure(study, here, seed))


def _measure(study: Inverse, here: Bench, seed: int) -> Tables:
    sizes = study.gaussian
    out: Tables = {"dimensions": np.asarray(sizes.dimensions), "sizes": np.asarray(sizes.sizes)}
    rows: dict[str, list[Any]] = {name: [] for name in DISTANCES}
    with here.bar(f"seed {seed}: linear Gaussian", len(sizes.dimensions)) as tick:
        for d in sizes.dimensions:
            one = problem(study, d)
            found = [compared(one, *moments(_keys(study, seed, d, n), one, n)) for n in sizes.sizes]
            for name in DISTANCES:
                rows[name].append([row[name] for row in found])
            tick(1)
    out |= {name: np.asarray(values) for name, values in rows.items()}
    return out | _planned(study, here, seed)


def problem(study: Inverse, d: int) -> dict[str, np.ndarray]:
    """The problem of a dimension, the same for all seeds.

    Returns:
        `root` (d, d), a square root of the prior's covariance, whose eigenvalues are 1, 1/2, ... 1/d in random
        directions; `forward` (k, d), random, of half as many rows as columns, rounded up; `noise_std` (); `y`
        (observations, k), drawn from the prior predictive; `directions` of sliced distances.
    """
    with exact():
        (key,) = data_sets(study, names.GAUSSIAN, FIXED, d, 1)
        turn, forward, truth, noise, sides = jax.random.split(key, 5)
        axes, _ = jnp.linalg.qr(jax.random.normal(turn, (d, d)))
        root = axes / jnp.sqrt(jnp.arange(1.0, d + 1))
        seen = (d + 1) // 2
        matrix = jax.random.normal(forward, (seen, d)) / d**0.5
        std = study.gaussian.noise_std
        x = jax.random.normal(truth, (study.gaussian.observations, d)) @ root.T
        y = x @ matrix.T + std * jax.random.normal(noise, (len(x), seen))
        ways = distances.directions(sides, study.gaussian.directions, d)
        found = {"root": root, "forward": matrix, "noise_std": std, "y": y, "directions": ways}
        return {name: np.asarray(value, np.float64) for name, value in found.items()}


def moments(
    keys: Key[Array, " r"], one: dict[str, np.ndarray], size: int
) -> tuple[Float[np.ndarray, "r d"], Float[np.ndarray, "r d d"]]:
    """Means and covariances (over n, not n - 1) of data sets."""
    with exact():
        found = _moments(keys, one["root"], size)
        return np.asarray(found[0]), np.asarray(found[1])


def compared(
    one: dict[str, np.ndarray], mean: Float[np.ndarray, "r d"], cov: Float[np.ndarray, "r d d"]
) -> dict[str, np.ndarray]:
    """Distances between Gaussian priors and the true one, and between their posteriors: `DISTANCES`, (r,) or (r, k)."""
    with exact():
        return {name: np.asarray(value) for name, value in _compared(one, mean, cov).items()}


def _keys(study: Inverse, seed: int, d: int, size: int) -> Any:
    """Of the data sets of a size in a dimension."""
    keys = data_sets(study, names.GAUSSIAN, seed, size, study.gaussian.repeats)
    return jax.vmap(jax.random.fold_in, (0, None))(keys, d)


def _planned(study: Inverse, here: Bench, seed: int) -> Tables:
    sizes: Gaussian = study.gaussian
    out: dict[str, list[Any]] = {}
    with here.bar(f"seed {seed}: an affine fit by plans", len(sizes.plan_dimensions)) as tick:
        for d in sizes.plan_dimensions:
            one, key = problem(study, d), _keys(study, seed, d, sizes.plan_size)[0]
            with exact():
                data = np.asarray(_data(key, one["root"], sizes.plan_size))
            generator = generators.affine(d)
            fit = lambda steps, data=data, generator=generator, key=key: generators.fit(
                jax.random.fold_in(key, 1),
                data,
                generator,
                mode="plan",
                latents=sizes.plan_latents,
                steps=steps,
                restarts=1,  # a restart would be the same: the class starts at the data's own moments
            )
            (params, report), (_, longer) = fit(sizes.plan_steps), fit(sizes.plan_steps * sizes.plan_longer)
            mean, cov = law(params)
            own = data.mean(0), np.cov(data.T, bias=True)
            both = compared(one, np.stack([mean, own[0]]), np.stack([cov, own[1]]))
            found: dict[str, Any] = {f"plan {name}": value[0] for name, value in both.items()}
            found |= {f"moments {name}": value[1] for name, value in both.items()}
            found |= {"plan train w2": report.train_w2, "plan best known": min(report.train_w2, longer.train_w2)}
            found |= {"plan trace": np.trace(cov) / np.trace(own[1])}
            for name, value in found.items():
                out.setdefault(name, []).append(value)
            tick(1)
    return {"plan dimensions": np.asarray(sizes.plan_dimensions)} | {k: np.asarray(v) for k, v in out.items()}


def law(params: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and covariance (d, d) of an affine generator's law."""
    mean, root, skip, bias = (np.asarray(params[name], np.float64) for name in ("mean", "root", "skip", "bias"))
    return mean + root @ bias, root @ skip @ (root @ skip).T


def _data(key: Any, root: Any, size: int) -> Any:
    return jax.random.normal(key, (size, len(root)), root.dtype) @ root.T


@jax.jit(static_argnames="size")
def _moments(keys: Any, root: Any, size: int) -> tuple[Any, Any]:
    def one(key):
        x = _data(key, root, size)
        mean = jnp.mean(x, 0)
        return mean, (x - mean).T @ (x - mean) / size

    return jax.vmap(one)(keys)


@jax.jit
def _compared(one: Any, mean: Any, cov: Any) -> dict[str, Any]:
    centre, true = jnp.zeros(mean.shape[1:]), one["root"] @ one["root"].T

    def apart(a: Any, b: Any) -> tuple[Any, Any]:
        return (
            distances.bures(a[0], a[1], b[0], b[1]),
            distances.gaussian_sliced_w1(a[0], a[1], b[0], b[1], one["directions"]),
        )

    def of(mean: Any, cov: Any) -> dict[str, Any]:
        def after(y: Any) -> tuple[Any, Any]:
            seen = one["forward"], one["noise_std"], y
            return apart(posterior(centre, true, *seen), posterior(mean, cov, *seen))

        before = apart((centre, true), (mean, cov))
        return dict(zip(DISTANCES, (*before, *jax.vmap(after)(one["y"])), strict=True))

    return jax.vmap(of)(mean, cov)


def posterior(mean: Any, cov: Any, forward: Any, noise_std: Any, y: Any) -> tuple[Any, Any]:
    """Mean and covariance of x given y = forward x + noise, of the prior N(mean, cov), which may be singular.

    In Joseph's form, whose covariance cannot be negative.
    """
    k = len(forward)
    seen = forward @ cov @ forward.T + noise_std**2 * jnp.eye(k)
    gain = jnp.linalg.solve(seen, forward @ cov).T
    rest = jnp.eye(len(mean)) - gain @ forward
    return mean + gain @ (y - forward @ mean), rest @ cov @ rest.T + noise_std**2 * gain @ gain.T
