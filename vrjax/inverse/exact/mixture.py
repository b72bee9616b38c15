"""Mixtures of Gaussians as priors: under a linear operator and Gaussian noise all that is asked for is closed form.

prior = mixture.Mixture(weights, means, covariances)
after = mixture.posterior(prior, matrix, y, noise_std)     # a mixture again
x = mixture.sample(key, after, 1000)
flow.sample(mixture.velocity(prior), noise, grid)          # the exact flow from noise to the prior
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.scipy.linalg import cho_solve, solve_triangular
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from vrjax.flow import words
from vrjax.flow.core import Level, Velocity


class Mixture(NamedTuple):
    """`sum_k weights[k] N(means[k], covariances[k])`.

    Attributes:
        weights: (k,) positive, of sum 1.
        means: (k, d).
        covariances: (k, d, d), symmetric, positive semidefinite (definite where a density is asked for).
    """

    weights: Any
    means: Any
    covariances: Any

    __repr__ = words.line


def gaussian(mean: Float[Array, " d"], covariance: Float[Array, "d d"]) -> Mixture:
    """One Gaussian, as a mixture."""
    return Mixture(jnp.ones(1, mean.dtype), mean[None], covariance[None])


def isotropic(weights: Float[Array, " k"], means: Float[Array, "k d"], std: Any) -> Mixture:
    """Components of covariance `std^2 I`."""
    eye = jnp.eye(means.shape[1], dtype=means.dtype)
    return Mixture(weights, means, jnp.broadcast_to(std**2 * eye, (len(weights), *eye.shape)))


def moments(law: Mixture) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
    """Mean and covariance of the whole."""
    mean = law.weights @ law.means
    away = law.means - mean
    return mean, jnp.einsum("k,kij->ij", law.weights, law.covariances + away[:, :, None] * away[:, None, :])


def sample(key: Any, law: Mixture, n: int) -> Float[Array, "n d"]:
    """n independent draws."""
    which, noise = jax.random.split(key)
    at = jax.random.categorical(which, jnp.log(law.weights), shape=(n,))
    scales, axes = jnp.linalg.eigh(law.covariances)
    roots = axes * jnp.sqrt(jnp.maximum(scales, 0))[:, None, :]
    normal = jax.random.normal(noise, (n, law.means.shape[1]), law.means.dtype)
    return law.means[at] + jnp.einsum("nij,nj->ni", roots[at], normal)


def log_densities(law: Mixture, x: Float[Array, " d"]) -> Float[Array, " k"]:
    """`log(weights[k] N(x; means[k], covariances[k]))` of each component."""

    def one(mean, covariance):
        root = jnp.linalg.cholesky(covariance)
        white = solve_triangular(root, x - mean, lower=True)
        return -0.5 * (white @ white + x.size * jnp.log(2 * jnp.pi)) - jnp.sum(jnp.log(jnp.diagonal(root)))

    return jnp.log(law.weights) + jax.vmap(one)(law.means, law.covariances)


def log_density(law: Mixture, x: Float[Array, " d"]) -> Float[Array, ""]:
    """log of the density at one point, normalised."""
    return jax.nn.logsumexp(log_densities(law, x))


def responsibilities(law: Mixture, x: Float[Array, " d"]) -> Float[Array, " k"]:
    """The probability that x came from each component."""
    return jax.nn.softmax(log_densities(law, x))


def cdf(law: Mixture, x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The distribution function of a mixture in one dimension. Of others take `push` on a direction first.

    Raises:
        ValueError: a mixture of more dimensions.
    """
    if law.means.shape[1] != 1:
        raise ValueError(f"law: found {law.means.shape[1]} dimensions, expected 1: push it on a direction first")
    z = (x[..., None] - law.means[:, 0]) / jnp.sqrt(law.covariances[:, 0, 0])
    return norm.cdf(z) @ law.weights


def push(law: Mixture, matrix: Float[Array, "rows columns"], noise_std: Any = 0.0) -> Mixture:
    """The law of `matrix x + noise_std xi`: a projection, or what is observed. `noise_std` is a scalar or (m,).

    Raises:
        ValueError: a matrix of other width than the mixture.
    """
    _fits(law, matrix)
    noise = jnp.square(noise_std) * jnp.eye(matrix.shape[0], dtype=law.means.dtype)
    spread = jax.vmap(lambda c: matrix @ c @ matrix.T + noise)(law.covariances)
    return Mixture(law.weights, law.means @ matrix.T, spread)


