"""Rows of the tables on what was sampled, fields behind pressures and guided samplers; beside those of `rows`.

Of the elliptic problem distances and errors are means over those truths whose chains passed their gates. Where priors
tell of different truths their means are of different truths.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.inverse import calibrated, names
from experiments.inverse.config import Inverse
from experiments.inverse.guided_names import CHOSEN, LATENT
from experiments.inverse.rows import Rows, mean, of, over_seeds, slopes
from vrjax.report import statistics
from vrjax.study.tables import Tables

TRUE, MATERN, GAUSSIAN, GENERATOR = "true", "matern", "gaussian", "generator"
"""Priors of the elliptic problem by the names of its tables: of the last two there is one of each size."""
CALLED = {TRUE: "true law", MATERN: "stationary Matérn", GAUSSIAN: "Gaussian"}
ERRORS = ("mean error", "crps", "coverage")
FIT = ("train_w2", "fresh_w2", "optimisation_gap", "approximation", "statistical")


# -------------------------------------------------------------------------------------------------- elliptic problem


def arms(tables: Sequence[Tables]) -> list[tuple[str, int | None, int | None]]:
    """Priors of the elliptic problem: name, size and its position, both None where a prior has none."""
    sizes = tables[0]["sizes"].tolist()
    fitted = len(tables[0][f"{GENERATOR} prior variance"]) if f"{GENERATOR} prior variance" in tables[0] else 0
    many = [(GAUSSIAN, size, at) for at, size in enumerate(sizes)]
    many += [(GENERATOR, size, at) for at, size in enumerate(sizes[:fitted])]
    return [(TRUE, None, None), (MATERN, None, None), *many]


def value(table: Tables, arm: str, name: str, at: int | None) -> np.ndarray:
    """An entry of a prior's table, of the size at that position."""
    found = table[f"{arm} {name}"]
    return found if at is None else found[at]


def elliptic(study: Inverse, tables: Sequence[Tables]) -> Rows:
    """A row per prior and size: distances of prior and posterior with their floors, errors of the posterior, the gate.

    Of `truths`, `passed` is how many posteriors passed the gate, and `compared` how many were compared with the true
    prior's, which has to pass too.
    """
    rows: Rows = []
    for arm, size, at in arms(tables) if tables else ():
        get = lambda name, arm=arm, at=at: [value(table, arm, name, at) for table in tables]
        row: dict[Any, Any] = {"arm": arm, "n": size}
        if arm != TRUE:
            for which in ("prior", "posterior"):
                row[which] = over_seeds(study, [mean(found) for found in get(f"{which} sliced w1")])
                row[which, "floor"] = mean(get(f"{which} sliced w1 floor"))
            row["variance"] = mean(get("prior variance"))
            row["mean from true"] = over_seeds(study, [mean(found) for found in get("posterior mean from true")])
        for name in ERRORS:
            row[name] = over_seeds(study, [mean(found) for found in get(f"posterior {name}")])
        why = {"passed": "posterior why"} | ({} if arm == TRUE else {"compared": "posterior not told"})
        row |= {name: int(np.sum(np.concatenate(get(of)) == "")) for name, of in why.items()}
        row["truths"] = sum(len(table["truth"]) for table in tables)
        row |= {"rhat": float(np.max(get("posterior rhat"))), "ess": float(np.min(get("posterior ess")))}
        row |= {"solves": mean(get("posterior solves")), "divergent": mean(get("posterior divergent"))}
        rows.append(row | {"informed": mean(get("posterior informed"))})
    return rows


def elliptic_rates(study: Inverse, tables: Sequence[Tables]) -> Rows:
    """A row per prior that was made of data: slopes of sliced W1 over n, of the truths whose posteriors are told at all
    sizes, and the largest share that a floor has in a distance."""
    rows: Rows = []
    for arm in (GAUSSIAN, GENERATOR) if tables else ():
        every = [at for name, _, at in arms(tables) if name == arm and at is not None]
        if len(every) < 2:
            continue
        prior, posterior, share = [], [], 0.0
        for table in tables:
            found = table[f"{arm} posterior sliced w1"]
            told = np.isfinite(found).all(0)
            if told.any():
                prior.append(table[f"{arm} prior sliced w1"][:, None])
                posterior.append(found[:, told])
                floors = table[f"{arm} posterior sliced w1 floor"][:, told] / found[:, told]
                share = max(share, float(floors.max()), float(np.max(_share(table, arm))))
        row: dict[Any, Any] = {"arm": arm, "seeds": len(prior), "floor": share if prior else math.nan}
        if prior:
            row |= slopes(study, tables[0]["sizes"][every], prior, posterior)
        rows.append(row)
    return rows


def _share(table: Tables, arm: str) -> np.ndarray:
    return table[f"{arm} prior sliced w1 floor"] / table[f"{arm} prior sliced w1"]


def fits(study: Inverse, tables: Sequence[Tables]) -> Rows:
    """A row per size to which a network was fitted: the parts of its error, in Wasserstein-2 of fields."""
    rows: Rows = []
    for arm, size, at in arms(tables) if tables else ():
        if arm == GENERATOR:
            row: dict[Any, Any] = {"n": size}
            row |= {name: mean([value(table, arm, name, at) for table in tables]) for name in FIT}
            rows.append(row | {"variance": mean([value(table, arm, "prior variance", at) for table in tables])})
    return rows


# --------------------------------------------------------------------------------------------------- guided samplers


