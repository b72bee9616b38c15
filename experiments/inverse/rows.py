"""Rows of the study's tables on rates and bounds, as numbers from kept tables alone: one function for each table.

Every function takes the tables of one experiment, one of each seed that has them, and returns a list of dicts. A number
over seeds is a dict of its own (`over_seeds`): its interval has seeds as unit, each of which gives one number.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from experiments.inverse import names, reading
from experiments.inverse.config import Inverse
from vrjax.report import seeds as statistics
from vrjax.study.claims import ends
from vrjax.study.tables import Tables

Rows = list[dict[Any, Any]]
GAP = "gap empirical"
LINES = (names.EMPIRICAL, names.GENERATOR, GAP)
"""Arms of the line: priors of data of the density, and of the one with a gap."""
DISTANCES = ("w2", "sliced w1")
WORST, BOUND = "worst prior", "bound C"


def of(study: Inverse, kept: Mapping[str, Tables], experiment: str) -> list[Tables]:
    """The tables of an experiment, of those of the study's seeds that have one."""
    parts = [names.part(seed, experiment) for seed in study.seeds_of(experiment)]
    return [kept[part] for part in parts if part in kept]


def over_seeds(study: Inverse, values: Any) -> dict[str, Any] | None:
    """The mean of one number a seed, and its interval; None of no number at all.

    Returns:
        `value`; `interval`, None of one seed or of numbers that do not vary; `per seed`. Numbers that are not finite
        are left out of all three.
    """
    fine = [float(value) for value in values if np.isfinite(value)]
    if not fine:
        return None
    if len(fine) == 1:
        return {"value": fine[0], "interval": None, "per seed": fine}
    found = statistics.interval(np.reshape(fine, (-1, 1, 1)), resamples=study.resamples)
    return {"value": float(found.value), "interval": ends(found), "per seed": fine}


def mean(values: Any) -> float:
    """Of what is finite; NaN of nothing."""
    fine = np.asarray(values, np.float64)
    fine = fine[np.isfinite(fine)]
    return float(fine.mean()) if fine.size else math.nan


