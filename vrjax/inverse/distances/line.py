"""Wasserstein distances on the line, exact and in pure JAX: jit, vmap and grad go through them.

Between two discrete measures they are sums over sorted points. Against a measure that is given by its quantile
function they are integrals over [0, 1], cut wherever the integrand has a kink, so that Gauss-Legendre nodes converge
as fast as the quantile function is smooth.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from vrjax.inverse.distances import checks

Quantile = Callable[[Any], Any] | tuple[Any, Any]


def root(square: Any) -> Any:
    """The square root whose derivative at 0 is 0, where the true one has none."""
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


@jax.jit
def w1(x: Any, y: Any, a: Any, b: Any) -> Any:
    """W1 of measures on the line, the area between their distribution functions; points (n,), (m,), weights or None."""
    if a is None and b is None and len(x) == len(y):
        return jnp.mean(jnp.abs(jnp.sort(x) - jnp.sort(y)))
    gap, width = between(x, y, a, b)
    return jnp.sum(jnp.abs(gap) * width)


def between(x: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """F - G on the n + m - 1 intervals between all points in order, and the widths of the intervals."""
    steps = jnp.concatenate([checks.full(a, len(x), x.dtype), -checks.full(b, len(y), x.dtype)])
    both = jnp.concatenate([x, y])
    order = jnp.argsort(both)
    return jnp.cumsum(steps[order])[:-1], jnp.diff(both[order])


@jax.jit
def w2(x: Any, y: Any, a: Any, b: Any) -> Any:
    """W2 of measures on the line, the L2 distance of their quantile functions."""
    if a is None and b is None and len(x) == len(y):
        return root(jnp.mean((jnp.sort(x) - jnp.sort(y)) ** 2))
    x, p = _steps(x, checks.full(a, len(x), x.dtype))
    y, q = _steps(y, checks.full(b, len(y), x.dtype))
    levels = jnp.sort(jnp.concatenate([jnp.zeros((1,), x.dtype), p, q]))
    # Asked in the middle of each interval, no quantile function is asked at a jump.
    middle = 0.5 * (levels[1:] + levels[:-1])
    pick = lambda points, levels: points[jnp.clip(jnp.searchsorted(levels, middle, side="right"), 0, len(points) - 1)]
    return root(jnp.sum(jnp.diff(levels) * (pick(x, p) - pick(y, q)) ** 2))


def _steps(x: Any, weights: Any) -> tuple[Any, Any]:
    """Points in order, and the distribution function at each: rising, its last value exactly 1."""
    order = jnp.argsort(x)
    levels = lax.cummax(jnp.cumsum(weights[order]))  # a parallel sum may fall by a rounding
    return x[order], levels / levels[-1]


def w1_to_quantile(
    x: Float[Array | np.ndarray, "..."],
    quantile: Quantile,
    nodes: int = 16,
    *,
    a: Float[Array | np.ndarray, "..."] | None = None,
    breaks: tuple[float, ...] = (),
) -> Float[Array, ""]:
    """W1 between a discrete measure on the line and one that is given by its quantile function Q.

    The integral of |F_n^{-1}(u) - Q(u)| over u in [0, 1]. It is cut at the measure's own levels, at `breaks`, and
    where Q passes a point (found by bisection), and each piece is integrated with `nodes` Gauss-Legendre nodes. The
    error is that of the nodes on smooth pieces: rounding for a Q that is smooth on [0, 1]; where Q is unbounded, as a
    normal's, the two outer pieces converge more slowly (about 1e-5 of the distance for 100 points and 16 nodes).

    Args:
        x: points (n,) or (n, 1), in any order.
        quantile: Q, a rising function that takes an array of levels inside (0, 1) and returns their quantiles; or a
            table `(levels (k,), values (k,))`, which means the lines between its rows (a level that stands there twice
            is a jump) and is integrated exactly.
        nodes: of every piece.
        a: weights (n,) >= 0, divided by their sum; equal by default.
        breaks: levels where Q jumps or has a kink, such as the mass below a gap of its density.

    Returns:
        a scalar in the units of x.

    Raises:
        ValueError: points in more than one dimension, numbers that are not finite, negative weights, fewer than one
            node, breaks outside of [0, 1], or a table that does not rise from level 0 to level 1.
    """
    x, values, weight = _pieces("w1_to_quantile", x, quantile, nodes, a, breaks)
    return jnp.sum(weight * jnp.abs(x[..., None] - values))


def w2_to_quantile(
    x: Float[Array | np.ndarray, "..."],
    quantile: Quantile,
    nodes: int = 16,
    *,
    a: Float[Array | np.ndarray, "..."] | None = None,
    breaks: tuple[float, ...] = (),
) -> Float[Array, ""]:
    """W2, not squared, between a discrete measure on the line and a quantile function; see `w1_to_quantile`."""
    x, values, weight = _pieces("w2_to_quantile", x, quantile, nodes, a, breaks)
    return root(jnp.sum(weight * (x[..., None] - values) ** 2))


def _pieces(what: str, x: Any, quantile: Any, nodes: int, a: Any, breaks: tuple[float, ...]) -> tuple[Any, Any, Any]:
    """The point of every piece (p, 2), quantiles at its nodes (p, 2, nodes), and the weights of the nodes."""
    x = checks.points(what, "x", x)
    if x.shape[1] != 1:
        raise ValueError(f"{what}: x must be points on the line, (n,) or (n, 1), found shape {x.shape}")
    if nodes < 1:
        raise ValueError(f"{what}: nodes must be at least 1, found {nodes}")
    a = checks.weights(what, "a", a, len(x))
    dtype = checks.precision(x)
    cuts = jnp.asarray(breaks, dtype).reshape(-1)
    if not checks.traced(cuts) and not np.all((np.asarray(cuts) >= 0) & (np.asarray(cuts) <= 1)):
        raise ValueError(f"{what}: breaks must be levels in [0, 1], found {breaks}")
    if isinstance(quantile, tuple):
        quantile, table = _lines(what, quantile, dtype)
        cuts = jnp.concatenate([cuts, table])
    points, levels = _steps(jnp.asarray(x[:, 0], dtype), checks.full(a, len(x), dtype))
    ends = jnp.sort(jnp.concatenate([jnp.zeros((1,), dtype), levels, cuts]))
    low, high = ends[:-1], ends[1:]
    inside = jnp.searchsorted(levels, 0.5 * (low + high), side="right")
    point = points[jnp.clip(inside, 0, len(points) - 1)]

    def halve(_, bounds):
        left, right = bounds
        middle = 0.5 * (left + right)
        below = quantile(middle) < point
        return jnp.where(below, middle, left), jnp.where(below, right, middle)

    # 2^-digits of a piece is as near as the precision can say.
    digits = jnp.finfo(dtype).nmant + 2
    middle = lax.stop_gradient(0.5 * sum(lax.fori_loop(0, digits, halve, (low, high))))
    place, weight = np.polynomial.legendre.leggauss(nodes)
    begin, width = jnp.stack([low, middle], 1), jnp.stack([middle - low, high - middle], 1)
    at = begin[..., None] + width[..., None] * jnp.asarray(0.5 + 0.5 * place, dtype)
    # A piece without width may lie at level 0 or 1, where the quantile may be infinite.
    empty = (width <= 0)[..., None]
    values = quantile(jnp.where(empty, 0.5, at))
    weight = jnp.where(empty, 0.0, width[..., None] * jnp.asarray(0.5 * weight, dtype))
    return jnp.broadcast_to(point[:, None], width.shape), values, weight


def _lines(what: str, table: tuple[Any, Any], dtype: Any) -> tuple[Callable[[Any], Any], Any]:
    """The quantile function of a table, and its levels."""
    levels, values = (jnp.asarray(column, dtype) for column in table)
    if levels.shape != values.shape or levels.ndim != 1 or len(levels) < 2:
        raise ValueError(
            f"{what}: quantile must be a function or (levels (k,), values (k,)), found shapes {levels.shape} and "
            f"{values.shape}"
        )
    if not checks.traced(levels, values):
        checks.finite(what, "quantile", values)
        rises = bool(jnp.all(jnp.diff(levels) >= 0) & jnp.all(jnp.diff(values) >= 0))
        if not rises or levels[0] != 0 or levels[-1] != 1:
            raise ValueError(
                f"{what}: quantile's levels must rise from 0 to 1 and its values with them, found levels from "
                f"{float(levels[0]):.4g} to {float(levels[-1]):.4g}{'' if rises else ' that do not rise'}"
            )
    return lambda u: jnp.interp(u, levels, values), levels
