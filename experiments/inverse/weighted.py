"""Weighted points: posteriors of pushforwards of a normal, and distances of such points to a law.

A law is stood for by many weighted points, its *reference*. A generator's posterior is its images of fixed points of
the latent, half of them of the latent normal and half of a Gaussian at the posterior's mode, each weighed by its
likelihood over the density of both halves: the first half sees modes that the second misses. Everything here is of
quasi-random points where a number is exact in their limit, and of draws where noise is to be measured.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, Key
from scipy import special

from vrjax.flow import draws
from vrjax.inverse import distances, generators, latent
from vrjax.inverse.generators import Generator

INFLATE = 1.5
"""The covariance at the mode is widened by it."""
SEARCH = 15
"""Steps of the search for the mode."""
NEGLIGIBLE = 1e-8
"""Points whose weights sum to less than so much are left out of exact plans."""
ITERATIONS = 20_000_000  # of POT's network simplex


class Posteriors(NamedTuple):
    """Of k observations under one prior.

    Attributes:
        points: (k, m, d). weights: (k, m), which sum to 1. None is above 2 / (m Z), as half of the points are of the
            latent normal: so their tails are not smoothed.
        khat: (k,) Pareto shape of the tail of the weights. Above 0.7 the Gaussian at the mode misses a part that a few
            of the other points stand for: the more points, the less it matters.
        ess: (k,) effective number of points, as if they were draws.
        evidence: (k,) mean of the likelihood, which is at most 1.
    """

    points: np.ndarray
    weights: np.ndarray
    khat: np.ndarray
    ess: np.ndarray
    evidence: np.ndarray


def nodes(key: Key[Array, ""], number: int, dimension: int) -> Float[np.ndarray, "m r"]:
    """Scrambled Sobol points of the latent normal, float32; `number` is a power of two."""
    with draws.settled(True):
        return generators.sobol(key, number, dimension).astype(np.float32)


def posteriors(
    generator: Generator,
    params: Any,
    z: Float[np.ndarray, "b m r"],
    seen: Float[np.ndarray, "s d"],
    y: Float[np.ndarray, "k s"],
    noise_std: Float[np.ndarray, " k"],
) -> Posteriors:
    """Posteriors of a generator for `y = seen x + noise`.

    Args:
        generator, params: the prior. The former is compiled once.
        z: `nodes` in b blocks, each of which goes through the program on its own; m is even.
        seen: what of x is observed.
        y, noise_std: of k observations.
    """
    params = _single(params)
    given = [jnp.asarray(each, jnp.float32) for each in (seen, y, noise_std)]
    found = [jax.tree.map(np.asarray, _weighed(generator, params, jnp.asarray(one, jnp.float32), *given)) for one in z]
    points = np.concatenate([points for points, _ in found], 1)
    log = np.concatenate([log for _, log in found], 1)
    weights = special.softmax(log.astype(np.float64), axis=1)
    khat = np.asarray(_khat(jnp.asarray(log)), np.float64)
    evidence = np.exp(log.astype(np.float64)).mean(1)
    return Posteriors(points, weights, khat, 1 / np.sum(weights**2, 1), evidence)


def pushed(generator: Generator, params: Any, z: Float[np.ndarray, "m r"]) -> Float[np.ndarray, "m d"]:
    """Images of points of the latent, float32."""
    return np.asarray(generators.push(generator, _single(params), jnp.asarray(z, jnp.float32)))


def sliced(
    law: Float[np.ndarray, "m d"],
    weights: Float[np.ndarray, " m"],
    measures: Sequence[tuple[np.ndarray, np.ndarray]],
    directions: Float[np.ndarray, "k d"],
) -> Float[np.ndarray, " n"]:
    """Sliced W1 of each of n measures (points (m, d), weights (m,)) to a law's reference, exact along each direction.

    The sorts are NumPy's, which on a CPU are far faster than XLA's, and the law is sorted once for all measures.
    """
    found = np.zeros((len(directions), len(measures)))
    for row, side in zip(found, np.asarray(directions, np.float64), strict=True):
        line = _line(law @ side, weights)
        row[:] = [_apart(*line, points @ side, mass) for points, mass in measures]
    return found.mean(0)


def between(
    x: Float[np.ndarray, "n d"],
    weights: Float[np.ndarray, " n"],
    drawn: Float[np.ndarray, "m d"],
    fresh: Float[np.ndarray, "f d"],
) -> tuple[float, float]:
    """Two numbers between whose means lies W1 of weighted points to a law, which is given by draws.

    The upper is W1 to `drawn` themselves, exact: a law's W1 is convex in it, so that the mean over draws is not below.
    The lower is what the best potential for those draws says of others: `mean of min_j(|q - x_j| - u_j)` over fresh
    q, and the weighted mean of u. That function has Lipschitz constant 1, so its mean over fresh draws is not above.
    """
    import ot
    from scipy.spatial.distance import cdist

    order = np.argsort(weights)
    kept = order[np.cumsum(np.asarray(weights, np.float64)[order]) > NEGLIGIBLE]
    x, mass = np.asarray(x, np.float64)[kept], np.asarray(weights, np.float64)[kept]
    mass = mass / mass.sum()
    cost = cdist(x, np.asarray(drawn, np.float64))
    upper, log = ot.emd2(mass, np.full(len(drawn), 1.0 / len(drawn)), cost, numItermax=ITERATIONS, log=True)
    if log["warning"] is not None:
        raise ValueError(f"between: POT found no plan between {len(x)} and {len(drawn)} points: {log['warning']}")
    lower = np.mean(np.min(cdist(np.asarray(fresh, np.float64), x) - log["u"], 1)) + mass @ log["u"]
    return float(lower), float(upper)


class Pair(NamedTuple):
    """Draws of a law, two sets (m, d), and W1 between them."""

    one: np.ndarray
    other: np.ndarray
    within: float


def pair(
    rng: np.random.Generator, one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], number: int
) -> Pair:
    """So many draws of each of two independent sets of weighted points of a law."""
    sides = [resampled(rng, *each, number) for each in (one, other)]
    return Pair(*sides, within=float(distances.w1(*sides)))


def debiased(own: Pair, law: Pair) -> tuple[float, float]:
    """`distances.debiased_w1` of two measures, and what it subtracts: the mean of both `within`."""
    floor = 0.5 * (own.within + law.within)
    return float(distances.w1(own.one, law.one)) - floor, floor


def halves(points: Float[np.ndarray, "m d"], weights: Float[np.ndarray, " m"]) -> tuple[Any, Any]:
    """Weighted points as two sets that share none, for a `pair`."""
    half = len(points) // 2
    return (points[:half], weights[:half]), (points[half:], weights[half:])


def resampled(
    rng: np.random.Generator, points: Float[np.ndarray, "m d"], weights: Float[np.ndarray, " m"], number: int
) -> Float[np.ndarray, "n d"]:
    """Independent draws of weighted points."""
    return points[rng.choice(len(points), size=number, p=weights / weights.sum())]


def numbers(key: Key[Array, ""]) -> np.random.Generator:
    """NumPy's generator of a key."""
    with draws.settled(True):
        return np.random.default_rng(np.asarray(jax.random.bits(key, (4,), "uint32")))