def posterior(prior: Mixture, matrix: Float[Array, "rows columns"], y: Float[Array, " m"], noise_std: Any) -> Mixture:
    """The law of x given `y = matrix x + noise_std xi`, xi standard normal: Bayes' rule within and among components.

    Args:
        prior: of x.
        matrix: the operator.
        y: the observation.
        noise_std: > 0, a scalar or one per entry of y.

    Raises:
        ValueError: shapes that do not fit; an observation that is not finite; noise_std that is not positive.
    """
    _observed(prior, matrix, y, noise_std)
    seen = push(prior, matrix, noise_std)
    noise = jnp.square(noise_std) * jnp.eye(matrix.shape[0], dtype=prior.means.dtype)

    def update(mean, covariance, spread):
        root = (jnp.linalg.cholesky(spread), True)
        gain = cho_solve(root, matrix @ covariance).T
        keep = jnp.eye(mean.size, dtype=mean.dtype) - gain @ matrix
        # Joseph's form, which stays symmetric and positive in float32
        return mean + gain @ (y - matrix @ mean), keep @ covariance @ keep.T + gain @ noise @ gain.T

    means, covariances = jax.vmap(update)(prior.means, prior.covariances, seen.covariances)
    return Mixture(responsibilities(seen, y), means, covariances)


def log_evidence(
    prior: Mixture, matrix: Float[Array, "rows columns"], y: Float[Array, " m"], noise_std: Any
) -> Float[Array, ""]:
    """log of the density of y, normalised. Arguments and errors as of `posterior`."""
    _observed(prior, matrix, y, noise_std)
    return log_density(push(prior, matrix, noise_std), y)


def velocity(law: Mixture) -> Velocity:
    """The exact flow velocity `E[n - x0 | x_t = x]` of `x_t = (1 - t) x0 + t n`, x0 of the mixture and n normal.

    A velocity of `vrjax.flow`: `(x (d,), level) -> v (d,)`, t being `level.sigma`. Of a posterior it carries noise to
    the posterior. At t = 0 a singular covariance is not asked there (solvers end on the data estimate). Make it inside
    the compiled function, with the mixture an argument: covariances are diagonalised once.
    """
    scales, axes = jnp.linalg.eigh(law.covariances)

    def at(x, level: Level):
        t = jnp.asarray(level.sigma, x.dtype)
        spread = (1 - t) ** 2 * scales + t**2  # (k, d), of x_t along the axes
        along = jnp.einsum("kji,kj->ki", axes, x - (1 - t) * law.means)
        log_r = jnp.log(law.weights) - 0.5 * jnp.sum(along**2 / spread + jnp.log(spread), -1)
        drift = jnp.einsum("kij,kj->ki", axes, (t - (1 - t) * scales) / spread * along) - law.means
        return jax.nn.softmax(log_r) @ drift

    return at


def _fits(law: Mixture, matrix: Any) -> None:
    k, d = law.means.shape
    if law.weights.shape != (k,) or law.covariances.shape != (k, d, d):
        shapes = (law.weights.shape, law.means.shape, law.covariances.shape)
        raise ValueError(f"mixture: found shapes {shapes}, expected (k,), (k, d) and (k, d, d)")
    if matrix.ndim != 2 or matrix.shape[1] != d:
        raise ValueError(f"matrix: found shape {matrix.shape}, expected (m, {d}), the mixture having {d} dimensions")


def _observed(law: Mixture, matrix: Any, y: Any, noise_std: Any) -> None:
    _fits(law, matrix)
    checked(matrix, y, noise_std)


def checked(matrix: Any, y: Any, noise_std: Any) -> None:
    """Raises ValueError where an observation does not fit its operator, is not finite, or noise is not positive."""
    if matrix.ndim != 2 or y.shape != matrix.shape[:1]:
        raise ValueError(f"y: found shape {y.shape}, expected ({matrix.shape[0]},), the matrix being {matrix.shape}")
    if not isinstance(y, Tracer) and not np.isfinite(np.asarray(y)).all():
        raise ValueError(f"y: found {int((~np.isfinite(np.asarray(y))).sum())} values that are not finite")
    if not isinstance(noise_std, Tracer) and not (np.asarray(noise_std) > 0).all():
        raise ValueError(f"noise_std: found {float(np.min(noise_std)):g}, expected a positive number")
