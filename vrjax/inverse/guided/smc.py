"""A twisted particle filter over seeds: every seed is a particle, and a step's resampling is a gather across them.

Wu, Trippe, Naesseth, Blei and Cunningham, NeurIPS 2023 (arXiv 2306.17775), "twisted diffusion sampler".
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from vrjax.flow.core import Grid, Info, Record, Solver, Trajectory, Velocity
from vrjax.flow.grids import shifted
from vrjax.flow.sampling import sample
from vrjax.flow.varying import vary_as
from vrjax.inverse.guided._linear import ancestral, ancestral_mean, estimate, isotropic, misfit
from vrjax.inverse.guided._method import HIGHEST, Traits, all_finite, check, from_extra, keeping, observed

TRAITS = Traits(
    kind="posterior",
    form="sampler",
    network_gradient=True,
    linear=False,
    stochastic=True,
    normalised=False,
    coupled=True,
    evaluations=1,
    steps=100,
    source="Wu et al., NeurIPS 2023; systematic resampling below half the particles, as in its public code",
)
STATS = ("finite", "residual", "ess", "log_weight", "log_evidence", "ancestor")


def smc(
    velocity: Velocity,
    operator: Any,
    y: ArrayLike,
    noise_std: ArrayLike,
    x: Float[Array, "..."],
    grid: Grid | None = None,
    *,
    key: Any,
    twist: ArrayLike = 1.0,
    threshold: float = 0.5,
    axis_name: str = "seed",
    highest: float = HIGHEST,
    record: Record | None = None,
) -> Trajectory:
    """One particle of the filter; run it under an axis "seed", such as `over_seeds`, whose seeds are the particles.

    The chain is the ancestral one of the flow, `p(x' | x)` Gaussian (`x' = x0_hat` at the last step). The twisting
    function at level s is `N(y; A(x0_hat), (noise_std^2 + twist r^2) I)`, r^2 = s^2 / (s^2 + (1 - s)^2), and at level 0
    the likelihood itself. A particle is proposed with x0_hat moved by `s^2 / (1 - s)` times the gradient of its
    logarithm, and weighted by p times the ratio of twists over the proposal, so that draws and evidence are exact in
    the number of particles for any `twist`. Where the effective number of particles falls below `threshold` times
    their number, all are resampled systematically; after the last step always, so that `final` are equal draws.

    Args:
        velocity: of the prior.
        operator: anything with a differentiable `apply`.
        y: what was observed, in the shape `operator.apply` gives; the same for every seed.
        noise_std: standard deviation of the noise in y, in y's unit.
        x: this particle's state at the grid's first level, a standard normal draw at level 1.
        grid: by default 100 even steps.
        key: this particle's own. Resampling draws from the first particle's, so that all agree.
        twist: how much of the isotropic uncertainty of x0 (see `pigdm`) the twisting function adds.
        threshold: within [0, 1]; 0 resamples at the end only, 1 at every step.
        axis_name: of the particles.
        highest: steps that start above this level propose without the gradient, which vanishes there.
        record: as in `sample`. Rows are what this seed's network saw, before resampling: `next` of one step is `x` of
            the following one, and comes from the particle `ancestor`.

    Returns:
        A trajectory whose `stats` hold, for every recorded step: `finite`; `residual`, the norm of y - A(x0_hat);
        `log_weight`, since the last resampling and before this step's; `ess`, the effective number of particles by
        these weights; `ancestor`, the particle that this one goes on from; `log_evidence`, whose row of the last step
        estimates log p(y), its exponential without bias. "record" is what `record.fn` gives if there is one.

    Raises:
        ValueError: no such axis, threshold outside [0, 1], y that is not finite or of another shape, noise_std that is
            not positive.
    """
    y = check("smc", operator, y, noise_std)
    if not 0 <= threshold <= 1:
        raise ValueError(f"smc: threshold must lie within 0 and 1, found {threshold}")
    own = dict(operator=operator, y=y, noise_std=noise_std, twist=twist, threshold=threshold, axis=axis_name)
    solver = Solver(
        plan=functools.partial(_plan, highest=highest),
        init=_init,
        step=functools.partial(_step, **own),
        stochastic=True,
    )
    grid = shifted(100) if grid is None else grid
    return sample(velocity, x, grid, solver=solver, key=key, record=keeping(record, from_extra(*STATS)))


def systematic(log_weights: Float[Array, " n"], u: Any) -> Int[Array, " n"]:
    """Ancestors of n particles: particle i descends from the one whose share of the weights holds `(i + u) / n`.

    Args:
        log_weights: up to a constant.
        u: one number within [0, 1), the same for all.
    """
    n = log_weights.shape[0]
    ends = jnp.cumsum(jax.nn.softmax(log_weights))
    # The last end is 1 up to rounding, and nobody may fall off it.
    return jnp.searchsorted(ends / ends[-1], (jnp.arange(n) + u) / n, side="right").clip(max=n - 1)


def effective(log_weights: Float[Array, " n"]) -> Float[Array, ""]:
    """The effective number of particles, `(sum w)^2 / sum w^2`."""
    return 1 / jnp.sum(jnp.square(jax.nn.softmax(log_weights)))


def _plan(grid: Grid, *, highest: float) -> dict[str, np.ndarray]:
    rows = ancestral(grid)
    start, inside = rows["sigma"], rows["sigma"] <= highest
    gain = np.divide(start**2, 1 - start, out=np.zeros_like(start), where=inside)
    std = rows["next"] * rows["fresh"]
    random = std > 0
    return {
        **rows,
        "shift": np.where(inside & random, rows["moved"], 0.0) * gain,
        "std": std,
        "inverse_std": np.divide(1.0, std, out=np.zeros_like(std), where=random),
        "last": grid.sigmas[1:] == 0,
    }


def _init(x):
    fine, zero = all_finite(x), vary_as(jnp.zeros((), x.dtype), x)
    return {"log_weight": zero, "pending": zero, "log_evidence": zero, "finite": fine}


def _log_normal(missing, variance):
    return -0.5 * (jnp.sum(jnp.square(missing)) / variance + missing.size * jnp.log(2 * jnp.pi * variance))


def _common_key(key, axis):
    """The first particle's key, for what all particles must draw alike."""
    key = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    first = lax.all_gather(jax.random.key_data(key), axis)[0]
    return jax.random.wrap_key_data(first, impl=jax.random.key_impl(key))


