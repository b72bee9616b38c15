"""Whether posteriors are what they claim: ranks, coverage, weights of modes, scores; and whose error it is.

Truths are drawn of the prior, data of the truths, draws of the posteriors; then the truth's rank among independent
draws is uniform (Talts et al. 2018, arXiv 1804.06788), and central intervals hold what they say. Chains are thinned
first, by their effective sample size. `ranks`, `coverage` and `uniformity` judge many problems; the scores one.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int
from scipy import stats

from vrjax.flow import words
from vrjax.report import statistics

Draws = Array | np.ndarray


class Uniformity(NamedTuple):
    """Whether ranks are uniform, in two tests; small p-values say that they are not.

    Attributes:
        chi2, chi2_p: Pearson's statistic of the counts in equal bins, and its p-value.
        counts: (bins,) ranks in each bin.
        ecdf_p: p-value of the largest departure of the empirical distribution function, simultaneous over all points.
        points, ecdf, low, high: where the function is looked at, its value, and the band that holds it everywhere with
            the level asked for.
    """

    chi2: float
    chi2_p: float
    counts: Any
    ecdf_p: float
    points: Any
    ecdf: Any
    low: Any
    high: Any

    __repr__ = words.line


class Coverage(NamedTuple):
    """How often central intervals held the truth: `share` of n, with Wilson's interval [low, high] of the share."""

    share: float
    low: float
    high: float
    hits: int
    n: int

    __repr__ = words.line


class Split(NamedTuple):
    """A posterior's error in two: `sampler`, draws against the exact posterior of the learned prior; `prior`, that one
    against the posterior of the true prior. Bounds on generative priors speak of the second."""

    sampler: Any
    prior: Any

    __repr__ = words.line


def ranks(truth: Float[Draws, "..."], draws: Float[Draws, "..."], key: Any = None) -> Int[Array, "..."]:
    """How many of the l draws of each problem are below its truth, 0 to l, entry by entry.

    Args:
        truth: one per problem.
        draws: independent draws of each problem's posterior.
        key: breaks ties at random, for laws with atoms; without it a tie is not below.
    """
    if draws.ndim < 2 or draws.shape[:1] + draws.shape[2:] != truth.shape:
        raise ValueError(f"draws: found shape {draws.shape}, expected (n, l, ...) for truths of shape {truth.shape}")
    below = jnp.sum(draws < truth[:, None], 1)
    if key is None:
        return below
    ties = jnp.sum(draws == truth[:, None], 1)
    return below + jnp.floor(jax.random.uniform(key, ties.shape) * (ties + 1)).astype(below.dtype)


