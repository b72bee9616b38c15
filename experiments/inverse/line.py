"""Rates on the line: how fast errors of prior and posterior fall with the number of data, measured without any draw.

The truth is `bumps.mixture`; y = x + noise. Two priors are made of each data set: the empirical measure of its points,
and the law of a network fitted in Wasserstein-2. W1 and W2 of the priors and W1 of the posteriors are exact against the
densities; a fitted law is stood for by its images of so many points of the latent (`nodes`), and `floor` says what the
true map's images of them give. Of the density with a gap only the empirical measure is taken.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from scipy.special import ndtr, ndtri

from experiments.inverse import bumps, names
from experiments.inverse.bumps import Bumps
from experiments.inverse.config import Fit, Inverse
from experiments.inverse.keys import data_sets, exact
from vrjax.inverse import bounds, generators
from vrjax.study.tables import Bench, Tables

FITTED = ("train_w2", "optimisation_gap", "approximation", "fresh_w2")
"""What is kept of a fit's report."""
WIDER = 2.0
BLOCK = 8  # observations in one call of a program, which bounds its memory


def measure(study: Inverse, here: Bench, seed: int) -> Tables:
    """All of a seed.

    Returns:
        `sizes` (n,); `y`, `noise_std`, `evidence` (k,) of each observation; and for each arm "empirical" and
        "generator", and "gap empirical", with r data sets of each size (the generator's are the first of them):

        - `<arm> prior w1`, `<arm> prior w2` (n, r), `<arm> posterior w1` (n, r, k);
        - `<arm> constant` (n, r, k): C of T1, for the diameter of both supports;
        - of the generator, `FITTED` (n, r) as `generator <name>`, `floor prior w1` () and `floor posterior w1` (k,);
        - `gap evidence` (k,).
    """
    return here.part(names.part(seed, names.LINE), lambda: _measure(study, here, seed))


def _measure(study: Inverse, here: Bench, seed: int) -> Tables:
    sizes, line = study.line.sizes, study.line
    y, noise_std = observations(study)
    out: Tables = {"sizes": np.asarray(sizes), "y": y, "noise_std": noise_std}
    rows: dict[str, list[Any]] = {}

    def keep(arm: str, found: dict[str, Any]) -> None:
        for name, value in found.items():
            rows.setdefault(f"{arm} {name}", []).append(np.asarray(value))

    with here.bar(f"seed {seed}: the line", len(sizes)) as tick:
        for size in sizes:
            keys = data_sets(study, names.LINE, seed, size, line.repeats)
            data = drawn(keys, bumps.mixture(), size)
            keep(names.EMPIRICAL, errors(bumps.mixture(), data, equal(size), y, noise_std))
            how = line.large if size >= line.large_from else line.fit
            points, reports = fitted(keys[: line.fits], data[: line.fits], how, line.nodes)
            keep(names.GENERATOR, errors(bumps.mixture(), points, nodes(line.nodes)[1], y, noise_std) | reports)
            law = bumps.mixture(gap=True)
            data = drawn(keys, law, size)
            keep(f"gap {names.EMPIRICAL}", errors(law, data, equal(size), y, noise_std))
            tick(1)
    out |= {name: np.stack(values) for name, values in rows.items()}
    out["evidence"] = evidence(bumps.mixture(), y, noise_std)
    out["gap evidence"] = evidence(bumps.mixture(gap=True), y, noise_std)
    least = floors(bumps.mixture(), line.nodes, y, noise_std)
    return out | {f"floor {name}": value for name, value in least.items()}


def observations(study: Inverse) -> tuple[np.ndarray, np.ndarray]:
    """Observations and their noises, each y under each noise: (k,) both."""
    pairs = [(y, noise) for noise in study.line.noise_std for y in study.line.y]
    return np.array([y for y, _ in pairs]), np.array([noise for _, noise in pairs])


def drawn(keys: Key[Array, " r"], law: Bumps, size: int) -> Float[np.ndarray, "r n"]:
    """A data set of each key."""
    with exact():
        return np.asarray(_drawn(keys, law, size))


