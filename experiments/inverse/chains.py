"""Posteriors of fields by latent chains, and whether they may be believed.

A latent z of a prior is standard normal, and the posterior's density `exp(-|z|^2 / 2 + log L(z))`. The no-U-turn
sampler runs in w of `z = mode + root w`, with mode and root of the posterior's Laplace approximation, in which the
target is near a standard normal whatever the data inform. Chains start at draws of that approximation. From draws of
the prior, many deviations away where data inform, the warm-up of 3 in 48 chains ended with steps a hundredth as long as
those of the others, and they stayed where they were. Nothing of draws is told where the gate on them fails.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from experiments.inverse.config import Elliptic
from experiments.inverse.fields import Frame, Problem, made, told
from vrjax.flow import draws
from vrjax.inverse import calibrate, latent
from vrjax.study.tables import Tables

Apply = Callable[[Any, Any], Any]
"""`apply(params, z (d,)) -> field (n, n)`: a prior as a map of a standard normal."""
DRAWS = ("coordinates", "scalars")
"""Tables of draws; all others of a posterior are small."""
LEVEL = 0.9
"""Of the intervals whose coverage is told."""
SHOWN, ROWS = 4, 100
"""What is kept for pictures alone: fields of a posterior, and rows of each chain."""


def white(prior: Any, z: Any) -> Any:
    """The `Apply` of a map of white noise."""
    return prior(z.reshape(prior.shape))


def posterior(
    sizes: Elliptic,
    key: Key[Array, ""],
    apply: Apply,
    params: Any,
    dimension: int,
    problem: Problem,
    frame: Frame,
) -> Tables:
    """The posteriors of a prior for all truths of a problem: t truths, c chains of k rows.

    Args:
        sizes: of the chains.
        key: of them.
        apply: the prior; one object for one program.
        params: its parameters, arguments of the program.
        dimension: of its latent.
        problem: truths and data.
        frame: what fields are told by.

    Returns:
        `coordinates` (t, c, k, r) and `scalars` (t, c, k, 3) of the draws; `mean` (t, n, n);

        - for pictures, in half precision: `sd` (t, n, n), standard deviations of cells; `samples` (t, SHOWN, n, n),
          draws evenly through all chains; `trace` (t, c, m), the first of `fields.SCALARS` in at most
          `ROWS` rows of each chain, evenly, which is there where the gate failed too;
        - (t,) each: `mean error`, the norm of mean less truth over that of the truth; `crps`, the mean over cells;
          `coverage`, the share of cells whose truth lies in the central interval of 90 %;
        - (t,) each: `rhat`, `ess`, the worst of all that is told and of the latent; `why`, one line where the gate
          failed and "" where it passed; `solves`, of the pressure's equation in the kept rows, adjoint ones included;
          `divergent`, the share of rows; `gradient`, the norm at the mode that was found; `informed`, how many
          directions of the latent have lost half of their variance or more.

        Where the gate failed draws, mean, `sd`, `samples`, errors, crps and coverage are NaN.
    """
    with draws.settled(True):
        chain, found = _sampled(
            key,
            jax.tree.map(jnp.asarray, params),
            problem.operator,
            jnp.asarray(problem.y),
            jnp.asarray(problem.noise_std),
            apply=apply,
            dimension=dimension,
            chains=sizes.chains,
            rows=sizes.rows,
            burn=sizes.burn,
            doublings=sizes.doublings,
            search=sizes.search,
        )
    chain = jax.tree.map(np.asarray, chain)
    fields = made(apply, params, chain.z.reshape(-1, dimension)).reshape(*chain.z.shape[:3], *problem.truth.shape[1:])
    rows = [
        _told(latent.Chain(*(jax.tree.map(lambda leaf, at=at: leaf[at], part) for part in chain)), one, truth, frame)
        for at, (one, truth) in enumerate(zip(fields, problem.truth, strict=True))
    ]
    out = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return out | {name: np.asarray(value) for name, value in found.items()}


def gate(chain: latent.Chain, *told: Any) -> latent.Gate:
    """The gate on a chain's latent and log-density and on what is told of its draws, (c, k, ...) each."""
    if not np.isfinite(chain.log_density).all():
        return latent.gate(chain)
    every = [np.asarray(chain.z), np.asarray(chain.log_density)[..., None], *map(np.asarray, told)]
    return latent.gate(np.concatenate(every, -1))


