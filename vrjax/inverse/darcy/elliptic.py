"""Pressure in a porous plate: cell-centred finite volumes, and how sensors read it.

    -div(exp(u) grad p) = f  on (0, 1)^2,   p = 0 on the boundary

Cells are n x n squares of side h = 1/n; u and p are values at their centres ((i + 1/2) h, (j + 1/2) h), first axis x.
The flux between two cells goes through half of each in series, so that its transmissibility is the harmonic mean
2 a b / (a + b) of their permeabilities; between an outer cell and the boundary lies half a cell, 2 a. All of it is
slices and paddings of (n, n) arrays, which a mesh may cut.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from vrjax.inverse.operators import conjugate_gradients
from vrjax.inverse.operators._operator import Number, Real

SOURCE = 10.0
STEPS = 30  # of conjugate gradients at most, times n


def transmissibilities(
    log_permeability: Float[Array, "n n"],
) -> tuple[Float[Array, "m n"], Float[Array, "n m"]]:
    """Of the m = n + 1 faces across each axis, the two at the boundary included."""
    resistance = 0.5 * jnp.exp(-log_permeability)  # of half a cell
    x, y = jnp.pad(resistance, ((1, 1), (0, 0))), jnp.pad(resistance, ((0, 0), (1, 1)))
    return 1 / (x[1:] + x[:-1]), 1 / (y[:, 1:] + y[:, :-1])


def outflow(faces: tuple[Array, Array], pressure: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """What flows out of every cell: the symmetric positive definite matrix of the equation times the pressure."""
    x = faces[0] * jnp.diff(jnp.pad(pressure, ((1, 1), (0, 0))), axis=0)
    y = faces[1] * jnp.diff(jnp.pad(pressure, ((0, 0), (1, 1))), axis=1)
    return -jnp.diff(x, axis=0) - jnp.diff(y, axis=1)


def diagonal(faces: tuple[Array, Array]) -> Float[Array, "n n"]:
    """The diagonal of that matrix."""
    x, y = faces
    return x[1:] + x[:-1] + y[:, 1:] + y[:, :-1]


@functools.cache
def sines(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvectors of the Laplacian along one axis, one a row, and the eigenvalues of its negative; float64."""
    k = np.arange(1, n + 1)
    rows = np.sqrt(np.where(k == n, 1.0, 2.0) / n)[:, None] * np.sin(np.pi * k[:, None] * (np.arange(n) + 0.5) / n)
    return rows, (2 * n * np.sin(0.5 * np.pi * k / n)) ** 2


def preconditioner(log_permeability: Float[Array, "n n"]) -> Callable[[Array], Array]:
    """`k^-1/2 (-Laplace)^-1 k^-1/2` with k = exp(u), exact by sines: nearly the inverse of the equation's matrix.

    With p = k^-1/2 w the equation is `-Laplace w + (Laplace(k^1/2) / k^1/2) w = k^-1/2 f` (Concus & Golub 1973), so how
    many steps conjugate gradients need depends on how rough the field is and hardly on n: about 10 for fields of
    `priors` at n = 32, where Jacobi's preconditioner needs 90. Each costs four products of n x n matrices.
    """
    u = lax.stop_gradient(log_permeability)
    rows, values = sines(u.shape[0])
    values = values / u.shape[0] ** 2
    across, scale = jnp.asarray(rows, u.dtype), jnp.exp(-0.5 * u)
    gains = jnp.asarray(1 / (values[:, None] + values), u.dtype)
    turned = lambda x, matrix: jnp.einsum("ij,kj->ki", x, matrix, precision="highest")  # (x matrix^T)^T

    def apply(r: Array) -> Array:
        inside = gains * turned(turned(scale * r, across), across)
        return scale * turned(turned(inside, across.T), across.T)

    return apply


def _square(what: str, field: Real) -> Array:
    field = jnp.asarray(field)
    if field.ndim != 2 or field.shape[0] != field.shape[1]:
        raise ValueError(f"darcy: {what} must have shape (n, n), found {field.shape}")
    return field


