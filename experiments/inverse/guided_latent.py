"""Latent samplers through the flow's ordinary equation: exact for the discretised flow's law, once they have mixed."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from experiments.inverse import solvable
from experiments.inverse.config import Guided
from vrjax.flow import grids, heun
from vrjax.inverse import generators, latent


class Drawn(NamedTuple):
    """What a latent sampler gives.

    Attributes:
        own: (n, d) states given the problem's y.
        chains: (chains, k, d) all states that it kept on the way to them, or (runs, particles, d).
        pairs: (p, ranked, d) states given each pair's.
        reached: (p,) whether a pair's draws are of the posterior: False where tempering ended before it.
        finite: share of steps in which all values of the likelihood were finite; 0 where `chains` did not reach it.
        evaluations: of the network for a kept draw of `own`.
    """

    own: np.ndarray
    chains: np.ndarray
    pairs: np.ndarray
    reached: np.ndarray
    finite: float
    evaluations: float


def push(prior: Any, z: Float[Array, "... d"], steps: int) -> Float[Array, "... d"]:
    """T(z), the end of the flow by so many of Heun's steps."""
    return _push(prior, jnp.asarray(z), steps=steps)


def asked(steps: int) -> int:
    """Evaluations of the network in one T."""
    return 2 * steps - 1  # the last step ends on the data estimate


def draws(
    arm: str, problem: solvable.Problem, y: Float[Any, "p m"], key: Key[Array, ""], sizes: Guided, n: int
) -> Drawn:
    """About n draws given the problem's own y, and `sizes.ranked` ones given each row of y.

    Slices: `sizes.chains` chains from draws of the prior for the problem's own observation; of each pair
    `sizes.walkers` chains with few kept rows each, far apart. Tempered particles: runs of twice `sizes.particles`, all
    of whose last particles are taken, and for each pair a run of `sizes.particles`, of which some are taken at random.
    """
    method = arm.removeprefix("latent ")
    first, second, third, pick = jax.random.split(key, 4)
    d, ode = problem.operator.in_shape[0], sizes.ode_steps
    z0 = lambda key, *shape: jax.random.normal(key, (*shape, d))
    if method == "tempered_smc":
        size = 2 * sizes.particles
        runs = max(2 * n // size, 2)  # twice as many draws, for the components' weights
        own = np.broadcast_to(problem.y, (runs, len(problem.y)))
        made = _tempered(first, z0(second, runs, size), problem, own, steps=sizes.rounds, ode=ode)
        few = _tempered(third, z0(pick, len(y), sizes.particles), problem, y, steps=sizes.rounds, ode=ode)
        taken = jax.random.permutation(jax.random.fold_in(pick, 1), sizes.particles)[: sizes.ranked]
        whole, reached = (np.asarray(chain.info.tempering)[:, -1] == 1 for chain in (made, few))
        total = float(jnp.sum(made.info.evaluations)) / (runs * size)
        here, there = made.z[:, :, -1], few.z[:, taken, -1]
    else:
        kept, burn = -(-n // sizes.chains) * sizes.thin, sizes.burn
        made = _slices(
            first, z0(second, 1, sizes.chains), problem, problem.y[None], kept, method, ode, burn=burn, thin=1
        )
        rows = -(-sizes.ranked // sizes.walkers)
        few = _slices(
            third, z0(pick, len(y), sizes.walkers), problem, y, rows, method, ode, burn=burn, thin=sizes.apart
        )
        share = 1 + burn / kept  # what burnt steps asked is not told
        total = share * float(jnp.mean(made.info.evaluations)) * sizes.thin
        whole, reached = np.ones(1, bool), np.ones(len(y), bool)
        here, there = made.z[0], few.z.reshape(len(y), -1, d)[:, : sizes.ranked]
    chains, pairs = (np.asarray(push(problem.prior, z, ode)) for z in (here, there))
    own = chains[:, sizes.thin - 1 :: sizes.thin] if method != "tempered_smc" else chains
    finite = whole.all() * np.mean([np.mean(np.asarray(chain.info.finite)) for chain in (made, few)])
    return Drawn(own.reshape(-1, d)[:n], chains, pairs, reached, float(finite), total * asked(ode))


def mapped(prior: Any, d: int, steps: int) -> Callable[[Any], Any]:
    """T of a prior as a function of one latent."""
    generator = generators.flow_generator(
        solvable.velocity, grids.shifted(steps), shape=(d,), solver=heun(), params=prior
    )
    return lambda z: generator.apply(prior, z)


@functools.partial(jax.jit, static_argnames="steps")
def _push(prior, z, *, steps):
    flat = jax.vmap(mapped(prior, z.shape[-1], steps))(z.reshape(-1, z.shape[-1]))
    return flat.reshape(z.shape)


@functools.cache
def _likelihood(steps: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """(whitened residual, log-likelihood) of a latent: one pair of functions for all problems."""

    def residual(z, problem, y):
        return (y - problem.operator.apply(mapped(problem.prior, z.size, steps)(z))) / problem.noise_std

    return residual, lambda z, problem, y: -0.5 * jnp.sum(residual(z, problem, y) ** 2)


@functools.partial(jax.jit, static_argnames=("kept", "method", "ode", "burn", "thin"))
def _slices(key, z0, problem, y, kept, method, ode, *, burn, thin):
    residual, log_likelihood = _likelihood(ode)
    sampler, own = {
        "elliptical_slice": (latent.elliptical_slice, {}),
        "laplace_slice": (latent.laplace_slice, {"residual": residual, "iterations": 20}),
    }[method]

    def one(key, z0, y):
        return sampler(key, log_likelihood, z0, kept, args=(problem, y), burn=burn, thin=thin, **own)

    return jax.vmap(one)(jax.random.split(key, len(y)), z0, jnp.asarray(y))


@functools.partial(jax.jit, static_argnames=("steps", "ode"))
def _tempered(key, z0, problem, y, *, steps, ode):
    _, log_likelihood = _likelihood(ode)

    def one(key, z0, y):
        return latent.tempered_smc(key, log_likelihood, z0, steps, args=(problem, y))

    return jax.vmap(one)(jax.random.split(key, len(y)), z0, jnp.asarray(y))
