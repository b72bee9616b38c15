"""Problems whose posterior is known exactly: mixtures of Gaussians and Levy signals, seen linearly in Gaussian noise.

All problems of a group have equal shapes, so that one compiled program serves them: an operator with fewer rows than
the group's most has rows of zeros, whose data are 0, and these say nothing. Every operator has norm 1, the data and the
noise being divided by its norm: that changes no posterior, and published step lengths suppose it. A signal's state is
its increments, in which its prior is a product.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from experiments.inverse import increments
from experiments.inverse.config import Guided, Inverse
from experiments.inverse.guided_names import SIGNALS
from experiments.inverse.keys import FIXED, data_sets, exact
from experiments.inverse.names import GUIDED
from vrjax.flow import Level, Velocity
from vrjax.inverse import operators
from vrjax.inverse.exact import levy, mixture
from vrjax.inverse.exact.mixture import Mixture

SCALE = 1 / np.sqrt(2)
"""b of the increments, whose variance is then 1."""
NOISES = (0.1, 0.2, 0.4, 0.05)
"""Of mixtures over the operator's norm, in turn."""
SIGNAL_NOISES = (0.5, 0.2, 0.1)
"""Of signals in their own unit: seen whole, blurred, and every fourth."""
SEPARATE, DIAGONAL = 1.5, 32
"""Length of the means; from this dimension on covariances are diagonal (the operator's directions are random)."""


class Bumps(NamedTuple):
    """A mixture of Gaussians whose covariances are diagonalised.

    Attributes:
        weights: (k,).
        means: (k, d).
        scales: (k, d) variances along the axes.
        axes: (k, d, d), orthonormal columns; None where they are the coordinates'.
    """

    weights: Any
    means: Any
    scales: Any
    axes: Any


class Problem(NamedTuple):
    """One problem, a pytree.

    Attributes:
        prior: `Bumps`; of signals the scale b of their increments.
        operator: of norm 1, (m, d); `operators.Dense`.
        noise_std: () over the operator's norm.
        y: (m,) the observation that is the same for all seeds.
        projections: (q, d) unit vectors: what is seen best, what is seen least, and random ones.
    """

    prior: Any
    operator: Any
    noise_std: Any
    y: Any
    projections: Any


def problems(study: Inverse, group: str, *, validation: bool = False, number: int | None = None) -> list[Problem]:
    """The problems of a group in float32, as many as the guided study has unless a `number` is asked for; those for
    validation share no draw with the others."""
    sizes = study.guided
    at = sizes.groups.index(group)
    if number is None:
        number = sizes.validation if validation else sizes.problems[at]
    # Drawn by NumPy, whose generator costs no compilation; a problem is the same however many there are.
    bits = jax.random.key_data(data_sets(study, GUIDED, FIXED, 1000 * at + 500 * validation, number))
    made = [_problem(sizes, group, np.random.default_rng(np.asarray(own)), j, validation) for j, own in enumerate(bits)]
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), made)


def sheet() -> tuple[Bumps, np.ndarray, np.ndarray, float]:
    """The sheet's problem: three bumps in the plane, x1 = 0.6 observed with noise 0.3: (prior, matrix, y, noise)."""
    means = np.array([[-1.0, -1.0], [1.0, 1.0], [1.0, -1.0]])
    prior = Bumps(np.array([0.5, 0.3, 0.2]), means, np.full((3, 2), 0.25**2), np.stack([np.eye(2)] * 3))
    return prior, np.array([[1.0, 0.0]]), np.array([0.6]), 0.3


def velocity(prior: Any) -> Velocity:
    """The exact flow velocity of a prior. (`mixture.velocity`, of covariances that were diagonalised before.)"""
    if not isinstance(prior, Bumps):
        return increments.velocity(prior)
    weights, means, scales, axes = prior

    def at(x, level: Level):
        t = jnp.asarray(level.sigma, x.dtype)
        spread = (1 - t) ** 2 * scales + t**2
        along = x - (1 - t) * means
        along = along if axes is None else jnp.einsum("kji,kj->ki", axes, along)
        log_r = jnp.log(weights) - 0.5 * jnp.sum(along**2 / spread + jnp.log(spread), -1)
        drift = (t - (1 - t) * scales) / spread * along
        drift = drift if axes is None else jnp.einsum("kij,kj->ki", axes, drift)
        return jax.nn.softmax(log_r) @ (drift - means)

    return at


def law(prior: Bumps) -> Mixture:
    """With whole covariances."""
    if prior.axes is None:
        return Mixture(prior.weights, prior.means, jax.vmap(jnp.diag)(prior.scales))
    spread = jnp.einsum("kij,kj,klj->kil", prior.axes, prior.scales, prior.axes)
    return Mixture(prior.weights, prior.means, spread)


@functools.partial(jax.jit, static_argnames=("n", "d"))
def draw(key: Key[Array, ""], prior: Any, n: int, d: int) -> Float[Array, "n d"]:
    """n states of the prior."""
    if not isinstance(prior, Bumps):
        return prior * jax.random.laplace(key, (n, d), jnp.asarray(prior).dtype)
    return mixture.sample(key, law(prior), n)


@functools.partial(jax.jit, static_argnames="n")
def predictive(key: Key[Array, ""], problem: Problem, n: int) -> tuple[Float[Array, "n d"], Float[Array, "n m"]]:
    """n pairs of a truth and its data, of the prior predictive."""
    first, second = jax.random.split(key)
    truth = draw(first, problem.prior, n, problem.operator.in_shape[0])
    there = jnp.any(problem.operator.matrix != 0, 1)  # data of rows of zeros are 0
    noise = jnp.where(there, problem.noise_std, 0.0) * jax.random.normal(second, (n, there.size), truth.dtype)
    return truth, jax.vmap(problem.operator.apply)(truth) + noise


