"""Gaussian blur in space."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from vrjax.inverse.operators._operator import Operator, shape_of

TRUNCATE = 4.0  # deviations at which the kernel ends, SciPy's default


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Blur(Operator):
    """Two symmetric matrices, one for each axis of space, and what they share: their cosine basis and its gains.

    With the reflecting boundary below, both matrices are diagonal in the orthonormal type-2 cosine transform, so that
    `gram_solve` and `pseudo_inverse` are exact.
    """

    rows: Array
    columns: Array
    row_basis: Array
    column_basis: Array
    row_gains: Array
    column_gains: Array
    in_shape: tuple[int, ...] = dataclasses.field(metadata=dict(static=True))

    @property
    def out_shape(self):
        return self.in_shape

    def _apply(self, x):
        return _both(self.rows, self.columns, x)

    def _gains(self):
        return (self.row_gains[:, None] * self.column_gains)[:, :, None]

    def _gram_solve(self, y, r2, noise2):
        seen = _both(self.row_basis, self.column_basis, y) / (r2 * self._gains() ** 2 + noise2)
        return _both(self.row_basis.T, self.column_basis.T, seen)

    def _pseudo_inverse(self, y):
        gains = self._gains()
        kept = jnp.abs(gains) > jnp.finfo(gains.dtype).eps * gains.size * jnp.max(jnp.abs(gains))
        seen = _both(self.row_basis, self.column_basis, y) * jnp.where(kept, 1 / jnp.where(kept, gains, 1), 0)
        return _both(self.row_basis.T, self.column_basis.T, seen)


def _both(rows, columns, x):
    return jnp.einsum("ih,jw,...hwc->...ijc", rows, columns, x, precision="highest")


def blur(shape: tuple[int, ...], sigma: float) -> Blur:
    """A separable Gaussian over (h, w), the same for all frames and channels.

    The kernel is sampled at whole pixels up to 4 deviations and sums to 1; beyond the border the picture is mirrored
    with its edge pixel repeated (d c b a | a b c d | d c b a): `scipy.ndimage.gaussian_filter` with mode "reflect". The
    operator is symmetric: `adjoint` blurs again. `pseudo_inverse` leaves out gains below machine precision times the
    number of pixels and amplifies noise by up to the inverse of that.

    Args:
        shape: (t, h, w, c), or any other that ends in (h, w, c).
        sigma: standard deviation in pixels, above 0.

    Raises:
        ValueError: fewer than 3 axes, or a sigma that is not finite or not above 0.
    """
    shape = shape_of("blur", shape, least=3)
    if not (math.isfinite(sigma) and sigma > 0):
        raise ValueError(f"blur: sigma must be finite and above 0, found {sigma}")
    rows, row_basis, row_gains = _axis(shape[-3], sigma)
    columns, column_basis, column_gains = _axis(shape[-2], sigma)
    return Blur(rows, columns, row_basis, column_basis, row_gains, column_gains, shape)


def _axis(n: int, sigma: float) -> tuple[Array, Array, Array]:
    matrix, basis = _matrix(n, sigma), _cosines(n)
    gains = np.einsum("kn,nm,km->k", basis, matrix, basis)
    return jnp.asarray(matrix), jnp.asarray(basis), jnp.asarray(gains)


def _matrix(n: int, sigma: float) -> np.ndarray:
    radius = int(TRUNCATE * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    at = (np.arange(n)[:, None] + offsets) % (2 * n)
    out = np.zeros((n, n))
    np.add.at(out, (np.arange(n)[:, None], np.minimum(at, 2 * n - 1 - at)), weights / weights.sum())
    return out


def _cosines(n: int) -> np.ndarray:
    """The orthonormal type-2 cosine transform, one frequency a row."""
    k, i = np.arange(n)[:, None], np.arange(n)
    return np.cos(np.pi * k * (i + 0.5) / n) * np.sqrt(np.where(k == 0, 1.0, 2.0) / n)


def example() -> Blur:
    """Two frames of 5 x 4 pixels; mirrored more than once."""
    return blur((2, 5, 4, 2), 0.8)
