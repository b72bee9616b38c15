"""Do the intervals cover, are the p-values honest, does the machinery find what is there? On simulated studies.

    python -m vrjax.report.coverage                  2,000 studies a row and more, two minutes of one core
    python -m vrjax.report.coverage --studies 300    a look

The rule of `vrjax.report.seeds` and the verdicts of `vrjax.report.judge` are asked what they say of studies whose truth
is known, at five and eight training seeds, each with its own test instances (nested) or all with the same (crossed).
Four tables come out, and the exit status 1 where a row misses what is wanted of it:

- coverage of the nominal 95 % interval at least .93 everywhere, and at most .97 where .9 of the variance lies between
  seeds; beside it that of the bootstrap and of Student's t on seed means, each alone, and of the wider of these two;
- the same where next to no pair differs;
- p <= .05 on noise in at most .06 of studies; beside it what flipping seeds or instances alone would give;
- a study of several primaries through interval, p-value, Holm and verdict: at most .05 of claims on noise reproduced,
  and with the registered design (`POWERED`) an effect of twice the smallest size found with at least .8.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from vrjax.report import seeds, statistics, tables
from vrjax.report.judge import judge
from vrjax.report.statistics import DESIGNS

LEAST, MOST, FALSE, NOISE, POWER = 0.93, 0.97, 0.06, 0.05, 0.8
SEEDS = (5, 8)
SHAPES = ((12, 1), (100, 1), (40, 3))
"""Instances and noises."""
SHARES = ((0.0, "mean"), (0.5, "mean"), (0.9, "mean"), (0.5, "value"), (0.9, "value"))
"""The part of the variance that is between seeds: of the mean over all, or of a single value."""
SPREADS = (0.0, 0.02, 0.04, 0.07, 0.15)
"""Standard deviations between seeds of a difference of solved rates."""
DISCORDANT, ITEMS = 0.3, 0.2
"""Share of pairs of which one arm solves it and the other does not; deviation of the difference between instances."""
SMALLEST = 0.05
POWERED = (120, 3, 0.02, 7)
"""Instances and noises of a seed, deviation between seeds, primaries: of a study that must find what is there."""
STUDIES = (POWERED, (48, 3, 0.04, 7), (48, 3, 0.15, 7), (120, 3, 0.04, 7), (120, 3, 0.04, 6), (120, 3, 0.07, 7))

Shape = tuple[int, int, int]
Make = Callable[[np.random.Generator, int, Shape, str], np.ndarray]


class Row(NamedTuple):
    """What was simulated, in words, what came out, and whether it is as wanted."""

    study: str
    found: dict[str, float]
    right: bool


def normal(share: float, of: str = "mean", *, items: float = 0.9) -> Make:
    """Makes studies [studies, seeds, instances, noises] of mean 0, of normal effects of seeds, instances and the rest.

    Args:
        share: of the variance, the part between seeds.
        of: whose variance, that of the "mean" or of a single "value".
        items: of what is not between seeds, the part between instances; the rest is noise of single entries. Crossed
            designs are hardest where it is large.
    """

    def make(rng: np.random.Generator, studies: int, shape: Shape, design: str) -> np.ndarray:
        n, units, noises = shape
        draw = lambda *size: rng.standard_normal((studies, *size))
        own = n if design == "nested" else 1
        rest = items / (own * units) + (1 - items) / (n * units * noises)
        between = share / (1 - share) * (n * rest if of == "mean" else 1)
        parts = between**0.5 * draw(n, 1, 1) + items**0.5 * draw(own, units, 1)
        return parts + (1 - items) ** 0.5 * draw(*shape)

    return make


def pairs(spread: float, effect: float = 0.0) -> Make:
    """Makes studies of differences of solved (-1, 0, 1) with mean `effect` and deviation `spread` between seeds."""

    def make(rng: np.random.Generator, studies: int, shape: Shape, design: str) -> np.ndarray:
        n, units, _ = shape
        draw = lambda *size: rng.standard_normal((studies, *size))
        mean = effect + spread * draw(n, 1, 1) + ITEMS * draw(n if design == "nested" else 1, units, 1)
        mean = np.clip(mean, -DISCORDANT, DISCORDANT)
        chance = rng.random((studies, *shape))
        return (chance < (DISCORDANT + mean) / 2).astype(float) - (chance > 1 - (DISCORDANT - mean) / 2)

    return make


def _holds(low: np.ndarray, high: np.ndarray, truth: float) -> float:
    return float(((low <= truth) & (truth <= high)).mean())


def coverage(studies: int, resamples: int, shapes: Sequence[tuple[int, int]] = SHAPES) -> Iterator[Row]:
    """How often the interval holds the truth, and how wide it is beside Student's t on seed means."""
    for n, design, (units, noises) in ((n, d, s) for n in SEEDS for d in DESIGNS for s in shapes):
        for share, of in SHARES:
            rng = np.random.default_rng([n, units, int(10 * share)])
            data = normal(share, of)(rng, studies, (n, units, noises), design)
            _, low, high, _ = (np.asarray(x) for x in seeds.interval(data, design=design, resamples=resamples))
            boot = statistics.hierarchical_bootstrap(data, design=design, resamples=resamples)
            mean, per_seed = data.mean((1, 2, 3)), data.mean((2, 3))
            half = stats.t.isf(0.025, n - 1) * per_seed.std(axis=1, ddof=1) / n**0.5
            t_low, t_high, b_low, b_high = mean - half, mean + half, np.asarray(boot.low), np.asarray(boot.high)
            longer = b_high - b_low > 2 * half
            found = {
                "coverage": _holds(low, high, 0.0),
                "bootstrap alone": _holds(b_low, b_high, 0.0),
                "t alone": _holds(t_low, t_high, 0.0),
                "wider of these": _holds(np.where(longer, b_low, t_low), np.where(longer, b_high, t_high), 0.0),
                "width / t's": float((high - low).mean() / (2 * half).mean()),
            }
            right = found["coverage"] >= LEAST and (found["coverage"] <= MOST or share < 0.9)
            yield Row(f"{n} seeds, {design}, {units} x {noises}, {share:.1f} of a {of}'s variance", found, right)


