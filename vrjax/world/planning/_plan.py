"""`plan`: a search by one of the methods, found by name."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Key

from vrjax.files import named
from vrjax.world.planning._core import Cost, Method, Planned, judge, search
from vrjax.world.protocol import State, World, check

PACKAGE = "vrjax.world.planning"
COMBINED = "gradient+cem"


def names() -> tuple[str, ...]:
    """The methods that exist."""
    return (*named.names(PACKAGE), COMBINED)


def get(name: str, **options) -> Method:
    """The method called `name` with its options, e.g. `get("cem", candidates=64)`.

    Raises:
        ValueError: there is none of that name, or it refuses its options.
    """
    if name not in names():
        raise ValueError(named.unknown("method", name, names()))
    if name == COMBINED:
        name, options = "cem", {"refine": 20} | options
        if not options["refine"]:
            raise ValueError(f"{COMBINED}: refine must be at least 1, found 0")
    return getattr(named.module(PACKAGE, name, "method"), name)(**options)


def plan(
    w: World,
    state: State,
    cost: Cost,
    key: Key[Array, ""],
    method: str = "cem",
    *,
    horizon: int,
    candidates: int,
    iterations: int,
    args: tuple = (),
    start: Any = None,
    mesh: Mesh | None = None,
    **options: Any,
) -> Planned:
    """Searches actions that make the cost small.

    Args:
        w: the model to plan through: exact or learned. Its leaves are arguments of the compiled program.
        state: where the plan begins.
        cost: `cost(decoded, *args)`, of the decoded states after each action. Static: pass data in `args`.
        key: equal keys give equal plans, however many devices there are. All candidates of an iteration meet the same
            chance of the world; the next iteration another.
        method: one of `names()`.
        horizon: actions in the plan.
        candidates: plans that are looked at in one iteration.
        iterations: of the method.
        args: arrays (pytrees) for the cost.
        start: (horizon, ...) actions to begin with; None: the middle of their range.
        mesh: candidates are spread over its axis "seed". Results equal those of one device but for rounding.
        options: of the method, see its file; whole numbers are static, others are arguments.

    Returns:
        A `Planned`.

    Raises:
        ValueError: a world without actions, an unknown method or options that it refuses, sizes below 1, a start of
            another shape or not finite, a cost that is no scalar, a mesh without "seed".
    """
    start, static, numbers = prepared(w, method, start, mesh, options, horizon, candidates, iterations)
    return _plan(w, state, start, key, args, numbers, cost=cost, method=method, mesh=mesh, static=static)


def prepared(w, method, start, mesh, options, horizon, candidates, iterations):
    """Checked: the start, static sizes, and the numbers among the options. Raises what `plan` raises."""
    if "action" not in w.inputs:
        raise ValueError(f"{w.name}: has no input 'action' to plan over, only {', '.join(w.inputs)}")
    for name, size in (("horizon", horizon), ("candidates", candidates), ("iterations", iterations)):
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"plan: {name} must be an integer of at least 1, found {size!r}")
    if mesh is not None and "seed" not in mesh.shape:
        raise ValueError(f"plan: the mesh {dict(mesh.shape)} has no axis 'seed'")
    get(method, candidates=candidates, **options)  # refuses what it does not take, before anything is compiled
    space = w.inputs["action"]
    if start is None:
        start = jnp.full((horizon, *space.shape), (space.low + space.high) / 2, jnp.float32)
    counts = {name: value for name, value in options.items() if value is None or isinstance(value, int)}
    numbers = {name: jnp.asarray(value, jnp.float32) for name, value in options.items() if name not in counts}
    static = (iterations, tuple(sorted({"candidates": candidates, **counts}.items())))
    return check(w, start, (horizon,)), static, numbers


def searched(w, state, start, key, args, numbers, *, cost, method, mesh, static) -> Planned:
    """What `plan` compiles."""
    iterations, counts = static
    found = get(method, **dict(counts), **numbers)
    return search(judge(w, state, cost, args, mesh), found, start, key, iterations)


_plan = partial(jax.jit, static_argnames=("cost", "method", "mesh", "static"))(searched)
