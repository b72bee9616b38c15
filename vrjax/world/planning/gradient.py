"""Gradient descent through the model: Adam on several plans at once, each by itself."""

from typing import Any

import jax
import jax.numpy as jnp

from vrjax.world.planning._core import BACKWARD, Method, adam, still


def gradient(*, candidates: int, std: Any = 0.5, rate: Any = 0.1) -> Method:
    """One iteration is one gradient of every plan. A gradient that is not finite moves nothing.

    The world's and the cost's own gradients decide what this can do: where they are zero, so are all steps.

    Args:
        candidates: plans; the first begins at the start, the others about it.
        std: standard deviation of the others' beginnings, in units of the input.
        rate: the length of a step of Adam, in units of the input.
    """

    def init(start, key):
        inputs = start + std * jax.random.normal(key, (candidates, *start.shape)).at[0].set(0.0)
        return inputs, still(inputs)

    def step(judge, carry, best, key):
        inputs, moments = carry
        inputs = jnp.clip(inputs, judge.low, judge.high)
        costs, slope = judge.descent(inputs, key)
        best = best.among(inputs, costs)
        return adam(judge, inputs, slope, moments, rate), best, jnp.isfinite(costs).mean()

    return Method(init, step, candidates * (1 + BACKWARD))
