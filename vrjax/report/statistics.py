"""Intervals and tests of numbers: NumPy and SciPy only, every random draw seeded.

The unit of every comparison is a *pair*: the same training seed, the same test instance and the same noise seed under
two arms. What is resampled or flipped are the differences of pairs. A claim over training seeds is not judged with one
of these by itself, but by the rule that `vrjax.report.seeds` makes of them.

| question | function |
| --- | --- |
| how sure is one solved-rate? | `wilson`, `clopper_pearson` (exact) |
| by how much do two arms differ, over seeds and instances? | `hierarchical_bootstrap` |
| where on a curve over steps or blocks? | `cluster_bootstrap`, `sign_flip` + `holm` |

All intervals are equal-tailed: a level of 0.95 cuts 2.5 % on each side.
"""

import functools
import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

LEVEL = 0.95
RESAMPLES = 10_000
_CHUNK = 4_000_000  # numbers gathered at once by a bootstrap: 32 MB of float64
_CACHED = 100_000  # numbers that a processor's cache holds
_KEPT = 40_000_000  # counts of a bootstrap's draws that are kept, of six shapes: 40 MB each

Design = Literal["nested", "crossed"]
"""Whether each training seed has its own test instances, or all share them."""
DESIGNS = ("nested", "crossed")


class Estimate(NamedTuple):
    """A number or a curve with its equal-tailed interval.

    `value`, `low`, `high` are floats, or arrays of one shape for curves; `n` is the number of independent units that
    were resampled (instances, clusters), or of trials for a proportion.
    """

    value: float | np.ndarray
    low: float | np.ndarray
    high: float | np.ndarray
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """(low, high) of a scalar estimate."""
        return float(self.low), float(self.high)


class Holm(NamedTuple):
    """Holm's step-down correction: adjusted p-values and which hypotheses are rejected, in the order given."""

    adjusted: np.ndarray
    rejected: np.ndarray


def _finite(name: str, values: ArrayLike, ndim: int | None = None) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name}: expected {ndim} axes, found shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name}: empty, shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: {int((~np.isfinite(array)).sum())} of {array.size} values are NaN or infinite")
    return array


def studies(values: ArrayLike, design: str) -> np.ndarray:
    """Values as float64 [..., training seeds, instances, noise seeds], checked, and so the design.

    Raises:
        ValueError: fewer than three axes, NaN, or an unknown design.
    """
    data = _finite("values", values)
    if data.ndim < 3:
        raise ValueError(f"values: expected 3 axes (training seeds, instances, noises), found shape {data.shape}")
    if design not in DESIGNS:
        raise ValueError(f"design: expected one of {DESIGNS}, found {design!r}")
    return data


