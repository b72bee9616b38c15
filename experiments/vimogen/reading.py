"""What claims and tables are read from: the kept parts of a run, seed by seed, gates as choices between two arms.

    (first, *others) = reading.gathered(study, kept)             # a Seed each
    first.values("adaptive gate", "recogniser", "V")             # one number per motion of V
    reading.difference(seeds, "student", "control", "rules", "distilled")       # (seed, item, 1)

Nothing here needs a model. The random gate is no draw but the mean of all: each of its motions comes from a reference
with the probability with which the adaptive gate chose that in the item's group.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from experiments.vimogen import gates, names
from experiments.vimogen.config import SETS, ViMoGen
from vrjax.bench import humanml3d
from vrjax.motion.program import Script, verbs
from vrjax.motion.program.splits import UNSEEN_VERBS
from vrjax.report import seeds as statistics
from vrjax.report.statistics import Estimate
from vrjax.study.tables import Tables

PARTS = ("action", "arms", "side", "hand", "count")
"""Columns of `parts` in an arm's table; see `recogniser.Parts`."""
DISTILLED, OTHERS = "distilled", "not distilled"
ITEMS = ("all", *SETS, "S and C", "C and V", DISTILLED, OTHERS)
"""Which items: sets, and those of V whose unseen verbs the student's clips show, or not all of them."""
JUDGED: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "rules": lambda rules, seen: rules,
    "recogniser": lambda rules, seen: seen,
    "both": np.logical_and,
    "either": np.logical_or,
    "agree": np.equal,
}
"""What two judges say together."""
BATCH = humanml3d.BATCH


@dataclasses.dataclass(frozen=True)
class Seed:
    """What was kept of one training seed.

    Attributes:
        study: sizes of the run.
        number: of the seed.
        kept: all parts of the run, by name.
    """

    study: ViMoGen
    number: int
    kept: Mapping[str, Tables]

    def has(self, *what: str) -> bool:
        """Whether all of these arms and parts are there; a gate is, where both of its branches are."""
        needed = [(names.T2M, names.M2M, names.ITEMS) if one in names.GATES else (one,) for one in what]
        return all(names.part(self.number, one) in self.kept for few in needed for one in few)

    def table(self, what: str) -> Tables:
        """A part as it was kept.

        Raises:
            ValueError: it is not of as many motions as the study's sizes say.
        """
        name = names.part(self.number, what)
        found = self.kept[name]
        n = len(next(iter(found.values())))
        if what in (*names.ARMS, names.ITEMS) and n != len(SETS) * self.study.items:
            raise ValueError(f"{name}: {n} motions, expected {self.study.items} of each of {len(SETS)} sets")
        return found

    def values(self, arm: str, metric: str, items: str = "all") -> Float[np.ndarray, " n"]:
        """A number per motion: what judges say (`JUDGED`, `PARTS`), MBench's metrics by name, or "match"."""
        return self._all(arm, metric)[self.where(items)]

    def mean(self, arm: str, metric: str, items: str = "all") -> float:
        """Of `values`."""
        return float(self.values(arm, metric, items).mean())

    def _all(self, arm: str, metric: str) -> Float[np.ndarray, " n"]:
        if arm == names.RANDOM:
            return self.rates * self._all(names.M2M, metric) + (1 - self.rates) * self._all(names.T2M, metric)
        if arm in self.choices:
            return gates.mixed(self.choices[arm], self._all(names.T2M, metric), self._all(names.M2M, metric))
        table = self.table(arm)
        if metric in JUDGED:
            found = JUDGED[metric](table["rules"], table["recogniser"])
        elif metric in names.METRICS:
            found = table["metrics"][:, names.METRICS.index(metric)]
        else:
            found = table["parts"][:, PARTS.index(metric)] if metric in PARTS else table[metric]
        return np.asarray(found, np.float64)

    def features(self, arm: str) -> Float[np.ndarray, "n d"]:
        """The matcher's of all motions of an arm, of a gate that is no mean of several too."""
        if arm in self.choices:
            return gates.mixed(self.choices[arm], self.features(names.T2M), self.features(names.M2M))
        return np.asarray(self.table(arm)["features"], np.float64)

    @functools.cached_property
    def script(self) -> Script:
        """Of all items."""
        return Script(*np.asarray(self.table(names.ITEMS)["script"], np.int64).T)

    @functools.cached_property
    def choices(self) -> dict[str, Bool[np.ndarray, " n"]]:
        """Gate -> which items get their motion from a reference; of those gates that are there."""
        if not self.has(*names.GATES):
            return {}
        table, solved = self.table(names.ITEMS), lambda arm: self.table(arm)["rules"]
        return {
            names.ADAPTIVE: np.asarray(gates.adaptive(table["jitter"], table["cosine"], self.study.gate)),
            names.ORACLE: np.asarray(gates.oracle(solved(names.T2M), solved(names.M2M))),
        }

    @functools.cached_property
    def rates(self) -> Float[np.ndarray, " n"]:
        """Of the random gate: the share of an item's group that the adaptive gate gives to M2M."""
        return gates.rates(self.choices[names.ADAPTIVE], gates.groups(np.stack(self.script, 1), self.study.items))

    def where(self, items: str) -> Bool[np.ndarray, " n"]:
        """Which of all items are meant, see `ITEMS`."""
        which = np.repeat(np.arange(len(SETS)), self.study.items)
        if items in (DISTILLED, OTHERS):
            shown = taught(self.study, self.script)
            return (which == SETS.index("V")) & (shown if items == DISTILLED else ~shown)
        return np.isin(which, [i for i, name in enumerate(SETS) if items == "all" or name in items.split(" and ")])

    def found(self, arm: str, items: str = "all") -> float:
        """R@1: how often a text's own motion is the nearest of 32, in batches as they come."""
        mask = self.where(items)
        text, motion = np.asarray(self.table(names.ITEMS)["text features"], np.float64)[mask], self.features(arm)[mask]
        return float(humanml3d.r_precision(text, motion, min(BATCH, len(text)), top=1)[0])

    def far(self, arm: str, other: str) -> float:
        """Mean distance of the matcher's features of two arms' motions, item by item: a dose."""
        return float(np.linalg.norm(self.features(arm) - self.features(other), axis=1).mean())