def errors(
    law: Bumps,
    points: Float[np.ndarray, "r n"],
    weights: Float[np.ndarray, " n"],
    y: Float[np.ndarray, " k"],
    noise_std: Float[np.ndarray, " k"],
) -> dict[str, np.ndarray]:
    """Errors of discrete measures as priors of a law, and of their posteriors.

    Args:
        law: the true prior.
        points: of r measures of the same weights, which sum to 1.
        y, noise_std: of k observations.

    Returns:
        `prior w1`, `prior w2` (r,), `posterior w1`, `constant` (r, k): see `measure`.
    """
    points, found = np.asarray(points, np.float64), []
    with exact():
        for start in range(0, len(y), BLOCK):
            some = slice(start, start + BLOCK)
            found.append(jax.tree.map(np.asarray, _errors(law, points, weights, y[some], noise_std[some])))
    many = ("posterior w1", "constant")
    return found[0] | {name: np.concatenate([one[name] for one in found], -1) for name in many}


def floors(
    law: Bumps, number: int, y: Float[np.ndarray, " k"], noise_std: Float[np.ndarray, " k"]
) -> dict[str, np.ndarray]:
    """What the true map would show at so many nodes: `prior w1` (), `posterior w1` (k,)."""
    z, weights = nodes(number)
    with exact():
        points = np.asarray(bumps.quantile(law, ndtr(z)))[None]
    found = errors(law, points, weights, y, noise_std)
    return {name: found[name][0] for name in ("prior w1", "posterior w1")}


def evidence(law: Bumps, y: Float[np.ndarray, " k"], noise_std: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Z of each observation, of a likelihood that is at most 1."""
    with exact():
        of = jax.vmap(lambda y, noise: bumps.total(bumps.posterior(law, y, noise)) / bumps.total(law))
        return np.asarray(of(jnp.asarray(y), jnp.asarray(noise_std)))


def fitted(
    keys: Key[Array, " r"], data: Float[np.ndarray, "r n"], how: Fit, number: int
) -> tuple[Float[np.ndarray, "r m"], dict[str, np.ndarray]]:
    """Generators fitted to data sets: their images of so many `nodes`, and `FITTED` of the reports (r,)."""
    generator = generators.mlp(1, widths=how.widths)
    points, reports = [], []
    for key, one in zip(keys, data, strict=True):
        params, report = generators.fit(
            jax.random.fold_in(key, 1),
            one,
            generator,
            mode="sorted",
            latents=how.latents,
            steps=how.steps,
            restarts=how.restarts,
        )
        points.append(pushed(generator, params, number))
        reports.append([getattr(report, name) for name in FITTED])
    return np.stack(points), dict(zip(FITTED, np.asarray(reports, np.float64).T, strict=True))


def equal(number: int) -> Float[np.ndarray, " n"]:
    """Weights of a measure of data."""
    return np.full(number, 1.0 / number)


def nodes(number: int) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Points of the latent N(0, 1) in order, and the masses of their cells, which are of equal mass under a normal
    twice as wide: the tails are where an unlikely observation looks."""
    cuts = WIDER * ndtri(np.arange(number + 1) / number)
    weights = np.diff(ndtr(cuts))
    return ndtri(np.clip(0.5 * (ndtr(cuts[1:]) + ndtr(cuts[:-1])), 1e-300, 1 - 1e-16)), weights / weights.sum()


def pushed(generator: generators.Generator, params: Any, number: int) -> Float[np.ndarray, " m"]:
    """A generator's images of `nodes`, in their order."""
    z = jnp.asarray(nodes(number)[0][:, None], jnp.float32)
    return np.asarray(generators.push(generator, params, z), np.float64)[:, 0]


@jax.jit
def _errors(law: Bumps, points: Any, prior: Any, y: Any, noise_std: Any) -> dict[str, Any]:
    def after(x: Any, y: Any, noise: Any) -> tuple[Any, Any]:
        updated = bumps.posterior(law, y, noise)
        weights = bounds.posterior(bounds.gaussian_log_likelihood(x, y, noise), prior)
        across = jnp.maximum(jnp.max(x), law.high[-1]) - jnp.minimum(jnp.min(x), law.low[0])
        z = bumps.total(updated) / bumps.total(law)
        constant = bounds.t1_constant(z, bounds.likelihood_lipschitz(noise), across)
        return bumps.wasserstein(updated, x, weights)[0], constant

    def one(x: Any) -> dict[str, Any]:
        w1, w2 = bumps.wasserstein(law, x, prior)
        posterior, constant = jax.vmap(after, (None, 0, 0))(x, y, noise_std)
        return {"prior w1": w1, "prior w2": w2, "posterior w1": posterior, "constant": constant}

    return jax.vmap(one)(points)


@jax.jit(static_argnames="size")
def _drawn(keys: Any, law: Bumps, size: int) -> Any:
    return jax.vmap(lambda key: bumps.draw(key, law, size))(keys)
