"""Random log-permeabilities: each is an exact map of white noise, so that posteriors can be sampled in the noise.

All of them solve equations with `kappa^2 - Laplace` (Lindgren, Rue & Lindstroem 2011), where kappa is the inverse
length of correlation and the Laplacian is the 5-point one on cell centres with value 0 on the boundary, the one of the
pressure's equation. Fields are 0 at the boundary for that reason, and have a standard deviation of 0.5 at the centre:
in the first cell beyond the middle, number `n // 2` of both axes.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from jaxtyping import Array, Float

from vrjax.flow import words
from vrjax.inverse.darcy import elliptic
from vrjax.inverse.operators import conjugate_gradients
from vrjax.inverse.operators._operator import Real

DEVIATION = 0.5  # of u at the centre
KAPPA = 12.0
COARSE = 6.0  # kappa of the first layer
SPREAD = 0.7
DRAWS, MODES = 64, 16  # of the first layer, for the second one's scale


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Gaussian:
    """`u = scale (kappa^2 - Laplace)^-2 (kappa^3 w)` of white noise w (n, n): a Gaussian field.

    With kappa one number (in this room a field of equal values) it is Matern's of smoothness 3, but for the boundary.
    """

    kappa: Array
    scale: Array

    __repr__ = words.line

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the white noise."""
        return self.kappa.shape

    def __call__(self, w: Float[Real, "..."]) -> Float[Array, "n n"]:
        """The field of this white noise; linear in it. Raises ValueError for a noise of another shape."""
        return self.scale * _layer(self.kappa, _noise(self, w))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Layered:
    """Two layers of which the first is the local length of correlation of the second: not Gaussian, not stationary.

    v = c (6^2 - Laplace)^-2 w0, with a standard deviation of 1 at the centre
    u = scale (kappa^2 - Laplace)^-2 (kappa^3 w1),  kappa = 12 exp(0.7 v)
    """

    sines: Array
    gains: Array
    scale: Array

    __repr__ = words.line

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the white noise: (2, n, n), first w0."""
        return (2, *self.gains.shape[-2:])

    def kappa(self, w0: Float[Real, "n n"]) -> Float[Array, "n n"]:
        """The first layer: the inverse length of correlation at every cell."""
        inside = self.gains * _transform(self.sines, jnp.asarray(w0))
        return KAPPA * jnp.exp(SPREAD * _transform(self.sines.T, inside))

    def __call__(self, w: Float[Real, "..."]) -> Float[Array, "n n"]:
        """The field of this white noise. Raises ValueError for a noise of another shape."""
        w = _noise(self, w)
        return self.scale * _layer(self.kappa(w[0]), w[1])


def prior(n: int) -> Layered:
    """The two-layer prior on n x n cells: a map of white noise `(2, n, n)`, standard normal and independent, to u.

        u = prior(32)(jax.random.normal(key, (2, 32, 32)))

    A deep Gaussian process (Dunlop, Girolami, Stuart & Teckentrup 2018) in its form by differential equations. The
    first layer is exact by sines, the second by two solves of conjugate gradients, differentiated implicitly, NaN where
    they do not converge. Given the first layer u is Gaussian, of a variance that hardly depends on it: on 32 x 32 cells
    its kurtosis at an inner site is 3.1, but that of an increment between neighbours 12.7 (`matern`: 3.0 and 3.0). Over
    all sites at once both read more, 4.4 and 4.1 of u, 14 and 3.6 of increments, since u falls to 0 at the border.

    The scale is the same in every process: with it, u has the deviation 0.5 at the centre, on the mean over 64 fixed
    draws of the first layer, each solved exactly by a sparse factorisation in float64. The draws are of 16 x 16 modes,
    the same for every n. It is computed once per n (0.4 s for 32, 1.1 s for 64) and kept.

    Args:
        n: cells a side, at least 4.

    Raises:
        ValueError: n is below 4.
    """
    _least(n)
    sines, gains, scale = _layered(n)
    return Layered(jnp.asarray(sines), jnp.asarray(gains), jnp.asarray(scale))


def matern(n: int, kappa: float = KAPPA) -> Gaussian:
    """The stationary Gaussian alternative: one kappa everywhere. What the two-layer prior has where v is 0.

    Raises:
        ValueError: n is below 4, or kappa not above 0.
    """
    return _gaussian(n, np.full((n, n), kappa))


def varying(n: int, low: float = 6.0, high: float = 24.0) -> Gaussian:
    """The Gaussian alternative that is not stationary: kappa grows linearly in x, from `low` at 0 to `high` at 1.

    Raises:
        ValueError: n is below 4, or a kappa not above 0.
    """
    centres = (np.arange(n) + 0.5) / n
    return _gaussian(n, np.repeat((low + (high - low) * centres)[:, None], n, axis=1))


def _gaussian(n: int, kappa: np.ndarray) -> Gaussian:
    _least(n)
    if not (np.all(np.isfinite(kappa)) and kappa.min() > 0):
        raise ValueError(f"darcy: kappa must be finite and above 0, found {kappa.min()} to {kappa.max()}")
    return Gaussian(jnp.asarray(kappa), jnp.asarray(DEVIATION / np.sqrt(_variance(kappa))))


def _least(n: int) -> None:
    if n < 4:
        raise ValueError(f"darcy: a prior needs at least 4 cells a side, found {n}")


def _noise(field: "Gaussian | Layered", w: Real) -> Array:
    if jnp.shape(w) != field.shape:
        raise ValueError(f"darcy: white noise of this prior must have shape {field.shape}, found {jnp.shape(w)}")
    return jnp.asarray(w)


def _transform(matrix: Array, field: Array) -> Array:
    return jnp.einsum("ki,ij,lj->kl", matrix, field, matrix, precision="highest")


def _layer(kappa: Array, w: Array) -> Array:
    """(kappa^2 - Laplace)^-2 (kappa^3 w)."""
    n = kappa.shape[0]
    faces = elliptic.transmissibilities(jnp.zeros_like(kappa))
    diagonal = kappa**2 + n**2 * elliptic.diagonal(faces)
    system = lambda u: kappa**2 * u + n**2 * elliptic.outflow(faces, u)
    solve = lambda b: conjugate_gradients(system, b, diagonal=diagonal, max_steps=elliptic.STEPS * n)
    return solve(solve(kappa**3 * w))


@functools.cache
def _layered(n: int) -> tuple[np.ndarray, np.ndarray, float]:
    sines, values = elliptic.sines(n)
    gains = (COARSE**2 + values[:, None] + values) ** -2.0
    at_centre = np.outer(sines[:, n // 2], sines[:, n // 2])
    gains = gains / np.linalg.norm(gains * at_centre)
    modes = min(MODES, n)
    draws = np.random.default_rng(0).normal(size=(DRAWS, MODES, MODES))[:, :modes, :modes] * gains[:modes, :modes]
    first = np.einsum("mkl,ki,lj->mij", draws, sines[:modes], sines[:modes])
    variance = np.mean([_variance(KAPPA * np.exp(SPREAD * v)) for v in first])
    return sines, gains, DEVIATION / np.sqrt(variance)


def _variance(kappa: np.ndarray) -> float:
    """Of `_layer(kappa, w)` at the centre, over w: the squared norm of one row of the map."""
    n = kappa.shape[0]
    beside = scipy.sparse.eye_array(n, k=1) + scipy.sparse.eye_array(n, k=-1)
    one = scipy.sparse.diags_array(np.r_[3.0, np.full(n - 2, 2.0), 3.0]) - beside
    eye = scipy.sparse.eye_array(n)
    laplace = n**2 * (scipy.sparse.kron(one, eye) + scipy.sparse.kron(eye, one))
    solve = scipy.sparse.linalg.splu((laplace + scipy.sparse.diags_array(kappa.ravel() ** 2)).tocsc()).solve
    centre = np.zeros(n * n)
    centre[n // 2 * (n + 1)] = 1.0
    return float(np.sum((kappa.ravel() ** 3 * solve(solve(centre))) ** 2))
