"""On the line: the exact W2 between m sorted outputs and all n points. No plan, no minibatch, one compiled scan.

The square of W2 is the mean over the m outputs in order of `(T_i - q_i)^2 + v_i`, with q_i and v_i mean and variance of
the data's quantile function over ((i - 1) / m, i / m): so the targets are these means, for any n beside any m.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vrjax.inverse.generators import core, modes

RATE = 1e-2


def latents(key: Any, number: int, generator: Any) -> np.ndarray:
    """Midpoints of the normal's quantile function. Raises ValueError for a generator that is not of the line."""
    del key
    if generator.latent != 1 or generator.output != (1,):
        raise ValueError(
            f"fit: mode 'sorted' is for the line, found a generator from {generator.latent} dimensions to "
            f"{generator.output}; use mode 'plan'"
        )
    return core.midpoints(number)


def targets(data: np.ndarray, number: int) -> tuple[np.ndarray, float]:
    """Means (m, 1) of the data's quantile function over m equal shares of [0, 1], and the mean variance within them."""
    ordered = np.sort(data[:, 0])
    means = [np.diff(_integral(ordered**power, number)) * number for power in (1, 2)]
    return means[0][:, None], max(float(np.mean(means[1] - means[0] ** 2)), 0.0)


def _integral(ordered: np.ndarray, number: int) -> np.ndarray:
    """The integral of a step function of n equal steps over [0, i / m], i = 0 ... m."""
    n = len(ordered)
    whole = np.concatenate([[0.0], np.cumsum(ordered)]) / n
    return np.interp(np.arange(number + 1) / number, np.arange(n + 1) / n, whole)


def run(generator: Any, params: Any, data: np.ndarray, z: np.ndarray, options: modes.Options) -> modes.Outcome:
    """All steps of one start."""
    wanted, within = targets(data, len(z))
    unit = modes.spread(data)
    arguments = (jnp.asarray(z, jnp.float32), jnp.asarray(wanted, jnp.float32), options.rate, unit)
    params, losses = scan(generator, options.steps, params, *arguments)
    return modes.Outcome(params, np.sqrt(np.asarray(losses, np.float64) * unit + within))


@functools.partial(jax.jit, static_argnames=("generator", "steps"))
def scan(generator: Any, steps: int, params: Any, z: Any, wanted: Any, rate: Any, unit: Any) -> tuple[Any, Any]:
    """The steps as one program; and the loss before each."""

    def loss(params):
        made = jax.vmap(generator.apply, (None, 0))(params, z)
        return jnp.mean((jnp.sort(made[:, 0]) - wanted[:, 0]) ** 2) / unit

    def step(carry, index):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        return modes.update(grads, state, params, rate, index / steps), value

    (params, _), losses = lax.scan(step, (params, modes.ADAM.init(params)), jnp.arange(steps))
    return params, losses