def reference(key: Key[Array, ""], problem: Problem, n: int, thin: int) -> Float[np.ndarray, "n d"]:
    """n draws of the posterior given the problem's y, in float64: independent, or of signals every `thin`-th sweep."""
    with exact():
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), problem)
        matrix = wide.operator.matrix
        if isinstance(wide.prior, Bumps):
            return np.asarray(_exact_draws(key, wide.prior, matrix, wide.y, wide.noise_std, n))
        chains = 16
        kept = levy.posterior(
            key, _of_signal(matrix), wide.y, wide.noise_std, wide.prior, steps=-(-n // chains) * thin, chains=chains
        )
        signals = np.asarray(kept)[:, thin - 1 :: thin].reshape(-1, matrix.shape[1])[:n]
        return np.diff(signals, axis=1, prepend=0.0)


def weights(problem: Problem) -> Float[np.ndarray, " k"]:
    """The exact posterior weights of a mixture's components; (0,) of signals."""
    if not isinstance(problem.prior, Bumps):
        return np.zeros(0)
    with exact():
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), problem)
        return np.asarray(_posterior(wide.prior, wide.operator.matrix, wide.y, wide.noise_std).weights)


def responsibilities(prior: Any, x: Float[Array, " d"]) -> Float[Array, " k"]:
    """The probability of each component given the state, whose posterior mean is the component's posterior weight."""
    if not isinstance(prior, Bumps):
        return jnp.zeros(0)
    along = x - prior.means
    along = along if prior.axes is None else jnp.einsum("kji,kj->ki", prior.axes, along)
    return jax.nn.softmax(jnp.log(prior.weights) - 0.5 * jnp.sum(along**2 / prior.scales + jnp.log(prior.scales), -1))


def _problem(sizes: Guided, group: str, rng: np.random.Generator, j: int, validation: bool) -> Problem:
    if group == SIGNALS:
        d = most = sizes.signal
        prior, noise = np.asarray(SCALE), SIGNAL_NOISES[j % len(SIGNAL_NOISES)]
        matrix = np.cumsum(_signal_operator(d, j)[:, ::-1], 1)[:, ::-1]
    else:
        d = sizes.dimensions[sizes.groups.index(group)]
        prior, noise = _mixture(rng, d), NOISES[j % len(NOISES)]
        most = 2 if d == 2 else d // 2 if d < 16 else d // 10
        matrix = rng.normal(size=(most if j % 3 == 2 else max(most // 2, 1), d))
    seen = None
    if group == "mixtures 2" and j == 0 and not validation:
        prior, matrix, seen, noise = sheet()
    rows = len(matrix)
    _, singular, right = np.linalg.svd(matrix, full_matrices=True)
    if seen is None:
        x = _state(rng, prior, d) @ matrix.T
        seen = (x + noise * (1.0 if group == SIGNALS else singular[0]) * rng.normal(size=rows)) / singular[0]
    whole, y = np.zeros((most, d)), np.zeros(most)
    whole[:rows], y[:rows] = matrix / singular[0], seen
    sides = rng.normal(size=(sizes.projections - 2, d))
    sides /= np.linalg.norm(sides, axis=1, keepdims=True)
    noise = np.asarray(noise / (singular[0] if group == SIGNALS else 1.0))
    return Problem(prior, operators.dense(whole), noise, y, np.concatenate([right[[0, -1]], sides]))


def _mixture(rng: np.random.Generator, d: int) -> Bumps:
    """Three components: weights within a factor of 3, means of length 1.5, standard deviations from .2 to .6."""
    weights = rng.uniform(0.5, 1.5, 3)
    means = rng.normal(size=(3, d))
    means *= SEPARATE / np.linalg.norm(means, axis=1, keepdims=True)
    scales = np.exp(2 * rng.uniform(np.log(0.2), np.log(0.6), (3, d)))
    axes = None if d >= DIAGONAL else np.linalg.qr(rng.normal(size=(3, d, d)))[0]
    return Bumps(weights / weights.sum(), means, scales, axes)


def _state(rng: np.random.Generator, prior: Any, d: int) -> Float[np.ndarray, " d"]:
    """One draw of the prior."""
    if not isinstance(prior, Bumps):
        return rng.laplace(scale=float(prior), size=d)
    k = rng.choice(len(prior.weights), p=prior.weights)
    along = np.sqrt(prior.scales[k]) * rng.normal(size=d)
    return prior.means[k] + (along if prior.axes is None else prior.axes[k] @ along)


def _signal_operator(d: int, j: int) -> Float[np.ndarray, "rows d"]:
    """On signals: the identity, a Gaussian blur of width 2, every fourth entry; in turn."""
    if j % 3 == 0:
        return np.eye(d)
    if j % 3 == 1:
        blur = np.exp(-0.125 * (np.arange(d)[:, None] - np.arange(d)) ** 2.0)
        return blur / blur.sum(1, keepdims=True)
    return np.eye(d)[3::4]


def _of_signal(matrix: Any) -> Any:
    """The operator on signals, from the one on increments: x = cumsum(u), so u = D x."""
    return matrix - jnp.concatenate([matrix[:, 1:], jnp.zeros_like(matrix[:, :1])], 1)


@jax.jit
def _posterior(prior: Bumps, matrix: Any, y: Any, noise_std: Any) -> Mixture:
    return mixture.posterior(law(prior), matrix, y, noise_std)


@functools.partial(jax.jit, static_argnames="n")
def _exact_draws(key: Any, prior: Bumps, matrix: Any, y: Any, noise_std: Any, n: int) -> Any:
    return mixture.sample(key, mixture.posterior(law(prior), matrix, y, noise_std), n)