def _log_mean(weights):
    return jax.nn.logsumexp(weights) - jnp.log(weights.size)


def _step(evaluate, x, state, row, key, *, operator, y, noise_std, twist, threshold, axis):
    data, sigma = observed("smc", operator, y, x), row["sigma"]
    x0, pull, prediction = estimate(evaluate, x, sigma)
    missing, back = misfit(operator, data, x0)
    noise2 = jnp.square(jnp.asarray(noise_std, x.dtype))
    variance = noise2 + twist * isotropic(sigma)
    log_twist, score = _log_normal(missing, variance), pull(back) / variance
    log_weight = state["log_weight"] + state["pending"] + log_twist

    own, mine = jax.random.split(_common_key(key, axis)), lax.axis_index(axis)
    weights = lax.all_gather(log_weight, axis)
    ess = effective(weights)
    choose = lambda weights, u, yes: jnp.where(yes, systematic(weights, u)[mine], mine)
    yes = ess < threshold * weights.size
    ancestor = choose(weights, jax.random.uniform(own[0], (), x.dtype), yes)
    take = lambda a, i: lax.all_gather(a, axis)[i]
    mean = ancestral_mean(x, x0, prediction.v, row)
    # A particle goes on with what its ancestor has computed; the network is not asked again.
    mean, score, log_twist = jax.tree.map(lambda a: take(a, ancestor), (mean, score, log_twist))
    total = state["log_evidence"] + jnp.where(yes, _log_mean(weights), 0.0)
    log_weight_on = jnp.where(yes, 0.0, log_weight)

    # log p - log q of mean + shift + std eps, which is -(shift^2 / 2 + shift std eps) / std^2.
    eps = jax.random.normal(key, x.shape, x.dtype)
    shift = row["shift"] * score
    x_next = mean + shift + row["std"] * eps
    z = shift * row["inverse_std"]
    pending = -jnp.sum(z * (0.5 * z + eps)) - log_twist

    def end(x_next, ancestor):
        """The twist of level 0 is the likelihood, and the particles become equal draws."""
        ends = lax.all_gather(log_weight_on + pending + _log_normal(data - operator.apply(x_next), noise2), axis)
        last = choose(ends, jax.random.uniform(own[1], (), x.dtype), True)
        return take(x_next, last), take(ancestor, last), total + _log_mean(ends)

    # The branch spares every other step a second gather of the states.
    x_next, ancestor, total = lax.cond(row["last"], end, lambda x_next, a: (x_next, a, total), x_next, ancestor)
    fine = state["finite"] & all_finite(x_next, score, ess, pending, total)
    after = {"log_weight": log_weight_on, "pending": pending, "log_evidence": total, "finite": fine}
    extra = {
        "finite": fine,
        "residual": jnp.sqrt(jnp.sum(jnp.square(missing))),
        "ess": ess,
        "log_weight": log_weight,
        "ancestor": ancestor,
        "log_evidence": total,
    }
    return x_next, after, Info(prediction, extra)
