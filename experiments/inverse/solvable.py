"""Problems whose posterior is known exactly: mixtures of Gaussians and Levy signals, seen linearly in Gaussian noise.

All problems of a group have equal shapes, so that one compiled program serves them: an operator with fewer rows than
the group's most has rows of zeros, whose data are 0, and these say nothing. Every operator has norm 1, the data and the
noise being divided by its norm: that changes no posterior, and published step lengths suppose it. A signal's state is
its increments, in which its prior is a product.
"""

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
from vrjax.inverse import distances, operators
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


def problems(study: Inverse, group: str, *, validation: bool = False) -> list[Problem]:
    """The problems of a group, float32 on the host; those for validation share no draw with the others."""
    sizes = study.guided
    at = sizes.groups.index(group)
    number = sizes.validation if validation else sizes.problems[at]
    with exact():
        (key,) = data_sets(study, GUIDED, FIXED, 1000 * at + 500 * validation, 1)
        made = [_problem(sizes, group, jax.random.fold_in(key, j), j, validation) for j in range(number)]
        return jax.tree.map(lambda a: np.asarray(a, np.float32), made)


def sheet() -> tuple[Mixture, np.ndarray, np.ndarray, float]:
    """The sheet's problem: three bumps in the plane, x1 = 0.6 observed with noise 0.3: (prior, matrix, y, noise)."""
    means = jnp.array([[-1.0, -1.0], [1.0, 1.0], [1.0, -1.0]])
    prior = mixture.isotropic(jnp.array([0.5, 0.3, 0.2]), means, 0.25)
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


def bumps(given: Mixture) -> Bumps:
    """Diagonalised."""
    return Bumps(given.weights, given.means, *jnp.linalg.eigh(given.covariances))


def draw(key: Key[Array, ""], prior: Any, n: int, d: int) -> Float[Array, "n d"]:
    """n states of the prior."""
    if not isinstance(prior, Bumps):
        return prior * jax.random.laplace(key, (n, d), jnp.asarray(prior).dtype)
    return mixture.sample(key, law(prior), n)


def predictive(key: Key[Array, ""], problem: Problem, n: int) -> tuple[Float[Array, "n d"], Float[Array, "n m"]]:
    """n pairs of a truth and its data, of the prior predictive."""
    first, second = jax.random.split(key)
    truth = draw(first, problem.prior, n, problem.operator.in_shape[0])
    return truth, jax.vmap(lambda x, key: _seen(problem.operator, problem.noise_std, key, x))(
        truth, jax.random.split(second, n)
    )


def reference(key: Key[Array, ""], problem: Problem, n: int, thin: int) -> Float[np.ndarray, "n d"]:
    """n draws of the posterior given the problem's y, in float64: independent, or of signals every `thin`-th sweep."""
    with exact():
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), problem)
        matrix = wide.operator.matrix
        if isinstance(wide.prior, Bumps):
            return np.asarray(_exact_draws(key, law(wide.prior), matrix, wide.y, wide.noise_std, n))
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
        after = mixture.posterior(law(wide.prior), wide.operator.matrix, wide.y, wide.noise_std)
        return np.asarray(after.weights)


def responsibilities(prior: Any, x: Float[Array, " d"]) -> Float[Array, " k"]:
    """The probability of each component given the state, whose posterior mean is the component's posterior weight."""
    if not isinstance(prior, Bumps):
        return jnp.zeros(0)
    along = x - prior.means
    along = along if prior.axes is None else jnp.einsum("kji,kj->ki", prior.axes, along)
    return jax.nn.softmax(jnp.log(prior.weights) - 0.5 * jnp.sum(along**2 / prior.scales + jnp.log(prior.scales), -1))


def _problem(sizes: Guided, group: str, key: Any, j: int, validation: bool) -> Problem:
    shape, see, data, sides = jax.random.split(key, 4)
    if group == SIGNALS:
        prior, noise = jnp.asarray(SCALE), SIGNAL_NOISES[j % len(SIGNAL_NOISES)]
        matrix = jnp.cumsum(_signal_operator(sizes.signal, j)[:, ::-1], 1)[:, ::-1]
        most = sizes.signal
    else:
        d = sizes.dimensions[sizes.groups.index(group)]
        prior, matrix, noise = _mixture(shape, d), None, NOISES[j % len(NOISES)]
        most = 2 if d == 2 else d // 2 if d < 16 else d // 10
        rows = most if j % 3 == 2 else max(most // 2, 1)
        matrix = jax.random.normal(see, (rows, d))
    fixed = None
    if group == "mixtures 2" and j == 0 and not validation:
        prior, matrix, fixed, noise = sheet()
        prior = bumps(jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), prior))
    _, singular, right = np.linalg.svd(np.asarray(matrix), full_matrices=True)
    whole = np.zeros((most, matrix.shape[1]))
    whole[: len(matrix)] = matrix / singular[0]
    drawn = distances.directions(sides, sizes.projections - 2, matrix.shape[1])
    operator, noise = operators.dense(whole), noise / (singular[0] if group == SIGNALS else 1.0)
    problem = Problem(prior, operator, noise, None, np.concatenate([right[[0, -1]], drawn]))
    if fixed is not None:
        return problem._replace(y=np.append(fixed, np.zeros(most - len(fixed))))
    return problem._replace(y=predictive(data, problem, 1)[1][0])


def _seen(operator: Any, noise_std: Any, key: Any, x: Any) -> Any:
    """Data of a state; those of rows of zeros are 0."""
    there = jnp.any(operator.matrix != 0, 1)
    return operator.apply(x) + jnp.where(there, noise_std * jax.random.normal(key, there.shape, x.dtype), 0.0)


def _mixture(key: Any, d: int) -> Bumps:
    """Three components: weights within a factor of 3, means of length 1.5, standard deviations from .2 to .6."""
    share, place, wide, turn = jax.random.split(key, 4)
    weights = jax.random.uniform(share, (3,), minval=0.5, maxval=1.5)
    means = jax.random.normal(place, (3, d))
    means = SEPARATE * means / jnp.linalg.norm(means, axis=1, keepdims=True)
    scales = jnp.exp(2 * jax.random.uniform(wide, (3, d), minval=jnp.log(0.2), maxval=jnp.log(0.6)))
    if d >= DIAGONAL:
        return Bumps(weights / weights.sum(), means, scales, None)
    axes, _ = jnp.linalg.qr(jax.random.normal(turn, (3, d, d)))
    return Bumps(weights / weights.sum(), means, scales, axes)


def _signal_operator(d: int, j: int) -> Float[Array, "rows d"]:
    """On signals: the identity, a Gaussian blur of width 2, every fourth entry; in turn."""
    at = jnp.arange(d)
    if j % 3 == 0:
        return jnp.eye(d)
    if j % 3 == 1:
        blur = jnp.exp(-0.125 * (at[:, None] - at) ** 2.0)
        return blur / jnp.sum(blur, 1, keepdims=True)
    return jnp.eye(d)[3::4]


def _of_signal(matrix: Any) -> Any:
    """The operator on signals, from the one on increments: x = cumsum(u), so u = D x."""
    return matrix - jnp.concatenate([matrix[:, 1:], jnp.zeros_like(matrix[:, :1])], 1)


@jax.jit(static_argnames="n")
def _exact_draws(key: Any, prior: Any, matrix: Any, y: Any, noise_std: Any, n: int) -> Any:
    return mixture.sample(key, mixture.posterior(prior, matrix, y, noise_std), n)
