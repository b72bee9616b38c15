"""Rates where laws are told by points, in d dimensions and of the moons: what a seed says, and rows of tables.

A prior's sliced W1 and that of each of its posteriors fall over the sizes at which five data or more are expected where
the likelihood is; an observation with fewer than `FEWEST` such sizes has no rate. W1 in all dimensions is told of the
measure of the data alone, as the middle of its bounds.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.inverse import names, reading
from experiments.inverse.config import Inverse
from experiments.inverse.rows import Rows, mean, over_seeds
from vrjax.study.tables import Tables

RESTRICTED = "restricted"
ARMS = (names.EMPIRICAL, names.GENERATOR, RESTRICTED)
FEWEST = 4
COMMON = ("dimensions", "sizes", "observed", "y")
"""Entries that have no axis of dimensions."""


def each_dimension(table: Tables) -> dict[int, Tables]:
    """A table of each dimension, as that of the moons is."""
    one = lambda at: {name: value if name in COMMON else value[at] for name, value in table.items()}
    return {int(d): one(at) for at, d in enumerate(table["dimensions"])}


def arms(table: Tables) -> list[str]:
    """Those that a table tells of."""
    return [arm for arm in ARMS if f"{arm} prior sliced w1" in table]


def slopes(table: Tables, arm: str) -> tuple[float, np.ndarray]:
    """Of sliced W1: the prior's slope over all its sizes, and (k,) each posterior's slope less the prior's over the
    same sizes, NaN where too few expect five data."""
    prior, posterior = table[f"{arm} prior sliced w1"], table[f"{arm} posterior sliced w1"]
    sizes = table["sizes"][: len(prior)]
    apart = np.full(posterior.shape[-1], np.nan)
    for k in range(len(apart)):
        few = reading.first(sizes, float(table["evidence"][k]))
        if few.sum() >= FEWEST:
            apart[k] = reading.difference(sizes[few], posterior[few, :, k], prior[few])
    return reading.slope(sizes, prior), apart


def apart(table: Tables, arm: str) -> float:
    """Posterior slope less prior slope, the mean over observations that have a rate, and over dimensions where there
    are several; NaN of none."""
    some = each_dimension(table).values() if "dimensions" in table else [table]
    return mean(np.concatenate([slopes(one, arm)[1] for one in some]))


def full(table: Tables, end: str = "middle") -> float:
    """The slope of W1 in all dimensions of the measure of the data, by one end of its bounds or their middle."""
    low, high = (table[f"{names.EMPIRICAL} prior w1 {which}"] for which in ("low", "high"))
    found = {"low": low, "high": high, "middle": (low + high) / 2}[end]
    return reading.slope(table["sizes"][: len(low)], found)


def flattened(table: Tables) -> float:
    """By how much W1 of the data falls more slowly in the highest dimension than in the lowest."""
    every = each_dimension(table)
    return full(every[max(every)]) - full(every[min(every)])


def restricted(table: Tables) -> float:
    """In the highest dimension, the slope of the mean distance between fitted and true map, of the class that holds the
    truth."""
    every = each_dimension(table)
    bound = every[max(every)][f"{RESTRICTED} bound"]
    return reading.slope(table["sizes"][: len(bound)], bound)


def dimension(study: Inverse, tables: Sequence[Tables]) -> Rows:
    """A row per dimension and arm, see `moons`."""
    if not tables:
        return []
    every = [each_dimension(table) for table in tables]
    return [{"d": d, **row} for d in every[0] for row in moons(study, [one[d] for one in every])]


def moons(study: Inverse, tables: Sequence[Tables]) -> Rows:
    """A row per arm: slopes of sliced W1 and the mean difference of the observations that have a rate, slope of W1 in
    all dimensions, errors at the largest size with their floors, the parts of a fit."""
    rows: Rows = []
    for arm in arms(tables[0]) if tables else ():
        found = [slopes(table, arm) for table in tables]
        row: dict[Any, Any] = {"arm": arm, "prior": over_seeds(study, [one for one, _ in found])}
        row["difference"] = over_seeds(study, [mean(each) for _, each in found])
        row["observations"] = int(np.isfinite(found[0][1]).sum())
        row["of"] = len(found[0][1])
        sizes = tables[0]["sizes"][: len(tables[0][f"{arm} prior sliced w1"])]
        row["sizes"] = [int(sizes[0]), int(sizes[-1])]
        for which in ("prior", "posterior"):
            row[which, "error"] = mean([table[f"{arm} {which} sliced w1"][-1] for table in tables])
            row[which, "floor"] = mean(tables[0][f"floor {which} sliced w1"])
        if arm == names.EMPIRICAL:
            row["w1"] = over_seeds(study, [full(table) for table in tables])
            row["w1 bounds"] = [mean([full(table, end) for table in tables]) for end in ("low", "high")]
        else:
            for name in ("optimisation_gap", "approximation"):
                row[name] = mean([table[f"{arm} {name}"][-1] for table in tables])
            row["debiased"] = mean([table[f"{arm} prior w1 debiased"][-1] for table in tables])
            row["debiased floor"] = mean([table[f"{arm} prior w1 floor"][-1] for table in tables])
        if arm == RESTRICTED:
            row["bound"] = over_seeds(study, [reading.slope(sizes, table[f"{arm} bound"]) for table in tables])
        rows.append(row)
    return rows