def equal(number: int) -> Float[np.ndarray, " n"]:
    """Equal weights."""
    return np.full(number, 1.0 / number)


def reweighted(
    x: Float[np.ndarray, "n d"],
    seen: Float[np.ndarray, "s d"],
    y: Float[np.ndarray, "k s"],
    noise_std: Float[np.ndarray, " k"],
) -> Float[np.ndarray, "k n"]:
    """Posterior weights of points that were equally likely, given each observation of `seen x`."""
    away = (x @ seen.T - y[:, None]) / noise_std[:, None, None]
    return special.softmax(-0.5 * np.sum(away**2, -1), axis=1)


@functools.partial(jax.jit, static_argnames="generator")
def _weighed(generator: Generator, params: Any, z: Any, seen: Any, y: Any, noise_std: Any) -> tuple[Any, Any]:
    """Points (k, m, d), and log of likelihood times latent normal over the density that their latents are of."""

    def residual(z: Any, y: Any, std: Any) -> Any:
        return (jnp.matmul(seen, generator.apply(params, z), precision="highest") - y) / std

    def log_likelihood(z: Any, y: Any, std: Any) -> Any:
        return -0.5 * jnp.sum(residual(z, y, std) ** 2)

    def one(y: Any, std: Any) -> tuple[Any, Any]:
        start = jnp.zeros(generator.latent, z.dtype)
        # The mode is where the weights are best, not what they are: where the search ends is no part of the result.
        mode, cov, _ = latent.laplace(log_likelihood, start, args=(y, std), residual=residual, iterations=SEARCH)
        root = jnp.linalg.cholesky(INFLATE * cov)
        half = z.shape[0] // 2
        where = jnp.concatenate([z[:half], mode + jnp.matmul(z[half:], root.T, precision="highest")])
        prior = -0.5 * jnp.sum(where**2, -1)
        white = solve_triangular(root, (where - mode).T, lower=True)
        near = -0.5 * jnp.sum(white**2, 0) - jnp.sum(jnp.log(jnp.diagonal(root)))
        value = jax.vmap(log_likelihood, (0, None, None))(where, y, std)
        return jax.vmap(generator.apply, (None, 0))(params, where), value + prior - jnp.logaddexp(prior, near) + LOG2

    return lax.map(lambda each: one(*each), (y, noise_std))


