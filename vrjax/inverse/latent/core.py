"""What all samplers of latent space share: a chain and what is told about it, starts, and the walk itself.

The target is `exp(-|z|^2 / 2 + log L(z))`: a standard normal latent seen through a likelihood. A sampler is written for
one chain; `over_chains` runs many, and `walk` is the scan over steps.
"""

import types
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec

from vrjax.flow import words
from vrjax.parallel import over_seeds

LogLikelihood = Callable[..., Any]
"""`log_likelihood(z (r,), *args) -> scalar`, pure. Equal functions with other `args` share one compiled program."""


class Info(NamedTuple):
    """What a person wants to see of a run of C chains with K kept rows of r numbers; each sampler fills what it has.

    Attributes:
        acceptance: (C, K) in [0, 1]; the sampler says of what. Mean over the `thin` steps of a row.
        evaluations: (C, K) how often the log-likelihood (of `nuts`: with its gradient) was asked in a row's steps.
        finite: (C, K) whether every value of the log-likelihood that those steps saw was finite. Nothing is replaced:
            a proposal of value NaN or minus infinity is refused because the comparison fails. Minus infinity, a
            likelihood of zero, is lawful and is flagged too.
        burn_finite: (C,) the same of all burn-in; of `nuts`, of the state after it.
        step_size: (C,) the step size of the kept rows: beta of `pcn`, epsilon of `nuts`.
        divergent: (C, K) of `nuts`: whether the energy error passed 1,000 in one of the steps.
        mode, covariance, gradient: of `laplace_slice`: the ellipse's centre (r,), its covariance (r, r), and the norm
            of the log-posterior's gradient at the centre, near 0 where the search has ended well.
        tempering: (K,) of `tempered_smc`: the power of the likelihood that row k's particles are distributed by.
        ess: (K,) of `tempered_smc`: the effective number of particles after row k's weights.
        log_evidence: () of `tempered_smc`: the estimate of log E[L(z)] under the latent normal.
    """

    acceptance: Any = None
    evaluations: Any = None
    finite: Any = None
    burn_finite: Any = None
    step_size: Any = None
    divergent: Any = None
    mode: Any = None
    covariance: Any = None
    gradient: Any = None
    tempering: Any = None
    ess: Any = None
    log_evidence: Any = None

    __repr__ = words.line


class Chain(NamedTuple):
    """What a sampler returns.

    Attributes:
        z: (C, K, r) kept states.
        log_density: (C, K) `-|z|^2 / 2 + log L(z)`, not normalised.
        info: see `Info`.
    """

    z: Any
    log_density: Any
    info: Info

    __repr__ = words.line


class Seen(NamedTuple):
    """What one step of one chain tells: scalars. See `Info`."""

    acceptance: Any
    evaluations: Any
    finite: Any
    divergent: Any = None


