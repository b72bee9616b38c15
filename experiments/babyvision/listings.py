"""Tables of the README and of the page, from what was kept: skills, difficulties, answers, trainings that went on.

Rows are dicts of numbers, so that a picture can be drawn of them; `vrjax.study.listing` makes text of them. A skill
that was not measured is left out, and so is a table without rows. Intervals have training seeds as their unit; of a
skill that was learned with fewer than four seeds they are of items alone, as the number of seeds beside them says.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.babyvision import names, reading
from experiments.babyvision.config import BabyVision
from experiments.babyvision.reading import Seed
from vrjax.report import seeds as statistics
from vrjax.report.statistics import wilson
from vrjax.study import numbers
from vrjax.study.claims import ends
from vrjax.study.listing import Columns, Row, Rows, number, over, text
from vrjax.study.tables import Tables
from vrjax.tasks import get

FEWEST = 4
"""Seeds from which on they are the unit of an interval."""


SKILLS: Columns = {
    "skill": text("skill"),
    "seeds": text("seeds"),
    "drawn rightly [95 %]": over("right"),
    "best trivial solver [95 %]": over("trivial"),
    "guess": number("guess"),
    "one of the draws right": number("best"),
    "one of as many guesses": number("guesses"),
    "difficulty 2": number("harder"),
    "difficulty 3": number("hardest"),
    "PSNR of the rest, dB": number("kept", ".1f"),
}
STEPS: Columns = {
    "skill": text("skill"),
    "right after each step": text("steps"),
    "marks are final from, share of the steps": number("settled"),
    "of the exact denoiser": number("exact"),
}
ANSWERS: Columns = {
    "skill": text("skill"),
    "seeds": text("seeds"),
    "head on the specialist [95 %]": over(names.SPECIALIST),
    "untrained": number(names.UNTRAINED),
    "pixels": number(names.PIXELS),
    "first drawing": number("first"),
    "kappa of head and drawing": number("kappa"),
}
FURTHER: Columns = {
    "skill": text("skill"),
    "training": text("arm"),
    "seeds": text("seeds"),
    "drawn rightly [95 %]": over("right"),
    "before": number("before"),
}


def estimate(study: BabyVision, values: np.ndarray | None) -> Row | None:
    """The mean of shares (seed, item, 1) with its interval: over seeds, or of a few seeds over items."""
    if values is None:
        return None
    if len(values) >= FEWEST:
        found = statistics.interval(values, bounds=(0, 1), resamples=study.resamples)
        return {"value": float(found.value), "interval": ends(found)}
    count = values.shape[1]
    found = wilson(round(float(values.mean()) * count), count)
    return {"value": float(values.mean()), "interval": ends(found)}


def _mean(seeds: Sequence[Seed], asked: Sequence[Any]) -> float | None:
    found = numbers.values(seeds, asked)
    return None if found is None else float(found.mean())


def _name(task: str) -> str:
    return str(get(task).subtype)  # type: ignore[attr-defined]


def skills(study: BabyVision, seeds: Sequence[Seed]) -> Rows:
    """Per skill what is drawn rightly, beside who understands nothing."""
    out = []
    for skill in study.skills:
        task, those = skill.task, reading.having(seeds, skill.task)
        right = numbers.values(those, ["right", [task]])
        if right is None:
            continue
        row: Row = {"skill": _name(task), "seeds": len(those), "right": estimate(study, right)}
        row["trivial"] = estimate(study, numbers.values(those[:1], ["trivial", [task]]))
        for name in ("guess", "best", "guesses"):
            row[name] = _mean(those, [name, [task]])
        row |= {split: _mean(those, ["right", [task, split]]) for split in ("harder", "hardest")}
        out.append(row | {"kept": _mean(those, ["kept_back", [task]])})
    return out


def steps(study: BabyVision, seeds: Sequence[Seed]) -> Rows:
    """Per skill when along the denoising steps the answer is there."""
    out = []
    for skill in study.skills:
        task, those = skill.task, reading.having(seeds, skill.task)
        tables = [seed.kept.get(names.part(seed.number, task, names.DRAWN)) for seed in those]
        found = [np.asarray(table["steps right"], float) for table in tables if table is not None]
        if not found or len(found) < len(those):
            continue
        curve = np.mean([one.mean((0, 1)) for one in found], 0)
        row: Row = {"skill": _name(task), "curve": curve.tolist(), "steps": ", ".join(f"{x:.2f}" for x in curve)}
        row |= {"settled": _mean(those, ["settled", [task]]), "exact": _mean(those, ["settled", [task, "exact"]])}
        out.append(row)
    return out


def answers(study: BabyVision, seeds: Sequence[Seed]) -> Rows:
    """Per skill what heads answer."""
    out = []
    for skill in study.skills:
        task, those = skill.task, reading.having(seeds, skill.task)
        found = numbers.values(those, ["answered", [task, names.SPECIALIST]])
        if found is None:
            continue
        row: Row = {"skill": _name(task), "seeds": len(those), names.SPECIALIST: estimate(study, found)}
        row |= {arm: _mean(those, ["answered", [task, arm]]) for arm in (names.UNTRAINED, names.PIXELS)}
        row["first"] = _mean(those, ["first", [task]])
        out.append(row | {"kappa": _mean(those, ["kappa", [task, names.SPECIALIST]])})
    return out


def further(study: BabyVision, seeds: Sequence[Seed]) -> Rows:
    """Per skill and training what is drawn rightly after it."""
    out = []
    for skill in study.skills:
        task, those = skill.task, reading.having(seeds, skill.task)
        goes = [(names.transferred(a), f"from {_name(a)}") for a, b in study.transfers if b == task]
        for arm, called in (
            (names.LONGER, names.LONGER),
            (names.PREFERRED, names.PREFERRED),
            *goes,
            (names.SCRATCH,) * 2,
        ):
            right = numbers.values(those, ["further", [task, arm]])
            if right is None:
                continue
            before = _mean(those, ["right", [task]]) if arm in (names.LONGER, names.PREFERRED) else None
            row = {"skill": _name(task), "arm": called, "seeds": len(those), "right": estimate(study, right)}
            out.append(row | {"before": before})
    return out


TABLES: Mapping[str, tuple[Columns, Callable[[BabyVision, Sequence[Seed]], Rows]]] = {
    "skills": (SKILLS, skills),
    "steps": (STEPS, steps),
    "answers": (ANSWERS, answers),
    "further": (FURTHER, further),
}


def listed(study: BabyVision, kept: Mapping[str, Tables]) -> dict[str, tuple[Columns, Rows]]:
    """All tables that have rows, by name."""
    seeds = reading.gathered(study, kept)
    found = {name: (columns, rows(study, seeds)) for name, (columns, rows) in TABLES.items()}
    return {name: table for name, table in found.items() if table[1]}
