"""`control`: receding-horizon control. Plan, act once or a few times, plan again from what was left of the plan."""

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
        cost: of the plan that the action is of, as the model saw it.
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
    act: int = 1,
    mesh: Mesh | None = None,
    **options: Any,
) -> Controlled:
    """Acts in a world by plans through a model, in one compiled scan: `act` actions of each plan are taken.

    Each plan begins with what was left of the one before it, ended by the middle of the range.

    Args:
        w: the world that is acted in.
        state: of `w`, where it begins.
        cost, method, horizon, candidates, iterations, args, mesh, options: of each plan, as in `plan`.
        key: split in two: the world's chance, by `fold_in(., step)` as in `rollout`, and the planner's.
        steps: how many actions are taken.
        model: what is planned through; None: `w` itself.
        see: `see(state of w, key) -> state of model`, static; None: they are the same.
        start: (horizon, ...) of the first plan.
        act: how many actions of a plan are taken before the next one is made; it divides `steps`.

    Returns:
        A `Controlled`.

    Raises:
        ValueError: as `plan`; steps below 1; an `act` that is longer than a plan or does not divide them; a model whose
            actions are not those of the world.
    """
    model = w if model is None else model
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"control: steps must be an integer of at least 1, found {steps!r}")
    start, static, numbers = prepared(model, method, start, mesh, options, horizon, candidates, iterations)
    if model.inputs["action"] != w.inputs.get("action"):
        raise ValueError(f"control: {model.name} has {model.inputs['action']}, {w.name} {w.inputs.get('action')}")
    if isinstance(act, bool) or not isinstance(act, int) or not 1 <= act <= horizon or steps % act:
        raise ValueError(f"control: act must be 1 to {horizon} and divide {steps} steps, found {act!r}")
    given = (w, model, state, start, key, args, numbers)
    return _control(*given, cost=cost, method=method, mesh=mesh, static=static, steps=steps, see=see, act=act)


@partial(jax.jit, static_argnames=("cost", "method", "mesh", "static", "steps", "see", "act"))
def _control(w, model, state, start, key, args, numbers, *, cost, method, mesh, static, steps, see, act):
    chance, thought = jax.random.split(key)
    space = w.inputs["action"]
    rest = jnp.full_like(start[:act], (space.low + space.high) / 2)

    def one(carry, t):
        state, begin = carry
        look, think = jax.random.split(jax.random.fold_in(thought, t))
        seen = state if see is None else see(state, look)
        found = searched(model, seen, begin, think, args, numbers, cost=cost, method=method, mesh=mesh, static=static)

        def take(state, at):
            time, action = at
            after = w.step(state, action, step_key(chance, time))
            return after, after

        state, states = lax.scan(take, state, (act * t + jnp.arange(act), found.inputs[:act]))
        begin = jnp.concatenate([found.inputs[act:], rest])
        each = [jnp.full(act, value) for value in (found.cost, found.finite.mean())]
        return (state, begin), (found.inputs[:act], states, *each, found.calls)

    (final, _), (*told, calls) = lax.scan(one, (state, start), jnp.arange(steps // act))
    inputs, states, costs, finite = jax.tree.map(lambda a: a.reshape(steps, *a.shape[2:]), told)
    return Controlled(final, inputs, states, costs, finite, calls.sum())
