"""The energy distance, squared: 2 E|X - Y| - E|X - X'| - E|Y - Y'|. Pure JAX."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from vrjax.inverse.distances import checks, line

LARGEST = 1 << 23  # numbers of one block of differences between points


def energy(
    x: Float[Array | np.ndarray, "..."],
    y: Float[Array | np.ndarray, "..."],
    a: Float[Array | np.ndarray, "..."] | None = None,
    b: Float[Array | np.ndarray, "..."] | None = None,
    *,
    unbiased: bool = False,
) -> Float[Array, ""]:
    """The squared energy distance of two discrete measures (Szekely & Rizzo 2013).

    By default the V-statistic, which is the exact squared energy distance of the two weighted measures: never negative,
    and 0 only when they are equal; pairs of a point with itself count. As an estimate from samples it is too large by
    about (E|X - X'|) / n + (E|Y - Y'|) / m. `unbiased` gives the U-statistic instead: the self terms over different
    points only, divided by 1 - sum of squared weights; its mean over samples is the distance of the laws, so it may be
    negative.

    On the line it is computed from the distribution functions (n log n, no cancellation); in more dimensions from all
    pairs, where in float32 its absolute error is about 1e-6 of the mean distance between points.

    Args:
        x, y: points (n,) or (n, d), and (m,) or (m, d).
        a, b: weights (n,) and (m,) >= 0, divided by their sums; equal by default.
        unbiased: the U-statistic.

    Returns:
        a scalar in the units of the points, to the first power. SciPy's `energy_distance` is the square root of the
        V-statistic.

    Raises:
        ValueError: shapes that do not fit, entries that are not finite, negative weights, or one point alone where
            `unbiased`.
    """
    x, y, a, b = checks.pair("energy", x, y, a, b)
    for name, points in (("x", x), ("y", y)):
        if unbiased and len(points) < 2:
            raise ValueError(f"energy: {name} must be two points or more where unbiased, found {len(points)}")
    dtype = checks.precision(x, y)
    return _energy(jnp.asarray(x, dtype), jnp.asarray(y, dtype), a, b, unbiased)


@functools.partial(jax.jit, static_argnames="unbiased")
def _energy(x: Any, y: Any, a: Any, b: Any, unbiased: bool) -> Any:
    p, q = checks.full(a, len(x), x.dtype), checks.full(b, len(y), x.dtype)
    if x.shape[1] == 1:
        gap, width = line.between(x[:, 0], y[:, 0], p, q)
        value = 2.0 * jnp.sum(gap**2 * width)
        if not unbiased:
            return value
        within = [_within_line(x[:, 0], p), _within_line(y[:, 0], q)]
    else:
        within = [_mean_distance(x, x, p, p), _mean_distance(y, y, q, q)]
        value = 2.0 * _mean_distance(x, y, p, q) - within[0] - within[1]
        if not unbiased:
            return jnp.maximum(value, 0.0)
    # From V to U: a self term over all pairs is 1 - sum of squared weights times one over different points.
    for term, weight in zip(within, (p, q), strict=True):
        same = jnp.sum(weight**2)
        value = value - term * same / (1.0 - same)
    return value


def _within_line(x: Any, weight: Any) -> Any:
    """E|X - X'| over all pairs of points on the line: twice the integral of F (1 - F)."""
    order = jnp.argsort(x)
    below = jnp.cumsum(weight[order])[:-1]
    return 2.0 * jnp.sum(below * (1.0 - below) * jnp.diff(x[order]))


def _mean_distance(x: Any, y: Any, a: Any, b: Any) -> Any:
    """Mean of |x - y| over all pairs, block by block so that memory stays bounded."""
    block = max(1, min(len(x), LARGEST // y.size))

    def row(point):
        return jnp.sum(b * line.root(jnp.sum((point - y) ** 2, -1)))

    return jnp.sum(a * lax.map(row, x, batch_size=block))
