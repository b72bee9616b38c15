"""What tables on clips say: the chance of a continuation, coverage, distances, and when along the steps it is settled.

Of p priors the last is the world's own velocity, those before it networks of ever more clips; guided arms were run
through the largest network and the world's velocity. Distances and ranks of particles whose gate failed are left out.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.inverse import reading
from experiments.inverse.config import Inverse
from experiments.inverse.rows import Rows, mean, over_seeds
from experiments.inverse.video_names import TASKS
from vrjax.report import statistics
from vrjax.study.tables import Tables

WORLD = -1
"""Position of the world's own velocity among priors."""
RANKED, COVERED = 19, 0.9
PRIORS, BY = ("network", "world's velocity"), ("residual", "above", "decided")
"""What guided arms went through; what is told along steps."""


def chance_error(table: Tables, task: int) -> float:
    """Mean over observations of the chance of A that particles give with the world's velocity, less the exact one."""
    return mean(table["latent chance"][WORLD, task] - table["exact"][task])


def coverage(table: Tables, prior: int = WORLD) -> float:
    """The share of truths in the central 90 % of particles, over tasks, observations and projections; NaN of none."""
    ranks = told_ranks(table, prior)
    return float(np.mean((ranks >= 1) & (ranks <= RANKED - 1))) if ranks.size else float("nan")


def told_ranks(table: Tables, prior: int) -> np.ndarray:
    """Ranks of a prior's particles where its gates passed."""
    ranks = np.ravel(table["latent ranks"][prior])
    return ranks[ranks >= 0]


def passed(table: Tables, prior: int | None = None) -> float:
    """The share of gates of particles that passed: of one prior, or of all."""
    why = table["latent why"] if prior is None else table["latent why"][prior]
    return float(np.mean(why == ""))


def errors(table: Tables) -> tuple[np.ndarray, np.ndarray]:
    """Sliced W1 of the networks' draws (n,) and of their posteriors (n, e): each a task and an observation that is told
    for all sizes."""
    after = table["latent w1"][:WORLD].reshape(len(table["sizes"]), -1)
    return table["prior sliced w1"][:WORLD], after[:, np.isfinite(after).all(0)]


def slope(table: Tables, which: str) -> float:
    """The slope over clips of "prior" or "posterior"; NaN where no posterior is told for all sizes."""
    prior, after = errors(table)
    if which == "prior":
        return reading.slope(table["sizes"], prior[:, None])
    return reading.slope(table["sizes"], after) if after.size else float("nan")


def guided_gap(table: Tables) -> float:
    """Decimal logarithm of the least mean sliced W1 of a guided arm over that of particles, both with the world's
    velocity and as many draws; arms of which a draw was not finite are left out, NaN where none is left."""
    own = table["latent w1"][WORLD]
    every = [mean(each) for each in table["guided w1"][-1] if np.isfinite(each).all()]
    return float(np.log10(min(every) / mean(own))) if every and np.isfinite(own).all() else float("nan")


def settled_at(decided: np.ndarray, share: float = COVERED) -> float:
    """How far along the steps a share of draws has the side that it ends with: the share of steps done, from curves
    (..., s) whose mean is taken."""
    curve = np.asarray(decided).reshape(-1, np.shape(decided)[-1]).mean(0)
    return float((np.argmax(curve >= share) + 1) / len(curve))


def priors(study: Inverse, tables: Sequence[Tables]) -> Rows:
    """A row per prior: its draws beside the world's, its posteriors, and the gates of these."""
    rows: Rows = []
    for at in range(len(tables[0]["prior chance"]) if tables else 0):
        sizes = tables[0]["sizes"].tolist()
        row: dict[Any, Any] = {"n": sizes[at] if at < len(sizes) else None}
        for name in ("prior sliced w1", "prior chance", "prior variation", "prior noise"):
            row[name] = over_seeds(study, [table[name][at] for table in tables])
        row["prior floor"] = mean([table["prior floor"] for table in tables])
        row["posterior sliced w1"] = over_seeds(study, [mean(table["latent w1"][at]) for table in tables])
        row["posterior floor"] = mean([table["w1 floor"] for table in tables])
        row["passed"] = int(sum(np.sum(table["latent why"][at] == "") for table in tables))
        row["gates"] = sum(table["latent why"][at].size for table in tables)
        rows.append(row)
    return rows


