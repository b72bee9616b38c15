"""Distribution matching distillation: a generator's samples are moved to where a teacher's data is denser than theirs.

Yin et al. 2023 (arXiv 2311.18828), in the form of DMD2 (2405.14867) that Self-Forcing and CausVid train with. Two
networks look at a sample that was made noisy: the teacher ("real"), whose score is the data's, and a critic ("fake"),
whose score is the generator's, since it is trained on the generator's samples all the while (`fake_error`). The
difference of their estimates is the gradient of the reverse KL divergence of the noisy laws, up to a weight.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from vrjax.flow import Level, Velocity
from vrjax.flow.core import as_prediction
from vrjax.train.objectives.flow import flow_error, noisy

TINY = 1e-8


def dmd_direction(
    real: Velocity,
    fake: Velocity,
    x: Float[Array, "*n"],
    noise: Float[Array, "*n"],
    level: Level,
    *,
    normalise: bool = True,
) -> Float[Array, "*n"]:
    """Where a sample is pushed away from: `fake_x0 - real_x0`, the estimates at x made noisy; without a gradient.

    Args:
        real, fake: velocities of teacher (guided, if it is to be) and critic.
        x: the generator's sample.
        noise: standard Gaussian of the same shape.
        level: scalars; drawn uniformly and shifted in the public code, 0.02 to 0.98.
        normalise: divide by `mean |x - real_x0|`, so that all levels count alike (DMD, equation 8).
    """
    sigma = jnp.asarray(level.sigma, jnp.float32)
    x = lax.stop_gradient(x.astype(jnp.float32))
    at = noisy(x, noise, sigma)
    estimate = lambda velocity: at - sigma * as_prediction(velocity(at, level)).v
    told = estimate(real)
    grad = estimate(fake) - told
    if normalise:
        grad = grad / jnp.maximum(jnp.mean(jnp.abs(x - told)), TINY)
    return lax.stop_gradient(grad)


def dmd(
    real: Velocity,
    fake: Velocity,
    x: Float[Array, "*n"],
    noise: Float[Array, "*n"],
    level: Level,
    *,
    normalise: bool = True,
    weight: Any = None,
) -> Float[Array, ""]:
    """The generator's loss for one sample: its gradient with respect to x is `dmd_direction / size`.

    Its value, half the mean square of the direction, is no measure of progress by itself.

    Args:
        real, fake, x, noise, level, normalise: see `dmd_direction`; the gradient runs through x alone.
        weight: broadcastable to x, for example 0 on frames that were given.
    """
    grad = dmd_direction(real, fake, x, noise, level, normalise=normalise)
    grad = grad if weight is None else grad * weight
    x = x.astype(jnp.float32)
    return 0.5 * jnp.mean(jnp.square(x - lax.stop_gradient(x - grad)))


def fake_error(
    fake: Velocity, x: Float[Array, "*n"], noise: Float[Array, "*n"], level: Level, *, weight: Any = None
) -> Float[Array, ""]:
    """The critic's loss for one sample: flow matching on what the generator made, which has no gradient from it."""
    return flow_error(fake, lax.stop_gradient(x), noise, level, weight)
