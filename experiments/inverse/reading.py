"""What claims and tables are read from the study's kept numbers: rates as slopes, their differences, what bounds hold.

    sizes, few = reading.first(table["sizes"], evidence, least=5)          # where n Z is large enough
    reading.slope(sizes, errors[few])                                      # errors (n, r) of r data sets
    reading.difference(sizes, posterior[few], prior[few])                  # of the same data sets
    reading.violations(table["w1_posterior"], table["t1"])

A seed gives one number to a claim; `bootstrap` is over the data sets within a seed, for listings only. Nothing here
needs a model.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from vrjax.report.statistics import LEVEL, Estimate, equal_tails

ROUNDING = 1e-9  # of a bound: what exact arithmetic in float64 may miss it by
GAP = 0.3
"""The share of an error above which the optimiser's part of it hides the rest."""


def slope(sizes: Float[np.ndarray, " n"], errors: Float[np.ndarray, "n r"]) -> float:
    """Slope of log(mean error over data sets) over log(size), by least squares.

    Raises:
        ValueError: fewer than two sizes, another number of rows, or errors that are not above 0.
    """
    x, y = _logs(sizes, np.asarray(errors, np.float64)[None])
    return float(y[0] @ x / (x @ x))


def difference(sizes: Float[np.ndarray, " n"], one: Float[np.ndarray, "n r"], other: Float[np.ndarray, "n r"]) -> float:
    """`slope` of one less that of another, of the same data sets. Errors as in `slope`."""
    return slope(sizes, one) - slope(sizes, other)


def bootstrap(
    sizes: Float[np.ndarray, " n"],
    errors: Float[np.ndarray, "n r"],
    other: Float[np.ndarray, "n r"] | None = None,
    *,
    resamples: int = 2000,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """The slope, or with `other` the paired difference of slopes, with its interval over data sets.

    Data sets are drawn again with replacement at each size on its own, as they are independent; of a pair both numbers
    of a data set are drawn together. Errors as in `slope`.
    """
    both = np.asarray([errors] if other is None else [errors, other], np.float64)
    _, n, r = both.shape
    picks = np.random.default_rng(seed).integers(r, size=(resamples, n, r))
    again = np.take_along_axis(both[:, None], picks[None], -1)
    x, y = _logs(sizes, again)
    slopes = y @ x / (x @ x)
    value = slope(sizes, both[0]) - (slope(sizes, both[1]) if len(both) > 1 else 0.0)
    low, high = equal_tails(slopes[0] - slopes[1] if len(both) > 1 else slopes[0], level)
    return Estimate(value, float(low), float(high), r)


def _logs(sizes: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centred log sizes (n,), and the log of mean errors (..., n) of errors (..., n, r)."""
    if np.ndim(sizes) != 1 or len(sizes) < 2 or errors.shape[-2] != len(sizes):
        raise ValueError(
            f"slope: expected errors (n, r) of two sizes or more, found {errors.shape[-2:]} of {np.shape(sizes)}"
        )
    mean = errors.mean(-1)
    if not (np.isfinite(mean) & (mean > 0)).all():
        raise ValueError("slope: errors must be finite and above 0")
    x = np.log(np.asarray(sizes, np.float64))
    return x - x.mean(), np.log(mean)


def first(sizes: Float[np.ndarray, " n"], evidence: float, least: float = 5.0) -> Bool[np.ndarray, " n"]:
    """Which sizes expect at least so many data where the likelihood is: `size * evidence >= least`. Below, a posterior
    of the data hangs on one point or two, and its error has no rate."""
    return np.asarray(sizes) * evidence >= least


def resolved(
    errors: Float[np.ndarray, "n r"], part: Float[np.ndarray, "..."] | float, share: float = GAP
) -> Bool[np.ndarray, " n"]:
    """At which sizes a part of the error, the optimiser's or the noise floor of the distance, is at most this share of
    it; means over data sets. `part` is (n, r), or one number for all."""
    part = np.broadcast_to(np.asarray(part, np.float64), np.shape(errors))
    return part.mean(-1) <= share * np.asarray(errors, np.float64).mean(-1)


def violations(found: Float[np.ndarray, "..."], bound: Float[np.ndarray, "..."]) -> int:
    """How often a number is above its bound by more than rounding; a number that is not finite counts."""
    found, bound = np.broadcast_arrays(found, bound)
    return int(np.sum(~(found <= bound * (1 + ROUNDING))))


def tightness(found: Float[np.ndarray, "..."], bound: Float[np.ndarray, "..."]) -> tuple[float, float]:
    """Largest and median of numbers over their bounds."""
    share = np.asarray(found, np.float64) / np.asarray(bound, np.float64)
    return float(share.max()), float(np.median(share))


def spearman(one: Float[np.ndarray, " k"], other: Float[np.ndarray, " k"]) -> float:
    """Rank correlation."""
    return float(np.corrcoef(stats.rankdata(one), stats.rankdata(other))[0, 1])


def best(train: Float[np.ndarray, "... i"], errors: Float[np.ndarray, "... i"]) -> Float[np.ndarray, "..."]:
    """The error of the init that did best on what it was trained on."""
    pick = np.argmin(train, -1)[..., None]
    return np.take_along_axis(np.asarray(errors), pick, -1)[..., 0]


def over(
    sizes: Float[np.ndarray, " n"], errors: Float[np.ndarray, "n r k"], which: Callable[[int], Bool[np.ndarray, " n"]]
) -> list[float]:
    """`slope` of each of k observations, from the sizes that `which(k)` says."""
    return [slope(np.asarray(sizes)[which(k)], errors[which(k), :, k]) for k in range(errors.shape[-1])]