def uniformity(
    key: Any, found: Int[Draws, " n"], draws: int, *, bins: int | None = None, level: float = 0.95, trials: int = 2000
) -> Uniformity:
    """Tests that ranks 0 to `draws` are uniform: Pearson's, and a simultaneous band (Saeilynoja, Buerkner & Vehtari
    2022, arXiv 2103.10522) whose pointwise binomial tails are calibrated by simulation.

    Args:
        key: of the simulation.
        found: ranks of one quantity over n problems.
        draws: l, how many draws a rank is among.
        bins: of Pearson's test; must divide `draws + 1`. By default the most that leave 5 ranks a bin, at most 20.
        level: of the band.
        trials: simulated sets of n ranks; p-values are multiples of `1 / (trials + 1)`.

    Raises:
        ValueError: ranks out of range; bins that do not divide.
    """
    found, total = np.asarray(found), draws + 1
    n = len(found)
    if n < 10 or found.min() < 0 or found.max() > draws:
        raise ValueError(f"found: {n} ranks from {found.min()} to {found.max()}, expected at least 10 in 0 to {draws}")
    if bins is None:
        bins = max(b for b in range(1, 21) if total % b == 0 and (b == 1 or n >= 5 * b))
    if bins < 2 or total % bins:
        raise ValueError(f"bins: found {bins} for {total} possible ranks and n = {n}, expected a divisor of {total}")
    counts = np.bincount(found * bins // total, minlength=bins)
    chi2, chi2_p = stats.chisquare(counts)
    points = _points(total)
    share = points / total
    bits = tuple(np.ravel(jax.random.key_data(key)).tolist())
    least, null = _band(bits, str(jax.random.key_impl(key)), n, total, trials)
    below = np.cumsum(np.bincount(found, minlength=total))[points - 1]  # how many ranks are under each point
    tail = np.quantile(null, 1 - level)
    low, high = stats.binom.ppf(tail / 2, n, share) / n, stats.binom.isf(tail / 2, n, share) / n
    p = (1 + np.sum(null <= least[below, np.arange(len(points))].min())) / (trials + 1)
    return Uniformity(float(chi2), float(chi2_p), counts, float(p), share, below / n, low, high)


def _points(total: int) -> Int[np.ndarray, " p"]:
    """Where the distribution function of `total` equally likely ranks is looked at: P(rank < point) = point / total."""
    steps = min(total, 100)
    return np.unique(np.arange(1, steps) * total // steps)


@functools.lru_cache(maxsize=32)
def _band(
    bits: tuple[int, ...], kind: str, n: int, total: int, trials: int
) -> tuple[Float[np.ndarray, "m p"], Float[np.ndarray, " t"]]:
    """The binomial tail of each number of ranks 0 to n under each point, and the least tail of each simulated set.

    Remembered, since studies judge many sets of one size by one key.
    """
    points, key = _points(total), jax.random.wrap_key_data(jnp.asarray(bits, jnp.uint32), impl=kind)
    share, k = points / total, np.arange(n + 1)[:, None]
    least = np.minimum(1, 2 * np.minimum(stats.binom.cdf(k, n, share), stats.binom.sf(k - 1, n, share)))
    simulated = np.asarray(jax.random.randint(key, (trials, n), 0, total))
    held = np.bincount((simulated + total * np.arange(trials)[:, None]).ravel(), minlength=trials * total)
    below = np.cumsum(held.reshape(trials, total), 1)[:, points - 1]
    return least, least[below, np.arange(len(points))].min(1)


def coverage(truth: Any, draws: Any, level: float = 0.9, *, confidence: float = 0.95) -> Coverage:
    """How often the draws' central interval of probability `level` holds the truth, over problems and entries.

    The interval's ends are the quantiles at `p (l + 1)`, so that of exact draws it holds the truth with probability
    `level` whatever l is (for `l >= 2 / (1 - level) - 1`; under that an error).

    Args:
        truth: (n, ...).
        draws: (n, l, ...) independent draws.
        level: in (0, 1).
        confidence: of Wilson's interval, which takes all n times entries for independent: of correlated entries give
            one at a time.

    Raises:
        ValueError: shapes that do not fit; a level outside (0, 1); too few draws for it; draws that are not finite.
    """
    truth, draws = np.asarray(truth, np.float64), np.asarray(draws, np.float64)
    if draws.ndim < 2 or draws.shape[:1] + draws.shape[2:] != truth.shape:
        raise ValueError(f"draws: found shape {draws.shape}, expected (n, l, ...) for truths of shape {truth.shape}")
    if not 0 < level < 1:
        raise ValueError(f"level: found {level}, expected a number in (0, 1)")
    tail = (1 - level) / 2
    if tail * (draws.shape[1] + 1) < 1 - 1e-9:
        raise ValueError(
            f"draws: found {draws.shape[1]} a problem, expected at least {np.ceil(1 / tail - 1 - 1e-9):.0f}"
        )
    if not (np.isfinite(draws).all() and np.isfinite(truth).all()):
        raise ValueError("draws: found values that are not finite, expected none in draws and truths")
    low, high = np.quantile(draws, (tail, 1 - tail), axis=1, method="weibull")
    held = (low <= truth) & (truth <= high)
    estimate = statistics.wilson(int(held.sum()), held.size, confidence)
    return Coverage(float(estimate.value), *estimate.interval, int(held.sum()), held.size)


def assign(draws: Float[Draws, "n d"], modes: Float[Draws, "k d"], precisions: Any = None) -> Int[Array, " n"]:
    """The mode that each draw belongs to: the nearest.

    Args:
        draws, modes: points.
        precisions: (k, d, d) inverse covariances of the modes, for Mahalanobis's distance.
    """
    away = draws[:, None] - modes
    if precisions is None:
        return jnp.argmin(jnp.sum(away**2, -1), -1)
    return jnp.argmin(jnp.einsum("nki,kij,nkj->nk", away, precisions, away), -1)


def mode_weights(draws: Float[Draws, "n d"], modes: Float[Draws, "k d"], precisions: Any = None) -> Float[Array, " k"]:
    """The share of draws at each of known modes, by `assign`. How sure it is says `latent.ess` of the indicators."""
    return jnp.mean(jax.nn.one_hot(assign(draws, modes, precisions), len(modes)), 0)


def crps(
    draws: Float[Draws, "n *of_draws"], truth: Float[Draws, "*of_truth"], *, fair: bool = False
) -> Float[Array, "..."]:
    """The continuous ranked probability score of draws, entry by entry: `E|X - y| - E|X - X'| / 2`, less is better.

    Of the draws' empirical law, by sorting, in n log n steps (Gneiting & Raftery 2007, JASA 102, equation 21).

    Args:
        draws: n draws of a law.
        truth: what happened.
        fair: divide the second term by n (n - 1) instead of n^2: unbiased for the law that the draws are of.
    """
    if draws.shape[1:] != truth.shape:
        raise ValueError(f"draws: found shape {draws.shape}, expected (n, ...) for a truth of shape {truth.shape}")
    n = draws.shape[0]
    ordered = jnp.sort(draws, 0)
    # Around the truth, where a sum of large numbers of both signs would lose digits.
    weights = (2 * jnp.arange(1, n + 1) - n - 1).astype(draws.dtype) / _pairs(n, fair)
    spread = jnp.tensordot(weights, ordered - truth, 1)
    return jnp.mean(jnp.abs(draws - truth), 0) - spread


def _pairs(n: int, fair: bool) -> float:
    """Their number, as a float: an integer of n^2 is more than 32 bits hold."""
    return float(n * (n - 1 if fair else n))


def energy_score(
    draws: Float[Draws, "n of_draws"], truth: Float[Draws, " of_truth"], *, fair: bool = False
) -> Float[Array, ""]:
    """The energy score `E|X - y| - E|X - X'| / 2` with Euclidean norms, less is better; of d = 1 it is `crps`.

    It compares all pairs, a row at a time: n^2 d steps, n d memory. `fair` as in `crps`.
    """
    if draws.shape[1:] != truth.shape:
        raise ValueError(f"draws: found shape {draws.shape}, expected (n, {truth.size}) as the truth")
    n = draws.shape[0]
    norms = lambda away: jnp.sqrt(jnp.sum(away**2, -1))
    pairs = jnp.sum(lax.map(lambda x: jnp.sum(norms(draws - x)), draws)) / _pairs(n, fair)
    return jnp.mean(norms(draws - truth)) - 0.5 * pairs


def split(draws: Any, learned: Any, true: Any, distance: Callable[[Any, Any], Any]) -> Split:
    """A posterior's error, divided between the sampler and the prior.

    Args:
        draws: of the sampler.
        learned: draws of the exact posterior under the learned prior.
        true: draws of the posterior under the true prior.
        distance: `distance(x, y) -> scalar`, such as those of `vrjax.inverse.distances`.
    """
    return Split(distance(draws, learned), distance(learned, true))
