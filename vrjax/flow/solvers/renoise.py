"""The sampler of few-step distilled models: estimate the data, then add fresh noise down to the next level.

    x0 = x - sigma v,     x' = (1 - sigma') x0 + sigma' noise

Consistency models (Song et al. 2023, arXiv 2303.01469, algorithm 1), distribution matching distillation and
Self-Forcing sample so. The noise is new in every step, so that the estimate is all that one step tells the next. The
marginals of a flow follow only where the estimate itself is a draw of the data, as a distilled network's is to be.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vrjax.flow.core import Grid, Info, Solver


def renoise(noise: Float[Array, "steps ..."] | None = None) -> Solver:
    """The re-noising solver; offers `noise` to `Record`. The step to sigma 0 is the data estimate itself.

    Args:
        noise: (S - 1, *x), what joins between the steps, for a grid of S steps that ends at 0. None: drawn with the key
            that `sample` is then given.

    Raises:
        ValueError: when sampling, noise of another shape.
    """
    drawn = noise is None
    return Solver(
        plan=_plan,
        init=lambda x: (),
        step=_step if drawn else functools.partial(_given, every=jnp.asarray(noise)),
        stochastic=drawn,
    )


def _plan(grid: Grid) -> dict[str, np.ndarray]:
    end = grid.sigmas[1:]
    return {"sigma": grid.sigmas[:-1], "end": end, "rest": 1 - end, "index": np.arange(grid.steps, dtype=np.int32)}


def _step(evaluate, x, state, row, key):
    return _joined(evaluate, x, state, row, jax.random.normal(key, x.shape, x.dtype))


def _given(evaluate, x, state, row, key, *, every):
    del key
    if every.shape[1:] != x.shape:
        raise ValueError(f"renoise: noise of shape {every.shape}, expected (steps - 1, {', '.join(map(str, x.shape))})")
    # The last step adds none: whatever stands in its place is multiplied by 0.
    none = jnp.zeros((1, *x.shape), x.dtype)
    return _joined(evaluate, x, state, row, jnp.concatenate([every.astype(x.dtype), none])[row["index"]])


def _joined(evaluate, x, state, row, noise):
    prediction = evaluate(x)
    x0 = x - row["sigma"] * prediction.v
    return row["rest"] * x0 + row["end"] * noise, state, Info(prediction, {"noise": noise})