def _inflow(u: Array, source: Number) -> Array:
    """Of every cell: f h^2."""
    if jnp.shape(source) not in ((), u.shape):
        raise ValueError(f"darcy: source must be a number or have shape {u.shape}, found {jnp.shape(source)}")
    return jnp.broadcast_to(jnp.asarray(source, u.dtype), u.shape) / u.shape[0] ** 2


@jax.jit
def solve(log_permeability: Float[Real, "n n"], source: Number = SOURCE) -> Float[Array, "n n"]:
    """The pressure at the cell centres, by conjugate gradients, see `preconditioner`.

    They stop where the residual norm is 1e-6 (in float64 1e-12) of the source's, and have 30 n steps for it.
    Derivatives with respect to both arguments are those of the exact solution (one more solve each). The error of the
    discretisation is O(h^2) where the field is smooth.

    Args:
        log_permeability: u, natural logarithm of the permeability exp(u).
        source: f, one number or one a cell.

    Returns:
        p. Where the steps were not enough, or u is NaN or so low that its resistance exp(-u) is not finite, it is NaN
        throughout, and so are derivatives: a wrong pressure is never returned. See `residual` for how good one is.

    Raises:
        ValueError: u is not square, or the source is neither a number nor of the shape of u.
    """
    u = _square("log_permeability", log_permeability)
    faces = transmissibilities(u)
    how = {"preconditioner": preconditioner(u), "max_steps": STEPS * u.shape[0]}
    return conjugate_gradients(lambda p: outflow(faces, p), _inflow(u, source), **how)


def residual(
    log_permeability: Float[Real, "n n"], pressure: Float[Real, "n n"], source: Number = SOURCE
) -> Float[Array, ""]:
    """The norm of what the equation is missed by, relative to that of the source.

    Of a solution about 1e-12 in float64. In float32 rounding alone makes 2e-5 (n = 16) to 5e-4 (n = 64) of it, more
    where permeabilities differ much, while the pressure is within 2e-6 of float64's.

    Raises:
        ValueError: as `solve`, or the pressure is not square.
    """
    u = _square("log_permeability", log_permeability)
    inflow = _inflow(u, source)
    missed = inflow - outflow(transmissibilities(u), _square("pressure", pressure))
    return jnp.linalg.norm(missed) / jnp.linalg.norm(inflow)


def observe(pressure: Float[Real, "n n"], points: Float[Real, "k 2"]) -> Float[Array, " k"]:
    """The pressure at points, bilinear between cell centres.

    Between an outer cell centre and the boundary, half a cell away, it is linear too and falls to p = 0 there; beyond
    the boundary it is 0. The weights of a point are a product over the axes, so that there is neither gather nor
    scatter: two products of matrices (k, n), exact to the array's precision on accelerators too.

    Args:
        pressure: at the cell centres, first axis x.
        points: (x, y) within [0, 1]^2.

    Raises:
        ValueError: the pressure is not square.
    """
    pressure = _square("pressure", pressure)
    n = pressure.shape[0]
    at = jnp.asarray(points, pressure.dtype) * n - 0.5  # in cells, 0 at the first centre
    steepness = jnp.where((at < 0) | (at > n - 1), 2.0, 1.0)[:, :, None]
    weights = jnp.maximum(1 - steepness * jnp.abs(at[:, :, None] - jnp.arange(n)), 0).astype(pressure.dtype)
    return jnp.einsum("ki,ij,kj->k", weights[:, 0], pressure, weights[:, 1], precision="highest")


def sensors() -> Float[np.ndarray, "36 2"]:
    """The 36 points (i/7, j/7) with i, j = 1 ... 6, i the slower."""
    i, j = np.meshgrid(np.arange(1, 7) / 7, np.arange(1, 7) / 7, indexing="ij")
    return np.stack([i.ravel(), j.ravel()], axis=1)
