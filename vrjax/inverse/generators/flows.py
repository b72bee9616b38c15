"""A flow as a generator: T(z) is where the flow's ordinary differential equation carries the noise z."""

import math
from typing import Any

import jax.numpy as jnp

from vrjax.flow import Grid, Record, Solver, sample
from vrjax.inverse.generators.core import Generator


def flow_generator(
    velocity: Any, grid: Grid, *, shape: tuple[int, ...], solver: Solver | None = None, params: Any = None
) -> Generator:
    """Any velocity of the library as a prior: `T(z) = sample(velocity, z, grid, solver=solver).final`.

    A pushforward of N(0, I) like the others, so the bounds of `vrjax.inverse.bounds` and the latent samplers apply to a
    video model as they stand; there is nothing to fit. The law is that of the *discretised* flow on this grid.

    Args:
        velocity: `(x, level) -> v`; or, where `params` is given, `velocity(params) -> (x, level) -> v`, so that the
            weights enter compiled programs as arguments: `flow_generator(lambda dit: dit.velocity(text), grid,
            params=dit, shape=...)`.
        grid: noise levels from 1 to 0.
        shape: of an example, such as (t, h, w, c).
        solver: a deterministic one; Euler by default.
        params: the weights as a pytree, which `init` returns; () without.

    Returns:
        a generator from z (r,), r the product of `shape`, to `shape`.

    Raises:
        ValueError: a stochastic solver, which is no map, or a grid that does not start at pure noise.
    """
    if solver is not None and solver.stochastic:
        raise ValueError(f"flow_generator: solver must be deterministic, found {solver!r}")
    if abs(float(grid.sigmas[0]) - 1.0) > 1e-6:
        raise ValueError(f"flow_generator: grid must start at sigma 1, where x is z, found {float(grid.sigmas[0]):g}")

    def init(key, data=None):
        del key, data
        return () if params is None else params

    def apply(weights, z):
        flow = velocity if params is None else velocity(weights)
        return sample(flow, jnp.reshape(z, shape), grid, solver=solver, record=Record(steps=())).final

    return Generator(init, apply, math.prod(shape), shape)
