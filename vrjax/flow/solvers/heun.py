"""Heun's method: the trapezoidal rule with an Euler predictor."""

import functools

import numpy as np
from jax import lax

from vrjax.flow.core import Grid, Info, Solver


@functools.cache
def heun() -> Solver:
    """Second order: `e = x + h v(x)`, `x' = x + h (v(x) + v'(e)) / 2`, with `h = sigma' - sigma` and v' asked at
    sigma'.

    Two network evaluations a step. The step to sigma 0 is Euler's, as in EDM (Karras et al. 2022, algorithm 1) and
    diffusers: a network is not trained at sigma 0, and Euler's step already lands on the data estimate exactly. The
    second evaluation sees no edit, belongs to the phase of its step, and shows the network the next step's time.
    Recorded v, x0 and taps are those of the first evaluation.
    """
    return Solver(plan=_plan, init=lambda x: (), step=_step, order=2)


def _plan(grid: Grid) -> dict[str, np.ndarray]:
    return {"dt": np.diff(grid.sigmas), "trapezoid": grid.sigmas[1:] > 0}


def _step(evaluate, x, state, row, key):
    del key
    prediction = evaluate(x)
    v = prediction.v
    euler = x + row["dt"] * v
    # A branch rather than a weight of 0: nothing is computed at sigma 0, so nothing there can spoil a gradient.
    v_end = lax.cond(row["trapezoid"], lambda: evaluate(euler, end=True).v, lambda: v)
    return x + row["dt"] * (0.5 * (v + v_end)), state, Info(prediction)
