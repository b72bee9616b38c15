"""What every distance asks of its arguments: points, weights, sizes. What is traced cannot be read and passes."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

INSTALL = "pip install 'vrjax[inverse]'"


def traced(*values: Any) -> bool:
    """Whether any of these is being traced, so that its numbers cannot be read."""
    return any(isinstance(value, Tracer) for value in values)


def points(what: str, name: str, x: Any) -> Any:
    """Points as (n, d), (n,) being n points on the line. NumPy stays NumPy, so that the host keeps its float64.

    Raises:
        ValueError: no points, more axes, no real floating point numbers, or numbers that are not finite.
    """
    x = x if isinstance(x, np.ndarray) else jnp.asarray(x)
    if x.ndim not in (1, 2) or not x.size:
        raise ValueError(f"{what}: {name} must be points (n,) or (n, d), found shape {x.shape}")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"{what}: {name} must be real floating point numbers, found {x.dtype}")
    finite(what, name, x)
    return x[:, None] if x.ndim == 1 else x


def finite(what: str, name: str, x: Any) -> None:
    """Raises ValueError that counts the entries that are not finite, if there are any."""
    if not traced(x) and (bad := int(np.sum(~np.isfinite(np.asarray(x))))):
        raise ValueError(f"{what}: {name} must be finite, found {bad} of {np.size(x)} entries that are not")


def weights(what: str, name: str, a: Any, number: int) -> Any:
    """Weights (n,) as given, or None, which means equal ones.

    Raises:
        ValueError: another number of them, a negative one, one that is not finite, or all of them 0.
    """
    if a is None:
        return None
    if np.shape(a) != (number,):
        raise ValueError(f"{what}: {name} must be one weight for each of {number} points, found shape {np.shape(a)}")
    if not traced(a):
        finite(what, name, a)
        if np.min(a) < 0 or np.sum(a) <= 0:
            raise ValueError(
                f"{what}: {name} must be weights >= 0 whose sum is > 0, found {float(np.min(a)):.4g} as the smallest "
                f"and {float(np.sum(a)):.4g} as the sum"
            )
    return a


def pair(what: str, x: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any, Any, Any]:
    """Two measures, checked: points (n, d) and (m, d), weights (n,) and (m,) or None.

    Raises:
        ValueError: see `points` and `weights`, or the points of the two have different dimensions.
    """
    x, y = points(what, "x", x), points(what, "y", y)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"{what}: x and y must have equal dimension, found {x.shape[1]} and {y.shape[1]} (shapes {x.shape}, "
            f"{y.shape})"
        )
    return x, y, weights(what, "a", a, len(x)), weights(what, "b", b, len(y))


def precision(*values: Any) -> Any:
    """The precision of a result: that of the arguments, at least float32, as far as JAX has it switched on."""
    return jnp.result_type(jnp.float32, *(value for value in values if value is not None))


def full(a: Any, number: int, dtype: Any) -> Any:
    """Weights that sum to 1: those given over their sum, or equal ones."""
    if a is None:
        return jnp.full((number,), 1.0 / number, dtype)
    a = jnp.asarray(a, dtype)
    return a / jnp.sum(a)