def tail(level: float) -> float:
    """The mass that an equal-tailed interval cuts on each side."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: expected a number between 0 and 1, found {level}")
    return (1.0 - level) / 2.0


def _count(name: str, value: int, least: int = 1) -> int:
    if value < least:
        raise ValueError(f"{name}: expected at least {least}, found {value}")
    return int(value)


def equal_tails(samples: ArrayLike, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """The equal-tailed quantiles of samples along their first axis.

    Args:
        samples: [resamples, ...]; finite.
        level: mass kept between the two ends.

    Returns:
        (low, high), each of the shape of one sample.
    """
    array = _finite("samples", samples)
    cut = tail(level)
    low, high = np.quantile(array, (cut, 1.0 - cut), axis=0)
    return np.asarray(low), np.asarray(high)


def wilson(successes: int, n: int, level: float = LEVEL) -> Estimate:
    """Wilson's score interval of a proportion (Wilson 1927): the rates that a two-sided z-test would not reject.

    Args:
        successes: 0..n.
        n: trials, at least 1.
        level: coverage aimed at.

    Raises:
        ValueError: `successes` outside 0..n, or no trials.
    """
    n = _count("n", n)
    if not 0 <= successes <= n:
        raise ValueError(f"successes: expected 0..{n}, found {successes}")
    z = stats.norm.isf(tail(level))
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # The ends are exactly 0 and 1 at the extremes; rounding would miss them by 1e-17.
    low = 0.0 if successes == 0 else float(centre - half)
    high = 1.0 if successes == n else float(centre + half)
    return Estimate(rate, low, high, n)


def clopper_pearson(successes: int | np.ndarray, n: int, level: float = LEVEL) -> Estimate:
    """The exact two-sided interval of a proportion (Clopper and Pearson 1934): it never covers less than its level.

    Args:
        successes: 0..n, one or an array of them.
        n: trials, at least 1.
        level: coverage at least.

    Raises:
        ValueError: `successes` outside 0..n, or no trials.
    """
    n, k = _count("n", n), np.asarray(successes)
    if ((k < 0) | (k > n)).any():
        raise ValueError(f"successes: expected 0..{n}, found {k.min()}..{k.max()}")
    cut = tail(level)
    low = np.where(k == 0, 0.0, stats.beta.ppf(cut, np.maximum(k, 1), n - k + 1))
    high = np.where(k == n, 1.0, stats.beta.isf(cut, k + 1, np.maximum(n - k, 1)))
    if k.ndim == 0:
        return Estimate(float(k / n), float(low), float(high), n)
    return Estimate(k / n, low, high, n)


def hierarchical_bootstrap(
    values: ArrayLike,
    *,
    resample: tuple[int, ...] = (0, 1, 2),
    design: str = "crossed",
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """Interval of a mean over training seeds, test instances and noise seeds, each level resampled with replacement.

    Training seeds are drawn first, then instances, then noise seeds within each (training seed, instance). If entry
    `[:, i]` is the *same* test instance under every training seed (`"crossed"`), one draw of instances serves all
    training seeds (Owen's pigeonhole bootstrap, 2007); otherwise (`"nested"`) every training seed draws its own.
    Treating shared instances as nested counts each as several and gives intervals that are too short.

    Resampling every level counts the noise of the lowest level once per level, so the interval is conservative when
    that noise dominates: up to sqrt(3) times too long (crossed) where neither training seeds nor instances differ.
    Levels left out of `resample` are kept as they are. With few training seeds it is too short where they dominate
    (.86 instead of .95 with five): see `vrjax.report.seeds`.

    Args:
        values: [training seeds, instances, noise seeds], for example the paired differences of two arms; axes before
            these are studies of one shape, which share the draws.
        resample: the axes to resample, a subset of (0, 1, 2).
        design: "crossed" or "nested".
        resamples: bootstrap draws.
        level: mass between the ends.
        seed: of NumPy's generator; equal seed, equal interval.

    Returns:
        Estimate of the mean; `n` = number of entries of a study.

    Raises:
        ValueError: not three axes, NaN, or an unknown option.
    """
    data = studies(values, design)
    if not set(resample) <= {0, 1, 2}:
        raise ValueError(f"resample: expected axes out of (0, 1, 2), found {resample}")
    many, entries = data.shape[:-3], math.prod(data.shape[-3:])
    # Averaging noise seeds first is exact when they are not resampled, and saves most of the work.
    if 2 not in resample:
        data = data.mean(axis=-1, keepdims=True)
    trainings, units, noises = data.shape[-3:]
    flat = data.reshape(-1, trainings * units * noises)
    cells = flat.shape[1]
    how = ((trainings, units, noises), tuple(sorted(set(resample))), design, _count("resamples", resamples), seed)
    # Claims and arms of a study mostly have one shape, and so the same draws, which are most of the work.
    drawn = _kept_draws(*how) if cells * resamples < _KEPT else _draws(*how)
    means = np.concatenate([(times / cells) @ flat.T for times in drawn])
    low, high = equal_tails(means, level)
    value = flat.mean(axis=1)
    if not many:
        return Estimate(float(value[0]), float(low[0]), float(high[0]), entries)
    return Estimate(value.reshape(many), low.reshape(many), high.reshape(many), entries)


def _draws(
    shape: tuple[int, int, int], resample: tuple[int, ...], design: str, resamples: int, seed: int
) -> Iterator[np.ndarray]:
    """How often every entry is drawn in every resample, in chunks [resamples, entries]."""
    trainings, units, noises = shape
    cells = trainings * units * noises
    rng = np.random.default_rng(seed)
    chunk = max(1, _CACHED // cells)
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        t = np.arange(trainings)[:, None, None]
        i, e = np.arange(units)[:, None], np.arange(noises)
        if 0 in resample:
            t = rng.integers(trainings, size=(size, trainings, 1, 1))
        if 1 in resample:
            i = rng.integers(units, size=(size, 1 if design == "crossed" else trainings, units, 1))
        if 2 in resample and noises > 1:
            e = rng.integers(noises, size=(size, trainings, units, noises))
        place = np.broadcast_to((t * units + i) * noises + e, (size, trainings, units, noises)).reshape(size, cells)
        place = place + cells * np.arange(size)[:, None]
        yield np.bincount(place.ravel(), minlength=size * cells).reshape(size, cells)


@functools.lru_cache(maxsize=6)
def _kept_draws(*how: Any) -> tuple[np.ndarray, ...]:
    return tuple(times.astype(np.uint8 if times.max() < 256 else np.uint16) for times in _draws(*how))


def cluster_bootstrap(
    values: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """Interval of a mean curve; whole clusters (an instance with all its noise seeds) are resampled, curves stay whole.

    Args:
        values: [rows, ...]: one curve (over steps, blocks, ...) per row.
        clusters: [rows] labels; rows with one label are drawn together. None: every row is its own cluster.
        resamples, level, seed: as in `hierarchical_bootstrap`.

    Returns:
        Estimate of the row mean with arrays of a curve's shape; `n` = number of clusters.
    """
    data = _finite("values", values)
    labels = np.arange(len(data)) if clusters is None else np.asarray(clusters)
    if labels.shape != (len(data),):
        raise ValueError(f"clusters: expected one label per row, shape ({len(data)},), found {labels.shape}")
    names, place = np.unique(labels, return_inverse=True)
    flat = data.reshape(len(data), -1)
    sums = np.zeros((len(names), flat.shape[1]))
    np.add.at(sums, place, flat)
    sizes = np.bincount(place, minlength=len(names)).astype(np.float64)
    rng = np.random.default_rng(seed)
    curves = np.empty((_count("resamples", resamples), flat.shape[1]))
    chunk = max(1, _CHUNK // len(names))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=size)
        curves[start : start + size] = (times @ sums) / (times @ sizes)[:, None]
    mean = flat.mean(axis=0)
    low, high = equal_tails(curves, level)
    shape = data.shape[1:]
    if not shape:
        return Estimate(float(mean[0]), float(low[0]), float(high[0]), len(names))
    return Estimate(mean.reshape(shape), low.reshape(shape), high.reshape(shape), len(names))


def sign_flip(
    differences: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    side: str = "both",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Paired permutation test: under the null the two arms of a pair may be exchanged, which flips its sign.

    Args:
        differences: [pairs, ...]; a test for every column of the trailing axes, under the same flips.
        clusters: [pairs] labels; pairs with one label flip together.
        side: "both", or "greater" for a mean above 0.
        resamples: random sign patterns. When there are no more patterns than that, all are enumerated (exact p-values).
        seed: of NumPy's generator.

    Returns:
        p-values of the mean, of the trailing shape (a 0-d array for one column). A random sample of patterns counts
        the observed one among them, so that p is valid and never 0 (Phipson and Smyth 2010).
    """
    data = _finite("differences", differences)
    if side not in ("both", "greater"):
        raise ValueError(f"side: expected 'both' or 'greater', found {side!r}")
    labels = np.arange(len(data)) if clusters is None else np.asarray(clusters)
    if labels.shape != (len(data),):
        raise ValueError(f"clusters: expected one label per pair, shape ({len(data)},), found {labels.shape}")
    names, place = np.unique(labels, return_inverse=True)
    flat = data.reshape(len(data), -1)
    sums = np.zeros((len(names), flat.shape[1]))
    np.add.at(sums, place, flat)
    sums = sums[np.any(sums != 0, axis=1)]  # clusters without a difference flip into themselves
    weigh = np.abs if side == "both" else np.asarray
    # Sums that are equal in exact arithmetic may differ in the last bits: count them as ties.
    least = weigh(sums.sum(axis=0)) - 1e-12 * np.abs(sums).sum(axis=0)
    exact = len(sums) < 63 and 2 ** len(sums) <= _count("resamples", resamples)
    total = 2 ** len(sums) if exact else resamples
    rng = np.random.default_rng(seed)
    hits = np.zeros(flat.shape[1])
    chunk = max(1, _CHUNK // max(1, len(sums), flat.shape[1]))
    for start in range(0, total, chunk):
        size = min(chunk, total - start)
        if exact:
            bits = (np.arange(start, start + size)[:, None] >> np.arange(len(sums))) & 1
        else:
            bits = rng.integers(2, size=(size, len(sums)))
        hits += (weigh((1.0 - 2.0 * bits) @ sums) >= least).sum(axis=0)
    p = hits / total if exact else (hits + 1) / (total + 1)
    return p.reshape(data.shape[1:])


def holm(p: ArrayLike, alpha: float = 0.05) -> Holm:
    """Holm's step-down correction (1979): the family-wise error stays below `alpha` under any dependence.

    Args:
        p: [hypotheses] p-values in 0..1.
        alpha: family-wise error rate.
    """
    values = _finite("p", p, 1)
    if values.min() < 0 or values.max() > 1:
        raise ValueError(f"p: expected values in 0..1, found {values.min()}..{values.max()}")
    tail(alpha)  # the same range check
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return Holm(adjusted, adjusted <= alpha)
