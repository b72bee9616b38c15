"""The null model: the exact posterior-mean velocity over a finite set of candidate videos. No network, no search.

If the answer of a task is one of K known videos c_k with probabilities p_k, a denoiser that minimises the flow-matching
loss perfectly is this mixture and nothing more. It already averages candidates early, commits in the middle steps, and
is hurt more by noise at one step than by noise at one frame. A measurement on a trained model speaks of reasoning only
where it exceeds the same measurement on this velocity.

With x = (1 - s) x0 + s eps, eps ~ N(0, I) and x0 = c_k with probability p_k:

    w_k(x, s) = softmax_k [ log p_k - |x - (1 - s) c_k|^2 / (2 s^2) ]        posterior over candidates
    x0_hat    = sum_k w_k c_k,        v = (x - x0_hat) / s                   (flow convention: v = eps - x0)

On a task with a unique solution (one positive prior) x0_hat is the solution from step 0 on, at every noise level.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from vrjax.flow import Level, Prediction

# Below this level the exponents are computed as if at this level. The posterior there is one-hot already (candidates
# that differ at all differ by far more than 1e-6), and 1 / s^2 stays finite in float32.
_FLOOR = 1e-6


def _check(prior: Float[Array, " k"]) -> None:
    """Refuses a prior that is none, where its values are known (inside a trace of it they are not)."""
    if isinstance(prior, Tracer):
        return
    values = np.asarray(prior)
    if (values < 0).any() or not values.sum() > 0:
        raise ValueError(f"prior must be non-negative with a positive sum, found {values}")


def _log_prior(candidates: Float[Array, "k *shape"], prior: Float[Array, " k"] | None) -> Float[Array, " k"]:
    """Log of the prior, normalised; -inf where it is 0 (also under differentiation, without a NaN)."""
    if prior is None:
        return jnp.full(candidates.shape[0], -jnp.log(candidates.shape[0] * 1.0), candidates.dtype)
    _check(prior)
    alive = prior > 0
    return jnp.where(alive, jnp.log(jnp.where(alive, prior, 1.0)), -jnp.inf) - jnp.log(prior.sum())


def _log_joint(x, sigma, candidates, prior) -> Float[Array, " k"]:
    """log p_k - |x - (1 - s) c_k|^2 / (2 s^2), up to a constant that is the same for all k."""
    axes = tuple(range(1, candidates.ndim))
    distance = jnp.square(x - (1.0 - sigma) * candidates).sum(axes)
    logs = _log_prior(candidates, prior)
    alive = jnp.isfinite(logs)
    # Distances relative to the nearest living candidate: small numbers are divided by s^2, not differences of large
    # ones.
    nearest = jax.lax.stop_gradient(jnp.where(alive, distance, jnp.inf).min())
    exponent = (distance - nearest) / (2.0 * jnp.square(jnp.maximum(sigma, _FLOOR)))
    return jnp.where(alive, logs - jnp.where(alive, exponent, 0.0), -jnp.inf)


def posterior(
    x: Float[Array, "*shape"],
    sigma: Float[Array, ""] | float,
    candidates: Float[Array, "k *shape"],
    prior: Float[Array, " k"] | None = None,
) -> Float[Array, " k"]:
    """Exact probability of every candidate given the noisy state.

    Args:
        x: state at level `sigma`.
        sigma: noise level in [0, 1]. At 1 the result is the prior; at 0 it is one-hot at the nearest candidate.
        candidates: the K clean videos. Rows with prior 0 are padding: any finite content, weight exactly 0.
        prior: K non-negative numbers, not necessarily normalised; uniform when None.

    Raises:
        ValueError: the prior has a negative entry or sums to 0 (checked where its values are known).
    """
    return jax.nn.softmax(_log_joint(x, sigma, candidates, prior))


def entropy(weights: Float[Array, "*batch k"]) -> Float[Array, "*batch"]:
    """Shannon entropy in nats over the last axis, in [0, log K]; 0 log 0 = 0, with finite gradients there."""
    safe = jnp.where(weights > 0, weights, 1.0)
    return -(safe * jnp.log(safe)).sum(-1)


def velocity(
    candidates: Float[Array, "k *shape"], prior: Float[Array, " k"] | None = None
) -> Callable[[Array, Level], Prediction]:
    """The posterior-mean velocity over `candidates`, an ordinary velocity: every instrument of the library runs on it.

    The noise level is `level.sigma`; `level.time` is not looked at. Taps: `posterior` [K] and `entropy` (nats).

    At sigma > 0, `x - sigma v` is the posterior mean. At sigma 0 a state is a candidate, and v there is the limit of
    (x - x0_hat) / sigma at fixed x, which is 0 on the candidates (nowhere else does the density at sigma 0 live).
    Values and gradients are finite at both ends. Under vmap over instances, build it inside the mapped function.

    Raises:
        ValueError: as `posterior`, or `candidates` is empty.
    """
    if candidates.shape[0] == 0:
        raise ValueError("candidates is empty: the null model needs at least one candidate video")
    if prior is not None:
        _check(prior)  # here, where the mistake is made, and not only inside the sampler's trace

    def null(x: Array, level: Level) -> Prediction:
        weights = posterior(x, level.sigma, candidates, prior)
        mean = jnp.tensordot(weights, candidates, 1)
        positive = level.sigma > 0
        v = jnp.where(positive, (x - mean) / jnp.where(positive, level.sigma, 1.0), 0.0).astype(x.dtype)
        return Prediction(v, {"posterior": weights, "entropy": entropy(weights)})

    return null