def judged(study: Inverse, tables: Sequence[Tables]) -> dict[str, list[calibrated.Row]]:
    """`calibrated.rows` of every group that was measured, by the group's name."""
    found = {}
    for at, group in enumerate(study.guided.groups):
        if tables and f"{group} ranks" in tables[0]:
            key = jax.random.fold_in(jax.random.key(study.seed), at)
            found[group] = calibrated.rows(key, tables, group, draws=study.guided.ranked)
    return found


def guided(found: Mapping[str, Sequence[calibrated.Row]]) -> Rows:
    """A row per group, arm and setting: samplers of posteriors first, those that are calibrated before the others, and
    the nearer ones first."""
    rows: Rows = []
    for group, some in found.items():
        order = sorted(some, key=lambda row: (row.kind == "map", row.judged.passed is not True, row.over_floor))
        for row in order:
            told: dict[Any, Any] = {"group": group, "arm": row.arm, "setting": row.setting, "aim": row.kind}
            told |= {name: getattr(row, name) for name in ("number", "over_floor", "worst", "mode_error", "finite")}
            off = np.abs(np.asarray(row.judged.coverage) - calibrated.COVERED)
            least = int(np.argmax(off)) if row.judged.pairs else 0
            told |= {name: float(getattr(row.judged, name)[least]) for name in ("coverage", "low", "high")}
            told |= {"passed": row.judged.passed, "p": row.judged.p, "pairs": row.judged.pairs, "lost": row.judged.lost}
            rows.append(told | {"evaluations": row.evaluations})
    return rows


def guided_best(rows: Rows) -> Rows:
    """A row per arm, at the setting that was chosen on the problems for validation (as published, where there is no
    choice or it fell there): `(group, name)` of what `guided` says of a group. Those that are calibrated in more groups
    come first, then the nearer ones, by the mean log of distance over floor."""
    best: dict[str, dict[Any, Any]] = {}
    for row in sorted(rows, key=lambda row: row["setting"] == CHOSEN):
        mine = best.setdefault(row["arm"], {"arm": row["arm"], "aim": row["aim"], "evaluations": row["evaluations"]})
        for name in ("over_floor", "coverage", "low", "high", "passed", "setting", "number"):
            mine[row["group"], name] = row[name]

    def order(row: Mapping[Any, Any]) -> tuple[bool, int, float]:
        passed = [value is True for name, value in row.items() if name[1:] == ("passed",)]
        far = [math.log(value) for name, value in row.items() if name[1:] == ("over_floor",) and value == value]
        return row["aim"] == "map", -sum(passed), float(np.mean(far)) if far else math.inf

    return sorted(best.values(), key=order)


def latent(study: Inverse, tables: Sequence[Tables]) -> Rows:
    """A row per group and latent arm: worst R-hat and effective size of chains on the problems' own observations, how
    many passed the gate, and the discretisation's share of the flow's error, in floors."""
    rows: Rows = []
    for group in study.guided.groups if tables else ():
        if f"{group} rhat" not in tables[0]:
            continue
        stack = lambda name, group=group: np.stack([table[f"{group} {name}"] for table in tables])
        shift = mean(stack("prior error") / stack("floor"))
        for at, arm in enumerate(LATENT):
            rhat, ess, modes = (stack(name)[:, at] for name in ("rhat", "ess", "mode ess"))
            if np.isfinite(rhat).any():
                row: dict[Any, Any] = {"group": group, "arm": arm, "rhat": float(np.nanmax(rhat))}
                row |= {"ess": float(np.nanmin(ess)), "mode ess": _least(modes), "prior error": shift}
                row |= {"passed": int(calibrated.gated(tables, group, at).sum()), "runs": int(np.isfinite(rhat).sum())}
                rows.append(row)
    return rows


def _least(values: np.ndarray) -> float:
    return float(np.nanmin(values)) if np.isfinite(values).any() else math.nan


def known(study: Inverse, tables: Sequence[Tables]) -> Rows:
    """A row per group of known posteriors: the worst error of a mode's weight and the least effective number of
    particles for one, of all problems of all seeds; coverage of the central 90 %, pooled over truths and projections,
    with Wilson's interval by truths. A run that was lost covers nothing."""
    rows: Rows = []
    for group in (*names.KNOWN_GROUPS, "all") if tables else ():
        some = names.KNOWN_GROUPS if group == "all" else (group,)
        every = lambda name, some=some: [table[f"{one} {name}"] for table in tables for one in some]
        ranks = every("ranks")
        inside = np.concatenate([np.ravel((each >= 1) & (each < study.guided.ranked)) for each in ranks])
        truths = sum(each.shape[0] * each.shape[1] for each in ranks)
        found = statistics.wilson(round(float(inside.mean()) * truths), truths)
        row: dict[Any, Any] = {"group": group, "problems": sum(len(each) for each in ranks), "truths": truths}
        row |= {"coverage": float(inside.mean()), "low": float(found.low), "high": float(found.high)}
        off = [np.ravel(np.abs(a - b)) for a, b in zip(every("modes"), every("weights"), strict=True)]
        off, sizes = np.concatenate(off), np.concatenate(every("mode ess"))
        if off.size:
            row["mode error"] = float(off.max())
            row["mode ess"] = _least(sizes)
        rows.append(row | {"finite": float(np.min(np.concatenate(every("finite"))))})
    return rows


def truths(study: Inverse, kept: Mapping[str, Tables]) -> Tables | None:
    """The elliptic tables whose fields are shown: of the first seed that has some."""
    return next(iter(of(study, kept, names.ELLIPTIC)), None)
