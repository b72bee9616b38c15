"""What a distance says of equal measures, and a distance without it: every number of a table beside its noise floor."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vrjax.inverse.distances import checks, exact

Distance = Callable[[Any, Any], Any]


def debiased_w1(
    p: Float[Array | np.ndarray, "..."],
    p2: Float[Array | np.ndarray, "..."],
    q: Float[Array | np.ndarray, "..."],
    q2: Float[Array | np.ndarray, "..."],
    *,
    distance: Distance = exact.w1,
) -> Float[Array, ""]:
    """`W(P, Q) - (W(P, P') + W(Q, Q')) / 2`, from two independent samples of each measure.

    Two samples of one measure are apart by some n^{-1/d}, which in two and more dimensions hides a small distance; the
    two subtracted terms are what that noise gives with each measure alone. For equal measures its mean is 0 at equal
    sizes, so that it may be negative. It is not unbiased for the distance of different measures: noise adds to a large
    distance less than it gives alone, so that a large one comes out too small, by up to its floor.

    Args:
        p, p2: samples (n,) or (n, d) of P, independent of each other.
        q, q2: samples of Q, likewise. All four of the same size.
        distance: of two samples; exact W1 by default.

    Returns:
        a scalar in the units of the distance.

    Raises:
        ValueError: samples of different shapes, or what the distance refuses.
    """
    shapes = [np.shape(sample) for sample in (p, p2, q, q2)]
    if len(set(shapes)) != 1:
        raise ValueError(f"debiased_w1: all four samples must have one shape, found {shapes}")
    return jnp.asarray(distance(p, q) - 0.5 * (distance(p, p2) + distance(q, q2)))


def floor(
    distance: Distance,
    x: Float[Array | np.ndarray, "..."],
    y: Float[Array | np.ndarray, "..."],
    key: Key[Array, ""],
    *,
    repeats: int = 4,
) -> Float[Array, ""]:
    """The noise floor of `distance(x, y)`: what it gives between two samples of one and the same measure.

    Points of x and y are pooled, shuffled and dealt into two samples of the sizes of x and y again; the floor is the
    mean of |distance| between the two over `repeats` deals. If x and y are independent draws of one law, then a deal
    has exactly the law of the pair (x, y), so the floor is unbiased for E|distance(x, y)| at these very sizes, whatever
    the distance and the dimension. If they are draws of different laws, it is the floor of their mixture, which
    exceeds theirs by the noise of who came from where, of the order of distance(x, y) / sqrt(n): nothing beside the
    distance itself. Chains must be thinned to independent draws first, or the floor is too low. It is a floor of
    equally weighted samples: resample weighted ones.

    Args:
        distance: of two samples, such as `w1` or `functools.partial(sliced_w1, directions=...)`. It is called outside
            of any trace unless `floor` itself is traced.
        x, y: points (n,) or (n, d), and (m,) or (m, d).
        key: of the deals, split once.
        repeats: deals to average.

    Returns:
        a scalar in the units of the distance.

    Raises:
        ValueError: shapes that do not fit, entries that are not finite, less than one repeat, a distance that returns
            no scalar.
    """
    flat = np.ndim(x) == 1 and np.ndim(y) == 1
    x, y, _, _ = checks.pair("floor", x, y, None, None)
    if repeats < 1:
        raise ValueError(f"floor: repeats must be at least 1, found {repeats}")
    pooled = (np if isinstance(x, np.ndarray) and isinstance(y, np.ndarray) else jnp).concatenate([x, y])
    pooled = pooled[:, 0] if flat else pooled
    found = []
    for one in jax.random.split(key, repeats):
        order = jax.random.permutation(one, len(pooled))
        dealt = pooled[np.asarray(order) if isinstance(pooled, np.ndarray) and not checks.traced(order) else order]
        value = distance(dealt[: len(x)], dealt[len(x) :])
        if np.shape(value) != ():
            raise ValueError(f"floor: distance must return a scalar, found shape {np.shape(value)}")
        found.append(jnp.abs(value))
    return jnp.mean(jnp.stack(found))