def rare(studies: int, resamples: int) -> Iterator[Row]:
    """Coverage where next to no pair differs: there the exact interval speaks."""
    for n, rate in ((n, rate) for n in SEEDS for rate in (0.001, 0.003, 0.01, 0.03)):
        rng = np.random.default_rng([n, int(1e4 * rate)])
        data = (rng.random((studies, n, 40, 1)) < rate).astype(float)
        _, low, high, _ = (np.asarray(x) for x in seeds.interval(data, bounds=(-1, 1), resamples=resamples))
        boot = statistics.hierarchical_bootstrap(data, design="nested", resamples=resamples)
        found = {
            "coverage": _holds(low, high, rate),
            "bootstrap alone": _holds(np.asarray(boot.low), np.asarray(boot.high), rate),
            "width": float((high - low).mean()),
        }
        yield Row(f"{n} seeds, nested, 40 x 1, {rate} of pairs differ", found, found["coverage"] >= LEAST)


def false_positives(studies: int, resamples: int, units: Sequence[int] = (12, 48)) -> Iterator[Row]:
    """How often p <= .05 on noise, by the rule and by its parts."""
    kinds = {f"pairs, seeds' deviation {spread:.2f}": pairs(spread) for spread in SPREADS}
    kinds |= {f"normal, {share:.1f} of the mean's variance": normal(share) for share, of in SHARES if of == "mean"}
    rate = lambda p: float((p <= 0.05).mean())
    for n, design, items in ((n, d, i) for n in SEEDS for d in DESIGNS for i in units):
        for told, make in kinds.items():
            data = make(np.random.default_rng([n, items]), studies, (n, items, 1), design)
            flip = lambda means: statistics.sign_flip(means.T, side="greater", resamples=resamples)
            by_seed = flip(data.mean((2, 3)))
            by_item = flip(data.mean((1, 3)) if design == "crossed" else data.reshape(studies, -1))
            found = {
                "rule": rate(seeds.p_value(data, design=design, resamples=resamples)),
                "seeds flipped": rate(by_seed),
                "instances flipped": rate(by_item),
                "larger of these": rate(np.maximum(by_seed, by_item)),
            }
            yield Row(f"{n} seeds, {design}, {items} x 1, {told}", found, found["rule"] <= FALSE)


