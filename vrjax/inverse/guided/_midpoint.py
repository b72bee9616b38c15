"""The midpoint rule as a solver on a grid that has the middles: even steps go there, odd ones leave from the start."""

import functools

import jax.numpy as jnp
import numpy as np

from vrjax.flow.core import Grid, Info, Solver


@functools.cache
def midpoint() -> Solver:
    """Second order over pairs of steps; the number of steps must be even. Recorded rows are of both."""
    return Solver(plan=_plan, init=lambda x: x, step=_step, order=2)


def doubled(nodes: int, *, start: float = 1.0) -> Grid:
    """The grid of `nodes - 1` even midpoint steps from `start` to 0."""
    return Grid(np.linspace(start, 0.0, 2 * nodes - 1))


def _plan(grid: Grid) -> dict[str, np.ndarray]:
    if grid.steps % 2:
        raise ValueError(f"d_flow: a grid of midpoint steps has an even number of steps, found {grid.steps}")
    base = np.arange(grid.steps) // 2 * 2
    return {"dt": grid.sigmas[1:] - grid.sigmas[base], "first": np.arange(grid.steps) % 2 == 0}


def _step(evaluate, x, state, row, key):
    del key
    prediction = evaluate(x)
    base = jnp.where(row["first"], x, state)
    return base + row["dt"] * prediction.v, base, Info(prediction)
