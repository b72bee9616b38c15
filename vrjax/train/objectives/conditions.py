"""Withholding conditions, so that one network answers with and without them."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from vrjax.train.objectives.levels import is_number


def drop(key: Array, condition: Any, rate: Any) -> Any:
    """Condition dropout for a batch: with probability `rate`, an example's condition becomes zeros (the empty prompt).

    `condition` is a pytree of arrays with the batch on axis 0; all of one example's arrays are dropped together.
    The plain number 0 returns the tree itself; a rate may be traced.
    """
    if is_number(rate) and not 0.0 <= rate <= 1.0:
        raise ValueError(f"condition dropout must lie in [0, 1], found {rate}")
    if is_number(rate) and rate == 0.0:
        return condition
    count = jax.tree.leaves(condition)[0].shape[0]
    keep = jax.random.bernoulli(key, 1.0 - rate, (count,))

    def mask(x):
        return jnp.where(keep.reshape((count,) + (1,) * (x.ndim - 1)), x, jnp.zeros_like(x))

    return jax.tree.map(mask, condition)
