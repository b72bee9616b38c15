"""Seeds as the unit: interval, p-value and share of variance of a mean over a few training seeds.

Values are [training seeds, instances, noises]. Seeds are few (five, eight) and often what varies most. A bootstrap over
five seeds covers .86 instead of .95 then, and flipping the signs of instances alone calls noise an effect in a quarter
of all studies. So (`python -m vrjax.report.coverage` shows both, and what this file's rule does instead):

**The interval** (`interval`) has at either end the outer one of

- the hierarchical bootstrap over seeds, instances and noises;
- Student's t on the seeds' means, which is right whatever the instances do as long as each seed has its own ("nested");
- where all seeds share their instances ("crossed"), Student's t on both, seeds' and instances' means, with
  Satterthwaite's degrees of freedom: what is common to all seeds is not in their means, and twelve instances are few
  for a bootstrap. The wider of the first two alone covers .91 to .93 where instances hold half of the variance or all;
- where hardly any instance differs from all the others (fewer than `FEW`): the exact interval of `rare`.

**The p-value** (`p_value`) flips the signs of whole seeds, all 2^seeds patterns, one-sided in the registered direction:
at best 1/256 with eight seeds, 1/32 with five. In crossed designs it is the largest of that, of flipping whole
instances, and of the t-test on both: where both vary, each of the two flips leaves out the other's variance, and even
their maximum is below .05 in .07 to .09 of studies of noise.

**The share** (`components`) of the variance of the mean that lies between seeds says which of more seeds and more
instances would help.

With one seed all of this speaks of that seed only: its instances are the unit, and its p-value is not below 1/2.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from vrjax.report import statistics
from vrjax.report.statistics import LEVEL, RESAMPLES, Estimate

FEW = 5
"""Fewer instances than this that differ from the rest are too few for a bootstrap or a normal law."""
SIDES = ("greater", "less", "equal", "either")

Bounds = tuple[float | int, float | int] | None


class Components(NamedTuple):
    """Where a mean's variance comes from.

    Attributes:
        seeds: variance between training seeds, beyond what their instances explain.
        instances: variance between instances that all seeds share; 0 in nested designs.
        rest: variance of one seed's instances (nested), or of what neither explains (crossed).
        share: of the variance of the mean, the part between seeds, 0..1; None with one seed or one instance.
    """

    seeds: float
    instances: float
    rest: float
    share: float | None


def instances(values: ArrayLike, design: str) -> int:
    """How many different test instances values [seeds, instances, noises] speak of."""
    seeds, units, _ = np.shape(values)[-3:]
    return units if design == "crossed" else seeds * units


def interval(
    values: ArrayLike,
    *,
    design: str = "nested",
    bounds: Bounds = None,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """The mean with its interval, by the rule at the top of this file.

    Args:
        values: [seeds, instances, noises]; axes before these are studies of one shape.
        design: "nested" (each seed has its own instances) or "crossed" (all share them).
        bounds: the smallest and largest value that one entry can have, (-1, 1) for differences of two solved; None
            where there is no such bound.
        resamples, level, seed: of the bootstrap.

    Returns:
        The estimate; its ends are infinite where the values say nothing of how far the mean may be off: all equal, or
        all but one instance, and without bounds.

    Raises:
        ValueError: not three axes, NaN, an unknown design, or a value out of bounds.
    """
    data = statistics.studies(values, design)
    varying = tuple(axis for axis in (0, 1, 2) if data.shape[axis - 3] > 1)
    found = statistics.hierarchical_bootstrap(
        data, resample=varying, design=design, resamples=resamples, level=level, seed=seed
    )
    mean, low, high = (np.asarray(x) for x in found[:3])
    for error, freedom in _errors(data, design):
        half = stats.t.isf(statistics.tail(level), freedom) * error
        low, high = np.minimum(low, mean - half), np.maximum(high, mean + half)
    exact_low, exact_high = rare(data, design=design, bounds=bounds, level=level)
    low, high = np.minimum(low, exact_low), np.maximum(high, exact_high)
    if data.ndim == 3:
        return Estimate(float(mean), float(low), float(high), found.n)
    return Estimate(mean, low, high, found.n)


def _errors(data: np.ndarray, design: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Standard errors of the mean with their degrees of freedom, one pair for every way to look at the values."""
    seeds, units = data.shape[-3:-1]
    square = lambda means: means.var(axis=-1, ddof=1) / means.shape[-1]
    of_seeds = square(data.mean(axis=(-2, -1))) if seeds > 1 else None
    of_units = square(data.mean(axis=(-3, -1))) if units > 1 else None
    if of_seeds is not None:
        yield np.sqrt(of_seeds), np.full(of_seeds.shape, seeds - 1.0)
    elif of_units is not None:
        yield np.sqrt(of_units), np.full(of_units.shape, units - 1.0)
    if design == "crossed" and of_seeds is not None and of_units is not None:
        # The sum holds the noise of single entries twice: too long where there is nothing else, never too short.
        both = of_seeds + of_units
        parts = of_seeds**2 / (seeds - 1) + of_units**2 / (units - 1)
        yield np.sqrt(both), np.divide(both**2, parts, out=np.full(both.shape, seeds - 1.0), where=parts > 0)