def unseen(script: Script) -> list[tuple[str, ...]]:
    """The verbs of each script that mocap lacks."""
    both = zip(np.atleast_1d(script.lower), np.atleast_1d(script.upper), strict=True)
    said = ((verbs.LOWER[int(lower)].name, verbs.UPPER[int(upper)].name) for lower, upper in both)
    return [tuple(name for name in pair if name in UNSEEN_VERBS) for pair in said]


def taught(study: ViMoGen, script: Script) -> Bool[np.ndarray, " n"]:
    """Of which scripts the student's clips show all verbs that mocap lacks; true for scripts that have none."""
    return np.array([set(found) <= set(study.distilled) for found in unseen(script)], bool)


def gathered(study: ViMoGen, kept: Mapping[str, Tables]) -> list[Seed]:
    """The seeds of which something can be judged: those whose items are there."""
    found = [Seed(study, number, kept) for number in study.seeds]
    return [seed for seed in found if seed.has(names.ITEMS)]


def there(seeds: Sequence[Seed], *what: str, items: str = "all") -> bool:
    """Whether every seed has all of these arms and parts, and such items."""
    return all(seed.has(*what) and seed.where(items).any() for seed in seeds)


def values(seeds: Sequence[Seed], arm: str, metric: str, items: str = "all") -> Float[np.ndarray, "seed n 1"]:
    """Of all seeds; as many items of every seed as the one with the fewest has."""
    rows = [seed.values(arm, metric, items) for seed in seeds]
    return np.stack([row[: min(map(len, rows))] for row in rows])[..., None]


def difference(
    seeds: Sequence[Seed], one: str, other: str, metric: str, items: str = "all"
) -> Float[np.ndarray, "seed n 1"]:
    """Of two arms, item by item."""
    return values(seeds, one, metric, items) - values(seeds, other, metric, items)


def share(study: ViMoGen, seeds: Sequence[Seed], arm: str, metric: str, items: str = "all") -> Estimate:
    """The mean of something between 0 and 1 with its interval, seeds as the unit."""
    return statistics.interval(values(seeds, arm, metric, items), bounds=(0, 1), resamples=study.resamples)


# -------------------------------------------------------------------------------------------- of a seed's arms together


class Judges(NamedTuple):
    """How far two judges agree on motions: how often, how often by chance, and Cohen's kappa, None where chance alone
    gives full agreement."""

    agree: float
    chance: float
    kappa: float | None


def agreement(rules: Bool[np.ndarray, " n"], seen: Bool[np.ndarray, " n"]) -> Judges:
    """Of two judges of the same motions."""
    p, q = float(np.mean(rules)), float(np.mean(seen))
    agree, chance = float(np.mean(rules == seen)), p * q + (1 - p) * (1 - q)
    return Judges(agree, chance, (agree - chance) / (1 - chance) if chance < 1 else None)


def kappa(seed: Seed, arms: Sequence[str]) -> float:
    """Cohen's kappa of rules and recogniser over all motions of some arms; 0 where it says nothing."""
    both = [np.concatenate([seed.table(arm)[judge] for arm in arms]) for judge in ("rules", "recogniser")]
    return agreement(*both).kappa or 0.0


def ranks(seed: Seed, arms: Sequence[str]) -> float:
    """Spearman's correlation over arms of the matcher's R@1 with the share that the recogniser calls solved; 0 where
    one of them does not vary."""
    from scipy.stats import rankdata

    pair = [[seed.found(arm) for arm in arms], [seed.mean(arm, "recogniser") for arm in arms]]
    first, second = (rankdata(np.round(row, 9)) for row in pair)
    if not np.ptp(first) or not np.ptp(second):
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
