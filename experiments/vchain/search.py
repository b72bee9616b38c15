"""The search of the adapters' learning rate and length: on validation scenes of two pilot bases that no claim uses.

The rule was fixed before it ran: of all settings the one with most complete and lawful clips, on average over the two
bases; of equal ones the shorter. It chose what `VChain.lr`, `logit_mean` and `tuning` are.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments.vchain import arms, suite
from experiments.vchain.config import VChain
from vrjax.files import writing
from vrjax.models.wan import WanDiT
from vrjax.report import tables
from vrjax.study.tables import Bench, Tables
from vrjax.tasks.chains import score

BASES = (100, 101)
GRID = {"lr": (3e-3, 1e-2), "mean": (0.0, 1.0)}
UPDATES = (10, 20, 40, 80, 160)
SCENES, NOISES = 48, 1
COLUMNS = ("complete and lawful", "familiar", "novel", "novel look", "motion")
NONE: tuple[Any, ...] = ("none", "", 0)


def study(like: VChain) -> VChain:
    """The study's sizes on validation scenes of the pilot bases."""
    changed: dict[str, Any] = dict(name=f"{like.name}_search", bases=BASES, shipped=False, split="val")
    changed |= {"scenes": min(SCENES, like.scenes), "noises": NOISES, "tuning": UPDATES[-1], "curve": UPDATES}
    return dataclasses.replace(like, **changed)


def run(
    bench: Bench, here: VChain, dits: Mapping[int, WanDiT], folder: pathlib.Path, say: Callable[[str], None]
) -> pathlib.Path:
    """Measures every setting and writes `search.md`: one line per base, setting and number of updates, then the means
    over the bases, and the choice."""
    programs, rows, numbers = arms.Programs(here, bench), [], {}
    for seed, dit in dits.items():
        on = suite.scenes(here, seed, folder / "thoughts" / f"base{seed}")
        found = {NONE: bench.part(f"base{seed}-none", lambda on=on, dit=dit: untuned(programs, dit, on))}
        for setting in itertools.product(*GRID.values()):
            name = f"base{seed}-" + "-".join(f"{s:g}" for s in setting)
            along = bench.part(name, lambda s=setting, on=on, dit=dit: tuned(programs, dit, on, s))
            for i, updates in enumerate(UPDATES):
                found[*setting, updates] = {metric: values[i] for metric, values in along.items()}
        for key, table in found.items():
            primary, novel = table["primary"], on.novel
            row = [primary.mean(), primary[~novel].mean(), primary[novel].mean(), np.nanmean(table["appearance"])]
            numbers.setdefault(key, []).append([*row, table["motion"].mean()])
            rows.append([str(seed), *map(str, key), *(f"{n:.3f}" for n in numbers[key][-1])])
            say(" | ".join(rows[-1]))
    means = {key: np.mean(values, 0) for key, values in numbers.items()}
    rows += [["mean", *map(str, key), *(f"{n:.3f}" for n in values)] for key, values in means.items()]
    text = tables.markdown(("base", *GRID, "updates", *COLUMNS), rows) + f"\nThe rule chooses {choice(means)}.\n"
    writing.text(folder / "search.md", text)
    return folder / "search.md"


def choice(means: Mapping[tuple[Any, ...], Any]) -> str:
    """What the rule chooses, in words, of setting and updates -> numbers in the order of `COLUMNS`."""
    *setting, updates = max(means, key=lambda key: (round(means[key][0], 9), -key[-1]))
    if not updates:
        return "not to tune at all"
    return f"{updates} updates at {', '.join(f'{name} {s:g}' for name, s in zip(GRID, setting, strict=True))}"


def untuned(programs: arms.Programs, dit: WanDiT, on: suite.Scenes) -> Tables:
    """The ordered thoughts alone: metric -> (scenes, noises)."""
    noise = arms.noises(programs.study, on.seeds, programs.study.noises)
    return score.table(programs.sample(dit, suite.stories(on.chains), noise), on.truths)


def tuned(programs: arms.Programs, dit: WanDiT, on: suite.Scenes, setting: tuple[float, ...]) -> Tables:
    """VChain after each number of `UPDATES`: metric -> (updates, scenes, noises)."""
    here, story = programs.study, suite.stories(on.chains)
    noise, data = arms.noises(here, on.seeds, here.noises), arms.tuning_set(on.chains, here.cells)
    options = dict(zip(GRID, setting, strict=True))
    kept = programs.tune(dit, data, on.seeds, keep=UPDATES, steps=UPDATES[-1], **options)
    along = [suite.at(kept, slice(None), i) for i in range(len(UPDATES))]
    judged = [score.table(programs.sample(dit, story, noise, adapter=adapter), on.truths) for adapter in along]
    return {metric: np.stack([table[metric] for table in judged]) for metric in score.METRICS}
