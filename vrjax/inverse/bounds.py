"""Bounds of the posterior's error by the prior's, for a Gaussian likelihood, and posteriors of discrete measures.

Notation: prior mu, another prior mu_hat, L(x) = exp(-|y - G(x)|^2_Gamma / 2) unnormalised, so that its largest value is
M = 1; Z the integral of L over mu; posteriors mu^y = L mu / Z and mu_hat^y. For any f and m its mean under mu_hat^y,

    integral f d(mu^y - mu_hat^y) = (1 / Z) integral (f - m) L d(mu - mu_hat),

and the bounds are what the Lipschitz constant of (f - m) L says. Derived here (the theorems of Hosseini & Huang 2026,
arXiv 2601.17374, were not at hand); cf. Sprungk 2020 and Garbuno-Inigo et al. 2023. All pure JAX but `compare`.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from vrjax.inverse import distances
from vrjax.inverse.distances import checks

Number = float | Float[Array | np.ndarray, ""]
LARGEST = 1.0  # M, of an unnormalised Gaussian likelihood


def gaussian_log_likelihood(
    predicted: Float[Array | np.ndarray, "..."],
    y: float | Float[Array | np.ndarray, "..."],
    noise_std: float | Float[Array | np.ndarray, "..."],
) -> Float[Array, "..."]:
    """`-|(y - G(x)) / noise_std|^2 / 2`, unnormalised, so that the likelihood is at most 1.

    Args:
        predicted: G(x), (...) of a scalar observation or (..., k).
        y: the observation, () or (k,).
        noise_std: standard deviations of independent noise, () or (k,).

    Returns:
        (...), one number for each x.

    Raises:
        ValueError: an observation of another shape, or noise_std that is not above 0.
    """
    k = np.shape(y)
    if len(k) > 1 or np.shape(predicted)[np.ndim(predicted) - len(k) :] != k:
        raise ValueError(
            f"gaussian_log_likelihood: y must be () or (k,) and end predicted's shape, found {k} and "
            f"{np.shape(predicted)}"
        )
    _positive("gaussian_log_likelihood", "noise_std", noise_std)
    if np.shape(noise_std) not in ((), k):
        raise ValueError(f"gaussian_log_likelihood: noise_std must be () or {k}, found shape {np.shape(noise_std)}")
    dtype = checks.precision(predicted)
    residual = (jnp.asarray(y, dtype) - jnp.asarray(predicted, dtype)) / jnp.asarray(noise_std, dtype)
    return -0.5 * jnp.sum(residual**2, axis=tuple(range(residual.ndim - len(k), residual.ndim)))


def likelihood_lipschitz(
    noise_std: float | Float[Array | np.ndarray, "..."] | None = None,
    *,
    noise_cov: Float[Array | np.ndarray, "k k"] | None = None,
    forward_lipschitz: Number = 1.0,
) -> Float[Array, ""]:
    """l, the Lipschitz constant of the likelihood: `Lip(G) |Gamma^{-1/2}| e^{-1/2}`, its value for y = x + noise.

    Args:
        noise_std: () or (k,), of independent noise; or
        noise_cov: (k, k), of correlated noise.
        forward_lipschitz: Lip(G), 1 for the identity, the largest singular value of a matrix.

    Raises:
        ValueError: neither or both of noise_std and noise_cov, or noise that is not positive (definite).
    """
    what = "likelihood_lipschitz"
    if (noise_std is None) == (noise_cov is None):
        raise ValueError(
            f"{what}: expected noise_std or noise_cov, found {'both' if noise_cov is not None else 'none'}"
        )
    if noise_std is not None:
        _positive(what, "noise_std", noise_std)
        least = jnp.min(jnp.asarray(noise_std, checks.precision(jnp.asarray(noise_std))))
    else:
        checks.finite(what, "noise_cov", noise_cov)
        values = jnp.linalg.eigvalsh(jnp.asarray(noise_cov, checks.precision(noise_cov)))
        _positive(what, "the eigenvalues of noise_cov", values)
        least = jnp.sqrt(values[0])
    return jnp.asarray(forward_lipschitz * math.exp(-0.5) / least)


def evidence(
    log_likelihood: Float[Array | np.ndarray, " n"], a: Float[Array | np.ndarray, " n"] | None = None
) -> Float[Array, ""]:
    """Z, the mean of the likelihood under a discrete prior with weights a (equal by default)."""
    return jnp.exp(log_evidence(log_likelihood, a))


def log_evidence(
    log_likelihood: Float[Array | np.ndarray, " n"], a: Float[Array | np.ndarray, " n"] | None = None
) -> Float[Array, ""]:
    """log Z, where Z itself may be too small for a number."""
    log, mass = _measure("log_evidence", log_likelihood, a)
    return logsumexp(log, b=mass)


def posterior(
    log_likelihood: Float[Array | np.ndarray, " n"], a: Float[Array | np.ndarray, " n"] | None = None
) -> Float[Array, " n"]:
    """Weights of the posterior of a discrete prior: the same points, reweighted by the likelihood. They sum to 1.

    Args:
        log_likelihood: (n,), up to any constant; -inf is a likelihood of 0.
        a: prior weights (n,) >= 0, divided by their sum; equal by default.

    Raises:
        ValueError: shapes that do not fit, NaN or +inf, negative weights, or no point that is possible.
    """
    log, mass = _measure("posterior", log_likelihood, a)
    # A point without weight may be far likelier than all that have some: its exponential is not taken.
    log = jnp.where(mass > 0, log, -jnp.inf)
    return jnp.exp(log - logsumexp(log, b=mass)) * mass


def t1_constant(z: Number, lipschitz: Number, diameter: Number) -> Float[Array, ""]:
    """C of T1: `W1(mu^y, mu_hat^y) <= C W1(mu, mu_hat)`, `C = (M + D l) / Z`, where both supports lie in a set of
    diameter D.

    Args:
        z: the evidence of the true prior.
        lipschitz: l, see `likelihood_lipschitz`.
        diameter: D.

    Raises:
        ValueError: an evidence that is not above 0, or negative numbers.
    """
    _positive("t1_constant", "z", z)
    for name, number in (("lipschitz", lipschitz), ("diameter", diameter)):
        _not_negative("t1_constant", name, number)
    return jnp.asarray((LARGEST + diameter * lipschitz) / z)


def t3_bound(
    z: Number, lipschitz: Number, radius: Number, second: Number, second_hat: Number, w2: Number
) -> Float[Array, ""]:
    """T3, for unbounded supports of which only a part is observed:

    `W1(mu^y, mu_hat^y) <= (1 / Z) [M + l (R + m2(mu) + m2(mu_hat))] W2(mu, mu_hat)`.

    Args:
        z: the evidence of mu.
        lipschitz: l, see `likelihood_lipschitz`.
        radius: R, the mean of |x - x0| under mu_hat^y; see `radius`.
        second, second_hat: m2, the root mean square of |x - x0| under mu and mu_hat; see `second_moment`.
        w2: W2(mu, mu_hat), not squared.

    Raises:
        ValueError: an evidence that is not above 0, or negative numbers.
    """
    _positive("t3_bound", "z", z)
    named = dict(lipschitz=lipschitz, radius=radius, second=second, second_hat=second_hat, w2=w2)
    for name, number in named.items():
        _not_negative("t3_bound", name, number)
    return jnp.asarray((LARGEST + lipschitz * (radius + second + second_hat)) * w2 / z)


def radius(
    x: Float[Array | np.ndarray, "..."],
    a: Float[Array | np.ndarray, " n"] | None = None,
    centre: Number | Float[Array | np.ndarray, " d"] = 0.0,
) -> Float[Array, ""]:
    """The mean of |x - centre| under a discrete measure of points (n,) or (n, d)."""
    length, a = _lengths("radius", x, a, centre)
    return jnp.sum(a * length)


def second_moment(
    x: Float[Array | np.ndarray, "..."],
    a: Float[Array | np.ndarray, " n"] | None = None,
    centre: Number | Float[Array | np.ndarray, " d"] = 0.0,
) -> Float[Array, ""]:
    """The root mean square of |x - centre| under a discrete measure of points (n,) or (n, d)."""
    length, a = _lengths("second_moment", x, a, centre)
    return jnp.sqrt(jnp.sum(a * length**2))


class Comparison(NamedTuple):
    """Errors of a prior and of its posterior, and what bounds them; scalars.

    Attributes:
        w1_prior, w2_prior: between the priors.
        w1_posterior: between the posteriors; `ratio` is over w1_prior.
        evidence: Z of the first prior, of an unnormalised likelihood.
        constant: C of T1; the bound is `constant * w1_prior`.
        t1, t3: the two bounds of w1_posterior.
    """

    w1_prior: Any
    w2_prior: Any
    w1_posterior: Any
    ratio: Any
    evidence: Any
    constant: Any
    t1: Any
    t3: Any


def compare(
    x: Float[Array | np.ndarray, "..."],
    x_hat: Float[Array | np.ndarray, "..."],
    log_likelihood: Float[Array | np.ndarray, " n"],
    log_likelihood_hat: Float[Array | np.ndarray, " m"],
    lipschitz: Number,
    *,
    a: Float[Array | np.ndarray, " n"] | None = None,
    a_hat: Float[Array | np.ndarray, " m"] | None = None,
) -> Comparison:
    """Two discrete priors, their posteriors, and T1 and T3 beside them.

    The diameter is that of both supports (in d > 1 the diagonal of the box around them, which is not smaller), the
    centre x0 the mean of mu. On the line it is pure JAX: jit and vmap go through it; in d > 1 the distances are exact
    on the host.

    Args:
        x, x_hat: points (n,) or (n, d) of mu, the true prior, and (m,) or (m, d) of mu_hat.
        log_likelihood, log_likelihood_hat: (n,) and (m,), unnormalised: at most 0; see `gaussian_log_likelihood`.
        lipschitz: l of the likelihood.
        a, a_hat: weights >= 0, divided by their sums; equal by default. Points of weight 0 are not of the support.

    Raises:
        ValueError: shapes that do not fit, entries that are not finite, a log-likelihood above 0.
    """
    flat, flat_hat, _, _ = checks.pair("compare", x, x_hat, a, a_hat)
    for name, item in (("log_likelihood", log_likelihood), ("log_likelihood_hat", log_likelihood_hat)):
        if not checks.traced(item) and np.max(item) > 1e-6:
            raise ValueError(f"compare: {name} must be unnormalised, at most 0, found {float(np.max(item)):.4g}")
    after, after_hat = posterior(log_likelihood, a), posterior(log_likelihood_hat, a_hat)
    z = evidence(log_likelihood, a)
    low, high = [], []
    for points, weight in ((flat, a), (flat_hat, a_hat)):
        held = jnp.ones(len(points), bool) if weight is None else jnp.asarray(weight) > 0
        low.append(jnp.min(jnp.where(held[:, None], points, jnp.inf), 0))
        high.append(jnp.max(jnp.where(held[:, None], points, -jnp.inf), 0))
    diameter = jnp.linalg.norm(jnp.maximum(*high) - jnp.minimum(*low))
    before = checks.full(a, len(flat), checks.precision(flat))
    centre = jnp.sum(before[:, None] * jnp.asarray(flat), 0)
    w1, w2 = distances.w1(x, x_hat, a, a_hat), distances.w2(x, x_hat, a, a_hat)
    w1_posterior = distances.w1(x, x_hat, after, after_hat)
    constant = t1_constant(z, lipschitz, diameter)
    t3 = t3_bound(
        z,
        lipschitz,
        radius(flat_hat, after_hat, centre),
        second_moment(flat, a, centre),
        second_moment(flat_hat, a_hat, centre),
        w2,
    )
    return Comparison(w1, w2, w1_posterior, w1_posterior / w1, z, constant, constant * w1, t3)


def _measure(what: str, log_likelihood: Any, a: Any) -> tuple[Any, Any]:
    if np.ndim(log_likelihood) != 1 or not np.size(log_likelihood):
        raise ValueError(f"{what}: log_likelihood must be (n,), found shape {np.shape(log_likelihood)}")
    number = len(log_likelihood)
    a = checks.weights(what, "a", a, number)
    if not checks.traced(log_likelihood, a):
        values = np.asarray(log_likelihood)
        if np.any(np.isnan(values)) or np.any(values == np.inf):
            raise ValueError(f"{what}: log_likelihood must be numbers below +inf, found NaN or +inf")
        if not np.any(np.isfinite(values) & (np.ones(number) if a is None else np.asarray(a) > 0).astype(bool)):
            raise ValueError(f"{what}: log_likelihood must be finite at one point of the prior or more, found none")
    dtype = checks.precision(log_likelihood)
    return jnp.asarray(log_likelihood, dtype), checks.full(a, number, dtype)


def _lengths(what: str, x: Any, a: Any, centre: Any) -> tuple[Any, Any]:
    x = checks.points(what, "x", x)
    dtype = checks.precision(x)
    if np.shape(centre) not in ((), (x.shape[1],)):
        raise ValueError(f"{what}: centre must be () or ({x.shape[1]},), found shape {np.shape(centre)}")
    a = checks.weights(what, "a", a, len(x))
    return jnp.linalg.norm(jnp.asarray(x, dtype) - jnp.asarray(centre, dtype), axis=-1), checks.full(a, len(x), dtype)


def _positive(what: str, name: str, value: Any) -> None:
    if not checks.traced(value) and not np.all(np.isfinite(value) & (np.asarray(value) > 0)):
        raise ValueError(f"{what}: {name} must be finite and above 0, found {np.asarray(value)}")


def _not_negative(what: str, name: str, value: Any) -> None:
    if not checks.traced(value) and not np.all(np.isfinite(value) & (np.asarray(value) >= 0)):
        raise ValueError(f"{what}: {name} must be finite and not negative, found {np.asarray(value)}")