def samplers(study: Inverse, tables: Sequence[Tables]) -> Rows:
    """A row per sampler, prior and task: particles, the weighted pool, guided arms; how far the chance of A is off in
    the mean and in size, and sliced W1.

    `observations` counts those of all seeds; particles have them all, guided arms the first few of a seed.
    """
    rows: Rows = []
    if not tables:
        return rows
    floors = [mean([table["w1 floor"][t] for table in tables]) for t in range(len(TASKS))]

    def told(sampler: str, prior: str, t: int, chances: list[np.ndarray], w1: list[np.ndarray] | None) -> None:
        exact = [table["exact"][t][: len(each)] for each, table in zip(chances, tables, strict=True)]
        off = [each - true for each, true in zip(chances, exact, strict=True)]
        row: dict[Any, Any] = {"sampler": sampler, "prior": prior, "task": TASKS[t]}
        row["chance"] = over_seeds(study, [mean(each) for each in off])
        row["size"] = over_seeds(study, [mean(np.abs(each)) for each in off])
        row["w1"] = None if w1 is None else over_seeds(study, [mean(each) for each in w1])
        rows.append(row | {"floor": floors[t], "observations": sum(int(np.isfinite(each).sum()) for each in off)})

    for at, prior in ((-2, PRIORS[0]), (WORLD, PRIORS[1])):
        for t in range(len(TASKS)):
            particles = [table["latent chance"][at, t] for table in tables]
            told("tempered particles", prior, t, particles, [table["latent w1"][at, t] for table in tables])
            told("weighted pool", prior, t, [table["pool chance"][at, t] for table in tables], None)
            for a, arm in enumerate(study.video.arms):
                chances = [table["guided chance"][at, a, t] for table in tables]
                told(arm, prior, t, chances, [table["guided w1"][at, a, t] for table in tables])
    return rows


def calibration(study: Inverse, tables: Sequence[Tables]) -> Rows:
    """A row per prior whose particles were given all observations: coverage of the central 90 %, pooled over tasks,
    observations and projections, with Wilson's interval over observations, and over seeds."""
    rows: Rows = []
    for at, prior in ((-2, PRIORS[0]), (WORLD, PRIORS[1])) if tables else ():
        ranks = np.concatenate([told_ranks(table, at) for table in tables])
        inside = int(np.sum((ranks >= 1) & (ranks <= RANKED - 1)))
        row: dict[Any, Any] = {"prior": prior, "truths": len(ranks) // tables[0]["latent ranks"].shape[-1]}
        row["coverage"] = over_seeds(study, [coverage(table, at) for table in tables])
        # Projections of one truth are not independent: the interval counts truths.
        if len(ranks):
            found = statistics.wilson(round(inside / len(ranks) * row["truths"]), row["truths"])
            row |= {"pooled": inside / len(ranks), "low": float(found.low), "high": float(found.high)}
        rows.append(row)
    return rows


def along(study: Inverse, tables: Sequence[Tables]) -> Rows:
    """A row per sampler and task, through the largest network: at which share of the steps nine draws in ten have the
    side that they end with, and the residual then and at the end, in the noise's norm."""
    rows: Rows = []
    for arm in ("latent", *study.video.arms) if tables else ():
        for t, task in enumerate(TASKS):
            curves = {by: [table[f"{arm} path {by}"][-2, t] for table in tables] for by in BY}
            row: dict[Any, Any] = {"sampler": "tempered particles" if arm == "latent" else arm, "task": task}
            row["settled"] = over_seeds(study, [settled_at(each) for each in curves["decided"]])
            row["first"] = mean([each[0] for each in curves["residual"]])
            row["last"] = mean([each[-1] for each in curves["residual"]])
            rows.append(row)
    return rows
