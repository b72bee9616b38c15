"""Posteriors in closed form, written out in float64 NumPy, and what draws must agree with them in."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.inverse import latent

S = 0.5
MATRIX = np.array([[1.0, 0.0], [0.3, 1.0], [-0.5, 0.4]])


class Case(NamedTuple):
    """A likelihood `sum_k w_k exp(-|c_k - B z|^2 / (2 S^2))` of a standard normal z: every posterior is a mixture."""

    weights: np.ndarray
    centres: np.ndarray
    matrix: np.ndarray

    @property
    def args(self):
        return tuple(jnp.asarray(a, float) for a in self)

    def posterior(self):
        """Weights, means, the covariance that components share, and log E[L]."""
        precision = np.eye(self.matrix.shape[1]) + self.matrix.T @ self.matrix / S**2
        covariance = np.linalg.inv(precision)
        means = self.centres @ self.matrix @ covariance / S**2
        seen = np.eye(self.matrix.shape[0]) * S**2 + self.matrix @ self.matrix.T
        fit = np.einsum("ki,ij,kj->k", self.centres, np.linalg.inv(seen), self.centres)
        size = self.matrix.shape[0]
        logs = np.log(self.weights) - 0.5 * (fit + np.linalg.slogdet(seen)[1]) + size * np.log(S)
        evidence = np.logaddexp.reduce(logs)
        return np.exp(logs - evidence), means, covariance, evidence

    def moments(self):
        weights, means, covariance, _ = self.posterior()
        mean = weights @ means
        return mean, covariance + np.einsum("k,ki,kj->ij", weights, means - mean, means - mean)


def centres(*points):
    return np.array(points) @ MATRIX.T


# The components of the first coincide, so that it is one Gaussian, and runs the same program as the second.
GAUSSIAN = Case(np.array([0.5, 0.3, 0.2]), centres([0.9, -0.6]) + np.zeros((3, 1)), MATRIX)
MODES = Case(np.array([0.5, 0.3, 0.2]), centres([1.5, 0.6], [-1.3, 0.8], [0.2, -1.7]), MATRIX)
NEAR = MODES._replace(centres=0.6 * MODES.centres)  # modes that overlap


def log_likelihood(z, weights, centres, matrix):
    away = centres - matrix @ z
    return jax.nn.logsumexp(jnp.log(weights) - 0.5 * jnp.sum(away**2, -1) / S**2)


def residual(z, weights, centres, matrix):
    """Of the Gaussian case."""
    return (centres[0] - matrix @ z) / S


def starts(chains, seed=0, r=2):
    return 1.5 * jax.random.normal(jax.random.key(seed), (chains, r))


def agrees(z, case, least):
    """Means, second moments and shares of modes of draws (C, K, 2), within 4.5 of their own standard errors and, for
    the shares, .03; `least` is the effective size that every one of them must have, so that this says something."""
    mean, covariance = case.moments()
    weights, means, spread, _ = case.posterior()
    z = np.asarray(z, np.float64)
    away = z - mean
    squares = (away[..., :, None] * away[..., None, :]).reshape(*z.shape[:2], -1)
    told = np.concatenate([away, squares, responsibilities(z, weights, means, spread)], -1)
    exact = np.concatenate([np.zeros(2), covariance.ravel(), weights])
    told, exact = (told[..., :6], exact[:6]) if np.allclose(means, means[0]) else (told, exact)  # shares are constant
    sizes = np.asarray(latent.ess(told))
    assert sizes.min() > least, sizes
    error = np.abs(told.mean((0, 1)) - exact)
    np.testing.assert_array_less(error, 4.5 * told.std((0, 1)) / np.sqrt(sizes))
    assert error[6:].max(initial=0) < 0.03


def responsibilities(z, weights, means, covariance):
    away = z[..., None, :] - means
    logs = np.log(weights) - 0.5 * np.einsum("...ki,ij,...kj->...k", away, np.linalg.inv(covariance), away)
    return np.exp(logs - np.logaddexp.reduce(logs, axis=-1, keepdims=True))