def _told(chain: latent.Chain, fields: np.ndarray, truth: np.ndarray, frame: Frame) -> dict[str, Any]:
    """Of one truth: everything of `posterior` but what the search for the mode found."""
    c, k = fields.shape[:2]
    flat = fields.reshape(c * k, -1)
    coordinates, scalars = (np.reshape(each, (c, k, -1)) for each in told(frame, fields.reshape(c * k, *truth.shape)))
    judged = gate(chain, coordinates, scalars)
    info = chain.info
    out: dict[str, Any] = {"rhat": judged.rhat, "ess": judged.ess, "why": judged.why}
    out["trace"] = scalars[:, _evenly(k, ROWS), 0].astype(np.float16)
    shown = fields.reshape(c * k, *truth.shape)[_evenly(c * k, SHOWN)]
    out |= {"solves": 2 * int(np.sum(info.evaluations)), "divergent": float(np.mean(info.divergent))}
    if not judged.passed:
        none = {"coordinates": coordinates, "scalars": scalars, "mean": truth}
        out |= {name: np.full(np.shape(value), np.nan, np.float32) for name, value in none.items()}
        pictures = {"sd": truth.shape, "samples": shown.shape}
        out |= {name: np.full(shape, np.nan, np.float16) for name, shape in pictures.items()}
        return out | dict.fromkeys(("mean error", "crps", "coverage"), np.nan)
    mean, true = flat.mean(0), truth.reshape(-1)
    return out | {
        "coordinates": coordinates,
        "scalars": scalars,
        "mean": mean.reshape(truth.shape),
        "sd": flat.std(0, dtype=np.float64).reshape(truth.shape).astype(np.float16),
        "samples": shown.astype(np.float16),
        "mean error": float(np.linalg.norm(mean - true) / np.linalg.norm(true)),
        "crps": float(np.mean(calibrate.crps(flat, true))),
        "coverage": calibrate.coverage(true[None], flat[None], LEVEL).share,
    }


def _evenly(number: int, most: int) -> np.ndarray:
    """At most so many of `number` places, as far from each other as from the ends."""
    many = min(number, most)
    return ((np.arange(many) + 0.5) * number / many).astype(int)


@functools.cache
def _densities(apply: Apply) -> tuple[Callable[..., Any], ...]:
    """Residual and log-likelihood in z, and the log-likelihood in w."""

    def residual(z: Any, params: Any, operator: Any, y: Any, std: Any) -> Any:
        return (y - operator.apply(apply(params, z))) / std

    def log_likelihood(z: Any, *given: Any) -> Any:
        return -0.5 * jnp.sum(residual(z, *given) ** 2)

    def whitened(w: Any, mode: Any, root: Any, *given: Any) -> Any:
        z = mode + jnp.matmul(root, w, precision="highest")
        return log_likelihood(z, *given) - 0.5 * jnp.sum(z**2) + 0.5 * jnp.sum(w**2)

    return residual, log_likelihood, whitened


@jax.jit(static_argnames=("apply", "dimension", "chains", "rows", "burn", "doublings", "search"))
def _sampled(
    key: Any,
    params: Any,
    operator: Any,
    y: Any,
    noise_std: Any,
    *,
    apply: Apply,
    dimension: int,
    chains: int,
    rows: int,
    burn: int,
    doublings: int,
    search: int,
) -> tuple[latent.Chain, dict[str, Any]]:
    residual, log_likelihood, whitened = _densities(apply)

    def one(key: Any, y: Any, std: Any) -> tuple[latent.Chain, dict[str, Any]]:
        start, run = jax.random.split(key)
        where = jnp.zeros(dimension)
        given = (params, operator, y, std)
        found = latent.laplace(log_likelihood, where, args=given, residual=residual, iterations=search)
        root = jnp.linalg.cholesky(found.covariance)
        chain = latent.nuts(
            run,
            whitened,
            jax.random.normal(start, (chains, dimension)),
            rows,
            args=(found.mode, root, *given),
            burn=burn,
            doublings=doublings,
        )
        chain = chain._replace(z=found.mode + jnp.matmul(chain.z, root.T, precision="highest"))
        informed = jnp.sum(jnp.linalg.eigvalsh(found.covariance) <= 0.5)
        return chain, {"gradient": found.gradient, "informed": informed}

    return jax.vmap(one)(jax.random.split(key, len(y)), y, noise_std)
