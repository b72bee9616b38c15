"""Euler's method on the flow's ordinary differential equation dx/dsigma = v."""

import functools

import numpy as np

from vrjax.flow.core import Grid, Info, Solver


@functools.cache
def euler() -> Solver:
    """First order: `x' = x + (sigma' - sigma) v`. The step to sigma 0 is `x - sigma v`, the data estimate itself."""
    return Solver(plan=_plan, init=lambda x: (), step=_step)


def _plan(grid: Grid) -> dict[str, np.ndarray]:
    return {"dt": np.diff(grid.sigmas)}


def _step(evaluate, x, state, row, key):
    del key
    prediction = evaluate(x)
    return x + row["dt"] * prediction.v, state, Info(prediction)