def machinery(
    studies: int, resamples: int, sizes: Sequence[tuple[int, int, float, int]] = STUDIES, *, group: int = 100
) -> Iterator[Row]:
    """Studies of eight seeds and several primaries through the whole machinery: on noise alone, and with one effect
    planted among noise, of the smallest size of interest and of twice that."""
    for size, design in ((size, d) for size in sizes for d in DESIGNS):
        units, noises, spread, primaries = size
        rng = np.random.default_rng([units, int(100 * spread)])
        effects = [0.0] * primaries + [SMALLEST, 2 * SMALLEST]
        yes: list[np.ndarray] = []
        for start in range(0, studies, group):
            few = min(group, studies - start)
            made = [pairs(spread, effect)(rng, few, (8, units, noises), design) for effect in effects]
            data = np.stack(made, axis=1)
            found = seeds.interval(data, design=design, bounds=(-1, 1), resamples=resamples, seed=start)
            p = seeds.p_value(data, design=design, resamples=resamples, seed=start)
            value, low, high, _ = (np.asarray(x) for x in found)
            yes += [_reproduced(*each) for each in zip(value, low, high, p, strict=True)]
        noise, planted = np.stack(yes)[:, :primaries], np.stack(yes)[:, primaries:].mean(0)
        out = {
            "studies": float(len(yes)),
            "noise reproduced": float(noise.mean()),
            "studies with any": float(noise.any(1).mean()),
            "smallest effect found": float(planted[0]),
            "twice that found": float(planted[1]),
        }
        right = out["noise reproduced"] <= NOISE and (size != POWERED or out["twice that found"] >= POWER)
        told = f"8 seeds, {design}, {units} x {noises}, seeds' deviation {spread:.2f}, {primaries} primaries"
        yield Row(told, out, right)


def _reproduced(value: np.ndarray, low: np.ndarray, high: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Which of a study's primaries are: all but the last two together, then each of these in the first's place."""
    noise = len(p) - 2
    adjusted = statistics.holm(p[:noise]).adjusted.tolist()
    adjusted += [statistics.holm([*p[1:noise], p[i]]).adjusted[-1] for i in (noise, noise + 1)]
    each = zip(value, low, high, adjusted, strict=True)
    return np.array([judge(v, (a, b), smallest=SMALLEST, primary=True, holm=h) == "reproduced" for v, a, b, h in each])


PARTS: dict[str, tuple[Callable[[int, int], Iterator[Row]], int]] = {
    "Coverage of the 95 % interval": (coverage, 1),
    "Coverage where next to no pair differs": (rare, 1),
    "p <= .05 on noise": (false_positives, 5),
    "The whole machinery": (machinery, 1),
}
"""Parts of the command, and how many times as many studies each can afford."""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status, 1 where a row misses what is wanted."""
    how = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m vrjax.report.coverage", description=__doc__, formatter_class=how)
    parser.add_argument("--studies", type=int, default=2000, help="simulated for each row (2000)")
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap and of random flips (1000)")
    given = parser.parse_args(argv)
    wrong = 0
    for title, (part, times) in PARTS.items():
        rows = list(part(times * given.studies, given.resamples))
        head = ("study", *rows[0].found, "as wanted")
        cells = [
            [
                r.study,
                *(f"{x:.0f}" if name == "studies" else f"{x:.3f}" for name, x in r.found.items()),
                "yes" if r.right else "NO",
            ]
            for r in rows
        ]
        print(f"{title}\n\n{tables.markdown(head, cells)}", flush=True)
        wrong += sum(not row.right for row in rows)
    print(f"{wrong} rows are not as wanted" if wrong else "all rows are as wanted")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
