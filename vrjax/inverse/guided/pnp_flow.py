"""PnP-Flow: a plug-and-play iteration whose denoiser is the flow, the mean over fresh noises. Aims at the mode.

Martin, Gagneux, Hagemann and Steidl, ICLR 2025 (arXiv 2410.02423).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from vrjax.flow.core import Grid, Info, Prediction, Record, Solver, Trajectory, Velocity
from vrjax.flow.grids import shifted
from vrjax.flow.sampling import sample
from vrjax.inverse.guided._linear import gaussian_step, isotropic, misfit
from vrjax.inverse.guided._method import (
    STEPS,
    Traits,
    all_finite,
    check,
    choice,
    from_extra,
    keeping,
    norm,
    observed,
)

TRAITS = Traits(
    kind="map",
    form="sampler",
    network_gradient=False,
    linear=False,
    stochastic=True,
    normalised=True,
    coupled=False,
    evaluations=5,
    steps=100,
    source="Martin et al., ICLR 2025; 100 steps, 5 noises, alpha 1 and step noise_std^2 as in its public code",
)


def pnp_flow(
    velocity: Velocity,
    operator: Any,
    y: ArrayLike,
    noise_std: ArrayLike,
    x: Float[Array, "..."],
    grid: Grid | None = None,
    *,
    key: Any,
    step: str = "published",
    scale: ArrayLike = 1.0,
    alpha: float = 1.0,
    draws: int = 5,
    record: Record | None = None,
) -> Trajectory:
    """The iteration x -> mean of D(z) over noises, D(z) = z - s v(z) and z = (1 - s) (x - gamma grad) + s eps.

    The state x is an estimate of the data at every level s of the grid. grad is that of half the squared misfit over
    noise_std^2, and gamma = scale noise_std^2 s^alpha, so that noise_std cancels. The average over noises makes it no
    posterior sampler.

    Args:
        velocity: of the prior.
        operator: anything with a differentiable `apply`; `adjoint` for `pnp_flow_start`.
        y: what was observed, in the shape `operator.apply` gives.
        noise_std: standard deviation of the noise in y, in y's unit; "published" does not use it.
        x: the first estimate, published as `pnp_flow_start(operator, y)`.
        grid: by default 100 even steps.
        key: of the noises.
        step: "published", as above; "normalised": x is moved along -grad by the share `scale` of the exact Gaussian
            correction (see `guided`), without gamma.
        scale, alpha: see above.
        draws: how many noises are averaged, one after the other.
        record: as in `sample`. Fields `x`, `v` and the taps are of the first noise's z, `x0` and `next` of the mean.

    Returns:
        A trajectory whose `stats` hold `finite` and `residual`, the norm of y - A(x), and "record", what `record.fn`
        gives if there is one.

    Raises:
        ValueError: an unknown step, y that is not finite or of another shape, noise_std that is not positive.
    """
    choice("pnp_flow", "step", step, STEPS)
    y = check("pnp_flow", operator, y, noise_std)
    own = dict(operator=operator, y=y, noise_std=noise_std, kind=step, scale=scale, draws=draws)
    solver = Solver(
        plan=functools.partial(_plan, alpha=alpha),
        init=all_finite,
        step=functools.partial(_step, **own),
        stochastic=True,
    )
    record = keeping(record, from_extra("finite", "residual"))
    return sample(velocity, x, shifted(100) if grid is None else grid, solver=solver, key=key, record=record)


def pnp_flow_start(operator: Any, y: ArrayLike) -> Float[Array, "..."]:
    """The published first estimate, `A^T 1`.

    Raises:
        ValueError: a nonlinear operator, y that is not finite.
    """
    return operator.adjoint(jnp.ones_like(check("pnp_flow_start", operator, y, 1.0, linear=True)))


def _plan(grid: Grid, *, alpha: float) -> dict[str, np.ndarray]:
    start = grid.sigmas[:-1]
    return {"sigma": start, "gamma": start**alpha}


def _step(evaluate, x, state, row, key, *, operator, y, noise_std, kind, scale, draws):
    data = observed("pnp_flow", operator, y, x)
    missing, downhill = misfit(operator, data, x)
    if kind == "normalised":
        noise2 = jnp.square(jnp.asarray(noise_std, x.dtype))
        move = scale * gaussian_step(operator, x, downhill, missing, x, isotropic(row["sigma"]), noise2)
    else:
        move = scale * row["gamma"] * downhill
    clean = x + move

    def denoise(key):
        z = (1 - row["sigma"]) * clean + row["sigma"] * jax.random.normal(key, x.shape, x.dtype)
        prediction = evaluate(z)
        return z, z - row["sigma"] * prediction.v, prediction

    z, estimates, seen = lax.map(denoise, jax.random.split(key, draws))
    x_next = jnp.mean(estimates, 0)
    fine = state & all_finite(x_next, move)
    first: Prediction = jax.tree.map(lambda a: a[0], seen)
    return x_next, fine, Info(first, {"x": z[0], "x0": x_next, "finite": fine, "residual": norm(missing)})
