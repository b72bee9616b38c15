"""`control`: receding-horizon control. Plan, act once, plan again from what was left of the plan."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Key

from vrjax.flow import words
from vrjax.world.planning._core import Cost
from vrjax.world.planning._plan import prepared, searched
from vrjax.world.protocol import State, World, step_key


class Controlled(NamedTuple):
    """What control returns; all but `final` and `calls` have a leading axis of steps.

    Attributes:
        final: the State after the last action.
        inputs: the actions.
        states: after each action.
        cost: of the plan whose first action was taken, as the model saw it.
        finite: the share of candidates whose cost was finite.
        calls: () int32, calls of the model's `step` in all, as plans count them; the world's own steps are not in it.
    """

    final: Any
    inputs: Any
    states: Any
    cost: Any
    finite: Any
    calls: Any

    __repr__ = words.line


def control(
    w: World,
    state: State,
    cost: Cost,
    key: Key[Array, ""],
    method: str = "cem",
    *,
    steps: int,
    horizon: int,
    candidates: int,
    iterations: int,
    args: tuple = (),
    model: World | None = None,
    see: Callable[[State, Any], State] | None = None,
    start: Any = None,
    mesh: Mesh | None = None,
    **options: Any,
) -> Controlled:
    """Acts in a world by plans through a model, one plan per step, in one compiled scan.

    Each plan begins with the one before it, moved on by a step and ended by the middle of the range.

    Args:
        w: the world that is acted in.
        state: of `w`, where it begins.
        cost, method, horizon, candidates, iterations, args, mesh, options: of each plan, as in `plan`.
        key: split in two: the world's chance, by `fold_in(., step)` as in `rollout`, and the planner's.
        steps: how many actions are taken.
        model: what is planned through; None: `w` itself.
        see: `see(state of w, key) -> state of model`, static; None: they are the same.
        start: (horizon, ...) of the first plan.

    Returns:
        A `Controlled`.

    Raises:
        ValueError: as `plan`; steps below 1; a model whose actions are not those of the world.
    """
    model = w if model is None else model
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"control: steps must be an integer of at least 1, found {steps!r}")
    start, static, numbers = prepared(model, method, start, mesh, options, horizon, candidates, iterations)
    if model.inputs["action"] != w.inputs.get("action"):
        raise ValueError(f"control: {model.name} has {model.inputs['action']}, {w.name} {w.inputs.get('action')}")
    given = (w, model, state, start, key, args, numbers)
    return _control(*given, cost=cost, method=method, mesh=mesh, static=static, steps=steps, see=see)


@partial(jax.jit, static_argnames=("cost", "method", "mesh", "static", "steps", "see"))
def _control(w, model, state, start, key, args, numbers, *, cost, method, mesh, static, steps, see):
    chance, thought = jax.random.split(key)
    space = w.inputs["action"]
    rest = jnp.full_like(start[:1], (space.low + space.high) / 2)

    def one(carry, t):
        state, begin = carry
        look, think = jax.random.split(jax.random.fold_in(thought, t))
        seen = state if see is None else see(state, look)
        found = searched(model, seen, begin, think, args, numbers, cost=cost, method=method, mesh=mesh, static=static)
        after = w.step(state, found.inputs[0], step_key(chance, t))
        begin = jnp.concatenate([found.inputs[1:], rest])
        return (after, begin), (found.inputs[0], after, found.cost, found.finite.mean(), found.calls)

    (final, _), (inputs, states, costs, finite, calls) = lax.scan(one, (state, start), jnp.arange(steps))
    return Controlled(final, inputs, states, costs, finite, calls.sum())
