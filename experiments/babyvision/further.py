"""What goes on from a specialist: as before, by preferences, to another skill; each beside what it is compared with.

Judged on the items of the first split, as drawings are.
"""

from typing import Any

import numpy as np

from experiments.babyvision import drawings, names
from experiments.babyvision.config import BabyVision
from experiments.babyvision.drawings import Models
from vrjax import tasks
from vrjax.study.tables import Bench, Tables
from vrjax.tasks.puzzles import decoding


def arms(study: BabyVision, task: str) -> tuple[str, ...]:
    """What is trained of a skill beside its specialist."""
    further = (names.LONGER, names.PREFERRED) if task in study.taught else ()
    sources = [begun for begun, skill in study.transfers if skill == task]
    return (*further, *((names.SCRATCH, *map(names.transferred, sources)) if sources else ()))


def measure(study: BabyVision, here: Bench, seed: int, task: str, trained: Models) -> Tables:
    """The table of a seed and skill: by arm `<arm> right` (item, draw)."""

    def make() -> Tables:
        split, out = next(iter(names.LEVELS)), {}
        clips, own = drawings.made(task, split, study.drawings.items), tasks.get(task)
        items: Any = [own.item(clip.meta["layout"]) for clip in clips]  # type: ignore[attr-defined]
        for arm in arms(study, task):
            label = f"seed {seed}, {task}: {arm}"
            frames = drawings.drawn(here, study, trained.model(task, arm), clips, label)[:, :, -1]
            right = [[decoding.judge(item, one) for one in few] for item, few in zip(items, frames, strict=True)]
            out[f"{arm} right"] = np.array(right)
        return out

    of = {"seed": seed, "task": task, "mark": trained.mark(task, *arms(study, task))}
    return here.part(names.part(seed, task, names.FURTHER), make, of=of)
