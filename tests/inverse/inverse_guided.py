"""Problems whose posterior is known: a dense operator, Gaussian priors and a mixture with their exact velocities."""

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.flow import Prediction


class Dense:
    """`A x`, with nothing but what every operator has; `breaks` makes it NaN where the first entry exceeds it."""

    linear = True

    def __init__(self, matrix, breaks=None):
        self.matrix, self.breaks = matrix, breaks

    def apply(self, x):
        seen = jnp.asarray(self.matrix, x.dtype) @ x
        return seen if self.breaks is None else seen * jnp.where(x[0] > self.breaks, jnp.nan, 1.0)

    def adjoint(self, y):
        return jnp.asarray(self.matrix, y.dtype).T @ y


class Solving(Dense):
    """With the solves that an operator may have."""

    def gram_solve(self, y, r2, noise2):
        a = jnp.asarray(self.matrix, y.dtype)
        return jnp.linalg.solve(r2 * a @ a.T + noise2 * jnp.eye(len(a)), y)

    def pseudo_inverse(self, y):
        return jnp.asarray(np.linalg.pinv(self.matrix), y.dtype) @ y


class Square:
    """A nonlinear operator: the squares of some sums."""

    linear = False

    def __init__(self, matrix):
        self.matrix = matrix

    def apply(self, x):
        return jnp.square(jnp.asarray(self.matrix, x.dtype) @ x)


class Gaussian:
    """Data N(mean, covariance) in float64: velocity, posterior and evidence in closed form."""

    def __init__(self, mean, covariance):
        self.mean, self.covariance = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
        self.scales, self.axes = np.linalg.eigh(self.covariance)

    def v(self, x, level):
        """n - x0 expected given x, by conditioning of jointly Gaussian variables; a tap holds x0."""
        t, axes = level.sigma, jnp.asarray(self.axes, x.dtype)
        scales, mean = jnp.asarray(self.scales, x.dtype), jnp.asarray(self.mean, x.dtype)
        centred = axes.T @ (x - (1 - t) * mean) / ((1 - t) ** 2 * scales + t**2)
        x0 = mean + axes @ ((1 - t) * scales * centred)
        return Prediction(axes @ (t * centred) - x0, {"x0": x0})

    def estimate(self, t):
        """(matrix, shift) of x0 given x at level t, in NumPy."""
        matrix = (
            (1 - t) * self.covariance @ np.linalg.inv((1 - t) ** 2 * self.covariance + t**2 * np.eye(len(self.mean)))
        )
        return matrix, self.mean - (1 - t) * matrix @ self.mean

    def posterior(self, matrix, y, noise_std):
        gram = matrix @ self.covariance @ matrix.T + noise_std**2 * np.eye(len(matrix))
        gain = self.covariance @ matrix.T @ np.linalg.inv(gram)
        return Gaussian(self.mean + gain @ (y - matrix @ self.mean), self.covariance - gain @ matrix @ self.covariance)

    def evidence(self, matrix, y, noise_std):
        gram = matrix @ self.covariance @ matrix.T + noise_std**2 * np.eye(len(matrix))
        missing = y - matrix @ self.mean
        return np.exp(-0.5 * missing @ np.linalg.solve(gram, missing)) / np.sqrt(np.linalg.det(2 * np.pi * gram))


class Mixture:
    """Components N(mean_k, scale^2 I) with weights, and their posterior when a^T x is observed."""

    def __init__(self, means, weights, scale):
        self.means, self.weights, self.scale = np.asarray(means), np.asarray(weights), scale

    def v(self, x, level):
        t, s2 = level.sigma, self.scale**2
        means, variance = jnp.asarray(self.means, x.dtype), (1 - t) ** 2 * s2 + t**2
        centred = x - (1 - t) * means
        share = jax.nn.softmax(jnp.log(jnp.asarray(self.weights, x.dtype)) - 0.5 * jnp.sum(centred**2, 1) / variance)
        x0 = share @ (means + (1 - t) * s2 * centred / variance)
        n = share @ (t * centred / variance)
        return n - x0

    def posterior(self, a, y, noise_std, count, seed):
        """(weights, draws) of the exact posterior."""
        rng, s2 = np.random.default_rng(seed), self.scale**2
        variance = s2 * a @ a + noise_std**2
        likelihood = np.exp(-0.5 * (y - self.means @ a) ** 2 / variance) * self.weights
        weights = likelihood / likelihood.sum()
        gain = s2 * a / variance
        cholesky = np.linalg.cholesky(s2 * np.eye(len(a)) - np.outer(gain, a) * s2)
        kind = rng.choice(len(weights), count, p=weights)
        centres = self.means[kind] + (y - self.means[kind] @ a)[:, None] * gain
        return weights, centres + rng.normal(size=(count, len(a))) @ cholesky.T

    def nearest(self, x):
        """The share of draws next to each component's mean."""
        near = np.argmin(((x[:, None] - self.means) ** 2).sum(-1), 1)
        return np.bincount(near, minlength=len(self.means)) / len(x)


def sliced(x, y, directions=64):
    """Mean W1 over even directions of the plane between two sets of the same size."""
    angles = np.pi * np.arange(directions) / directions
    axes = np.stack([np.cos(angles), np.sin(angles)])
    return np.abs(np.sort(x @ axes, 0) - np.sort(y @ axes, 0)).mean()
