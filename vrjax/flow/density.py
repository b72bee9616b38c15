"""Densities of recorded transitions under a (new) velocity."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vrjax.flow.core import Phase, Trajectory, Velocity
from vrjax.flow.sampling import as_phases, constants, evaluator, plan_rows


def log_prob(velocity: Velocity | Phase | tuple[Phase, ...] | list[Phase], trajectory: Trajectory) -> Any:
    """Log-density of each recorded step's outcome if `velocity` had made the step, `[K]`.

    The same code as the sampler's, in the same kind of scan: with the velocity that made the trajectory (and the same
    batching and precision) the result equals `trajectory.log_prob` bit for bit: `exp(new - old)` is exactly 1. Taking
    the gradient compiles the network's forward pass differently, and the network may then round its last bit
    differently. The gradient reaches the velocity; states and outcomes are data.

    Args:
        velocity: one velocity, or phases over the trajectory's grid.
        trajectory: of a stochastic solver, of one example (`vmap` for more), with `x` recorded, and `next` too where
            only some steps were recorded or states were edited between steps.

    Raises:
        ValueError: if the solver has no densities, or the trajectory lacks what is needed.
    """
    grid, solver = trajectory.grid, trajectory.solver
    replay = solver.replay
    if replay is None:
        raise ValueError("log_prob: the trajectory's solver is deterministic and has no densities, sample with sde()")
    x, x_next = _transitions(trajectory)
    if trajectory.sigma.ndim != 1:
        raise ValueError(
            f"log_prob: expected one trajectory, found sigma of shape {trajectory.sigma.shape}: use jax.vmap"
        )
    phases = as_phases(velocity, grid)
    rows = plan_rows(grid, solver)
    steps = np.asarray(trajectory.steps)
    parts, order, begin = [], [], 0
    for phase in phases:
        at = np.flatnonzero((steps >= begin) & (steps < phase.stop))
        begin = phase.stop
        if not at.size:
            continue

        def body(carry, xs, velocity=phase.velocity):
            row, here, there = xs
            info = replay(evaluator(velocity, row, here), here, row["coefficients"], there)
            return carry, info.extra["log_prob"]

        pick = (lambda a: a) if at.size == steps.size else (lambda a, at=at: a[at])
        xs = (constants(rows, x.dtype, steps=steps[at]), pick(x), pick(x_next))
        parts.append(lax.scan(body, (), jax.tree.map(lax.stop_gradient, xs))[1])
        order.append(at)
    return jnp.concatenate(parts)[np.argsort(np.concatenate(order))] if len(parts) > 1 else parts[0]


def _transitions(trajectory: Trajectory):
    record = trajectory.record
    if trajectory.x is None or not record.rows(trajectory.grid):
        raise ValueError("log_prob: the trajectory must have x recorded, sample with Record(fields=('x', ...))")
    whole = record.steps is None
    if trajectory.next is not None:
        return (trajectory.x[:-1] if whole else trajectory.x), trajectory.next
    if not whole or trajectory.edited:
        why = "its states were edited between steps" if whole else "only some of its steps were recorded"
        raise ValueError(f"log_prob: {why}, so it must have 'next' recorded: Record(fields=('x', 'next', ...))")
    return trajectory.x[:-1], trajectory.x[1:]
