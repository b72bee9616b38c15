"""What every method has: traits, checks of what it is given, the flag of finiteness, and what is kept beside a run."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from vrjax.flow.core import Level, Record, Snapshot

STEPS = ("published", "normalised")
HIGHEST = 0.99
"""The highest level at which a guidance divides by `1 - sigma`; InverseBench's largest noise, 100 times the data."""


class Traits(NamedTuple):
    """What a study has to know of a method before it runs it.

    Attributes:
        kind: "posterior" if its draws aim at the posterior distribution, "map" if they aim at its mode.
        form: "velocity" (a combinator), "solver" or "sampler" (returns the trajectory).
        network_gradient: whether it differentiates the network with respect to the state.
        linear: whether its default settings need a linear operator with an adjoint.
        stochastic: whether it draws noise of its own, beyond the start.
        normalised: whether it takes `step="normalised"`.
        coupled: whether it needs a mapped axis "seed", whose members depend on each other.
        evaluations: of the network in one step with the default settings and Euler's solver, derivatives not counted.
        steps: as published.
        source: paper, and where its settings are from.
    """

    kind: str
    form: str
    network_gradient: bool
    linear: bool
    stochastic: bool
    normalised: bool
    coupled: bool
    evaluations: int
    steps: int
    source: str


def check(where: str, operator: Any, y: Any, noise_std: Any, *, linear: bool = False, why: str = "") -> Array:
    """The observation as an array, everything checked that does not need a state. Traced values pass.

    Raises:
        ValueError: an operator without `apply`, a nonlinear one where `linear`, y that is not finite, noise_std that is
            no positive finite number.
    """
    if not callable(getattr(operator, "apply", None)):
        raise ValueError(f"{where}: operator must have .apply(x), found {type(operator).__name__}")
    if linear and not (getattr(operator, "linear", False) and callable(getattr(operator, "adjoint", None))):
        raise ValueError(
            f"{where}: {why or 'this method'} needs a linear operator with .adjoint(y), found a nonlinear one, "
            f"{type(operator).__name__}"
        )
    if not isinstance(noise_std, Tracer):
        found = np.asarray(noise_std)
        if found.shape or not np.isfinite(found) or found <= 0:
            raise ValueError(f"{where}: noise_std must be one positive finite number, found {noise_std}")
    # Asked before it becomes an array of this trace, which nobody can look into.
    if not isinstance(y, Tracer) and getattr(y, "is_fully_addressable", True):
        bad = int(np.sum(~np.isfinite(np.asarray(y))))
        if bad:
            raise ValueError(f"{where}: y must be finite, found {bad} of {np.size(y)} entries that are not")
    return jnp.asarray(y)


def choice(where: str, name: str, value: str, known: tuple[str, ...]) -> None:
    """Raises ValueError unless `value` is one of `known`."""
    if value not in known:
        raise ValueError(f"{where}: {name} must be one of {', '.join(known)}, found {value!r}")


def observed(where: str, operator: Any, y: Array, x: Array) -> Array:
    """y in the precision of the state.

    Raises:
        ValueError: y has another shape than the operator makes of a state.
    """
    expected = jax.eval_shape(operator.apply, x).shape
    if y.shape != expected:
        raise ValueError(f"{where}: y must have the shape the operator gives, {expected}, found {y.shape}")
    return y.astype(x.dtype)


def at_most(level: Level, highest: float) -> Level:
    """The level, or `highest` with its time in proportion where it lies above."""
    above = level.sigma > highest
    share = jnp.where(above, highest / jnp.where(above, level.sigma, 1.0), 1.0)
    sigma = jnp.where(above, jnp.asarray(highest, jnp.result_type(level.sigma)), level.sigma)
    return Level(sigma, level.time * share)


def all_finite(*trees: Any) -> Bool[Array, ""]:
    """Whether every entry of every array is finite."""
    flags = [jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(trees)]
    return jnp.all(jnp.stack(flags))


def finite(snapshot: Snapshot) -> Bool[Array, ""]:
    """For `Record(fn=guided.finite)`: whether state, velocity and all that a method computed are finite so far.

    A method never replaces what is not finite; from the first step on at which anything was not, this is False.
    """
    return all_finite(snapshot.x, snapshot.v, snapshot.next) & snapshot.extra.get("finite", True)


def watch(operator: Any, y: Any) -> Callable[[Snapshot], dict[str, Array]]:
    """For `Record(fn=guided.watch(operator, y))`: `finite`, and `residual`, the norm of y - A(x0), at every step.

    Args:
        operator: anything with `apply`.
        y: what was observed, in the shape that the operator gives.
    """

    def fn(snapshot: Snapshot) -> dict[str, Array]:
        missing = observed("watch", operator, jnp.asarray(y), snapshot.x0) - operator.apply(snapshot.x0)
        return {"finite": finite(snapshot), "residual": norm(missing)}

    return fn


def norm(a: Array) -> Float[Array, ""]:
    """Euclidean norm over all entries, in whatever shape."""
    return jnp.sqrt(jnp.sum(a * a))


def keeping(record: Record | None, own: Callable[[Snapshot], dict[str, Any]]) -> Record:
    """A record whose statistics are `own` ones, and under "record" those that the caller asked for."""
    record = Record() if record is None else record

    def fn(snapshot: Snapshot) -> dict[str, Any]:
        found = own(snapshot)
        return found if record.fn is None else {**found, "record": record.fn(snapshot)}

    fields = record.fields if record.fn else (*record.fields, "taps")
    return Record(record.steps, tuple(dict.fromkeys(fields)), fn)


def from_extra(*names: str) -> Callable[[Snapshot], dict[str, Any]]:
    """Statistics that a solver offers as `Info.extra`; `finite` is joined with the state's."""
    return lambda snapshot: {n: finite(snapshot) if n == "finite" else snapshot.extra[n] for n in names}
