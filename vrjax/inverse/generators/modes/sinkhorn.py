"""The Sinkhorn divergence between all outputs and all data at a stated epsilon: one compiled scan, no host.

It is the *divergence* that is minimised: the raw entropic cost is least for outputs that shrink toward the mean. Its
optimum is still no minimum of W2, but of what tends to W2^2 as epsilon falls to 0; `Report.train_w2` is exact.
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
    """All steps of one start."""
    arguments = (jnp.asarray(z, jnp.float32), jnp.asarray(data, jnp.float32), options.rate, options.epsilon)
    params, (curve, solved) = scan(generator, options.steps, params, *arguments, modes.spread(data))
    return modes.Outcome(params, np.asarray(curve, np.float64), int(np.sum(~np.asarray(solved))))


@functools.partial(jax.jit, static_argnames=("generator", "steps"))
def scan(
    generator: Any, steps: int, params: Any, z: Any, data: Any, rate: Any, epsilon: Any, unit: Any
) -> tuple[Any, Any]:
    """The steps as one program; divergence and convergence before each."""

    def loss(params):
        made = jax.vmap(generator.apply, (None, 0))(params, z)
        found = distances.sinkhorn_solve(made, data, epsilon)
        return found.divergence / unit, (found.divergence, found.converged)

    def step(carry, index):
        params, state = carry
        grads, told = jax.grad(loss, has_aux=True)(params)
        return modes.update(grads, state, params, rate, index / steps), told

    (params, _), told = lax.scan(step, (params, modes.ADAM.init(params)), jnp.arange(steps))
    return params, told
