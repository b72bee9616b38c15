"""Pressure at sensors as an operator, and data that were not made by the model that inverts them."""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vrjax.flow import words
from vrjax.inverse.darcy import elliptic
from vrjax.inverse.operators import Operator, check
from vrjax.inverse.operators._operator import Number, Real


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Sensing(Operator):
    """Log-permeability (n, n) -> pressure at k points. Not linear: `vjp(x, y)` is the adjoint of its derivative."""

    points: Array
    source: Array
    in_shape: tuple[int, ...] = dataclasses.field(metadata=dict(static=True))

    linear = False

    @property
    def name(self):
        return "darcy"

    @property
    def out_shape(self):
        return (self.points.shape[-2],)

    def _apply(self, x):
        return elliptic.observe(elliptic.solve(x, self.source), self.points)


def operator(n: int, points: Float[Real, "..."] | None = None, source: Number = elliptic.SOURCE) -> Sensing:
    """The map from a log-permeability on n x n cells to the pressure at `points`.

    Args:
        n: cells a side, at least 2.
        points: known points (k, 2) in [0, 1]^2, first x; `sensors()` by default.
        source: f of the equation, one number or (n, n).

    Raises:
        ValueError: n is below 2, points are no (k, 2) or lie outside of the unit square, or the source has another
            shape.
    """
    if n < 2:
        raise ValueError(f"darcy: n must be at least 2 cells a side, found {n}")
    points = elliptic.sensors() if points is None else np.asarray(points)
    if points.ndim != 2 or points.shape[1] != 2 or not points.size:
        raise ValueError(f"darcy: points must have shape (k, 2), found {points.shape}")
    if not np.all((points >= 0) & (points <= 1)):
        raise ValueError(f"darcy: points must lie in [0, 1]^2, found {points.min()} to {points.max()}")
    if jnp.shape(source) not in ((), (n, n)):
        raise ValueError(f"darcy: source must be a number or have shape {(n, n)}, found {jnp.shape(source)}")
    return Sensing(jnp.asarray(points), jnp.asarray(source, float), (n, n))


class Problem(NamedTuple):
    """One inverse problem.

    Attributes:
        operator: on the grid of the inversion, n x n.
        y: data `(k,)`.
        noise_std: standard deviation of their noise.
        truth: the field on the finer grid that made them.
        clean: what the sensors read there, without noise.
    """

    operator: Operator
    y: Float[Array, " k"]
    noise_std: Float[Array, ""]
    truth: Float[Array, "m m"]
    clean: Float[Array, " k"]

    __repr__ = words.line


def problem(
    key: Key[Array, ""],
    truth: Float[Real, "m m"],
    n: int,
    *,
    noise: float = 0.03,
    points: Float[Real, "k 2"] | None = None,
    source: float = elliptic.SOURCE,
) -> Problem:
    """Data of a true field, made on a grid finer than the one that they are to be inverted on.

    With equal grids the error of the model would be absent from the data (the inverse crime), and the inversion would
    look better than any can be.

    Args:
        key: of the noise.
        truth: log-permeability on m x m cells, known on the host.
        n: cells a side of the inversion; fewer than m.
        noise: standard deviation of the noise as a share of the largest pressure of the fine solution.
        points, source: see `operator`.

    Raises:
        ValueError: n is not smaller than m, noise is not finite or not above 0, the truth is not finite, or the
            fine solution is not.
    """
    m = truth.shape[0]
    if n >= m:
        raise ValueError(
            f"darcy: data must come from a finer grid than they are inverted on (no inverse crime), found a truth of "
            f"{m} x {m} cells for an inversion on {n} x {n}"
        )
    if not (math.isfinite(noise) and noise > 0):
        raise ValueError(f"darcy: noise must be a finite share above 0 of the largest pressure, found {noise}")
    if bad := int(np.sum(~np.isfinite(truth))):
        raise ValueError(
            f"darcy: no pressure of this truth: it must be finite, found {bad} of {truth.size} that are not"
        )
    fine, coarse = operator(m, points, source), operator(n, points, source)
    pressure = elliptic.solve(truth, source)
    if not np.all(np.isfinite(pressure)):
        raise ValueError("darcy: no pressure of this truth: conjugate gradients did not converge")
    clean = elliptic.observe(pressure, fine.points)
    std = noise * jnp.max(pressure)
    y = clean + std * jax.random.normal(key, clean.shape, clean.dtype)
    check(coarse, y, std)
    return Problem(coarse, y, std, jnp.asarray(truth), clean)


def coarsen(field: Float[Real, "m m"], n: int) -> Float[Array, "n n"]:
    """Means over blocks: a fine field on n x n cells, to compare with what was recovered there.

    Raises:
        ValueError: n does not divide the cells of the field.
    """
    m = field.shape[0]
    if n < 1 or m % n:
        raise ValueError(f"darcy: a field of {m} x {m} cells has no means on {n} x {n}, expected a divisor of {m}")
    return jnp.mean(jnp.asarray(field).reshape(n, m // n, n, m // n), axis=(1, 3))
