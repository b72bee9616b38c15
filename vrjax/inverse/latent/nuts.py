"""The no-U-turn sampler with Stan's warm-up, by blackjax (Hoffman & Gelman 2014; Betancourt 2017, arXiv 1701.02434)."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vrjax.inverse.latent.core import Chain, Info, LogLikelihood, Seen, begin, extra, over_chains, scalar, walk, within


def nuts(
    key: Any,
    log_likelihood: LogLikelihood,
    z0: Float[Array, "chains r"],
    steps: int,
    *,
    args: tuple = (),
    burn: int = 500,
    dense: bool = False,
    target: Any = 0.8,
    doublings: int = 10,
    thin: int = 1,
    how: str = "vmap",
    mesh: Any = None,
) -> Chain:
    """Samples `exp(-|z|^2 / 2 + log L(z))` by Hamiltonian trajectories that end where they turn back.

    The burn-in is `blackjax.window_adaptation`: dual averaging of the step size, and windows of doubling length that
    estimate the mass matrix; each chain by itself. It needs gradients of `log_likelihood` in z.

    Args:
        key, log_likelihood, z0, steps, args, thin, how, mesh: as in `pcn`.
        burn: steps of adaptation, at least 20 (fewer would not reach a window), 500 or more where r is not small.
        dense: a full mass matrix instead of a diagonal one.
        target: mean acceptance that the step size is adapted to, in (0, 1].
        doublings: a trajectory has at most `2^doublings` leapfrog steps.

    Returns:
        A `Chain`. Of `info`, `acceptance` is the mean over a trajectory, `evaluations` the leapfrog steps, `divergent`
        as there, `step_size`; `finite` is of the states and energies that were kept: a value that is not finite within
        a trajectory ends it and shows as `divergent`.

    Raises:
        ValueError: as `vrjax.inverse.latent.core.begin`; target outside (0, 1]; burn under 20; as `over_seeds`.
        ImportError: blackjax is missing.
    """
    z0, start = begin(log_likelihood, z0, args, steps=steps, burn=burn, thin=thin, doublings=doublings)
    within("target", target)
    if burn < 20:
        raise ValueError(f"burn: found {burn}, expected at least 20 steps, in which the step size is adapted")
    extra("blackjax", "latent.nuts")
    counts = {"steps": steps, "burn": burn, "thin": thin, "doublings": doublings}
    target = jnp.asarray(target, z0.dtype)
    return _run(key, z0, start, args, target, log_likelihood=log_likelihood, dense=dense, how=how, mesh=mesh, **counts)


@partial(jax.jit, static_argnames=("log_likelihood", "steps", "burn", "thin", "dense", "doublings", "how", "mesh"))
def _run(key, z0, start, args, target, *, log_likelihood, steps, burn, thin, dense, doublings, how, mesh):
    import blackjax
    from blackjax.adaptation.base import get_filter_adapt_info_fn

    sampler: Any = blackjax.nuts  # its declared types are those of any sampler

    def one(key, z, value, rest):
        args, target = rest
        value_at = scalar(log_likelihood, args)
        density = lambda z: value_at(z) - 0.5 * jnp.sum(z**2)
        first, later = jax.random.split(key)
        warm_up: Any = blackjax.window_adaptation(
            sampler,
            density,
            is_mass_matrix_diagonal=not dense,
            target_acceptance_rate=target,
            adaptation_info_fn=get_filter_adapt_info_fn(),
            max_num_doublings=doublings,
        )
        (state, found), _ = warm_up.run(first, z, burn)
        kernel = sampler(density, **found)

        def step(key, state, tuning):
            state, info = kernel.step(key, state)
            finite = jnp.isfinite(state.logdensity) & jnp.isfinite(info.energy)
            return state, Seen(info.acceptance_rate, info.num_integration_steps, finite, info.is_divergent)

        show = lambda state: (state.position, state.logdensity)
        z, log_density, seen, _, _ = walk(later, step, state, show, steps=steps, burn=0, thin=thin)
        fine = jnp.isfinite(state.logdensity)
        info = Info(seen.acceptance, seen.evaluations, seen.finite, fine, found["step_size"], seen.divergent)
        return Chain(z, log_density, info)

    return over_chains(one, key, z0, start, (args, target), how, mesh)