def rare(
    values: ArrayLike, *, design: str = "nested", bounds: Bounds = None, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """The exact interval of a mean where nearly all instances have one value; the one rule for the degenerate case.

    With n instances of which u have an entry above the common value c, and d one below, the shares of such instances
    are at most those of Clopper and Pearson's two-sided intervals, and each moves the mean at most to a bound:

        [c - upper(d) (c - lowest), c + upper(u) (highest - c)]

    For solved of n, all or none, this is Clopper and Pearson's interval itself.

    Args:
        values, design, bounds, level: as in `interval`.

    Returns:
        (low, high); infinite without bounds where at most one instance differs; (inf, -inf), which widens nothing,
        where `FEW` or more instances differ.
    """
    data = statistics.studies(values, design)
    if bounds is not None and (data.min() < bounds[0] or data.max() > bounds[1]):
        raise ValueError(f"values: found {data.min()}..{data.max()}, out of the bounds {tuple(bounds)}")
    centre = np.median(data, axis=(-3, -2, -1), keepdims=True)
    axes = (-3, -1) if design == "crossed" else (-1,)
    over = lambda where: where.any(axis=axes).reshape(*data.shape[:-3], -1)
    above, below = over(data > centre), over(data < centre)
    n, centre = above.shape[-1], centre[..., 0, 0, 0]
    differ, up, down = (np.asarray(x.sum(axis=-1)) for x in (above | below, above, below))
    few = (differ < FEW) & (2 * differ < n)
    if bounds is None:
        none = few & (differ <= 1)
        return np.where(none, -np.inf, np.inf), np.where(none, np.inf, -np.inf)
    reach = lambda k: np.asarray(statistics.clopper_pearson(k, n, level).high)
    low = centre - reach(down) * (centre - bounds[0])
    high = centre + reach(up) * (bounds[1] - centre)
    return np.where(few, low, np.inf), np.where(few, high, -np.inf)


def p_value(
    values: ArrayLike,
    *,
    design: str = "nested",
    side: str = "greater",
    null: float | int = 0.0,
    smallest: float | int = 0.0,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """p-value of a mean by the rule at the top of this file.

    Args:
        values, design: as in `interval`.
        side: "greater" or "less" than `null`; "equal" to it, that is by less than `smallest` (the larger of the two
            one-sided tests); "either", for what has no registered direction: twice the smaller.
        null: what the mean is compared with.
        smallest: smallest effect of interest, for "equal".
        resamples, seed: random patterns where there are too many to enumerate; up to 16 seeds are enumerated always.

    Returns:
        One value for each study, a 0-d array for one.
    """
    if side not in SIDES:
        raise ValueError(f"side: expected one of {SIDES}, found {side!r}")
    excess = statistics.studies(values, design) - null
    above = lambda data: _above(data, design, resamples, seed)
    if side == "greater":
        return above(excess)
    if side == "less":
        return above(-excess)
    if side == "equal":
        return np.asarray(np.maximum(above(smallest + excess), above(smallest - excess)))
    return np.asarray(np.minimum(1.0, 2 * np.minimum(above(excess), above(-excess))))


def _above(data: np.ndarray, design: str, resamples: int, seed: int) -> np.ndarray:
    """One-sided p-value of a mean above 0."""
    seeds = data.shape[-3]
    flipped = lambda means, patterns: statistics.sign_flip(
        np.moveaxis(means, -1, 0), side="greater", resamples=patterns, seed=seed
    )
    p = flipped(data.mean(axis=(-2, -1)), max(resamples, 2 ** min(seeds, 16)))
    if design == "crossed":
        p = np.maximum(p, flipped(data.mean(axis=(-3, -1)), resamples))
        mean = data.mean(axis=(-3, -2, -1))
        for error, freedom in list(_errors(data, design))[-1:]:  # of both, where there are several seeds
            ratio = np.divide(mean, error, out=np.where(mean > 0, np.inf, -np.inf), where=error > 0)
            p = np.maximum(p, stats.t.sf(ratio, freedom))
    return np.asarray(p)


def components(values: ArrayLike, design: str = "nested") -> Components:
    """Variance components of values [seeds, instances, noises] by analysis of variance, negative ones as 0."""
    data = statistics.studies(values, design)
    if data.ndim != 3:
        raise ValueError(f"values: expected 3 axes, found shape {data.shape}")
    entry = data.mean(axis=-1)
    seeds, units = entry.shape
    if min(seeds, units) < 2:
        return Components(0.0, 0.0, float(entry.var(ddof=1)) if entry.size > 1 else 0.0, None)
    of_seeds = entry.mean(axis=1)
    if design == "nested":
        rest, between = float(entry.var(axis=1, ddof=1).mean()), 0.0
    else:
        of_units = entry.mean(axis=0)
        left = entry - of_seeds[:, None] - of_units + entry.mean()
        rest = float((left**2).sum() / ((seeds - 1) * (units - 1)))
        between = max(0.0, float(of_units.var(ddof=1)) - rest / seeds)
    among = max(0.0, float(of_seeds.var(ddof=1)) - rest / units)
    whole = among / seeds + between / units + rest / (seeds * units)
    return Components(among, between, rest, among / seeds / whole if whole > 0 else None)
