"""The exact flow of independent Laplace numbers: what increments of a Levy signal are carried from noise by.

A number u of density `exp(-|u| / b) / (2 b)` is seen as z = (1 - t) u + t n, n standard normal. Given z, u is a mixture
of two normals cut at 0, so that means of u and n are closed form. With alpha = |z| / t, beta = t / ((1 - t) b),
x1 = beta - alpha, x2 = beta + alpha, h the hazard of the normal, `phi(x) / (1 - Phi(x))`, and K(x) = h(x) - x:

    E[u | z] = sign(z) t / (1 - t) (K1 h2 - K2 h1) / (h1 + h2),      E[n | z] = sign(z) beta (h2 - h1) / (h1 + h2)

Nothing large is subtracted in either, so float32 is enough at every level.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erfc
from jaxtyping import Array, Float

from vrjax.flow.core import Level, Velocity

NOISIEST = 0.999
"""Levels above are asked as this one, where E[u | z] is 0 within .002 b^2 |z| (at level 1 it is 0)."""
CLEANEST = 1e-4
"""Levels below are asked as this one; solvers end on the data estimate and do not ask there."""
SWITCH = 2.0  # below, the hazard is a quotient; above, a continued fraction of so many terms:
TERMS = 16


def velocity(scale: Any) -> Velocity:
    """`E[n - u | z]` entry by entry, of increments of scale b: `(z (d,), level) -> v (d,)`."""

    def at(z, level: Level):
        clean, noise = means(z, level.sigma, scale)
        return noise - clean

    return at


def means(z: Float[Array, "..."], sigma: Any, scale: Any) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """(E[u | z], E[n | z]) at level sigma of increments of scale b."""
    t = jnp.clip(jnp.asarray(sigma, z.dtype), CLEANEST, NOISIEST)
    sign, alpha, beta = jnp.where(z < 0, -1.0, 1.0), jnp.abs(z) / t, t / ((1 - t) * scale)
    (h1, k1), (h2, k2) = hazard(beta - alpha), hazard(beta + alpha)
    clean = t / (1 - t) * (k1 * h2 - k2 * h1) / (h1 + h2)
    return sign * clean, sign * beta * (h2 - h1) / (h1 + h2)


def hazard(x: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """(h, h - x) of a standard normal: its density over its upper tail, and how far that is above x."""
    low, high = jnp.minimum(x, SWITCH), jnp.maximum(x, SWITCH)
    quotient = np.sqrt(2 / np.pi) * jnp.exp(-0.5 * low**2) / erfc(low / np.sqrt(2))
    # K = 1 / (x + 2 / (x + 3 / (x + ...))), the rest of which is as if its terms stayed equal.
    rest = 0.5 * (jnp.sqrt(high**2 + 4 * (TERMS + 1)) - high)
    for term in range(TERMS, 0, -1):
        rest = term / (high + rest)
    small = x < SWITCH
    return jnp.where(small, quotient, high + rest), jnp.where(small, quotient - low, rest)
