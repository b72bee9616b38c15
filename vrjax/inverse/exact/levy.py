"""Signals of independent Laplace increments, seen linearly in Gaussian noise: the posterior by an exact Gibbs sampler.

`x = cumsum(u)`, the increments u_k of density `exp(-|u| / b) / (2 b)`: piecewise flat signals with jumps. A Laplace
variable is a Gaussian of random variance (Andrews & Mallows 1974): `u | tau ~ N(0, tau)` with tau exponential of mean
2 b^2. Given data both conditionals are known (Park & Casella 2008, "The Bayesian lasso"):

    1 / tau_k | u   ~ inverse Gaussian of mean 1 / (b |u_k|) and shape 1 / b^2
    u | tau, y      ~ N(Q^-1 H^T y / s^2, Q^-1),   Q = H^T H / s^2 + diag(1 / tau),   H = matrix cumsum
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Array, Float

from vrjax.inverse.exact.mixture import checked


def sample(key: Any, n: int, d: int, scale: Any = 1.0) -> Float[Array, "n d"]:
    """n signals of length d, the increments of scale b (their variance is 2 b^2)."""
    return jnp.cumsum(scale * jax.random.laplace(key, (n, d)), -1)


def posterior(
    key: Any,
    matrix: Float[Array, "rows d"],
    y: Float[Array, " m"],
    noise_std: Any,
    scale: Any = 1.0,
    *,
    steps: int,
    chains: int = 4,
    burn: int = 100,
) -> Float[Array, "chains k d"]:
    """Draws of the signal x (d,) given `y = matrix x + noise_std xi`, by Gibbs sampling from starts of the prior.

    A sweep is a Cholesky factor of d x d numbers. Of 8,000 sweeps at d = 32 or 64 with every fourth sample seen, 3,700
    count as independent in the slowest entry; judge chains by `vrjax.inverse.latent.gate`.

    Args:
        key: one typed key.
        matrix: the operator on signals.
        y: the observation.
        noise_std: > 0.
        scale: b > 0 of the increments.
        steps: kept sweeps a chain, K.
        chains: how many, by vmap.
        burn: sweeps that are dropped.

    Raises:
        ValueError: shapes that do not fit; an observation that is not finite; noise_std or scale not positive.
    """
    checked(matrix, y, noise_std)
    if not isinstance(scale, Tracer) and not float(scale) > 0:
        raise ValueError(f"scale: found {float(scale):g}, expected a positive number")
    return _run(key, matrix, y, noise_std, scale, steps=steps, chains=chains, burn=burn)


@partial(jax.jit, static_argnames=("steps", "chains", "burn"))
def _run(key, matrix, y, noise_std, scale, *, steps, chains, burn):
    d = matrix.shape[1]
    # H = matrix cumsum: column k sums the matrix's columns from k on. In units of the noise.
    design = jnp.cumsum(matrix[:, ::-1], 1)[:, ::-1] / noise_std
    gram, pulled = design.T @ design, design.T @ (y / noise_std)

    def sweep(u, key):
        first, second = jax.random.split(key)
        root_tau = _root_variance(first, u, scale)
        # u = root_tau w: the precision of w, I + D G D, has no eigenvalue under 1, however small a variance is.
        precision = jnp.eye(d, dtype=u.dtype) + root_tau[:, None] * gram * root_tau
        lower = jnp.linalg.cholesky(precision)
        mean = cho_solve((lower, True), root_tau * pulled)
        noise = solve_triangular(lower, jax.random.normal(second, (d,), u.dtype), lower=True, trans=1)
        u = root_tau * (mean + noise)
        return u, u

    def one(key):
        first, warm, kept = jax.random.split(key, 3)
        u = scale * jax.random.laplace(first, (d,), matrix.dtype)
        u, _ = lax.scan(lambda u, key: (sweep(u, key)[0], None), u, jax.random.split(warm, burn))
        _, draws = lax.scan(sweep, u, jax.random.split(kept, steps))
        return jnp.cumsum(draws, -1)

    return jax.vmap(one)(jax.random.split(key, chains))


def _root_variance(key, u, scale):
    """The square root of tau given u, by the transformation of Michael, Schucany & Haas (1976).

    With w = mean chi / (2 shape) the smaller root of their equation is `mean / rho` and the larger `mean rho`, rho =
    1 + w + sqrt(w (w + 2)), which loses no digits where the mean is large: their own form subtracts there.
    """
    normal, coin = jax.random.split(key)
    mean = 1 / (scale * jnp.maximum(jnp.abs(u), 1e-12 * scale))
    w = 0.5 * mean * (scale * jax.random.normal(normal, u.shape, u.dtype)) ** 2
    rho = 1 + w + jnp.sqrt(w * (w + 2))
    smaller = jax.random.uniform(coin, u.shape, u.dtype) * (1 + rho) <= rho
    return jnp.sqrt(jnp.where(smaller, rho, 1 / rho) / mean)
