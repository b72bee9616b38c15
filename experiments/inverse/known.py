"""Tempered particles through a flow on posteriors that are known: weights of modes, and coverage.

Mixtures in the plane, others for each seed; a linear Gaussian problem in eight dimensions; a Levy signal. The latent's
map to states is the flow of the prior's exact velocity, as in the guided study; of signals, whose increments are
independent, it is what such flows tend to with ever more steps: Laplace's quantiles of normal numbers. Many particles
are drawn given a problem's own observation, so that the weight of a mode is known to a hundredth; every seed draws
truths and data of the prior predictive for coverage.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float, Key

from experiments.inverse import guided, guided_latent, names, solvable
from experiments.inverse.config import Inverse
from experiments.inverse.guided_names import SIGNALS
from experiments.inverse.keys import data_sets
from experiments.inverse.names import KNOWN_GROUPS
from experiments.inverse.solvable import Problem
from vrjax.flow.draws import settled
from vrjax.inverse import latent
from vrjax.study.tables import Bench, Tables

MIXTURES = KNOWN_GROUPS[0]
SIGNAL_NOISE = 2.0
"""Of a signal in its own unit: under the guided study's (.5 to .1) few hundred particles do not mix."""


class Particles(NamedTuple):
    """Of runs r with c particles each: states (r, c, d), whether a run reached its posterior (r,), and the share of
    rounds in which all values of the likelihood were finite (r,)."""

    states: Any
    reached: Any
    finite: Any


def measure(study: Inverse, here: Bench, seed: int) -> Tables:
    """All of a seed.

    Returns:
        Of every group of p problems, with `<group> ` before the name:

        - `ranks` (p, pairs, q): of truths among `guided.ranked` particles, `NOT_FINITE` where a run did not reach its
          posterior;
        - `weights` (p, k) of the components of mixtures, exact, and `modes` (p, k) by particles; (p, 0) else;
        - `mode ess` (p,): the least effective number of particles for a component's weight, NaN of others;
        - `finite` (p,): of the worst run the share of rounds in which all values of the likelihood were finite; 0 where
          a run did not reach its posterior.
    """
    return here.part(names.part(seed, names.KNOWN), lambda: _measure(study, here, seed))


def problems(study: Inverse, seed: int) -> dict[str, list[Problem]]:
    """Of each group those of a seed: no two seeds have a mixture in common."""
    at, number = study.seeds.index(seed), study.known.problems
    mixtures = solvable.problems(study, f"mixtures {study.guided.dimensions[0]}", number=(at + 1) * number)
    (signal,) = solvable.problems(study, SIGNALS, number=at + 1)[at:]
    signal = signal._replace(
        noise_std=signal.noise_std * SIGNAL_NOISE / solvable.SIGNAL_NOISES[at % len(solvable.SIGNAL_NOISES)]
    )
    # A mixture of equal components is a Gaussian.
    (one,) = solvable.problems(study, f"mixtures {study.known.dimension}", number=at + 1)[at:]
    alone = jax.tree.map(lambda part: np.repeat(np.asarray(part)[:1], len(part), 0), one.prior)
    gaussian = one._replace(prior=alone._replace(weights=one.prior.weights))
    return dict(zip(KNOWN_GROUPS, (mixtures[at * number :], [gaussian], [signal]), strict=True))


def particles(study: Inverse, key: Key[Array, ""], problem: Problem, y: Float[Any, "r m"], number: int) -> Particles:
    """A run of tempered particles given each row of y."""
    start, run = jax.random.split(key)
    z0 = jax.random.normal(start, (len(y), number, problem.operator.in_shape[0]))
    how = {"rounds": study.known.rounds, "moves": study.known.moves, "ode": study.guided.ode_steps}
    return jax.tree.map(np.asarray, _tempered(run, z0, problem, jnp.asarray(y), **how))


def mapped(prior: Any, z: Float[Array, " d"], ode: int) -> Float[Array, " d"]:
    """The state of a latent."""
    if isinstance(prior, solvable.Bumps):
        return guided_latent.mapped(prior, z.size, ode)(z)
    return -jnp.sign(z) * prior * (jnp.log(2.0) + log_ndtr(-jnp.abs(z)))


@functools.cache
def _log_likelihood(ode: int) -> Any:
    def value(z, problem, y):
        missing = (y - problem.operator.apply(mapped(problem.prior, z, ode))) / problem.noise_std
        return -0.5 * jnp.sum(missing**2)

    return value


@functools.partial(jax.jit, static_argnames=("rounds", "moves", "ode"))
def _tempered(key, z0, problem, y, *, rounds, moves, ode):
    def one(key, z0, y):
        chain = latent.tempered_smc(key, _log_likelihood(ode), z0, rounds, args=(problem, y), moves=moves)
        states = jax.vmap(lambda z: mapped(problem.prior, z, ode))(chain.z[:, -1])
        return Particles(states, chain.info.tempering[-1] == 1, jnp.mean(chain.info.finite))

    return jax.vmap(one)(jax.random.split(key, len(y)), z0, y)


def _measure(study: Inverse, here: Bench, seed: int) -> Tables:
    sizes, ranked, out = study.known, study.guided.ranked, {}
    posed = problems(study, seed)
    with settled(True), here.bar(f"seed {seed}: known posteriors", sum(map(len, posed.values()))) as tick:
        for g, (group, some) in enumerate(posed.items()):
            rows: dict[str, list[Any]] = {name: [] for name in ("ranks", "weights", "modes", "mode ess", "finite")}
            keys = data_sets(study, names.KNOWN, seed, g, len(some))
            for problem, key in zip(some, keys, strict=True):
                there, first, second, pick = jax.random.split(key, 4)
                truth, data = (np.asarray(a) for a in solvable.predictive(there, problem, sizes.pairs[g]))
                few = particles(study, first, problem, data, sizes.particles)
                taken = few.states[:, np.asarray(jax.random.permutation(pick, sizes.particles))[:ranked]]
                whole = np.broadcast_to(few.reached[:, None], taken.shape[:2])
                sides = np.asarray(problem.projections).T
                rows["ranks"].append(guided.ranked(truth @ sides, taken @ sides, whole))
                exact, shares, least, finite = np.zeros(0), np.zeros(0), np.nan, few.finite * few.reached
                if group == MIXTURES:
                    own = np.broadcast_to(problem.y, (sizes.runs, len(problem.y)))
                    many = particles(study, second, problem, own, sizes.particles)
                    exact, finite = solvable.weights(problem), np.append(finite, many.finite * many.reached)
                    flat = many.states.reshape(-1, many.states.shape[-1])
                    shares = np.mean(guided.responsibilities(problem.prior, flat), 0)
                    least = guided.mixed(problem, many.states, exact)["mode ess"]
                for name, value in (("weights", exact), ("modes", shares), ("mode ess", least)):
                    rows[name].append(value)
                rows["finite"].append(finite.min())
                tick(1)
            out |= {f"{group} {name}": np.stack([np.asarray(one) for one in found]) for name, found in rows.items()}
    return out
