"""Diffusion posterior sampling: a step of the reverse process, then a step down the misfit of the data estimate.

Chung, Kim, McCann, Klasky and Ye, ICLR 2023 (arXiv 2209.14687).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from vrjax.flow.core import Grid, Info, Solver
from vrjax.inverse.guided._linear import (
    ancestral,
    ancestral_mean,
    estimate,
    gaussian_step,
    isotropic,
    misfit,
    over_norm,
)
from vrjax.inverse.guided._method import HIGHEST, STEPS, Traits, all_finite, check, choice, norm, observed

TRAITS = Traits(
    kind="posterior",
    form="solver",
    network_gradient=True,
    linear=False,
    stochastic=True,
    normalised=True,
    coupled=False,
    evaluations=1,
    steps=1000,
    source="Chung et al., ICLR 2023; gradient of the norm and scale 10 as in InverseBench",
)


def dps(
    operator: Any,
    y: ArrayLike,
    noise_std: ArrayLike,
    *,
    step: str = "published",
    scale: ArrayLike | None = None,
    highest: float = HIGHEST,
) -> Solver:
    """A stochastic solver: the ancestral step x' of the flow, moved down the misfit of x0_hat through the network.

    Args:
        operator: anything with a differentiable `apply`.
        y: what was observed, in the shape `operator.apply` gives.
        noise_std: standard deviation of the noise in y, in y's unit; "published" does not use it.
        step: how far x' is moved.
            "published": by `-scale c(s) c(s') grad_x |y - A(x0_hat)|`, s and s' the levels of the step's ends. The
              numbers `c(s) = sqrt(s^2 + (1 - s)^2)` turn the published step, of a variance-preserving state, into one
              of the flow's. scale is 10 by default, for 1,000 steps.
            "likelihood": x0_hat is moved by the score of `N(y; A(x0_hat), noise_std^2 I)`, `scale s^2 / (1 - s) grad_x
              log N` with scale 1, and x' with it (times `(1 - s') (1 - kept^2)`, see `ancestral`). No tuning, exact
              where x0 given x is narrow beside the noise.
            "normalised": x0_hat is moved along the same gradient by the share `scale`, 1 by default, of the exact
              Gaussian correction (see `guided`), and x' with it.
        scale: see `step`.
        highest: the other two do not move the state in steps that start above this level, where the gradient vanishes.

    Offers `finite` and `residual`, the norm of y - A(x0_hat), as `Info.extra`.

    Raises:
        ValueError: an unknown step, y that is not finite or of another shape, noise_std that is not positive.
    """
    choice("dps", "step", step, (*STEPS, "likelihood"))
    y = check("dps", operator, y, noise_std)
    scale = (10.0 if step == "published" else 1.0) if scale is None else scale
    return Solver(
        plan=functools.partial(_plan, step=step, highest=highest),
        init=all_finite,
        step=functools.partial(_step, operator=operator, y=y, noise_std=noise_std, kind=step, scale=scale),
        stochastic=True,
    )


def _plan(grid: Grid, *, step: str, highest: float) -> dict[str, np.ndarray]:
    rows = ancestral(grid)
    start, end = rows["sigma"], rows["next"]
    if step == "published":
        c = lambda s: np.sqrt(s**2 + (1 - s) ** 2)
        return {**rows, "size": c(start) * c(end)}
    inside = start <= highest
    size = np.where(inside, rows["moved"], 0.0)
    if step == "likelihood":
        size = size * np.divide(start**2, 1 - start, out=np.zeros_like(start), where=inside)
    return {**rows, "size": size}


def _step(evaluate, x, state, row, key, *, operator, y, noise_std, kind, scale):
    data = observed("dps", operator, y, x)
    x0, pull, prediction = estimate(evaluate, x, row["sigma"])
    missing, back = misfit(operator, data, x0)
    downhill = pull(back)  # minus the gradient of half the squared misfit
    noise2 = jnp.square(jnp.asarray(noise_std, x.dtype))
    if kind == "published":
        move = over_norm(downhill, missing)
    elif kind == "likelihood":
        move = downhill / noise2
    else:
        move = gaussian_step(operator, x0, downhill, missing, x0, isotropic(row["sigma"]), noise2)
    noise = jax.random.normal(key, x.shape, x.dtype)
    x_next = ancestral_mean(x, x0, prediction.v, row) + row["next"] * row["fresh"] * noise
    x_next = x_next + row["size"] * scale * move
    fine = state & all_finite(x_next, missing, move)
    return x_next, fine, Info(prediction, {"finite": fine, "residual": norm(missing)})
