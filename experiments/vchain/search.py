"""The search of the adapters' hyper-parameters: on validation scenes, with a base of its own that no test sees.

The study's values were fixed after such a search on one pilot base (40 updates at 1e-2 were best there). This one, run
afterwards on a second base, agrees on the rate and the noise levels and prefers 80 updates. The values were kept.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.vchain import arms, suite
from experiments.vchain.config import VChain
from vrjax.files import writing
from vrjax.models.wan import WanDiT
from vrjax.report import tables
from vrjax.study.tables import Bench, Tables
from vrjax.tasks.chains import score

SEED = 100  # of the base
GRID = {"lr": (3e-3, 1e-2), "mean": (0.0, 1.0)}
BATCH, UPDATES = 4, (10, 20, 40, 80, 160)


def study(like: VChain) -> VChain:
    """The study's sizes on at most 24 validation scenes."""
    changed: dict[str, Any] = dict(name=f"{like.name}_search", bases=(SEED,), shipped=False, split="val")
    changed |= {"scenes": min(24, like.scenes), "batch": BATCH, "tuning": UPDATES[-1], "curve": UPDATES}
    return dataclasses.replace(like, **changed)


def run(bench: Bench, here: VChain, dit: WanDiT, folder: pathlib.Path, say: Callable[[str], None]) -> pathlib.Path:
    """Measures every setting and writes `search.md`: one line per setting and number of updates."""
    on = suite.scenes(here, 0, folder / "thoughts" / f"base{SEED}")
    programs, noise, story = (
        arms.Programs(here, bench),
        arms.noises(here, on.seeds, here.noises),
        suite.stories(on.chains),
    )
    data, story, novel = arms.tuning_set(on.chains, here.cells), suite.stories(on.chains), on.novel
    head = ["lr", "logit mean", "updates", "complete and lawful", "familiar", "novel", "novel look", "motion"]
    rows: list[list[str]] = []

    def row(setting: tuple[Any, ...], updates: int, found: Tables) -> None:
        primary = found["primary"]
        numbers = [primary.mean(), primary[~novel].mean(), primary[novel].mean(), np.nanmean(found["appearance"])]
        cells = [f"{n:.3f}" for n in (*numbers, found["motion"].mean())]
        rows.append([*(f"{s:g}" if isinstance(s, float) else str(s) for s in setting), str(updates), *cells])
        say(" | ".join(rows[-1]))

    def measured(setting: tuple[float, ...]) -> Tables:
        options = dict(zip(GRID, setting, strict=True))
        kept = programs.tune(dit, data, on.seeds, keep=UPDATES, steps=UPDATES[-1], **options)
        videos = [
            programs.sample(dit, story, noise, adapter=suite.at(kept, slice(None), i)) for i in range(len(UPDATES))
        ]
        judged = [score.table(video, on.truths) for video in videos]
        return {metric: np.stack([t[metric] for t in judged]) for metric in score.METRICS}

    base = bench.part("none", lambda: score.table(programs.sample(dit, story, noise), on.truths))
    row(("none", ""), 0, base)
    for setting in itertools.product(*GRID.values()):
        name = "-".join(f"{s:g}" for s in setting)
        found = bench.part(name, lambda s=setting: measured(s))
        for i, updates in enumerate(UPDATES):
            row(setting, updates, {metric: values[i] for metric, values in found.items()})
    path = folder / "search.md"
    writing.text(path, tables.markdown(head, rows))
    return path
