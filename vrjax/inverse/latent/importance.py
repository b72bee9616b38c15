"""Importance sampling in latent space with Pareto-smoothed weights (Vehtari et al. 2024, arXiv 1507.02646)."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from vrjax.flow import words
from vrjax.inverse.latent.core import LogLikelihood, extra, numbers, scalar


class Weighted(NamedTuple):
    """Weighted draws.

    Attributes:
        z: (n, r) draws of the proposal.
        log_weights: (n,) smoothed, and normalised: their exponentials sum to 1.
        khat: () the tail's Pareto shape. Up to 0.7 the weights may be used (less for few draws); above, not. Infinite
            for fewer than 25 draws, too few for a tail.
        ess: () effective number of draws, `1 / sum(weights^2)`; it says little where khat is above 0.7.
        log_evidence: () log of the mean unsmoothed weight: log E[L(z)] under the latent normal.
        finite: (n,) whether each log-likelihood is finite. One NaN makes all weights NaN; minus infinity weighs 0.
    """

    z: Any
    log_weights: Any
    khat: Any
    ess: Any
    log_evidence: Any
    finite: Any

    __repr__ = words.line


def importance(
    key: Any,
    log_likelihood: LogLikelihood,
    r: int,
    draws: int,
    *,
    args: tuple = (),
    mean: Float[Array, " r"] | None = None,
    covariance: Float[Array, "r r"] | None = None,
) -> Weighted:
    """Draws of a Gaussian, weighted so that they are of `exp(-|z|^2 / 2 + log L(z))`.

    Args:
        key, log_likelihood, args: as in `pcn`.
        r: the latent's length.
        draws: how many, n.
        mean, covariance: of the proposal; the latent normal by default. `laplace` gives both.

    Raises:
        ValueError: counts under 1; mean or covariance of another shape; a covariance that is not positive definite; a
            NaN in `args`.
        ImportError: blackjax is missing.
    """
    if r < 1 or draws < 1:
        raise ValueError(f"importance: found r={r} and draws={draws}, expected at least 1 of each")
    numbers(args)
    mean = jnp.zeros(r) if mean is None else jnp.asarray(mean)
    covariance = jnp.eye(r, dtype=mean.dtype) if covariance is None else jnp.asarray(covariance, mean.dtype)
    for name, value, shape in (("mean", mean, (r,)), ("covariance", covariance, (r, r))):
        if value.shape != shape:
            raise ValueError(f"{name}: found shape {value.shape}, expected {shape}")
    root = jnp.linalg.cholesky(covariance)
    if not isinstance(root, Tracer) and not np.isfinite(np.asarray(root)).all():
        raise ValueError("covariance: found a matrix that is not positive definite, expected one that is")
    extra("blackjax", "latent.importance")
    return _run(key, args, mean, root, log_likelihood=log_likelihood, draws=draws)


@partial(jax.jit, static_argnames=("log_likelihood", "draws"))
def _run(key, args, mean, root, *, log_likelihood, draws):
    from blackjax import diagnostics

    z = mean + jax.random.normal(key, (draws, mean.size), mean.dtype) @ root.T
    values = jax.vmap(scalar(log_likelihood, args))(z)
    white = solve_triangular(root, (z - mean).T, lower=True)
    log_proposal = -0.5 * jnp.sum(white**2, 0) - jnp.sum(jnp.log(jnp.diagonal(root)))
    raw = values - 0.5 * jnp.sum(z**2, -1) - log_proposal
    # The tail has ceil(3 sqrt(n)) draws; blackjax rounds down, and one draw moves khat by some .05.
    tail = math.ceil(3 * draws**0.5)
    log_weights, khat = diagnostics.psis_weights(raw, r_eff=9 * draws / (tail + 0.5) ** 2)
    evidence = jax.nn.logsumexp(raw) - jnp.log(draws)
    return Weighted(z, log_weights, khat, 1 / jnp.sum(jnp.exp(2 * log_weights)), evidence, jnp.isfinite(values))
