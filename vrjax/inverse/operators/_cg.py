"""Preconditioned conjugate gradients, differentiated implicitly, that never return what has not converged."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from vrjax.flow.varying import vary_as

Matvec = Callable[[Array], Array]


def tolerance(dtype: jnp.dtype) -> float:
    """The default relative residual: 1e-6 in float32 (and below), 1e-12 in float64."""
    return 1e-12 if dtype == jnp.float64 else 1e-6


def conjugate_gradients(
    matvec: Matvec,
    b: Float[Array, "..."],
    *,
    diagonal: Float[Array, "..."] | None = None,
    preconditioner: Matvec | None = None,
    tol: float | None = None,
    max_steps: int = 1000,
) -> Float[Array, "..."]:
    """The x with `matvec(x) = b`, for a symmetric positive definite `matvec` (Hestenes & Stiefel 1952).

    Derivatives are those of the exact solution: one more solve each, by the implicit function theorem. Under vmap every
    example stops by itself, and all wait for the slowest. Arrays in and out are of one shape, any.

    Args:
        matvec: the linear map; it may close over traced arrays, which are differentiated.
        b: right-hand side.
        diagonal: of the map, for Jacobi's preconditioner; None for none. It does not change the solution.
        preconditioner: in its place, a map that is nearly the inverse, symmetric positive definite too. Nothing is
            differentiated through it: what it closes over must be stopped (`lax.stop_gradient`).
        tol: stops where the recursion's residual norm is at most `tol` times that of `b`; see `tolerance`. The true
            residual of float32 may be larger, by rounding.
        max_steps: at most so many steps.

    Returns:
        x; NaN throughout where `max_steps` were not enough or something was not finite, and so are derivatives with
        respect to the map. Those with respect to b are solves of their own, and answer for themselves.

    Raises:
        ValueError: both a diagonal and a preconditioner.
    """
    if diagonal is not None and preconditioner is not None:
        raise ValueError("conjugate_gradients: found diagonal and preconditioner, expected one of them")
    inverse = None if diagonal is None else 1 / lax.stop_gradient(diagonal)
    limit = tolerance(b.dtype) if tol is None else tol

    def precondition(r):
        if preconditioner is not None:
            return preconditioner(r)
        return r if inverse is None else inverse * r

    def run(matvec, b):
        enough = limit**2 * jnp.vdot(b, b)

        def unfinished(carry):
            _, r, _, _, step = carry
            return (jnp.vdot(r, r) > enough) & (step < max_steps)

        def advance(carry):
            x, r, p, gamma, step = carry
            q = matvec(p)
            alpha = gamma / jnp.vdot(p, q)
            x, r = x + alpha * p, r - alpha * q
            z = precondition(r)
            new = jnp.vdot(r, z)
            return x, r, z + (new / gamma) * p, new, step + 1

        z = precondition(b)
        start = (b - b, b, z, jnp.vdot(b, z), 0)
        x, r, *_ = lax.while_loop(unfinished, advance, start)
        return x * jnp.where(jnp.vdot(r, r) <= enough, 1.0, jnp.nan).astype(x.dtype)

    # Inside shard_map the map may vary over more mesh axes than the right-hand side, and every carry of the loop has
    # to; for the same reason it starts from `b - b` rather than from a constant.
    b = vary_as(b, jax.eval_shape(lambda b: precondition(matvec(b)), b))
    return lax.custom_linear_solve(matvec, b, run, symmetric=True)
