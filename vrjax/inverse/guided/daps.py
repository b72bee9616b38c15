"""Decoupled annealing: solve the flow's equation to a data estimate, Langevin steps around it, noise it again.

Zhang, Chu, Berner, Meng, Anandkumar and Song, CVPR 2025 (arXiv 2407.01521).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from vrjax.flow.core import Grid, Info, Level, Record, Solver, Trajectory, Velocity, as_prediction
from vrjax.flow.sampling import sample
from vrjax.inverse.guided._linear import misfit
from vrjax.inverse.guided._method import Traits, all_finite, check, from_extra, keeping, norm, observed

TRAITS = Traits(
    kind="posterior",
    form="sampler",
    network_gradient=False,
    linear=False,
    stochastic=True,
    normalised=False,
    coupled=False,
    evaluations=5,
    steps=200,
    source="Zhang et al., CVPR 2025; grids, lr, tau and Langevin steps as in InverseBench",
)
NOISIEST, LOWEST, INNERMOST = 100.0, 0.1, 0.01


def daps_grid(steps: int = 200) -> Grid:
    """The published annealing: noise over signal `sigma / (1 - sigma)` falls from 100 to 0.1 evenly in its seventh
    root, then 0."""
    ratio = np.append(_even(np.asarray(NOISIEST), LOWEST, steps), 0.0)
    return Grid(ratio / (1 + ratio))


def daps(
    velocity: Velocity,
    operator: Any,
    y: ArrayLike,
    noise_std: ArrayLike,
    x: Float[Array, "..."],
    grid: Grid | None = None,
    *,
    key: Any,
    ode_steps: int = 5,
    langevin_steps: int = 100,
    lr: float = 1e-4,
    lr_end: float = 0.01,
    tau: ArrayLike | None = 0.01,
    record: Record | None = None,
) -> Trajectory:
    """At every level s of the grid: Euler's steps from the state to x0_hat, Langevin from x0_hat, `x' = (1 - s') x0 +
    s' eps`.

    The Langevin steps `x0 <- x0 - lr_s grad U(x0) + sqrt(2 lr_s) eps` are of `U = |x0 - x0_hat|^2 / (2 r^2) + |y -
    A(x0)|^2 / (2 tau^2)` with r = s / (1 - s), the noise over signal; lr_s falls evenly over the S steps from lr to
    `lr_end lr`. They are stable while lr |A|^2 / tau^2 < 2: at 1 as published for an operator of norm 1. The published
    code puts zeros where a chain is not finite; here it stays so, and the flag says it.

    Args:
        velocity: of the prior. It is also asked at levels between those of the grid, whose times lie between the
            grid's.
        operator: anything with a differentiable `apply`.
        y: what was observed, in the shape `operator.apply` gives.
        noise_std: standard deviation of the noise in y, in y's unit; used if tau is None only.
        x: the state at the grid's first level; of `daps_grid()` that is 100/101, nearly pure noise.
        grid: by default `daps_grid()`.
        key: of all noises.
        ode_steps: of the inner equation, even in the seventh root of the noise over signal down to 0.01, then 0.
        langevin_steps, lr, lr_end: see above.
        tau: what stands for the noise; 0.01 as published, whatever noise_std is. None for noise_std itself, with which
            the target is the posterior; lr then has to fit it.
        record: as in `sample`.

    Returns:
        A trajectory whose `stats` hold `finite` and `residual`, the norm of y - A(x0) after Langevin, and "record",
        what `record.fn` gives if there is one.

    Raises:
        ValueError: y that is not finite or of another shape, noise_std or tau that is not positive.
    """
    y = check("daps", operator, y, noise_std)
    if tau is not None and not isinstance(tau, Tracer) and not (np.isfinite(tau) and np.asarray(tau) > 0):
        raise ValueError(f"daps: tau must be positive and finite, or None, found {tau}")
    grid = daps_grid() if grid is None else grid
    solver = Solver(
        plan=functools.partial(_plan, inner=ode_steps, lr=lr, lr_end=lr_end),
        init=all_finite,
        step=functools.partial(
            _step,
            velocity=velocity,
            operator=operator,
            y=y,
            tau=noise_std if tau is None else tau,
            langevin_steps=langevin_steps,
        ),
        stochastic=True,
    )
    return sample(velocity, x, grid, solver=solver, key=key, record=keeping(record, from_extra("finite", "residual")))


def _even(largest, smallest: float, count: int, power: float = 7.0) -> np.ndarray:
    share = np.linspace(0.0, 1.0, count)
    first = np.asarray(largest, np.float64)[..., None] ** (1 / power)
    return (first + share * (smallest ** (1 / power) - first)) ** power


def _plan(grid: Grid, *, inner: int, lr: float, lr_end: float) -> dict[str, np.ndarray]:
    start, steps = grid.sigmas[:-1], grid.steps
    ratio = np.divide(start, 1 - start, out=np.full(steps, NOISIEST), where=start < 1)
    ratios = _even(np.minimum(ratio, NOISIEST), min(INNERMOST, 0.5 * float(ratio.min())), inner)
    levels = np.concatenate([start[:, None], (ratios / (1 + ratios))[:, 1:], np.zeros((steps, 1))], 1)
    known = np.append(grid.sigmas[:-1], 0.0)[::-1], np.append(grid.times, 0.0)[::-1]
    return {
        "sigma": start,
        "next": grid.sigmas[1:],
        "levels": levels,
        "times": np.interp(levels, *known),
        "precision": ((1 - start) / start) ** 2,
        "lr": lr * (1 + np.arange(steps) / steps * (lr_end - 1)),
    }


def _step(evaluate, x, state, row, key, *, velocity, operator, y, tau, langevin_steps):
    data = observed("daps", operator, y, x)
    prediction = evaluate(x)
    levels, times = row["levels"], row["times"]
    x0 = x + (levels[1] - levels[0]) * prediction.v

    def euler(x, ends):
        v = as_prediction(velocity(x, Level(ends["from"], ends["time"]))).v
        return x + (ends["to"] - ends["from"]) * jnp.asarray(v).astype(x.dtype), None

    x0, _ = lax.scan(euler, x0, {"from": levels[1:-1], "to": levels[2:], "time": times[1:-1]})
    lr, inverse = row["lr"], 1 / jnp.square(jnp.asarray(tau, x.dtype))
    around, again = jax.random.split(key)

    def langevin(z, key):
        downhill = misfit(operator, data, z)[1] * inverse - (z - x0) * row["precision"]
        return z + lr * downhill + jnp.sqrt(2 * lr) * jax.random.normal(key, z.shape, z.dtype), None

    z, _ = lax.scan(langevin, x0, jax.random.split(around, langevin_steps))
    x_next = (1 - row["next"]) * z + row["next"] * jax.random.normal(again, x.shape, x.dtype)
    missing = data - operator.apply(z)
    fine = state & all_finite(x_next, x0, missing)
    return x_next, fine, Info(prediction, {"finite": fine, "residual": norm(missing)})