def slopes(
    study: Inverse, sizes: np.ndarray, prior: Sequence[np.ndarray], posterior: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Slopes of both errors over sizes and the difference of these, which is paired: each seed's own.

    Args:
        sizes: (n,), two or more.
        prior, posterior: of each seed (n, r).
    """
    one, other = ([reading.slope(sizes, errors) for errors in each] for each in (prior, posterior))
    apart = [b - a for a, b in zip(one, other, strict=True)]
    return {
        "prior": over_seeds(study, one),
        "posterior": over_seeds(study, other),
        "difference": over_seeds(study, apart),
        "sizes": [int(sizes[0]), int(sizes[-1])],
    }


# -------------------------------------------------------------------------------------------------------- closed form


def gaussian(study: Inverse, tables: Sequence[Tables]) -> Rows:
    """A row per dimension and distance: slopes over n, those of observations as their mean, and errors at the largest
    size."""
    rows: Rows = []
    for at, d in enumerate(tables[0]["dimensions"].tolist() if tables else []):
        sizes = tables[0]["sizes"]
        for distance in DISTANCES:
            prior = [table[f"prior {distance}"][at] for table in tables]
            posterior = [table[f"posterior {distance}"][at] for table in tables]
            one = [reading.slope(sizes, errors) for errors in prior]
            every = np.ones(len(sizes), bool)
            other = [np.mean(reading.over(sizes, errors, lambda k, every=every: every)) for errors in posterior]
            row: dict[Any, Any] = {"d": d, "distance": distance, "prior": over_seeds(study, one)}
            row |= {"posterior": over_seeds(study, other), "difference": over_seeds(study, np.subtract(other, one))}
            row |= {"prior error": mean([each[-1] for each in prior])}
            rows.append(row | {"posterior error": mean([each[-1] for each in posterior])})
    return rows


def plans(study: Inverse, tables: Sequence[Tables]) -> Rows:
    """A row per dimension in which an affine generator was fitted by plans too: its errors beside those of moments."""
    rows: Rows = []
    for at, d in enumerate(tables[0]["plan dimensions"].tolist() if tables else []):
        row: dict[Any, Any] = {"d": d}
        for how in ("moments", "plan"):
            for name in ("prior w2", "posterior w2"):
                row[how, name] = over_seeds(study, [mean(table[f"{how} {name}"][at]) for table in tables])
        for name in ("plan train w2", "plan best known", "plan trace"):
            row[name] = mean([table[name][at] for table in tables])
        rows.append(row)
    return rows


# ----------------------------------------------------------------------------------------------------------- the line


def line(study: Inverse, tables: Sequence[Tables]) -> Rows:
    """A row per arm and observation: slopes of W1 over those sizes at which n Z is large enough and, of a generator,
    the optimiser's part of the prior's error small enough; no slopes of fewer than two sizes.

    `Z`, `n Z` at the smallest of these sizes, `ratio` of both errors at the largest, `C` of T1 there, and `floor`: what
    the points that stand for a generator's law give of themselves, as a share of the smallest posterior error.
    """
    rows: Rows = []
    for arm in LINES if tables else ():
        evidence = tables[0]["gap evidence" if arm == GAP else "evidence"]
        for k, z in enumerate(evidence.tolist()):
            sizes, which = tables[0]["sizes"], usable(tables, arm, k)
            row: dict[Any, Any] = {"arm": arm, "Z": z}
            row |= {name: float(tables[0][name][k]) for name in ("y", "noise_std")}
            prior = [table[f"{arm} prior w1"][which] for table in tables]
            posterior = [table[f"{arm} posterior w1"][which][..., k] for table in tables]
            if which.sum() > 1:
                row |= slopes(study, sizes[which], prior, posterior)
            if which.any():
                row["n Z"] = float(sizes[which][0] * z)
                row["ratio"] = mean([b[-1].mean() / a[-1].mean() for a, b in zip(prior, posterior, strict=True)])
                row["C"] = mean([table[f"{arm} constant"][which][-1, :, k] for table in tables])
                if arm == names.GENERATOR:
                    least = min(mean([errors[n] for errors in posterior]) for n in range(int(which.sum())))
                    row["floor"] = float(tables[0]["floor posterior w1"][k]) / least
            rows.append(row)
    return rows


def usable(tables: Sequence[Tables], arm: str, k: int | None) -> Bool[np.ndarray, " n"]:
    """Sizes of the line that a slope is taken over, the same for all seeds; `k` of an observation, None of the prior
    alone."""
    sizes = tables[0]["sizes"]
    which = np.ones(len(sizes), bool)
    if k is not None:
        which &= reading.first(sizes, float(tables[0]["gap evidence" if arm == GAP else "evidence"][k]))
    if arm == names.GENERATOR:
        both = (f"{arm} prior w2", f"{arm} optimisation_gap")
        errors, part = (np.concatenate([table[name] for table in tables], 1) for name in both)
        which &= reading.resolved(errors, part)
    return which


def priors(study: Inverse, tables: Sequence[Tables]) -> Rows:
    """A row per arm of the line: slopes of W1 and W2 of the prior, errors at the largest size, and the parts of a
    generator's error there."""
    rows: Rows = []
    for arm in LINES if tables else ():
        which = usable(tables, arm, None)
        sizes = tables[0]["sizes"][which]
        row: dict[Any, Any] = {"arm": arm}
        for distance in ("w1", "w2"):
            each = [table[f"{arm} prior {distance}"][which] for table in tables]
            if len(sizes) > 1:
                row[distance] = over_seeds(study, [reading.slope(sizes, errors) for errors in each])
                row["sizes"] = [int(sizes[0]), int(sizes[-1])]
            row[distance, "last"] = mean([errors[-1] for errors in each]) if len(sizes) else math.nan
        if arm == names.GENERATOR:
            for name in ("optimisation_gap", "train_w2"):
                row[name] = mean([table[f"{arm} {name}"][-1] for table in tables])
            row["floor"] = float(tables[0]["floor prior w1"])
        rows.append(row)
    return rows


def width(study: Inverse, tables: Sequence[Tables]) -> Rows:
    """A row per activation and choice among the inits (the best by what it was trained on, the median): slopes over the
    width, of those widths whose error is far enough above the floor of the distance; errors of the widest."""
    rows: Rows = []
    for a, activation in enumerate(study.width.activations if tables else ()):
        for choice in ("best", "median"):
            widths = tables[0]["widths"]
            prior, posterior = (
                np.stack([chosen(table, f"{name} w1", choice)[a] for table in tables], 1)
                for name in ("prior", "posterior")
            )
            floors = {name: float(tables[0][f"floor {name} w1"]) for name in ("prior", "posterior")}
            which = reading.resolved(prior, floors["prior"]) & reading.resolved(posterior, floors["posterior"])
            row: dict[Any, Any] = {"activation": activation, "choice": choice, "inits": study.width.inits}
            if which.sum() > 1:
                of_seeds = lambda errors, which=which: [column[:, None] for column in errors[which].T]
                row |= slopes(study, widths[which], of_seeds(prior), of_seeds(posterior))
            for name, errors in (("prior", prior), ("posterior", posterior)):
                row |= {(name, "widest"): mean(errors[-1]), (name, "floor"): floors[name]}
            rows.append(row)
    return rows


def chosen(table: Tables, name: str, choice: str) -> np.ndarray:
    """Errors (a, w) of an init of each width: "best" is that of the smallest training error, "median" of all."""
    return reading.best(table["train w2"], table[name]) if choice == "best" else np.median(table[name], -1)


def evidence(study: Inverse, tables: Sequence[Tables]) -> Rows:
    """A row per arm, of the worst prior near the law, and of the bound: the ratio of errors and its rank correlation
    with 1 / Z, over the grid, and over observations of equal noise (the mean over noises)."""
    rows: Rows = []
    for arm in (names.EMPIRICAL, names.GENERATOR, WORST, BOUND) if tables else ():
        ratios = [ratio(table, arm) for table in tables]
        row: dict[Any, Any] = {"arm": arm}
        every = [reading.spearman(r, 1 / t["evidence"]) for r, t in zip(ratios, tables, strict=True)]
        row["rank"] = over_seeds(study, every)
        row["rank, equal noise"] = over_seeds(study, [alike(r, t) for r, t in zip(ratios, tables, strict=True)])
        row |= {"least": float(np.min(ratios)), "most": float(np.max(ratios))}
        if arm != BOUND:
            own = f"{names.EMPIRICAL if arm == WORST else arm} constant"
            shares = [r / t[own] for r, t in zip(ratios, tables, strict=True)]
            row["of C"] = float(np.max(shares))
        if arm in (names.EMPIRICAL, names.GENERATOR):
            row["of worst"] = float(np.max([r / t["sharp"] for r, t in zip(ratios, tables, strict=True)]))
        rows.append(row)
    return rows


def ratio(table: Tables, arm: str) -> np.ndarray:
    """W1 of posteriors over W1 of priors, (k,) of the grid of observations; of `WORST` and `BOUND` what they say."""
    if arm == WORST:
        return table["sharp"]
    if arm == BOUND:
        return table[f"{names.EMPIRICAL} constant"]
    return table[f"{arm} posterior w1"] / table[f"{arm} prior w1"]


def alike(ratios: np.ndarray, table: Tables) -> float:
    """Rank correlation with 1 / Z among observations of equal noise, the mean over noises."""
    groups = [np.flatnonzero(table["noise_std"] == noise) for noise in np.unique(table["noise_std"])]
    found = [reading.spearman(ratios[at], 1 / table["evidence"][at]) for at in groups if len(at) > 2]
    return mean(found)


def counterexample(study: Inverse, tables: Sequence[Tables]) -> Rows:
    """A row per distance of the tail, medians over pairs: the ratio of errors in W1, and over W2 of the priors, which
    T3 bounds; the last row holds slopes over the distance."""
    rows: Rows = []
    if not tables:
        return rows
    far = tables[0]["far"]
    over = {f"over prior {name}": f"{name}_prior" for name in ("w1", "w2")}
    medians = {name: [np.median(t["w1_posterior"] / t[key], 1) for t in tables] for name, key in over.items()}
    for at, place in enumerate(far.tolist()):
        row: dict[Any, Any] = {"K": place}
        row |= {name: over_seeds(study, [each[at] for each in found]) for name, found in medians.items()}
        found, bound = (np.stack([table[name][at] for table in tables]) for name in ("w1_posterior", "t3"))
        row |= {"violations": reading.violations(found, bound), "pairs": found.size}
        rows.append(row | {"tightness": reading.tightness(found, bound)[0]})
    if len(far) > 1:
        of_seeds = lambda found: [reading.slope(far, each[:, None]) for each in found]
        rows.append({"K": None} | {name: over_seeds(study, of_seeds(found)) for name, found in medians.items()})
    return rows


def bounds(study: Inverse, kept: Mapping[str, Tables]) -> Rows:
    """A row per bound and what it was held against: how often it was broken, how near it was met."""
    rows: Rows = []

    def told(bound: str, where: str, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        found, most = (np.concatenate([np.ravel(pair[i]) for pair in pairs]) for i in (0, 1))
        largest, middle = reading.tightness(found, most)
        row: dict[Any, Any] = {"bound": bound, "where": where, "pairs": found.size}
        rows.append(row | {"violations": reading.violations(found, most), "largest": largest, "median": middle})

    for experiment, where in ((names.BOUNDS, "random pairs"), (names.COUNTEREXAMPLE, "partial observation")):
        if tables := of(study, kept, experiment):
            for bound in ("t1", "t3"):
                told(bound.upper(), where, [(table["w1_posterior"], table[bound]) for table in tables])
    arms = {names.LINE: LINES, names.EVIDENCE: (names.EMPIRICAL, names.GENERATOR), names.WIDTH: ("",)}
    for experiment, some in arms.items():
        for arm in some:
            if tables := of(study, kept, experiment):
                where = {names.LINE: "rates", names.EVIDENCE: "evidence", names.WIDTH: "width"}[experiment]
                told("T1", f"{where}: {arm}" if arm else where, [_t1(table, arm) for table in tables])
    if tables := of(study, kept, names.EVIDENCE):
        told("C", f"evidence: {WORST}", [(table["sharp"], ratio(table, BOUND)) for table in tables])
    return rows


def _t1(table: Tables, arm: str) -> tuple[np.ndarray, np.ndarray]:
    """W1 of posteriors and what T1 allows, of one shape."""
    prior, posterior, constant = (table[f"{arm} {name}".strip()] for name in ("prior w1", "posterior w1", "constant"))
    prior = prior if prior.ndim == posterior.ndim else prior[..., None]
    return posterior, constant * prior
