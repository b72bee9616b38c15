"""FlowChef: steering a flow by the misfit's gradient with respect to the data estimate, no derivative of the network.

Patel, Wen, Metaxas and Yang, ICCV 2025 (arXiv 2412.00100); in the form that the public code of FlowDPS compares with.
"""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from vrjax.flow.core import Grid, Info, Solver
from vrjax.inverse.guided._linear import gaussian_step, isotropic, misfit_norm
from vrjax.inverse.guided._method import STEPS, Traits, all_finite, choice, norm, observed
from vrjax.inverse.guided.flowdps import check_residual

TRAITS = Traits(
    kind="posterior",
    form="solver",
    network_gradient=False,
    linear=True,
    stochastic=False,
    normalised=True,
    coupled=False,
    evaluations=1,
    steps=28,
    source="Patel et al., ICCV 2025; 28 steps, shift 4 and step 15 as in the public code of FlowDPS",
)


def flowchef(
    operator: Any,
    y: ArrayLike,
    noise_std: ArrayLike,
    *,
    step: str = "published",
    scale: ArrayLike | None = None,
    residual: str = "adjoint",
) -> Solver:
    """A deterministic solver. With x0 = x - s v and n = x + (1 - s) v at level s:

    `x' = x0 + s' (n - x0) - scale g`, g the gradient of `|A^T y - A^T A x0|` with respect to x0. The published runs are
    of 28 steps of `grids.shifted(28, 4.0)`. FlowChef's own public code instead takes the mean squared misfit of y with
    scale 100 and moves the state before the step.

    Args:
        operator: linear, with `apply` and `adjoint`; anything with a differentiable `apply` if residual is "data".
        y: what was observed, in the shape `operator.apply` gives.
        noise_std: standard deviation of the noise in y, in y's unit; "published" does not use it.
        step: "published", as above, scale 15 by default (the class that is published has 50, its runs pass 15); or
            "normalised": x0 is moved along -g by the share `scale`, 1 by default, of the exact Gaussian correction (see
            `guided`) in the line above, n held.
        scale: see `step`.
        residual: see `flowdps`.

    Offers `finite` and `residual`, the norm of y - A(x0), as `Info.extra`.

    Raises:
        ValueError: as `flowdps`.
    """
    choice("flowchef", "step", step, STEPS)
    y = check_residual("flowchef", operator, y, noise_std, residual)
    scale = (15.0 if step == "published" else 1.0) if scale is None else scale
    own = dict(operator=operator, y=y, noise_std=noise_std, kind=step, scale=scale, residual=residual)
    return Solver(plan=_plan, init=all_finite, step=functools.partial(_step, **own))


def _plan(grid: Grid) -> dict[str, np.ndarray]:
    return {"sigma": grid.sigmas[:-1], "next": grid.sigmas[1:]}


def _step(evaluate, x, state, row, key, *, operator, y, noise_std, kind, scale, residual):
    del key
    data = observed("flowchef", operator, y, x)
    prediction = evaluate(x)
    sigma, end, v = row["sigma"], row["next"], prediction.v
    x0, n = x - sigma * v, x + (1 - sigma) * v
    move, missing = misfit_norm(operator, data, x0, residual)
    if kind == "normalised":
        noise2 = jnp.square(jnp.asarray(noise_std, x.dtype))
        move = (1 - end) * gaussian_step(operator, x0, move, missing, x0, isotropic(sigma), noise2)
    x_next = x0 + end * (n - x0) + scale * move
    fine = state & all_finite(x_next, missing, move)
    return x_next, fine, Info(prediction, {"finite": fine, "residual": norm(missing)})
