"""Distances between Gaussians in closed form: Wasserstein-2 (Bures) and sliced Wasserstein-1. Pure JAX."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf
from jaxtyping import Array, Float

from vrjax.inverse.distances import checks, line, sliced

NEGATIVE = 1e-4  # of the largest eigenvalue: more than rounding below 0 is no covariance


def bures(
    mean1: Float[Array | np.ndarray, "..."],
    cov1: Float[Array | np.ndarray, "..."],
    mean2: Float[Array | np.ndarray, "..."],
    cov2: Float[Array | np.ndarray, "..."],
) -> Float[Array, ""]:
    """W2, not squared, of N(mean1, cov1) and N(mean2, cov2) (Gelbrich 1990).

    `|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2)`, computed as the least |S1 - S2 U|^2 over rotations U of the
    square roots S: a sum of squares, so that two near Gaussians have no distance from cancellation. Covariances may be
    singular. It is also a lower bound of W2 of any two measures with these moments.

    Args:
        mean1, mean2: (d,).
        cov1, cov2: (d, d), symmetric and positive semi-definite.

    Returns:
        a scalar in the units of the points.

    Raises:
        ValueError: shapes that do not fit, entries that are not finite, a matrix that is not symmetric or has a
            negative eigenvalue.
    """
    mean1, cov1, mean2, cov2 = _gaussians("bures", mean1, cov1, mean2, cov2)
    root1, root2 = _square_root("bures", "cov1", cov1), _square_root("bures", "cov2", cov2)
    left, _, right = jnp.linalg.svd(jnp.matmul(root2, root1, precision="highest"))
    turned = jnp.matmul(root2, jnp.matmul(left, right, precision="highest"), precision="highest")
    return line.root(jnp.sum((mean1 - mean2) ** 2) + jnp.sum((root1 - turned) ** 2))


def gaussian_sliced_w1(
    mean1: Float[Array | np.ndarray, "..."],
    cov1: Float[Array | np.ndarray, "..."],
    mean2: Float[Array | np.ndarray, "..."],
    cov2: Float[Array | np.ndarray, "..."],
    directions: Float[Array | np.ndarray, "..."],
) -> Float[Array, ""]:
    """Sliced W1 of two Gaussians over given directions, without a draw.

    On the line W1 of two normals is the mean of |m + s Z|, m the difference of their means and s of their standard
    deviations: the mean of a folded normal, `s sqrt(2 / pi) exp(-m^2 / (2 s^2)) + m erf(m / (s sqrt(2)))`.

    Args:
        mean1, mean2: (d,).
        cov1, cov2: (d, d), symmetric and positive semi-definite.
        directions: (k, d), brought to unit length.

    Returns:
        a scalar in the units of the points.

    Raises:
        ValueError: as `bures` and `sliced_w1`.
    """
    mean1, cov1, mean2, cov2 = _gaussians("gaussian_sliced_w1", mean1, cov1, mean2, cov2)
    unit = sliced.unit_rows("gaussian_sliced_w1", directions, len(mean1), mean1.dtype)
    shift = jnp.sum(unit * (mean1 - mean2), -1)
    spread = lambda cov: line.root(jnp.sum(jnp.matmul(unit, cov, precision="highest") * unit, -1))
    width = jnp.abs(spread(cov1) - spread(cov2))
    ratio = shift / jnp.maximum(width, jnp.finfo(width.dtype).tiny)
    ratio = jnp.clip(ratio, -1e3, 1e3)  # beyond it the first term is 0 and erf is 1; its square stays finite
    folded = width * np.sqrt(2 / np.pi) * jnp.exp(-0.5 * ratio**2) + shift * erf(ratio / np.sqrt(2))
    return jnp.mean(folded)


def _gaussians(what: str, mean1: Any, cov1: Any, mean2: Any, cov2: Any) -> tuple[Any, Any, Any, Any]:
    d = np.shape(mean1)[0] if np.ndim(mean1) == 1 else 0
    shapes = [np.shape(item) for item in (mean1, cov1, mean2, cov2)]
    if not d or shapes != [(d,), (d, d)] * 2:
        raise ValueError(f"{what}: means must be (d,) and covariances (d, d), found shapes {shapes}")
    dtype = checks.precision(mean1, cov1, mean2, cov2)
    for name, item in zip(("mean1", "cov1", "mean2", "cov2"), (mean1, cov1, mean2, cov2), strict=True):
        checks.finite(what, name, item)
        if np.ndim(item) == 2 and not checks.traced(item):
            off = float(np.max(np.abs(np.asarray(item) - np.asarray(item).T)))
            if off > NEGATIVE * max(float(np.max(np.abs(item))), np.finfo(np.float32).tiny):
                raise ValueError(f"{what}: {name} must be symmetric, found entries that differ by {off:.3g}")
    return tuple(jnp.asarray(item, dtype) for item in (mean1, cov1, mean2, cov2))  # type: ignore[return-value]


def _square_root(what: str, name: str, cov: Any) -> Any:
    """The symmetric square root. Eigenvalues within rounding of 0 are 0: the root of a rounding is none."""
    values, vectors = jnp.linalg.eigh(cov)
    if not checks.traced(values) and float(values[0]) < -NEGATIVE * max(float(values[-1]), 0.0):
        raise ValueError(f"{what}: {name} must be positive semi-definite, found the eigenvalue {float(values[0]):.4g}")
    rounding = len(values) * jnp.finfo(values.dtype).eps * values[-1]
    return jnp.matmul(vectors * jnp.sqrt(jnp.where(values > rounding, values, 0.0)), vectors.T, precision="highest")