def extra(name: str, who: str) -> types.ModuleType:
    """A module of a package of the extra `inverse`; ImportError of one line where it is missing."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{who} needs {name.partition('.')[0]} ({error}): pip install 'vrjax[inverse]'") from None


def scalar(log_likelihood: LogLikelihood, args: tuple) -> Callable[[Any], Any]:
    """`z -> log L(z)` in the precision of z. Raises ValueError where it is no scalar."""

    def value(z):
        out = jnp.asarray(log_likelihood(z, *args))
        if out.shape:
            raise ValueError(f"log_likelihood: found a value of shape {out.shape}, expected a scalar")
        return out.astype(z.dtype)

    return value


@partial(jax.jit, static_argnames=("log_likelihood",))
def _values(z, args, *, log_likelihood):
    return jax.vmap(scalar(log_likelihood, args))(z)


def begin(log_likelihood: LogLikelihood, z0: Any, args: tuple, **counts: int) -> tuple[Any, Any]:
    """The starts as an array (C, r), and the log-likelihood there (C,), checked where they are not traced.

    Raises:
        ValueError: starts that are no (C, r); a NaN in `args`; a log-likelihood that is no scalar; a start, or its
            log-likelihood, that is not finite; `counts` (by the names of the arguments) that are negative, or not
            positive for `steps`, `thin` and `moves`. Shapes and numbers are looked at before anything is compiled, the
            likelihood of the starts by one small program.
    """
    z0 = jnp.asarray(z0)
    if z0.ndim != 2 or 0 in z0.shape:
        raise ValueError(f"z0: found shape {z0.shape}, expected (chains, r), neither of them 0")
    for name, count in counts.items():
        least = 1 if name in ("steps", "thin", "moves") else 0
        if not isinstance(count, int) or count < least:
            raise ValueError(f"{name}: found {count!r}, expected an integer of at least {least}")
    numbers(args)
    z0 = z0.astype(jnp.promote_types(z0.dtype, jnp.float32))
    start = _values(z0, args, log_likelihood=log_likelihood)
    if not (isinstance(start, Tracer) or isinstance(z0, Tracer)) and start.is_fully_addressable:
        good = np.isfinite(np.asarray(start)) & np.isfinite(np.asarray(z0)).all(-1)
        if not good.all():
            at = int(np.flatnonzero(~good)[0])
            zeros = [f"args{path} is 0" for path, leaf in _known(args) if not leaf.shape and leaf == 0]
            raise ValueError(
                f"z0: {int((~good).sum())} of {len(good)} starts are not finite: log_likelihood(z0[{at}]) is "
                f"{float(start[at])}, expected finite starts with finite log-likelihoods{_also(zeros)}"
            )
    return z0, start


def numbers(args: tuple) -> None:
    """Raises ValueError where a number of `args` that can be read is NaN: data, say, that hold what was not observed.

    (Infinite ones are lawful, such as a log-weight of minus infinity.)
    """
    for path, leaf in _known(args):
        if bad := int(np.isnan(leaf).sum()):
            raise ValueError(
                f"args{path}: found {bad} NaN among {leaf.size} numbers, expected none: leave out what is not known"
            )


def _known(args: tuple) -> list[tuple[str, np.ndarray]]:
    """The leaves of `args` that are real or complex numbers and can be read here, with their places."""
    found = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(args):
        if not isinstance(leaf, Tracer) and getattr(leaf, "is_fully_addressable", True):
            if jnp.issubdtype(getattr(leaf, "dtype", type(leaf)), jnp.inexact):
                found.append((jax.tree_util.keystr(path), np.asarray(leaf)))
    return found


def _also(words: list[str]) -> str:
    return f" ({', '.join(words)})" if words else ""


def within(name: str, value: Any, low: float = 0.0, high: float = 1.0) -> None:
    """Raises ValueError where a number that is not traced is not in (low, high]."""
    if not isinstance(value, Tracer) and not low < float(value) <= high:
        raise ValueError(f"{name}: found {float(value):g}, expected a number in ({low:g}, {high:g}]")


def over_chains(one: Callable, key: Any, z0: Any, start: Any, rest: Any, how: str, mesh: Any) -> Any:
    """`one(key, z0 (r,), log-likelihood there, rest)` of every chain, by `vrjax.parallel.over_seeds`.

    A chain's key is one of `split(key, C)`, wherever it runs; inside, collectives over "seed" are valid.

    On a mesh whose other axes divide what is within the likelihood (a field, say), chains take their steps together
    even where there is one a device: a loop whose length depended on the chain would leave some devices waiting, in an
    exchange over those axes, for others that have left it.
    """
    keys = jax.random.split(key, z0.shape[0])
    if how == "mesh" and mesh is not None and mesh.shape.get("seed") == len(keys) < mesh.size:
        over = NamedSharding(mesh, PartitionSpec("seed"))
        together = jax.vmap(one, (0, 0, 0, None), axis_name="seed", spmd_axis_name="seed")
        put = lambda tree: lax.with_sharding_constraint(tree, over)
        return put(together(*put((keys, z0, start)), rest))

    def seed(key, z0, start, rest):
        at = lax.axis_index("seed")
        return one(key, z0[at], start[at], rest)

    return over_seeds(seed, keys, how, args=(z0, start, rest), mesh=mesh)


def walk(
    key: Any,
    step: Callable[[Any, Any, Any], tuple[Any, Seen]],
    state: Any,
    show: Callable[[Any], tuple[Any, Any]],
    *,
    steps: int,
    burn: int,
    thin: int,
    tuning: Any = (),
    adapt: Callable[[Any, Seen, Any], Any] | None = None,
) -> tuple[Any, Any, Seen, Any, Any]:
    """One chain: `burn` steps that are dropped, then `steps` rows of `thin` steps each.

    Args:
        key: of this chain; split once into a key per step.
        step: `step(key, state, tuning) -> (state, Seen)`.
        state: where it starts.
        show: `show(state) -> (z (r,), log_density)`.
        steps, burn, thin: static counts.
        tuning: what the step is tuned by; `adapt(tuning, seen, t)` makes the next in burn-in step t, and nothing does
            afterwards, so that the kept rows are of one Markov kernel.

    Returns:
        z (K, r), log_density (K,), Seen with K rows, whether all of the burn-in was finite, the last tuning.
    """
    first, later = jax.random.split(key)
    fine = jnp.array(True)
    if burn:

        def warm(carry, at):
            state, tuning, fine = carry
            state, seen = step(at[0], state, tuning)
            return (state, tuning if adapt is None else adapt(tuning, seen, at[1]), fine & seen.finite), None

        counted = (jax.random.split(first, burn), jnp.arange(burn))
        (state, tuning, fine), _ = lax.scan(warm, (state, tuning, fine), counted)

    def row(state, keys):
        if thin == 1:
            state, seen = step(keys, state, tuning)
        else:
            state, seen = lax.scan(lambda state, key: step(key, state, tuning), state, keys)
            seen = Seen(
                jnp.mean(seen.acceptance),
                jnp.sum(seen.evaluations),
                jnp.all(seen.finite),
                None if seen.divergent is None else jnp.any(seen.divergent),
            )
        return state, (*show(state), seen)

    keys = jax.random.split(later, steps if thin == 1 else (steps, thin))
    _, (z, log_density, seen) = lax.scan(row, state, keys)
    return z, log_density, seen, fine, tuning
