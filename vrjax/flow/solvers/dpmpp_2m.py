"""DPM-Solver++(2M), the two-step multistep solver of Lu et al. 2022 (arXiv 2211.01095, algorithm 2), for a flow."""

import functools

import numpy as np

from vrjax.flow.core import Grid, Info, Solver


@functools.cache
def dpmpp_2m() -> Solver:
    """Second order, one evaluation a step, linear in the state and the last two data estimates.

    With alpha = 1 - sigma, lambda = log(alpha / sigma), h = lambda' - lambda, r = h_previous / h and m = x - sigma v:

        x' = (sigma' / sigma) x - alpha' (e^-h - 1) [(1 + 1 / (2 r)) m - m_previous / (2 r)]

    The first step and the step to sigma 0 are first order. Infinite lambda is taken to its limit: from sigma 1 the
    first estimate carries no slope (1 / r = 0), at sigma 0 the step lands on m exactly.
    """
    return Solver(plan=_plan, init=lambda x: x, step=_step, order=2)


def _plan(grid: Grid) -> dict[str, np.ndarray]:
    sigma = grid.sigmas
    alpha = 1 - sigma
    with np.errstate(divide="ignore"):
        lam = np.log(alpha) - np.log(sigma)
    h = np.diff(lam)
    gain = -alpha[1:] * np.expm1(-h)
    half_inverse_r = np.zeros_like(h)
    middle = np.isfinite(h[1:]) & np.isfinite(h[:-1])
    half_inverse_r[1:][middle] = 0.5 * h[1:][middle] / h[:-1][middle]
    return {
        "sigma": sigma[:-1],
        "x": sigma[1:] / sigma[:-1],
        "m": gain * (1 + half_inverse_r),
        "m_previous": -gain * half_inverse_r,
    }


def _step(evaluate, x, m_previous, row, key):
    del key
    prediction = evaluate(x)
    m = x - row["sigma"] * prediction.v
    return row["x"] * x + row["m"] * m + row["m_previous"] * m_previous, m, Info(prediction)
