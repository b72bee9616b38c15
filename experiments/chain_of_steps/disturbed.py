"""Noise at a step against noise at a frame, and level-matched noise at every step: what the primaries need of it.

Noise at a step and at a frame have an equal dose (number of replaced cells) and spare the scored frames. What else was
measured of the kind, with maps of how far a disturbance reaches, is in `perturbations`.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.chain_of_steps.perturbations import CLEAN, sites
from vrjax.flow import Record, grids, sample
from vrjax.reasoning.instruments import cells, perturb
from vrjax.reasoning.instruments.arms import thirds
from vrjax.study.subjects import Subject, Suite
from vrjax.study.tables import Bench, Tables

CONDITIONS = ("step", "frame", "renoise")


def measure(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float) -> Tables:
    """Every disturbance on every instance, noise 0, one program.

    Returns:
        `clean` int8 [N], the answer of the undisturbed run (-1: none can be read); of the disturbed ones, `step`
        [N, S]: noise on all frames but the scored one, at one step; `frame` [N, F - 1]: noise on one frame, not the
        scored one, at F - 1 spread steps, the same number of cells; `renoise` [N, S]: all frames, at one step, become
        the clean estimate with new noise of the level of that step.
    """
    grid, frames = grids.shifted(steps, shift=shift), suite.rows["solution"].shape[1]
    stack = sites(steps, frames, suite.task.decisive)
    noised = jnp.asarray(np.concatenate([stack["step_equal"], stack["frame_minus"]]))
    every = jnp.asarray(np.stack([cells.at_step(s, cells.allowed(steps, frames)) for s in range(steps)]))
    model = subject.velocity

    def one(weights: Any, row: Any) -> Any:
        velocity, noise = model(weights, row), row["noise"][0]
        clean = sample(velocity, noise, grid, record=CLEAN)

        def run(cell: Any, edit: Any) -> Any:
            # Up to its first cell a disturbed run is the clean one: there the record answers instead of the network.
            here = perturb.replay(velocity, clean, grid, jnp.argmax(cell.any(1)))
            return sample(here, noise, grid, key=row["key"], edit=edit, record=Record(steps=())).final

        replaced = perturb.sweep(lambda cell: run(cell, perturb.replace(cell)), noised, how="map")
        again = perturb.sweep(lambda cell: run(cell, perturb.renoise(cell, grid, clean.x0)), every, how="map")
        return jnp.concatenate([clean.final[None], replaced, again])

    rows = {k: suite.rows[k] for k in ("image", "text", "noise", "candidates", "prior", "key")}
    out = bench.over(one, subject.weights, rows, f"{subject.name}: {suite.task.name}, disturbed")
    answers = np.split(suite.answers(out).astype(np.int8), np.cumsum([1, steps, len(noised) - steps]), axis=1)
    return {"clean": answers[0][:, 0], **dict(zip(CONDITIONS, answers[1:], strict=True))}


def step_over_frame(table: Tables, lost: bool = True) -> np.ndarray:
    """Answers changed by noise at one step minus those changed by noise at one frame, same number of cells: [N], NaN
    where the undisturbed run shows no answer. `lost`: count those that cannot be read any more."""
    apart = changed(table, "step", lost).mean(1) - changed(table, "frame", lost).mean(1)
    return np.where(table["clean"] >= 0, apart, np.nan)


def at_frame(table: Tables) -> float:
    """Answers changed or lost by noise at a frame, of the runs that show one."""
    shown = table["clean"] >= 0
    return float(changed(table, "frame", True)[shown].mean()) if shown.any() else float("nan")


def changed(table: Tables, name: str, lost: bool) -> np.ndarray:
    """Whether a disturbed run shows another answer than the undisturbed one, float [N, site]; with `lost`, or none."""
    after = table[name]
    return ((after != table["clean"][:, None]) & (lost | (after >= 0))).astype(float)


def turned(table: Tables) -> np.ndarray:
    """Answers that re-noising at a step turned into another readable one: float [N, S], NaN where the undisturbed run
    shows none."""
    return np.where(table["clean"][:, None] >= 0, changed(table, "renoise", False), np.nan)


def peak(table: Tables, over: int) -> np.ndarray:
    """`turned`, mean over the middle third of the steps minus mean over another third (0: first, 2: last): [N]."""
    curve = turned(table)
    parts = [curve[:, list(part)].mean(1) for part in thirds(curve.shape[1])]
    return parts[1] - parts[over]