LOG2 = math.log(2.0)


@jax.jit
def _khat(log: Any) -> Any:
    """The Pareto shape of the tail of each row of log-weights; see `latent.importance`."""
    from blackjax import diagnostics

    number = log.shape[-1]
    share = 9 * number / (math.ceil(3 * number**0.5) + 0.5) ** 2
    return jax.vmap(lambda row: diagnostics.psis_weights(row, r_eff=share)[1])(log)


def _single(params: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)


def _line(points: Any, weights: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of weighted points: in order, the distribution function at each, and its integral up to each."""
    order = np.argsort(points)
    points, below = np.asarray(points, np.float64)[order], np.cumsum(np.asarray(weights, np.float64)[order])
    below /= below[-1]
    area = np.concatenate([[0.0], np.cumsum(below[:-1] * np.diff(points))])
    return points, below, area


def _apart(points: Any, below: Any, area: Any, x: Any, mass: Any) -> float:
    """The integral of |F - G| with F of `_line` and G of x: G is constant between two of its points, so that F passes
    it once, at its quantile, and both sides of that are integrals of F alone."""
    order = np.argsort(x)
    x = np.asarray(x, np.float64)[order]
    level = np.cumsum(np.asarray(mass, np.float64)[order])
    level /= level[-1]
    level = np.append(0.0, level)
    level[-1] = 1.0
    ends = np.concatenate([[min(x[0], points[0])], x, [max(x[-1], points[-1])]])
    up_to = _integral(points, below, area, ends)
    left, right = ends[:-1], ends[1:]
    at = np.minimum(np.searchsorted(below, level), len(points) - 1)
    middle = points[at]
    before, after = middle <= left, middle >= right
    before[0], after[-1] = True, True  # F is not below 0, and not above 1
    half = np.where(before, up_to[:-1], np.where(after, up_to[1:], area[at]))
    middle = np.where(before, left, np.where(after, right, middle))
    return float(np.sum(up_to[1:] + up_to[:-1] - 2 * half + level * (2 * middle - left - right)))


def _integral(points: Any, below: Any, area: Any, t: Any) -> Any:
    """The integral of F from minus infinity to t."""
    at = np.searchsorted(points, t, side="right") - 1
    inside = np.maximum(at, 0)
    return np.where(at >= 0, area[inside] + below[inside] * (t - points[inside]), 0.0)
