"""Model-predictive path integrals (Williams et al. 2017): plans weighted by `exp(-cost / temperature)`."""

from typing import Any

import jax
import jax.numpy as jnp

from vrjax.world.planning._core import Method, propose


def mppi(*, candidates: int, std: Any = 0.5, temperature: Any = 0.1, decay: Any = 1.0) -> Method:
    """MPPI. Candidates that are not finite weigh nothing; the mean stays where none is finite.

    Args:
        candidates: plans per iteration; the first is the mean.
        std: standard deviation of their noise in the first iteration, in units of the input.
        temperature: in units of the cost: differences that are much smaller do not matter.
        decay: by which the standard deviation is multiplied after each iteration, in (0, 1].
    """

    def init(start, key):
        del key
        return start, jnp.asarray(std, start.dtype)

    def step(judge, carry, best, key):
        mean, spread = carry
        draw, chance = jax.random.split(key)
        inputs = propose(judge, mean, spread, draw, candidates)
        costs = judge.costs(inputs, chance)
        best = best.among(inputs, costs)
        least = jnp.where(jnp.isfinite(jnp.min(costs)), jnp.min(costs), 0.0)
        weights = jnp.exp(-(costs - least) / temperature)
        total = weights.sum()
        moved = jnp.tensordot(weights, inputs, 1) / jnp.where(total > 0, total, 1)
        return (jnp.where(total > 0, moved, mean), spread * decay), best, jnp.isfinite(costs).mean()

    return Method(init, step, candidates)
