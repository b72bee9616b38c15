"""Ways to fit a generator in Wasserstein-2. A file named as its mode with these three is a mode of `fit`:

    RATE                                                    # the learning rate of Adam, where none is given
    latents(key, number, generator) -> (m, r) float64       # the fixed latent points
    run(generator, params, data, z, options) -> Outcome     # one optimisation, from one start

Losses are divided by the data's total variance, so that a learning rate means the same for all data.

| mode | what it minimises |
| --- | --- |
| `sorted` | exact W2 on the line |
| `plan` | exact W2 in any dimension: plan on the host, Adam toward its barycentric targets, in turn |
| `sinkhorn` | the Sinkhorn divergence at a stated epsilon, compiled as a whole |
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax


class Options(NamedTuple):
    """Of a run: Adam steps in all and between two plans, peak rate, entropic epsilon (or None)."""

    steps: int
    inner: int
    rate: float
    epsilon: float | None


class Outcome(NamedTuple):
    """Of a run: parameters, the optimiser's curve (k,), the Sinkhorn problems that did not converge."""

    params: Any
    curve: np.ndarray
    unsolved: int = 0


ADAM = optax.scale_by_adam()


def update(grads: Any, state: Any, params: Any, rate: Any, done: Any) -> tuple[Any, Any]:
    """One step of Adam, at a rate that falls from `rate` to 0 by a cosine as `done` goes from 0 to 1."""
    direction, state = ADAM.update(grads, state)
    now = rate * 0.5 * (1.0 + jnp.cos(jnp.pi * done))
    return jax.tree.map(lambda p, d: p - (now * d).astype(p.dtype), params, direction), state


def spread(data: Any) -> float:
    """The data's total variance, or 1 where they do not vary: the unit of a loss."""
    return float(np.var(np.asarray(data, np.float64), axis=0).sum()) or 1.0
