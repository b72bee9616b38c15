"""The preconditioned Crank-Nicolson sampler (Cotter, Roberts, Stuart & White 2013, Statistical Science 28)."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import logit
from jaxtyping import Array, Float

from vrjax.inverse.latent.core import Chain, Info, LogLikelihood, Seen, begin, over_chains, scalar, walk, within


def pcn(
    key: Any,
    log_likelihood: LogLikelihood,
    z0: Float[Array, "chains r"],
    steps: int,
    *,
    args: tuple = (),
    beta: Any = 0.3,
    adapt: bool = False,
    target: Any = 0.3,
    burn: int = 0,
    thin: int = 1,
    how: str = "vmap",
    mesh: Any = None,
) -> Chain:
    """Samples `exp(-|z|^2 / 2 + log L(z))` by `z' = sqrt(1 - beta^2) z + beta xi`, accepted by the likelihood's ratio.

    The proposal leaves the normal law as it is, so the acceptance, `min(1, L(z') / L(z))`, does not fall with r.

    Args:
        key: one typed key; equal keys give equal bits.
        log_likelihood: `log_likelihood(z (r,), *args) -> scalar`. It is static: pass data in `args`, and other data
            of the same shape run the same program.
        z0: the starts, one per chain.
        steps: rows to keep, K.
        args: arrays (pytrees) handed on to `log_likelihood`.
        beta: step size in (0, 1]; 1 proposes independent normals.
        adapt: change beta in the burn-in, each chain by itself: at its step t `logit beta` moves by
            `(acceptance - target) / (t + 1)^0.6` (Robbins & Monro). It is fixed afterwards.
        target: the mean acceptance that the adaptation aims at, in (0, 1].
        burn: steps before the first row.
        thin: steps per row; the last of them is kept.
        how, mesh: where chains run, as in `vrjax.parallel.over_seeds`: "vmap", "pmap", or "mesh" over the mesh axis
            "seed".

    Returns:
        A `Chain`. Of `info`, `acceptance` is 1 where the proposal was accepted (a mean where `thin` > 1), and
        `step_size` is beta; also `evaluations`, `finite`, `burn_finite`.

    Raises:
        ValueError: as `vrjax.inverse.latent.core.begin`; beta or target outside (0, 1]; what `over_seeds` raises.
    """
    z0, start = begin(log_likelihood, z0, args, steps=steps, burn=burn, thin=thin)
    within("beta", beta)
    within("target", target)
    numbers = tuple(jnp.asarray(each, z0.dtype) for each in (beta, target))
    counts = {"steps": steps, "burn": burn, "thin": thin}
    return _run(key, z0, start, args, numbers, log_likelihood=log_likelihood, adapt=adapt, how=how, mesh=mesh, **counts)


def move(key: Any, z: Any, value: Any, value_at: Any, beta: Any, power: Any = 1) -> tuple[Any, Any, Any, Any]:
    """One step for `exp(-|z|^2 / 2) L(z)^power` from z with `value = log L(z)`.

    Returns:
        z and value afterwards, whether it moved, whether the proposal's value is finite.
    """
    fresh, coin = jax.random.split(key)
    proposal = jnp.sqrt((1 - beta) * (1 + beta)) * z + beta * jax.random.normal(fresh, z.shape, z.dtype)
    there = value_at(proposal)
    # A comparison with NaN is False: such a proposal is refused.
    moved = -jax.random.exponential(coin, dtype=z.dtype) < power * (there - value)
    return jnp.where(moved, proposal, z), jnp.where(moved, there, value), moved, jnp.isfinite(there)


@partial(jax.jit, static_argnames=("log_likelihood", "steps", "burn", "thin", "adapt", "how", "mesh"))
def _run(key, z0, start, args, numbers, *, log_likelihood, steps, burn, thin, adapt, how, mesh):
    def one(key, z, value, rest):
        args, (beta, target) = rest
        value_at = scalar(log_likelihood, args)
        # Without adaptation beta itself is carried: of 1, the logit is infinite.
        size = jax.nn.sigmoid if adapt else (lambda tuning: tuning)

        def step(key, state, tuning):
            z, value, moved, finite = move(key, state[0], state[1], value_at, size(tuning))
            return (z, value), Seen(moved.astype(z.dtype), jnp.ones((), jnp.int32), finite)

        def learn(tuning, seen, t):
            return tuning + (seen.acceptance - target) / (t + 1) ** 0.6

        def show(state):
            return state[0], state[1] - 0.5 * jnp.sum(state[0] ** 2)

        edge = jnp.finfo(z.dtype).eps
        tuning = logit(jnp.clip(beta, edge, 1 - edge)) if adapt else beta
        z, log_density, seen, fine, tuning = walk(
            key,
            step,
            (z, value),
            show,
            steps=steps,
            burn=burn,
            thin=thin,
            tuning=tuning,
            adapt=learn if adapt else None,
        )
        info = Info(seen.acceptance, seen.evaluations, seen.finite, fine, size(tuning))
        return Chain(z, log_density, info)

    return over_chains(one, key, z0, start, (args, numbers), how, mesh)
