"""A world of clips with two continuations: a ball goes behind a wall and comes out above or below.

Clips are (4, 8, 8, 1) in [-1, 1] but for their noise: a dark room, a grey wall of two columns in front of everything,
and a bright ball with a soft edge, placed to a fraction of a pixel. In two frames it is before the wall, in the third
mostly behind it, in the fourth beyond it, `TURN` pixels higher (continuation A, probability .7) or lower (B, .3) than
it came. Which of the two is independent of all that is seen before.

The law is a mixture of K Gaussians, one for each combination of row, phase, size and continuation, all of covariance
`std^2 I`. So with y = A x + noise_std xi everything is closed form; the covariance of the posterior's components is
common to all of them. Exact numbers are NumPy's, in float64; `mixture.posterior` is the general form.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vrjax.flow import Level, Velocity
from vrjax.inverse import operators

SHAPE = (4, 8, 8, 1)
SIZE = int(np.prod(SHAPE))
STD = 0.2
"""Of the noise of a pixel; the ball's contrast is 2."""
ROWS, PHASES, RADII = (2.0, 3.0, 4.0, 5.0), (-0.5, 0.0, 0.5), (1.2, 1.8)
"""Of the ball: where it comes from, in pixels; how far it is ahead; its radius, drawn with equal probability."""
PLACES, TURN = (0.5, 2.5, 4.5, 6.5), 2.0
"""Columns of the ball's middle in the frames, and by how much the row of the last frame differs from the first."""
WALL = (4, 5)
"""Columns."""
A, B = 0, 1
CHANCES = (0.7, 0.3)
"""Of the continuations."""


class Law(NamedTuple):
    """Mixture of Gaussians of covariance `std^2 I`, a pytree.

    Attributes:
        weights: (k,) positive, of sum 1.
        means: (k, 256) clips, flattened.
        std: ().
    """

    weights: Any
    means: Any
    std: Any


class After(NamedTuple):
    """A posterior: a mixture whose components share a covariance.

    Attributes:
        weights: (k,).
        means: (k, 256).
        root: (256, 256), a square root of the covariance.
    """

    weights: Any
    means: Any
    root: Any


def world() -> Law:
    """The world's law, in float64."""
    return Law(*(np.array(part) for part in _world()))


@functools.cache
def _world() -> tuple[np.ndarray, np.ndarray, float]:
    means, weights = [], []
    for row in ROWS:
        for phase in PHASES:
            for radius in RADII:
                for side, chance in zip((-1.0, 1.0), CHANCES, strict=True):
                    means.append(clip(row, phase, radius, side))
                    weights.append(chance / (len(ROWS) * len(PHASES) * len(RADII)))
    return np.asarray(weights), np.stack(means).reshape(len(means), -1), STD


def clip(row: float, phase: float, radius: float, side: float) -> Float[np.ndarray, "4 8 8 1"]:
    """The clip without noise of a ball.

    Args:
        row: of its middle in the first two frames, in pixels; in the third it has gone half of the way that the last
            frame shows.
        phase: pixels that it is ahead of `PLACES`.
        radius: in pixels; the edge is a ramp of one pixel.
        side: -1 for above, 1 for below.
    """
    down, across = np.mgrid[:8, :8].astype(float)
    out = np.full(SHAPE[:3], -1.0)
    for frame, (place, turned) in enumerate(zip(PLACES, (0.0, 0.0, 0.5, 1.0), strict=True)):
        away = np.hypot(down - row - side * TURN * turned, across - place - phase)
        out[frame] += 2 * np.clip(radius + 0.5 - away, 0.0, 1.0)
        out[frame][:, WALL] = 0.0
    return out[..., None]


def continuations(law: Law) -> Int[np.ndarray, " k"]:
    """The continuation, A or B, of each component."""
    return np.arange(len(law.weights)) % 2


def draw(rng: np.random.Generator, law: Law, n: int) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]:
    """n clips, flattened, and the component that each is of."""
    which = rng.choice(len(law.weights), n, p=law.weights)
    return law.means[which] + law.std * rng.normal(size=(n, law.means.shape[1])), which


