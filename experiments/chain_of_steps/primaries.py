"""The registered primaries, per run: how each is read from its tables. Judging (seeds as the unit) is `vrjax.study`'s.

`PRIMARIES[id](tables)` gives the contrasts of a claim, each an array [instance] or [instance, noise] of one training
seed (NaN: not defined there); `CONTROLS[id](tables)` the numbers that its controls are about, with the bound of each.
`tables` are those of one seed: "maze/paths", "entrant/memory", "maze_goals/perturbations" (and, under "null", the null
model's on the same instances), "maze/goals", "maze/ensembles".
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.chain_of_steps import goals, memory, paths
from vrjax.reasoning.instruments import arms
from vrjax.study.subjects import Suite
from vrjax.study.tables import Tables

One = Mapping[str, Any]  # tables of one training seed by part; "null" holds the null model's in the same way
FIRSTS = (1, 2, 4)  # first steps that are averaged
AT = 0  # of `memory.measure(at=...)`: the step of sigma 0.75 stands first


def doses(steps: int, layers: int, members: int = 3) -> tuple[arms.Arm, ...]:
    """Single, low temperature, the positive control, and the hidden mean at every dose: thirds x `FIRSTS`."""
    hidden = functools.partial(arms.Arm, steps=steps, members=members, couple="hidden")
    rows = [arms.Arm("single", steps), arms.Arm("temperature 1/sqrt(M)", steps, temperature=members**-0.5)]
    rows.append(arms.Arm("x0 mean, all steps", steps, members, couple="x0", window=(0, steps)))
    for part, blocks in zip(("first", "middle", "last"), arms.thirds(layers), strict=True):
        rows += [hidden(f"hidden mean, {part} blocks, first {k}", window=(0, k), blocks=blocks) for k in FIRSTS]
    return tuple(rows)


def best_dose(tables: Sequence[Tables]) -> str:
    """The hidden mean that solves most, mean over the training seeds' tables of validation clips (first of equals)."""
    names = [str(name) for name in tables[0]["arms"]]
    solved = np.mean([table["solved"].mean((1, 2)) for table in tables], axis=0)
    doses = [i for i, name in enumerate(names) if name.startswith("hidden mean")]
    return names[max(doses, key=lambda i: (solved[i], -i))]


def correction(one: One) -> tuple[np.ndarray, np.ndarray]:
    """Net forced-choice correction, and the same minus the believer's on the same clips and noises: [instance, noise]
    each. The believer is expected to gain nothing; were it to, the second is the harder one."""
    mine, null = (paths.correction(one["maze/paths"][name]) for name in ("right", "believer_right"))
    return mine, mine - null


def early_off_path(suite: Suite, table: Tables, name: str = "ink") -> np.ndarray:
    """Ink on wrong branches minus ink behind walls, mean over the first third of the steps: [instance, noise]."""
    ink = table[name]
    early = list(arms.thirds(ink.shape[2])[0])
    return paths.off_path(ink[:, :, early].mean(2), suite)


def turned(table: Tables) -> np.ndarray:
    """Answers that re-noising at a step turned into another readable one: float [instance, site]."""
    after, clean = table["renoise_answer"], table["clean_answer"][:, None]
    return ((after != clean) & (after >= 0)).astype(float)


def peak(table: Tables) -> tuple[np.ndarray, np.ndarray]:
    """`turned`, middle third of the steps minus the first third, and minus the last third: [instance] each."""
    steps = int(table["cka"].shape[2]) - 1
    first, middle, last = (turned(table)[:, np.isin(table["steps"], part)].mean(1) for part in arms.thirds(steps))
    return middle - first, middle - last


def dose_difference(table: Tables) -> np.ndarray:
    """Answers changed by noise at one step minus those changed by noise at one frame, same number of cells."""
    changed = lambda name: (table[f"{name}_answer"] != table["clean_answer"][:, None]).mean(1)
    return changed("step_equal") - changed("frame_minus")


def ensemble(one: One, dose: str) -> tuple[np.ndarray, np.ndarray]:
    """Solved with the hidden mean at a dose, minus single and minus low temperature: [instance, noise] each."""
    table = one["maze/ensembles"]
    solved = dict(zip(map(str, table["arms"]), table["solved"], strict=True))
    return solved[dose] - solved["single"], solved[dose] - solved["temperature 1/sqrt(M)"]


def contrasts(one: One, mazes: Suite, dose: str) -> dict[str, tuple[np.ndarray, ...]]:
    """Every primary's contrasts of one training seed.

    Args:
        one: its tables, and under "null" the null model's.
        mazes: the clips of "maze/paths".
        dose: of the ensemble, from `best_dose`.
    """
    mine, null = one["maze_goals/perturbations"], one["null"]["maze_goals/perturbations"]
    kept = one["entrant/memory"]
    return {
        "cos.correction": correction(one),
        "cos.multi_path": (early_off_path(mazes, one["maze/paths"]),),
        "cos.memory": (memory.agreement(kept, "emptied", AT), memory.lost(kept, "emptied", AT)),
        "cos.step_over_frame": (dose_difference(mine) - dose_difference(null),),
        "cos.peak": tuple(a - b for a, b in zip(peak(mine), peak(null), strict=True)),
        "cos.layer": (goals.early_blocks(one["maze/goals"]),),
        "cos.ensemble": ensemble(one, dose),
    }


Control = tuple[str, float, Callable[[float, float], bool], float]  # what, number, rule, bound
AT_LEAST: Callable[[float, float], bool] = lambda value, bound: value >= bound
AT_MOST: Callable[[float, float], bool] = lambda value, bound: value <= bound


def controls(one: One, mazes: Suite) -> dict[str, list[Control]]:
    """The numbers of every primary's controls on one training seed, each with its bound (on the mean over seeds)."""
    found, kept, swapped = one["maze/paths"], one["entrant/memory"], one["maze/goals"]
    null = one["null"]["maze_goals/perturbations"]
    first = np.isin(null["steps"], arms.thirds(int(null["cka"].shape[2]) - 1)[0])
    flip = swapped["flip"][swapped["usable"]]
    table = one["maze/ensembles"]
    solved = dict(zip(map(str, table["arms"]), table["solved"], strict=True))
    room = float((solved["x0 mean, all steps"] - solved["single"]).mean())
    out: dict[str, list[Control]] = {
        "cos.correction": [("planted", float(paths.correction(found["planted_right"]).mean()), AT_LEAST, 0.9)],
        "cos.multi_path": [("doubt", float(np.nanmean(early_off_path(mazes, found, "doubt_ink"))), AT_LEAST, 0.1)],
        "cos.memory": [
            ("donor's ends", float(np.nanmean(memory.donated(kept, "ends", AT))), AT_LEAST, 0.9),
            ("donor's hidden frames", float(np.nanmean(memory.moved(kept, "hidden", AT))), AT_MOST, 0.05),
        ],
        "cos.peak": [("null model, first third", float(turned(null)[:, first].mean()), AT_LEAST, 0.3)],
        "cos.layer": [
            ("all blocks", float(flip[:, 1].mean()), AT_LEAST, 0.9),
            ("no block", float(flip[:, 0].mean()), AT_MOST, 0.05),
        ],
        "cos.ensemble": [("x0 mean, all steps", room, AT_LEAST, 0.031)],
    }
    if "causal" in one:  # frame-causal models of the same recipe must reverse the sign
        causal = dose_difference(one["causal"]["maze_goals/perturbations"]).mean()
        out["cos.step_over_frame"] = [("frame-causal models", float(causal), AT_MOST, 0.0)]
    return out
