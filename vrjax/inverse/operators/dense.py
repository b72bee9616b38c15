"""Any matrix."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from vrjax.inverse.operators._operator import Operator, Real, entries, shape_of


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dense(Operator):
    """`y = M x` on flattened arrays, with the singular value decomposition of M."""

    matrix: Array
    left: Array
    singular: Array
    right: Array
    in_shape: tuple[int, ...] = dataclasses.field(metadata=dict(static=True))
    out_shape: tuple[int, ...] = dataclasses.field(metadata=dict(static=True))

    def _apply(self, x):
        return _times(self.matrix, x.reshape(-1)).reshape(self.out_shape)

    def _gram_solve(self, y, r2, noise2):
        rank = self.singular.shape[0]
        square = jnp.zeros(self.left.shape[0], self.singular.dtype).at[:rank].set(self.singular**2)
        seen = _times(self.left.T, y.reshape(-1)) / (r2 * square + noise2)
        return _times(self.left, seen).reshape(self.out_shape)

    def _pseudo_inverse(self, y):
        rank = self.singular.shape[0]
        least = self.singular[0] * jnp.finfo(self.singular.dtype).eps * max(self.matrix.shape)
        kept = self.singular > least
        inverse = jnp.where(kept, 1 / jnp.where(kept, self.singular, 1), 0)
        seen = inverse * _times(self.left[:, :rank].T, y.reshape(-1))
        return _times(self.right, seen).reshape(self.in_shape)


def _times(matrix, x):
    return jnp.matmul(matrix, x, precision="highest")  # accelerators round factors to 8 or 10 bits else


def dense(
    matrix: Float[Real, "m n"],
    in_shape: tuple[int, ...] | None = None,
    out_shape: tuple[int, ...] | None = None,
) -> Dense:
    """The matrix `(m, n)` as an operator; factorised here, once, so that every later solve is two products.

    `pseudo_inverse` leaves out singular values below machine precision times the longer side times the largest one.

    Args:
        matrix: on the host in float64 where it is a NumPy array or is known; in the program where it is traced.
        in_shape, out_shape: shapes of n and m entries that x and y are given in; `(n,)` and `(m,)` by default.

    Raises:
        ValueError: the matrix is empty or not finite, or a shape has another number of entries.
    """
    traced = isinstance(matrix, Tracer)
    if matrix.size == 0 or not (traced or np.all(np.isfinite(matrix))):
        raise ValueError(f"dense: matrix must be finite and not empty, found shape {matrix.shape}")
    m, n = matrix.shape
    shapes = (shape_of("dense", in_shape or (n,)), shape_of("dense", out_shape or (m,)))
    for shape, size in zip(shapes, (n, m), strict=True):
        if entries(shape) != size:
            raise ValueError(f"dense: a matrix of shape {(m, n)} needs {size} entries, found the shape {shape}")
    linalg = jnp.linalg if traced else np.linalg
    left, singular, right = linalg.svd(matrix if traced else np.asarray(matrix, np.float64), full_matrices=True)
    dtype = jnp.asarray(matrix).dtype
    matrix, left, singular, right = (jnp.asarray(a, dtype) for a in (matrix, left, singular, right[: min(m, n)].T))
    return Dense(matrix, left, singular, right, *shapes)


def example() -> Dense:
    """A wide matrix on arrays of two axes."""
    return dense(np.random.default_rng(0).normal(size=(6, 12)), (3, 4), (2, 3))
