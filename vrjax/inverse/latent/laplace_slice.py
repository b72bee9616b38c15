"""Elliptical slice sampling around the posterior's mode: its ellipse is the Laplace approximation's, widened.

Where data inform many directions of z, the prior's ellipses of `elliptical_slice` hardly move (Fagan, Bhandari &
Cunningham 2016, "Elliptical slice sampling with expectation propagation", use the same change of the Gaussian).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from vrjax.flow import words
from vrjax.inverse.latent.core import Chain, Info, LogLikelihood, begin, over_chains, scalar, walk, within
from vrjax.inverse.latent.elliptical_slice import turn

FLOOR = 0.25  # least curvature of the ellipse where the Hessian's is less: no axis is wider than two priors


class Laplace(NamedTuple):
    """A Gaussian at the posterior's mode.

    Attributes:
        mode: (r,) where the search ended.
        covariance: (r, r) inverse of the curvature there.
        gradient: () norm of the log-posterior's gradient there; near 0 where the search has ended well.
    """

    mode: Any
    covariance: Any
    gradient: Any

    __repr__ = words.line


def laplace(
    log_likelihood: LogLikelihood,
    start: Float[Array, " r"],
    *,
    args: tuple = (),
    residual: Callable[..., Any] | None = None,
    iterations: int = 50,
) -> Laplace:
    """The mode of `exp(-|z|^2 / 2 + log L(z))` near `start`, by damped Newton steps, and the curvature there.

    With `residual` the steps are Gauss-Newton's (Levenberg-Marquardt): curvature `J^T J + I`, with J the residual's
    Jacobian. Without it the curvature is `I - Hessian(log L)`, its eigenvalues taken by absolute value and kept above
    0.25, so that a step never climbs and no axis of the Gaussian is wider than twice the prior's.

    Args:
        log_likelihood: as in `pcn`.
        start: where the search begins; zeros are the prior's mode.
        args: as in `pcn`; `residual` takes them too.
        residual: `residual(z, *args) -> (m,)`, whitened: `log L(z) = -|residual|^2 / 2 + constant`.
        iterations: static number of steps, each one curvature; a step that does not descend is undone and shortened.
    """
    value_at = scalar(log_likelihood, args)

    def height(z):
        return 0.5 * jnp.sum(z**2) - value_at(z)

    def curvature(z):
        gradient = jax.grad(height)(z)
        whitened = residual
        if whitened is None:
            scales, axes = jnp.linalg.eigh(jax.hessian(height)(z))
            return gradient, (axes * jnp.maximum(jnp.abs(scales), FLOOR)) @ axes.T
        flat = lambda z: jnp.reshape(whitened(z, *args), -1)
        jacobian = (jax.jacfwd if jax.eval_shape(flat, z).size >= z.size else jax.jacrev)(flat)(z)
        return gradient, jacobian.T @ jacobian + jnp.eye(z.size, dtype=z.dtype)

    def descend(carry, _):
        z, least, damping = carry
        gradient, bend = curvature(z)
        there = z - jnp.linalg.solve(bend + damping * jnp.eye(z.size, dtype=z.dtype), gradient)
        value = height(there)
        better = value < least
        damping = jnp.clip(jnp.where(better, damping / 5, damping * 5), 1e-8, 1e8)
        return (jnp.where(better, there, z), jnp.where(better, value, least), damping), None

    begun = (start, height(start), jnp.ones((), start.dtype))
    (mode, _, _), _ = lax.scan(descend, begun, length=iterations)
    gradient, bend = curvature(mode)
    inverse = jnp.linalg.inv(bend)
    return Laplace(mode, 0.5 * (inverse + inverse.T), jnp.linalg.norm(gradient))


def laplace_slice(
    key: Any,
    log_likelihood: LogLikelihood,
    z0: Float[Array, "chains r"],
    steps: int,
    *,
    args: tuple = (),
    residual: Callable[..., Any] | None = None,
    search_from: Float[Array, " r"] | None = None,
    iterations: int = 50,
    inflate: Any = 1.3,
    burn: int = 0,
    thin: int = 1,
    how: str = "vmap",
    mesh: Any = None,
) -> Chain:
    """Samples `exp(-|z|^2 / 2 + log L(z))` by elliptical slices of N(z*, S), S = inflate x the covariance at the mode.

    The slice is of `log posterior - log N(z; z*, S)`, so the target is the same whatever z* and S are; they decide how
    well the chain mixes. One mode serves all chains.

    Args:
        key, log_likelihood, z0, steps, args, burn, thin, how, mesh: as in `pcn`.
        residual, iterations: as in `laplace`; of a whitened residual the covariance is `(J^T J + I)^-1`.
        search_from: where the search for the mode begins; the prior's mode, 0, by default.
        inflate: what the covariance is multiplied by, > 0. Above 1 the slice's function falls off in the tails.

    Returns:
        A `Chain`. `info` as of `elliptical_slice`, and `mode`, `covariance` (S itself), `gradient`.

    Raises:
        ValueError: as `vrjax.inverse.latent.core.begin`; `inflate` that is not positive; `search_from` of another
            shape; what `over_seeds` raises.
    """
    z0, start = begin(log_likelihood, z0, args, steps=steps, burn=burn, thin=thin)
    within("inflate", inflate, high=float("inf"))
    search = jnp.zeros(z0.shape[1], z0.dtype) if search_from is None else jnp.asarray(search_from, z0.dtype)
    if search.shape != z0.shape[1:]:
        raise ValueError(f"search_from: found shape {search.shape}, expected {z0.shape[1:]}, that of one start")
    counts = {"steps": steps, "burn": burn, "thin": thin, "iterations": iterations}
    numbers = (search, jnp.asarray(inflate, z0.dtype))
    told = {"log_likelihood": log_likelihood, "residual": residual, "how": how, "mesh": mesh}
    return _run(key, z0, start, args, numbers, **told, **counts)


@partial(jax.jit, static_argnames=("log_likelihood", "residual", "steps", "burn", "thin", "iterations", "how", "mesh"))
def _run(key, z0, start, args, numbers, *, log_likelihood, residual, steps, burn, thin, iterations, how, mesh):
    search, inflate = numbers
    found = laplace(log_likelihood, search, args=args, residual=residual, iterations=iterations)
    covariance = inflate * found.covariance
    root = jnp.linalg.cholesky(covariance)

    def one(key, z, value, rest):
        args, mode, root = rest
        log_l = scalar(log_likelihood, args)
        place = lambda w: mode + root @ w

        def value_at(w):
            z = place(w)
            return log_l(z) - 0.5 * jnp.sum(z**2) + 0.5 * jnp.sum(w**2)

        w = solve_triangular(root, z - mode, lower=True)
        z, log_density, seen, fine, _ = walk(
            key,
            lambda key, state, tuning: turn(key, state, value_at),
            (w, value_at(w)),
            lambda state: (place(state[0]), state[1] - 0.5 * jnp.sum(state[0] ** 2)),
            steps=steps,
            burn=burn,
            thin=thin,
        )
        return Chain(z, log_density, Info(seen.acceptance, seen.evaluations, seen.finite, fine))

    chain = over_chains(one, key, z0, start, (args, found.mode, root), how, mesh)
    info = chain.info._replace(mode=found.mode, covariance=covariance, gradient=found.gradient)
    return chain._replace(info=info)
