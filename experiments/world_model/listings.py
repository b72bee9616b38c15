"""Tables of the README and of the page, from what was kept: horizon, planning, chance, settling, planners.

Rows are dicts of numbers, so that a picture can be drawn of them; `vrjax.study.listing` makes text of them. An arm
that was not measured is left out, and so is a table without arms.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from experiments.world_model import names, reading
from experiments.world_model.config import WorldModel
from experiments.world_model.reading import Seed
from vrjax.report import seeds as statistics
from vrjax.study import numbers
from vrjax.study.claims import ends
from vrjax.study.listing import Columns, Row, Rows, number, over, text
from vrjax.study.tables import Tables

READ = "exact world, read"
"""See `strays`, which measures and is not imported here."""
SETTLED = (names.SLIPPERY, names.LAW, names.WITHOUT, names.WHERE_FIRST, names.LOOK_FIRST)
STEPS = (1, 4, 12, 24)
"""After which errors are told."""


HORIZON: Columns = {
    "world": text("arm"),
    "steps until 1 pixel off [95 %]": over("horizon", ".1f"),
    **{f"farthest thing off after {step}, pixels": number(f"error {step}") for step in STEPS},
}
PLANNING: Columns = {
    "planned through": text("arm"),
    "meso [95 %]": over("meso"),
    "task: share of goals [95 %]": over("task"),
}
CALIBRATION: Columns = {
    "world": text("arm"),
    "coverage of 90 % [95 %]": over("coverage"),
    "CRPS over the least, less 1 [95 %]": over("excess"),
    "spread over the law's": number("spread"),
    "coverage after all steps": number("last"),
}
SETTLING: Columns = {
    "denoiser": text("arm"),
    "lead of the place, share of steps [95 %]": over("lead", "+.3f"),
    "agent off at first, pixels": number("unsettled"),
    "steps until half of the place is settled": number("half place", ".1f"),
    "of the look": number("half look", ".1f"),
}
METHODS: Columns = {
    "planned through": text("arm"),
    "model calls": number("calls", ",.0f"),
    "CEM [95 %]": over(names.CEM),
    "gradient + CEM [95 %]": over(names.BOTH),
    "difference [95 %]": over("difference", "+.3f"),
}


def estimate(study: WorldModel, values: np.ndarray | None, bounds: tuple[float, float] | None = None) -> Row | None:
    """Mean with its interval, seeds as the unit; None where there are none, or one is not a number."""
    if values is None or not np.isfinite(values).all():
        return None
    found = statistics.interval(values, bounds=bounds, resamples=study.resamples)
    return {"value": float(found.value), "interval": ends(found)}


def arms(study: WorldModel) -> tuple[str, ...]:
    """Ways in which a learned world is asked, and what goes on from it."""
    return (*study.arms, *names.FURTHER)


def horizon(study: WorldModel, seeds: Sequence[Seed]) -> Rows:
    """Per world how long it can be used."""
    out = []
    for arm in (READ, *arms(study), names.FROZEN):
        found = numbers.values(seeds, ["horizon", [arm]])
        if found is None:
            continue
        row: Row = {"arm": arm, "horizon": estimate(study, found, (0, study.horizon.steps))}
        tables = [seed.table(names.HORIZON, arm) for seed in seeds]
        mean = np.mean([reading.errors(table, arm).mean(0) for table in tables if table is not None], 0)
        row |= {f"error {step}": float(mean[step - 1]) for step in STEPS if step <= len(mean)}
        out.append(row | {"curve": mean.tolist()})
    return out


def planning(study: WorldModel, seeds: Sequence[Seed]) -> Rows:
    """Per world what is reached by planning through it."""
    out = []
    for arm in (names.EXACT, *arms(study), names.ELSEWHERE):
        row = {scale: numbers.values(seeds, ["reached", [arm, scale]]) for scale in (names.MESO, names.TASK)}
        if any(found is not None for found in row.values()):
            out.append({"arm": arm} | {scale: estimate(study, found, (0, 1)) for scale, found in row.items()})
    return out


def calibration(study: WorldModel, seeds: Sequence[Seed]) -> Rows:
    """Per world whether its chance is the exact one's."""
    out = []
    for arm in (names.EXACT, *arms(study), names.REGRESSOR):
        found = numbers.values(seeds, ["coverage", [arm]])
        if found is None:
            continue
        level = study.calibration.level
        last = np.mean([seed.scores(arm, -1).coverage.mean() for seed in seeds])
        row: Row = {
            "arm": arm,
            "coverage": estimate(study, np.clip(found + level, 0, 1), (0, 1)),
            "last": float(last),
        }
        row["excess"] = estimate(study, numbers.values(seeds, ["excess", [arm]]))
        row["spread"] = float(np.mean([seed.spread(arm) for seed in seeds]))
        row["ranks"] = np.mean([seed.scores(arm).ranks.mean(0) for seed in seeds], 0).tolist()
        out.append(row)
    return out


def halved(curve: np.ndarray) -> float:
    """Steps until a curve that falls to its last value has done half of that, in a line between steps."""
    left = (curve - curve[-1]) / (curve[0] - curve[-1])
    at = int(np.argmax(left <= 0.5))
    return float(at - 1 + (left[at - 1] - 0.5) / (left[at - 1] - left[at])) if at else 0.0


def settling(study: WorldModel, seeds: Sequence[Seed]) -> Rows:
    """Per denoiser what it settles first."""
    out = []
    for arm in SETTLED:
        found = numbers.values(seeds, ["lead", [arm]])
        if found is None:
            continue
        row: Row = {"arm": arm, "lead": estimate(study, found)}
        row["unsettled"] = float(np.mean([seed.unsettled(arm).mean() for seed in seeds]))
        for what, kept in (("place", "where"), ("look", "look")):
            tables = [seed.table(names.SETTLING) for seed in seeds]
            curve = np.mean([table[f"{arm} {kept}"].mean(0) for table in tables if table is not None], 0)
            row[what] = curve.tolist()
            row[f"half {what}"] = halved(curve) if curve[0] > curve[-1] else None
        out.append(row)
    return out


def methods(study: WorldModel, seeds: Sequence[Seed]) -> Rows:
    """Two planners at equal model calls."""
    out = []
    for through in (names.EXACT, names.PLAIN):
        for pair in range(len(study.methods.pairs)):
            found = {
                method: numbers.values(seeds, ["solved", [through, method, pair]]) for method in (names.CEM, names.BOTH)
            }
            cem, both = found.values()
            if cem is None or both is None:
                continue
            table = seeds[0].table(names.METHODS)
            row: Row = {"arm": through, "calls": float(table["calls"][pair, 1]) if table else None}
            row |= {method: estimate(study, one, (0, 1)) for method, one in found.items()}
            out.append(row | {"difference": estimate(study, both - cem, (-1, 1))})
    return out


TABLES: Mapping[str, tuple[Columns, Callable[[WorldModel, Sequence[Seed]], Rows]]] = {
    "horizon": (HORIZON, horizon),
    "planning": (PLANNING, planning),
    "calibration": (CALIBRATION, calibration),
    "settling": (SETTLING, settling),
    "methods": (METHODS, methods),
}


def listed(study: WorldModel, kept: Mapping[str, Tables]) -> dict[str, tuple[Columns, Rows]]:
    """All tables that have rows, by name."""
    seeds = reading.gathered(study, kept)
    found = {name: (columns, rows(study, seeds)) for name, (columns, rows) in TABLES.items()}
    return {name: table for name, table in found.items() if table[1]}
