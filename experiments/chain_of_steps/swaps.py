"""How many steps must be swapped before the answer flips: dose curves of the swaps of `goals`, in three modes."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.chain_of_steps import goals
from vrjax.flow import grids
from vrjax.reasoning.instruments import perturb
from vrjax.study.subjects import Subject, Suite
from vrjax.study.tables import Bench, Tables
from vrjax.tasks import Maze

MODES = ("tokens", "stream", "increment")


def measure(
    bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float, first: Sequence[int] = (1, 2, 4, 8)
) -> Tables:
    """Swaps in the first so many steps, of every block alone and of all of them, in every mode; noise 0.

    Args:
        suite: of the maze.
        first: doses, in steps from the first one on.

    Returns:
        `<mode>_flip` bool [N, dose, condition]: the forced choice among all paths is the way to the other's goal;
        conditions as in `goals.conditions` (with increments "all" is those of all blocks). `usable` [N]: both plain
        runs choose their own path; `first` [dose].
    """
    task, grid, blocks = suite.task, grids.shifted(steps, shift=shift), subject.layers
    if not isinstance(task, Maze) or not blocks or not all(0 < k <= steps for k in first):
        raise ValueError(
            f"swaps: expected a network, clips of the maze and doses of 1 to {steps} steps, found {subject.name}, "
            f"{task.name} and {tuple(first)}"
        )
    model = subject.velocity
    here, what = goals.pairs(suite), goals.conditions(blocks)
    when = np.arange(steps) < np.asarray(first)[:, None]  # [dose, step]
    masks = (when[:, None, :, None] & what[None, :, None]).reshape(-1, steps, 1 + blocks)

    def one(weights: Any, row: Any) -> Any:
        run = lambda mode: goals.swapped(model, weights, row, grid, mode)
        return {mode: perturb.sweep(run(mode), jnp.asarray(masks), how="map") for mode in MODES}

    choice = bench.over(one, subject.weights, here.rows, f"{subject.name}: {task.name}, doses of swaps")
    shape = (len(here.instance), len(first), len(what))
    plain = choice["tokens"].reshape(*shape, 2)[:, 0, 0] == np.stack([here.own, here.theirs], axis=1)
    flips = {f"{m}_flip": (c[..., 0] == here.theirs[:, None]).reshape(shape) for m, c in choice.items()}
    return {**flips, "usable": plain.all(1), "first": np.array(first)}
