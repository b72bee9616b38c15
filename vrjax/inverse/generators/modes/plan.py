"""In any dimension: exact plan on the host and Adam toward its barycentric targets, in turn.

For a plan P between m outputs and all n points, `sum P_ij |T_i - x_j|^2` is the mean of `|T_i - m sum_j P_ij x_j|^2`
and a rest without T: the targets give the gradient of exact W2 at the plan. The latent points are fixed and every point
of the data takes part in every plan. Minibatches would minimise the mean of W2^2 between small samples, whose optimum
is pulled toward the mean of the data.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vrjax.inverse import distances
from vrjax.inverse.generators import core, modes

RATE = 3e-3


def latents(key: Any, number: int, generator: Any) -> np.ndarray:
    """Scrambled Sobol points."""
    return core.sobol(key, number, generator.latent)


def run(generator: Any, params: Any, data: np.ndarray, z: np.ndarray, options: modes.Options) -> modes.Outcome:
    """All rounds of one start. The parameters of the round with the least exact W2 are kept."""
    fixed = jnp.asarray(z, jnp.float32)
    unit, rounds = modes.spread(data), -(-options.steps // options.inner)
    state, curve, kept = modes.ADAM.init(params), [], params
    for index in range(rounds + 1):
        made = np.asarray(core.push(generator, params, fixed), np.float64)
        if not np.isfinite(made).all():  # `fit` tells it
            return modes.Outcome(params, np.asarray(curve + [np.nan] * (rounds + 1 - index)))
        found = distances.transport(made, data)
        curve.append(max(found.cost, 0.0) ** 0.5)
        if curve[-1] <= min(curve):
            kept = params
        if index < rounds:
            wanted = jnp.asarray(len(z) * found.plan @ data, jnp.float32)
            numbers = (fixed, wanted, options.rate, unit, index, rounds)
            params, state = scan(generator, options.inner, params, state, *numbers)
    return modes.Outcome(kept, np.asarray(curve))


@functools.partial(jax.jit, static_argnames=("generator", "steps"))
def scan(
    generator: Any,
    steps: int,
    params: Any,
    state: Any,
    z: Any,
    wanted: Any,
    rate: Any,
    unit: Any,
    index: Any,
    rounds: Any,
) -> tuple[Any, Any]:
    """The steps of one round: one program for all rounds, their number and the rate being arguments."""

    def loss(params):
        made = jax.vmap(generator.apply, (None, 0))(params, z)
        return jnp.mean(jnp.sum((made - wanted) ** 2, -1)) / unit

    def step(carry, inner):
        params, state = carry
        return modes.update(jax.grad(loss)(params), state, params, rate, (index + inner / steps) / rounds), None

    return lax.scan(step, (params, state), jnp.arange(steps))[0]