def velocity(law: Law) -> Velocity:
    """The exact flow velocity of the law on clips of `SHAPE`: `solvable.velocity` where all covariances are one."""

    def at(x: Any, level: Level) -> Any:
        t = jnp.asarray(level.sigma, x.dtype)
        spread = (1 - t) ** 2 * law.std**2 + t**2
        flat = x.reshape(-1)
        # |x - (1 - t) m|^2 without what all components share.
        near = (1 - t) * (jnp.matmul(law.means, flat) - 0.5 * (1 - t) * jnp.sum(law.means**2, -1))
        mean = jnp.matmul(jax.nn.softmax(jnp.log(law.weights) + near / spread), law.means)
        return ((t - (1 - t) * law.std**2) / spread * (flat - (1 - t) * mean) - mean).reshape(x.shape)

    return at


def responsibilities(law: Law, x: Float[Array, "... d"]) -> Float[Array, "... k"]:
    """The probability of each component given clips, flattened."""
    near = x @ law.means.T - 0.5 * jnp.sum(jnp.asarray(law.means) ** 2, -1)
    return jax.nn.softmax(jnp.log(law.weights) + near / law.std**2, -1)


def matrix(operator: operators.Operator) -> Float[np.ndarray, "m d"]:
    """A linear operator on clips as a matrix on flattened ones, in float64."""
    rows = jax.vmap(lambda e: operator.apply(e.reshape(operator.in_shape)).reshape(-1))(jnp.eye(SIZE))
    return np.asarray(rows, np.float64).T


def posterior(law: Law, forward: Float[np.ndarray, "m d"], y: Float[np.ndarray, " m"], noise_std: float) -> After:
    """The law of a clip given y, and of a common covariance.

    Args:
        law: the prior.
        forward: `matrix` of the operator.
        y: the observation, flattened.
        noise_std: > 0.
    """
    log_weights = log_evidences(law, forward, np.asarray(y)[None], noise_std)[0]
    # In the singular directions of A, in which prior and noise are independent numbers.
    left, singular, right = np.linalg.svd(forward, full_matrices=False)
    gain = law.std**2 * singular / (law.std**2 * singular**2 + noise_std**2)
    means = law.means + ((y - law.means @ forward.T) @ left * gain) @ right
    root = law.std * (np.eye(len(right.T)) - right.T * (1 - np.sqrt(1 - gain * singular)) @ right)
    return After(np.exp(log_weights - _log_sum(log_weights)), means, root)


def log_evidences(
    law: Law, forward: Float[np.ndarray, "m d"], y: Float[np.ndarray, "n m"], noise_std: float
) -> Float[np.ndarray, "n k"]:
    """`log(weights[k] N(y; A means[k], std^2 A A^T + noise_std^2 I))` of observations."""
    left, singular, _ = np.linalg.svd(forward, full_matrices=True)
    variance = np.full(len(left), noise_std**2)
    variance[: len(singular)] += law.std**2 * singular**2
    away = (y @ left)[:, None] - law.means @ forward.T @ left
    return np.log(law.weights) - 0.5 * np.sum(away**2 / variance + np.log(2 * np.pi * variance), -1)


def chances(
    law: Law, forward: Float[np.ndarray, "m d"], y: Float[np.ndarray, "n m"], noise_std: float
) -> Float[np.ndarray, " n"]:
    """The exact probability of continuation A given each observation."""
    logs = log_evidences(law, forward, y, noise_std)
    return np.exp(_log_sum(logs[:, continuations(law) == A]) - _log_sum(logs))


def draw_after(rng: np.random.Generator, after: After, n: int) -> Float[np.ndarray, "n d"]:
    """n draws of a posterior."""
    which = rng.choice(len(after.weights), n, p=after.weights / after.weights.sum())
    return after.means[which] + rng.normal(size=(n, len(after.root))) @ after.root.T


def _log_sum(logs: np.ndarray) -> np.ndarray:
    most = logs.max(-1, keepdims=True)
    return np.log(np.sum(np.exp(logs - most), -1)) + most[..., 0]
