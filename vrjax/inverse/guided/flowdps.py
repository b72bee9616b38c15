"""FlowDPS: data consistency of the data estimate, without the network's derivative, then partly fresh noise.

Kim, Kim and Ye, ICCV 2025 (arXiv 2503.08136).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from vrjax.flow.core import Grid, Info, Solver
from vrjax.inverse.guided._linear import gaussian_step, isotropic, misfit_norm
from vrjax.inverse.guided._method import STEPS, Traits, all_finite, check, choice, norm, observed

TRAITS = Traits(
    kind="posterior",
    form="solver",
    network_gradient=False,
    linear=True,
    stochastic=True,
    normalised=True,
    coupled=False,
    evaluations=1,
    steps=28,
    source="Kim et al., ICCV 2025; 28 steps, shift 4, step 15 and 3 rounds as in its public code",
)
RESIDUALS = ("adjoint", "pseudo_inverse", "data")


def flowdps(
    operator: Any,
    y: ArrayLike,
    noise_std: ArrayLike,
    *,
    step: str = "published",
    scale: ArrayLike | None = None,
    rounds: int = 3,
    residual: str = "adjoint",
) -> Solver:
    """A stochastic solver. With x0 = x - s v and n = x + (1 - s) v at level s:

    z starts at x0 and goes `rounds` times down `|A^T y - A^T A z|`; then `z = (1 - s) x0 + s z`, the noise becomes
    `e = sqrt(s') n + sqrt(1 - s') eps` and `x' = z + s' (e - z)`. The published runs are of 28 steps of
    `grids.shifted(28, 4.0)` with guidance 2 and noise_std .03, in the latent space of an autoencoder that is part of
    the operator there.

    Args:
        operator: linear, with `apply` and `adjoint`; anything with a differentiable `apply` if residual is "data".
        y: what was observed, in the shape `operator.apply` gives.
        noise_std: standard deviation of the noise in y, in y's unit; "published" does not use it.
        step: "published", each round moves z by `-scale` times the gradient of the norm, scale 15 by default; or
            "normalised", by the share `scale`, 1 by default, of the exact Gaussian correction (see `guided`), along
            the same gradient and with x0 as the Gaussian's centre.
        scale, rounds: see above.
        residual: "adjoint"; "pseudo_inverse", A^+ in place of A^T, as published for super-resolution; "data", y - A z.

    Offers `finite` and `residual`, the norm of y - A(x0), as `Info.extra`.

    Raises:
        ValueError: an unknown step or residual, a nonlinear operator unless residual is "data", y that is not finite or
            of another shape, noise_std that is not positive.
    """
    choice("flowdps", "step", step, STEPS)
    y = check_residual("flowdps", operator, y, noise_std, residual)
    scale = (15.0 if step == "published" else 1.0) if scale is None else scale
    own = dict(operator=operator, y=y, noise_std=noise_std, kind=step, scale=scale, rounds=rounds, residual=residual)
    return Solver(plan=_plan, init=all_finite, step=functools.partial(_step, **own), stochastic=True)


def check_residual(where: str, operator: Any, y: Any, noise_std: Any, residual: str) -> Any:
    """y, checked with all that a method with a choice of residual is given."""
    choice(where, "residual", residual, RESIDUALS)
    y = check(where, operator, y, noise_std, linear=residual != "data", why=f"residual={residual!r}")
    if residual == "pseudo_inverse" and not callable(getattr(operator, "pseudo_inverse", None)):
        raise ValueError(
            f"{where}: residual='pseudo_inverse' needs operator.pseudo_inverse(y), found none in "
            f"{type(operator).__name__}"
        )
    return y


def _plan(grid: Grid) -> dict[str, np.ndarray]:
    end = grid.sigmas[1:]
    return {"sigma": grid.sigmas[:-1], "next": end, "old": np.sqrt(end), "fresh": np.sqrt(1 - end)}


def _step(evaluate, x, state, row, key, *, operator, y, noise_std, kind, scale, rounds, residual):
    data = observed("flowdps", operator, y, x)
    prediction = evaluate(x)
    sigma, v = row["sigma"], prediction.v
    x0, n = x - sigma * v, x + (1 - sigma) * v
    noise2 = jnp.square(jnp.asarray(noise_std, x.dtype))
    z, first = x0, norm(data - operator.apply(x0))
    for _ in range(rounds):
        downhill, missing = misfit_norm(operator, data, z, residual)
        if kind == "normalised":
            downhill = gaussian_step(operator, z, downhill, missing, x0, isotropic(sigma), noise2)
        z = z + scale * downhill
    z = (1 - sigma) * x0 + sigma * z
    e = row["old"] * n + row["fresh"] * jax.random.normal(key, x.shape, x.dtype)
    x_next = z + row["next"] * (e - z)
    fine = state & all_finite(x_next, z)
    return x_next, fine, Info(prediction, {"finite": fine, "residual": first})
