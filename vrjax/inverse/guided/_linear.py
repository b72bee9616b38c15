"""Estimates with their derivatives, solves with an operator's Gram matrix, and the step all gradient methods share."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vrjax.flow.core import Grid, Prediction, as_prediction
from vrjax.inverse.guided._method import norm

EXPLICIT = 32
"""Observations of at most this many entries are solved for with an explicit matrix, larger ones by CG."""


def estimate(evaluate: Callable[[Array], Any], x: Array, sigma: Any):
    """(x0_hat, pull, prediction): `x - sigma v` and the product of its transposed Jacobian with a vector."""

    def x0_hat(x):
        prediction = as_prediction(evaluate(x))
        v = jnp.asarray(prediction.v).astype(x.dtype)
        return x - sigma * v, Prediction(v, prediction.taps)

    x0, pull, prediction = jax.vjp(x0_hat, x, has_aux=True)
    return x0, lambda c: pull(c)[0], prediction


def symmetric_solve(
    multiply: Callable[[Array], Array], rhs: Float[Array, "..."], *, explicit: bool, iterations: int
) -> Float[Array, "..."]:
    """The solution u of `multiply(u) = rhs`; the symmetric part of the matrix is used where it is explicit.

    Args:
        multiply: a linear map of arrays of the shape of `rhs`, positive definite; symmetric unless `explicit`.
        rhs: of any shape.
        explicit: build the matrix, column by column in one batch, instead of conjugate gradients.
        iterations: at most so many of conjugate gradients, to a relative residual of 1e-6.
    """
    if not explicit:
        return jax.scipy.sparse.linalg.cg(multiply, rhs, tol=1e-6, maxiter=iterations)[0]
    columns = jax.vmap(lambda e: multiply(e.reshape(rhs.shape)).ravel())(jnp.eye(rhs.size, dtype=rhs.dtype))
    return jnp.linalg.solve((columns + columns.T) / 2, rhs.ravel()).reshape(rhs.shape)


def gram_solve(operator: Any, u: Array, r2: Any, noise2: Any, iterations: int) -> Array:
    """`(r2 A A^T + noise2 I)^-1 u`, by the operator's own `gram_solve` where it has one."""
    own = getattr(operator, "gram_solve", None)
    if own is not None:
        return own(u, r2, noise2)
    multiply = lambda w: r2 * operator.apply(operator.adjoint(w)) + noise2 * w
    return symmetric_solve(multiply, u, explicit=u.size <= EXPLICIT, iterations=iterations)


def isotropic(sigma: Any, prior_variance: Any = 1.0) -> Any:
    """Variance of x0 given x at level sigma if the data had covariance `prior_variance I`."""
    return prior_variance * sigma**2 / (sigma**2 + prior_variance * (1 - sigma) ** 2)


def misfit(operator: Any, y: Array, x: Array) -> tuple[Array, Array]:
    """(y - A(x), A'(x)^T (y - A(x))): what is missing, and minus the gradient of half its square."""
    seen, pull = jax.vjp(operator.apply, x)
    return y - seen, pull(y - seen)[0]


def misfit_norm(operator: Any, y: Array, x: Array, residual: str) -> tuple[Array, Array]:
    """(minus the gradient of |R(y) - R(A(x))|, y - A(x)), R the adjoint, the pseudo-inverse or nothing.

    The gradient of a norm at 0 is taken as 0, its smallest subgradient.
    """
    back = {
        "adjoint": lambda u: operator.adjoint(u),
        "pseudo_inverse": lambda u: operator.pseudo_inverse(u),
        "data": lambda u: u,
    }[residual]
    seen, pull = jax.vjp(lambda x: back(operator.apply(x)), x)
    missing = back(y) - seen
    return over_norm(pull(missing)[0], missing), y - operator.apply(x)


def over_norm(a: Array, b: Array) -> Array:
    """`a / |b|`, and 0 where b is 0 (a is then 0 as well)."""
    return a / jnp.maximum(norm(b), jnp.finfo(a.dtype).tiny)


def gaussian_step(
    operator: Any, x: Array, direction: Array, missing: Array, centre: Array, variance: Any, noise2: Any
) -> Array:
    """The displacement along `direction` that an exact Gaussian correction would make.

    It minimises `|y - A (x + a d)|^2 / (2 noise2) + |x + a d - centre|^2 / (2 variance)` over the number a, A being the
    operator's derivative at x: along its own direction it goes as far as the posterior mean of N(centre, variance I)
    lies. With one observed entry and x = centre it is that posterior mean. It has no unit and needs no tuning.

    Args:
        operator: anything with `apply`.
        x: where the step starts; `direction` of its shape, of any length but 0.
        missing: `y - A(x)`.
        centre, variance: of the Gaussian, see `isotropic`.
        noise2: variance of the noise.
    """
    along = jax.jvp(operator.apply, (x,), (direction,))[1]
    ratio = noise2 / variance
    rise = jnp.sum(missing * along) - ratio * jnp.sum((x - centre) * direction)
    curvature = jnp.sum(along * along) + ratio * jnp.sum(direction * direction)
    return rise / jnp.maximum(curvature, jnp.finfo(x.dtype).tiny) * direction


def ancestral(grid: Grid) -> dict[str, np.ndarray]:
    """Coefficients of the step with the exact Gaussian transition, float64: DDPM's posterior in a flow's scale.

    `x' = (1 - s') x0 + s' (kept n + fresh eps)` with n = x + (1 - s) v, kept = (s' / s) (1 - s) / (1 - s') and
    fresh^2 = 1 - kept^2. Where x0 is exact the marginals are those of the flow, whatever the step. Moving x0 by delta
    (and n with it, x held) moves x' by `moved delta`, moved = (1 - s') fresh^2.
    """
    start, end = grid.sigmas[:-1], grid.sigmas[1:]
    kept = end / start * (1 - start) / (1 - end)
    fresh2 = 1 - kept**2
    return {"sigma": start, "next": end, "kept": kept, "fresh": np.sqrt(fresh2), "moved": (1 - end) * fresh2}


def ancestral_mean(x: Array, x0: Array, v: Array, row: Any) -> Array:
    """The mean of the step of `ancestral`."""
    return (1 - row["next"]) * x0 + row["next"] * row["kept"] * (x + (1 - row["sigma"]) * v)
