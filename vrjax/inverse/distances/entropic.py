"""The Sinkhorn divergence by ott-jax, with its convergence in the open."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from vrjax.inverse.distances import checks

THRESHOLD, ITERATIONS = 1e-4, 5_000


class Solved(NamedTuple):
    """A Sinkhorn divergence and how it was solved.

    Attributes:
        divergence: the value that was reached, squared units; it may be NaN where the precision did not suffice.
        converged: whether all three problems ended within the threshold, with a finite value.
        iterations: updates of the problems (x, y), (x, x), (y, y).
    """

    divergence: Float[Array, ""]
    converged: Bool[Array, ""]
    iterations: Int[Array, "3"]


def sinkhorn_divergence(
    x: Float[Array | np.ndarray, "..."],
    y: Float[Array | np.ndarray, "..."],
    epsilon: float | Float[Array | np.ndarray, ""],
    a: Float[Array | np.ndarray, "..."] | None = None,
    b: Float[Array | np.ndarray, "..."] | None = None,
    *,
    threshold: float = THRESHOLD,
    iterations: int = ITERATIONS,
) -> Float[Array, ""]:
    """The debiased entropic transport cost `OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2` (Feydy et al. 2019), pure JAX.

    Each OT is the *entropic* value `<P, C> + epsilon KL(P | a b')`, as ott-jax defines it, for the cost C = |x - y|^2
    (no half). So the result has **squared units**: compare its square root with a W2. POT's `sinkhorn2` leaves the KL
    term out and differs by some per cent. As epsilon falls to 0 the value tends to W2^2, and as it grows to the squared
    distance of the means.

    An unconverged value is never returned: called with numbers it raises, and inside a trace (jit, vmap, grad), where
    nothing can be raised, the result is NaN. `sinkhorn_solve` returns value and flag instead.

    Args:
        x, y: points (n,) or (n, d), and (m,) or (m, d).
        epsilon: > 0, absolute, in squared units. Below about 1e-3 of the mean cost use float64.
        a, b: weights (n,) and (m,) >= 0, divided by their sums; equal by default.
        threshold: the largest L1 error of a marginal at which a problem counts as solved.
        iterations: the most updates of one problem (static).

    Returns:
        a scalar, in squared units.

    Raises:
        ValueError: shapes that do not fit, entries that are not finite, negative weights, epsilon or threshold <= 0, or
            no convergence.
        ImportError: without ott-jax.
    """
    found = sinkhorn_solve(x, y, epsilon, a, b, threshold=threshold, iterations=iterations)
    if not checks.traced(found.converged) and not bool(found.converged):
        raise ValueError(
            f"sinkhorn_divergence: not within {threshold:g} of the marginals after {np.asarray(found.iterations)} of "
            f"{iterations} iterations at epsilon {float(epsilon):g} in {found.divergence.dtype} (value "
            f"{float(found.divergence):.4g}); raise epsilon, iterations or threshold, or use float64"
        )
    return jnp.where(found.converged, found.divergence, jnp.nan)


def sinkhorn_solve(
    x: Float[Array | np.ndarray, "..."],
    y: Float[Array | np.ndarray, "..."],
    epsilon: float | Float[Array | np.ndarray, ""],
    a: Float[Array | np.ndarray, "..."] | None = None,
    b: Float[Array | np.ndarray, "..."] | None = None,
    *,
    threshold: float = THRESHOLD,
    iterations: int = ITERATIONS,
) -> Solved:
    """The divergence of `sinkhorn_divergence` with its flag of convergence, which the caller reads. Arguments as there;
    it raises for all that is wrong with them, but not where it does not converge."""
    what = "sinkhorn_divergence"
    x, y, a, b = checks.pair(what, x, y, a, b)
    for name, number in (("epsilon", epsilon), ("threshold", threshold)):
        if not checks.traced(number) and not (np.isfinite(number) and number > 0):
            raise ValueError(f"{what}: {name} must be finite and above 0, found {number}")
    if iterations < 1:
        raise ValueError(f"{what}: iterations must be at least 1, found {iterations}")
    dtype = checks.precision(x, y)
    x, y = jnp.asarray(x, dtype), jnp.asarray(y, dtype)
    a, b = checks.full(a, len(x), dtype), checks.full(b, len(y), dtype)
    return _solve(x, y, jnp.asarray(epsilon, dtype), a, b, jnp.asarray(threshold, dtype), iterations)


@functools.partial(jax.jit, static_argnames="iterations")
def _solve(x: Any, y: Any, epsilon: Any, a: Any, b: Any, threshold: Any, iterations: int) -> Solved:
    try:
        from ott.tools import sinkhorn_divergence as ott
    except ImportError as error:
        raise ImportError(f"sinkhorn_divergence: needs ott-jax ({error}): {checks.INSTALL}") from None
    # ott expands |x - y|^2, which loses digits far from the origin: the divergence does not know where that is.
    centre = lax.stop_gradient(0.5 * (jnp.sum(a[:, None] * x, 0) + jnp.sum(b[:, None] * y, 0)))
    with jax.default_matmul_precision(
        "highest"
    ):  # with less, an accelerator's marginals never come within the threshold
        value, out = ott.sinkdiv(
            x - centre,
            y - centre,
            epsilon=epsilon,
            a=a,
            b=b,
            solve_kwargs={"threshold": threshold, "max_iterations": iterations},
        )
    converged = functools.reduce(jnp.logical_and, out.converged) & jnp.isfinite(value)
    return Solved(value, converged, jnp.stack([jnp.asarray(n, jnp.int32) for n in out.n_iters]))
