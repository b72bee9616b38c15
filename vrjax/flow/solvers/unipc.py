"""UniPC, the unified predictor-corrector of Zhao et al. 2023 (arXiv 2302.04867), in its data-prediction form for a
flow.

Notation: alpha = 1 - sigma, lambda = log(alpha / sigma), m_i = x - sigma_i v the data estimate at step i. From level
s to level t with h = lambda_t - lambda_s, the exact solution is `(sigma_t / sigma_s) x_s` plus alpha_t times an
integral over m. Both halves replace m by the polynomial through known estimates at relative places r_k = (lambda_k -
lambda_s) / h:

    x_t = (sigma_t / sigma_s) x_s - alpha_t (e^-h - 1) m_s - alpha_t B(h) sum_k rho_k (m_k - m_s) / r_k

The predictor (UniP) knows estimates up to s. Once the network has answered at the predicted x_t, its estimate joins the
sum with r = 1 and the same step is taken again from x_s: the corrector (UniC). It costs no further evaluation. rho
solves the order conditions `sum_k rho_k r_k^(j-1) = j! phi_(j+1)(-h) (-h) / B(h)`, with B(h) = -h ("bh1") or e^-h - 1
("bh2"); with one unknown, 1/2 is used for rho as the authors do. All of it depends on the grid alone, so the plan
folds each half into one linear combination of the states and estimates.
"""

import functools

import numpy as np

from vrjax.flow.core import Grid, Info, Solver

_NEAREST_TO_NOISE = 1.0 - 1e-6


@functools.cache
def unipc(order: int = 2, *, variant: str = "bh2", lower_order_final: bool = True, corrector: bool = True) -> Solver:
    """UniPC of order 1, 2 or 3; one evaluation a step.

    Step i asks the network at the predicted state (which is what the trajectory records as `x`), corrects that state
    with the answer (`corrected`, if recorded), and predicts the next from the corrected one. Orders warm up 1, 2, 3
    and, with `lower_order_final`, cool down so that few-step runs stay stable; the step to sigma 0 is always first
    order, whose limit is the data estimate exactly. A first sigma of 1, where lambda is infinite, is taken as 1 -
    1e-6 inside the coefficients, as diffusers does with its grid.

    Args:
        order: of the predictor; the corrector adds one. (Without it, the first-order first step limits order 3 to 2.)
        variant: B(h), "bh1" or "bh2" (what Wan uses).
        lower_order_final: lower the order towards the end of the grid.
        corrector: whether to correct; without it this is UniP alone.

    Raises:
        ValueError: for another order or variant.
    """
    if order not in (1, 2, 3):
        raise ValueError(f"unipc: order must be 1, 2 or 3, found {order!r}")
    if variant not in ("bh1", "bh2"):
        raise ValueError(f"unipc: variant must be 'bh1' or 'bh2', found {variant!r}")
    plan = functools.partial(_plan, order=order, variant=variant, lower=lower_order_final, corrector=corrector)
    return Solver(
        plan=plan, init=lambda x: (x, (x,) * order), step=_step, order=order + 1 if corrector else min(order, 2)
    )


def _step(evaluate, x, state, row, key):
    del key
    origin, past = state  # the corrected state one step ago, and the estimates up to then, latest first
    prediction = evaluate(x)
    m = x - row["sigma"] * prediction.v
    c = row["correct"]
    x = c[0] * x + c[1] * origin + c[2] * m
    for k, estimate in enumerate(past):
        x = x + c[3 + k] * estimate
    past = (m, *past[:-1])
    p = row["predict"]
    x_next = p[0] * x
    for k, estimate in enumerate(past):
        x_next = x_next + p[1 + k] * estimate
    return x_next, (x, past), Info(prediction, {"corrected": x})


def _plan(grid: Grid, *, order: int, variant: str, lower: bool, corrector: bool) -> dict[str, np.ndarray]:
    sigma = np.minimum(grid.sigmas, _NEAREST_TO_NOISE)
    with np.errstate(divide="ignore"):
        lam = np.log1p(-sigma) - np.log(sigma)
    steps = grid.steps
    orders = [min(order, i + 1, steps - i if lower else order, 1 if sigma[i + 1] == 0 else order) for i in range(steps)]
    predict = np.zeros((steps, 1 + order))
    correct = np.zeros((steps, 3 + order))
    for i, p in enumerate(orders):
        known = lam[i - np.arange(p)]  # lambda of the estimates m_i, m_(i-1), ...
        predict[i, : 1 + p] = _combine(sigma[i], sigma[i + 1], lam[i + 1], known, variant)
        if i == 0 or not corrector:
            correct[i, 0] = 1.0
            continue
        p = orders[i - 1]
        known = np.append(lam[i - 1 - np.arange(p)], lam[i])
        weights = _combine(sigma[i - 1], sigma[i], lam[i], known, variant)
        correct[i, 1], correct[i, 2], correct[i, 3 : 3 + p] = weights[0], weights[-1], weights[1:-1]
    return {"sigma": sigma[:-1], "predict": predict, "correct": correct}


def _combine(sigma_s, sigma_t, lambda_t, known, variant: str) -> np.ndarray:
    """Weights of (x_s, estimates in the order of `known`) in the step from s to t; `known[0]` is lambda_s."""
    out = np.zeros(1 + len(known))
    out[0] = sigma_t / sigma_s
    alpha_t = 1 - sigma_t
    if sigma_t == 0:  # lambda_t is infinite; e^-h is 0 and the order is 1
        out[1] = alpha_t
        return out
    h = -(lambda_t - known[0])
    phi_1 = np.expm1(h)
    b_h = h if variant == "bh1" else phi_1
    out[1] = -alpha_t * phi_1
    r = (known[1:] - known[0]) / -h
    rho = _order_conditions(r, h, phi_1, b_h)
    slopes = -alpha_t * b_h * rho / r
    out[2:] = slopes
    out[1] -= slopes.sum()
    return out


def _order_conditions(r: np.ndarray, h: float, phi_1: float, b_h: float) -> np.ndarray:
    if len(r) < 2:
        return np.full(len(r), 0.5)
    right, phi, factorial = [], phi_1 / h - 1, 1.0
    for j in range(1, len(r) + 1):
        right.append(phi * factorial / b_h)
        factorial *= j + 1
        phi = phi / h - 1 / factorial
    return np.linalg.solve(np.stack([r**j for j in range(len(r))]), np.array(right))
