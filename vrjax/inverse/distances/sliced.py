"""Sliced Wasserstein-1: the mean over directions of the exact distance on the line. Pure JAX."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vrjax.inverse.distances import checks, line


def directions(key: Key[Array, ""], number: int, dimension: int) -> Float[Array, "k d"]:
    """`number` unit vectors in `dimension` dimensions, uniform on the sphere.

    Raises:
        ValueError: a number or a dimension below 1.
    """
    if number < 1 or dimension < 1:
        raise ValueError(f"directions: number and dimension must be at least 1, found {number} and {dimension}")
    drawn = jax.random.normal(key, (number, dimension))
    return drawn / jnp.linalg.norm(drawn, axis=-1, keepdims=True)


def sliced_w1(
    x: Float[Array | np.ndarray, "..."],
    y: Float[Array | np.ndarray, "..."],
    directions: Float[Array | np.ndarray, "..."],
    a: Float[Array | np.ndarray, "..."] | None = None,
    b: Float[Array | np.ndarray, "..."] | None = None,
) -> Float[Array, ""]:
    """The sliced Wasserstein-1 distance over given directions: mean over them of W1 of the projections, each exact.

    Args:
        x, y: points (n,) or (n, d), and (m,) or (m, d).
        directions: (k, d), brought to unit length; see `directions`. The same ones for every distance that is compared.
        a, b: weights (n,) and (m,) >= 0, divided by their sums; equal by default.

    Returns:
        a scalar in the units of the points. It is at most W1, and smaller the higher d is: of a shift by a vector it
        shows the mean of its projections, |shift| sqrt(2 / (pi d)) in high dimension.

    Raises:
        ValueError: shapes that do not fit, entries that are not finite, negative weights, a direction of length 0.
    """
    x, y, a, b = checks.pair("sliced_w1", x, y, a, b)
    dtype = checks.precision(x, y)
    unit = unit_rows("sliced_w1", directions, x.shape[1], dtype)
    return _mean(jnp.asarray(x, dtype), jnp.asarray(y, dtype), unit, a, b)


@jax.jit
def _mean(x: Any, y: Any, unit: Any, a: Any, b: Any) -> Any:
    px, py = (jnp.matmul(unit, points.T, precision="highest") for points in (x, y))
    return jnp.mean(jax.vmap(lambda u, v: line.w1(u, v, a, b))(px, py))


def unit_rows(what: str, given: Any, dimension: int, dtype: Any) -> Any:
    """Directions (k, d) of unit length.

    Raises:
        ValueError: another shape, entries that are not finite, or a direction of length 0.
    """
    if np.ndim(given) != 2 or np.shape(given)[1] != dimension or not np.shape(given)[0]:
        raise ValueError(f"{what}: directions must be (k, {dimension}), found shape {np.shape(given)}")
    checks.finite(what, "directions", given)
    given = jnp.asarray(given, dtype)
    length = jnp.linalg.norm(given, axis=-1, keepdims=True)
    if not checks.traced(length) and not np.all(np.asarray(length) > 0):
        raise ValueError(f"{what}: directions must have a length, found {int(np.sum(length == 0))} rows of zeros")
    return given / length
