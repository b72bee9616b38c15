"""Sequential Monte Carlo from the latent normal to the posterior (Del Moral, Doucet & Jasra 2006), by blackjax.

The powers of the likelihood are chosen as it runs (Jasra et al. 2011), and particles are moved by pCN.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import logit
from jaxtyping import Array, Float

from vrjax.inverse.latent.core import Chain, Info, LogLikelihood, begin, extra, scalar, within
from vrjax.inverse.latent.pcn import move


class _Particle(NamedTuple):
    position: Any
    value: Any


def tempered_smc(
    key: Any,
    log_likelihood: LogLikelihood,
    z0: Float[Array, "particles r"],
    steps: int,
    *,
    args: tuple = (),
    moves: int = 5,
    target_ess: Any = 0.5,
    beta: Any = 0.5,
    acceptance: Any = 0.3,
) -> Chain:
    """Carries particles from `exp(-|z|^2 / 2)` to `exp(-|z|^2 / 2 + log L(z))` through powers of the likelihood.

    A step resamples (systematically), moves every particle `moves` times by pCN under the power reached, and raises
    the power so far that the weights keep `target_ess` of the particles. After power 1 it goes on resampling and
    moving: those rows are draws of the posterior. Evidence and modes of unlike weight come out without a chain having
    to cross between them, if there are particles enough to find them.

    Args:
        key, log_likelihood, args: as in `pcn`.
        z0: C draws of the standard normal, the particles; other starts bias everything.
        steps: rows K. Whether they were enough is `info.tempering[-1] == 1`, else nothing is a posterior draw.
        moves: pCN steps of a particle in a row.
        target_ess: share of the particles that a new power keeps, in (0, 1].
        beta, acceptance: pCN's first step size, and the mean acceptance that it is adapted to after every row: `logit
            beta` moves by twice the difference.

    Returns:
        A `Chain` of C particles with K rows, the last of which is the answer. Of `info`: `tempering`, `ess`,
        `log_evidence`, `acceptance` (mean of a row's moves), `evaluations` (moves + 3: a row also asks at its start and
        for weights and power), `finite`.
        Particles of one run depend on each other, so `gate` wants several runs: vmap over keys and starts.

    Raises:
        ValueError: as `vrjax.inverse.latent.core.begin`; fewer than 2 particles; numbers outside (0, 1].
        ImportError: blackjax is missing.
    """
    z0, _ = begin(log_likelihood, z0, args, steps=steps, moves=moves)
    if len(z0) < 2:
        raise ValueError(f"z0: found {len(z0)} particle, expected at least 2")
    for name, value in (("target_ess", target_ess), ("beta", beta), ("acceptance", acceptance)):
        within(name, value)
    extra("blackjax", "latent.tempered_smc")
    numbers = tuple(jnp.asarray(each, z0.dtype) for each in (target_ess, beta, acceptance))
    return _run(key, z0, args, numbers, log_likelihood=log_likelihood, steps=steps, moves=moves)


@partial(jax.jit, static_argnames=("log_likelihood", "steps", "moves"))
def _run(key, z0, args, numbers, *, log_likelihood, steps, moves):
    from blackjax.smc import adaptive_tempered, resampling

    target_ess, beta, acceptance = numbers
    value_at = scalar(log_likelihood, args)

    def moved(key, particle, density, beta, power):
        # Power 0 of a likelihood of 0 (value minus infinity) is NaN: such a proposal is refused, as under any power.
        del density
        z, value, moved, finite = move(key, particle.position, particle.value, value_at, beta, power)
        return _Particle(z, value), (moved, value, finite)

    kernel = adaptive_tempered.build_kernel(
        logprior_fn=lambda z: jnp.zeros((), z.dtype),  # pCN asks for neither density, and holds the normal by itself
        loglikelihood_fn=value_at,
        mcmc_step_fn=moved,
        mcmc_init_fn=lambda z, density: _Particle(z, value_at(z)),
        resampling_fn=resampling.systematic,
        target_ess=target_ess,
    )

    def step(carry, key):
        state, tuning = carry
        power = state.tempering_param
        parameters = {"beta": jax.nn.sigmoid(tuning)[None], "power": power[None]}
        state, info = kernel(key, state, moves, parameters)
        accepted, values, finite = info.update_info
        tuning = tuning + 2 * (jnp.mean(accepted) - acceptance)
        log_density = values[:, -1] - 0.5 * jnp.sum(state.particles**2, -1)
        seen = (accepted.astype(z0.dtype).mean(-1), finite.all(-1), power, 1 / jnp.sum(state.weights**2))
        return (state, tuning), (state.particles, log_density, *seen, info.log_likelihood_increment)

    edge = jnp.finfo(z0.dtype).eps
    begun = adaptive_tempered.init(z0)
    weights, zero = begun.weights.astype(z0.dtype), jnp.zeros((), z0.dtype)
    begun = begun._replace(weights=weights, tempering_param=zero)
    carry = (begun, logit(jnp.clip(beta, edge, 1 - edge)))
    _, rows = lax.scan(step, carry, jax.random.split(key, steps))
    z, log_density, accepted, finite, power, ess, increments = rows
    info = Info(
        acceptance=accepted.T,
        evaluations=jnp.full(accepted.T.shape, moves + 3, jnp.int32),
        finite=finite.T,
        tempering=power,
        ess=ess,
        log_evidence=jnp.sum(increments),
    )
    return Chain(jnp.swapaxes(z, 0, 1), log_density.T, info)
