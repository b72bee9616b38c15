"""The two-step Adams-Bashforth method on the velocity, for unequal steps (Hairer, Norsett and Wanner, III.5)."""

import functools

import numpy as np

from vrjax.flow.core import Grid, Info, Solver


@functools.cache
def ab2() -> Solver:
    """Second order, one evaluation a step: the velocity is extrapolated along the line through its last two values.

    With h = sigma' - sigma and w = h / h_previous:

        x' = x + h [(1 + w / 2) v - (w / 2) v_previous]

    The first step is Euler's. So is the last, as for the other multistep solvers, which lands on the last data estimate
    when it ends at sigma 0.
    """
    return Solver(plan=_plan, init=lambda x: x, step=_step, order=2)


def _plan(grid: Grid) -> dict[str, np.ndarray]:
    h = np.diff(grid.sigmas)
    half = np.zeros_like(h)
    half[1:-1] = 0.5 * h[1:-1] / h[:-2]
    return {"v": h * (1 + half), "v_previous": -h * half}


def _step(evaluate, x, v_previous, row, key):
    del key
    prediction = evaluate(x)
    return x + row["v"] * prediction.v + row["v_previous"] * v_previous, prediction.v, Info(prediction)
