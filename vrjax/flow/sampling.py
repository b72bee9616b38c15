"""`sample`: one scan that walks the noise grid and keeps what was asked for."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vrjax.flow import mistakes, words
from vrjax.flow.core import (
    CORE_FIELDS,
    Grid,
    Info,
    Level,
    Phase,
    Prediction,
    Record,
    Snapshot,
    Solver,
    Trajectory,
    Velocity,
    as_prediction,
)
from vrjax.flow.solvers.euler import euler
from vrjax.flow.varying import axes, vary, vary_as


def sample(
    velocity: Velocity | Phase | tuple[Phase, ...] | list[Phase],
    x: Any,
    grid: Grid,
    *,
    solver: Solver | None = None,
    key: Any = None,
    edit: Callable[[Any, Any, Any], Any] | None = None,
    record: Record | None = None,
    resume: tuple[Any, Any] | None = None,
) -> Trajectory:
    """Carry `x` from the first level of `grid` to the last and return the trajectory.

    One `lax.scan` per phase; its compile time does not depend on the number of steps. Works under jit (also with `x`
    donated), vmap, pmap, shard_map, grad and `jax.checkpoint`. What is not asked for leaves no trace in the program.

    Args:
        velocity: `(x, level) -> v` or `-> Prediction(v, taps)`, or phases of them in order.
        x: the start, of any shape, float32 or float64; half precision is raised to float32. The velocity sees arrays of
            this shape and precision, and what it returns is brought to it.
        grid: noise levels and times, see `grids`.
        solver: see `euler` (the default), `heun`, `unipc`, `dpmpp_2m`, `sde`.
        key: randomness of a stochastic solver and of `edit`; split once, so step `s` draws the same whatever is
            recorded.
        edit: `edit(step, x, key) -> x`, applied to the state before the network sees it at `step`, a traced int32;
            `key` is None if `sample` got none.
        record: what to keep, by default x, v and x0 of every step.
        resume: (first step, solver's state there), to go on with a run from `x`, as a `Snapshot` of the step before
            has them. The step may be traced: one program begins (step 0, `solver.init(x)`) and goes on anywhere, with
            equal bits. It has no reverse derivative. Rows of the steps before hold NaN.

    Raises:
        ValueError: for phases that do not end at the grid's last step, a missing key, steps or fields that do not
            exist, a velocity or an edit that returns another shape.
    """
    solver = euler() if solver is None else solver
    record = Record() if record is None else record
    check_arguments(solver, grid, key)
    if not isinstance(record, Record):
        raise ValueError(f"sample: record must be a Record such as Record(steps=(0, 3)), found {words.value(record)}")
    if edit is not None:
        mistakes.call("sample: edit", edit, "step", "x", "key")
    phases = as_phases(velocity, grid)
    x = as_state(x)
    run = _Run(grid, solver, edit, record, x, key, resume)
    with mistakes.axes():
        carry = run.start(phases)
        begin = 0
        for phase in phases:
            carry = run.phase(phase.velocity, carry, begin, phase.stop)
            begin = phase.stop
    return run.finish(carry)


def check_arguments(solver: Any, grid: Any, key: Any) -> None:
    """Raises ValueError for what is no solver or no grid, and for a stochastic solver without a key."""
    if not isinstance(solver, Solver):
        raise ValueError(f"sample: solver must be a Solver such as euler() or unipc(), found {solver!r}")
    if not isinstance(grid, Grid):
        raise ValueError(
            f"sample: grid must be a Grid such as grids.shifted(50, shift=5.0), found {type(grid).__name__}"
        )
    if solver.stochastic and key is None:
        raise ValueError("sample: this solver is stochastic and needs key=..., found None")
    if key is not None:
        mistakes.key("sample: key", key)


def as_phases(velocity: Any, grid: Grid) -> tuple[Phase, ...]:
    """Phases as given, or the one phase of a plain velocity; checked against the grid."""
    if isinstance(velocity, Phase):
        velocity = (velocity,)
    if not isinstance(velocity, (tuple, list)):
        check_velocity(velocity)
        return (Phase(grid.steps, velocity),)
    if not velocity or not all(isinstance(p, Phase) for p in velocity):
        raise ValueError(f"sample: expected a tuple of at least one Phase(stop, velocity), found {velocity!r}")
    stops = [p.stop for p in velocity]
    if any(b <= a for a, b in zip([0, *stops], stops, strict=False)) or stops[-1] != grid.steps:
        raise ValueError(f"sample: phase stops must rise from above 0 and end at the {grid.steps} steps, found {stops}")
    for phase in velocity:
        check_velocity(phase.velocity)
    return tuple(velocity)


def check_velocity(velocity: Any) -> None:
    """Raises ValueError for what is no velocity; for a network whose conditions were not closed over, with the way."""
    if callable(getattr(velocity, "velocity", None)):
        kind = type(velocity).__name__
        raise ValueError(
            f"sample: found a {kind}, close its conditions over first: sample(model.velocity(text, ...), ...)"
        )
    network = getattr(velocity, "__self__", None)
    if network is not None and velocity == getattr(network, "velocity", None):
        kind = type(network).__name__
        raise ValueError(
            f"sample: found {kind}.velocity, call it with its conditions: sample(model.velocity(text), ...)"
        )
    if not callable(velocity):
        raise ValueError(f"sample: velocity must be callable or a tuple of Phase, found {type(velocity).__name__}")
    mistakes.call("sample: velocity", velocity, "x", "level")


def as_state(x: Any) -> jax.Array:
    """The state of a run: at least float32."""
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"sample: x must be a real floating point array, found {x.dtype}")
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def constants(rows, dtype, begin: int = 0, stop: int | None = None, steps=None):
    """Rows of a plan as traced constants: floating point in the precision of the state, from the float64 they were
    made in.
    """
    pick = slice(begin, stop) if steps is None else np.asarray(steps, np.int64)

    def cast(a):
        a = np.asarray(a)[pick]
        return jnp.asarray(a.astype(dtype) if np.issubdtype(a.dtype, np.floating) else a)

    return jax.tree.map(cast, rows)


def plan_rows(grid: Grid, solver: Solver) -> dict[str, Any]:
    """The solver's plan with the levels at both ends of each step."""
    rows = solver.plan(grid)
    wrong = {name: np.shape(a) for name, a in rows.items() if np.shape(a)[:1] != (grid.steps,)}
    if wrong:
        raise ValueError(f"sample: the solver's plan must have {grid.steps} rows, found {wrong}")
    end_times = np.append(grid.times[1:], 1000.0 * grid.sigmas[-1])
    return {
        "coefficients": dict(rows),
        "start": Level(grid.sigmas[:-1], grid.times),
        "end": Level(grid.sigmas[1:], end_times),
    }


def evaluator(velocity: Velocity, row: dict[str, Any], like: jax.Array):
    """`evaluate(x, end=False)` of one step: the velocity at the level where the step starts or ends, shape checked."""

    def evaluate(x, end: bool = False) -> Prediction:
        out = velocity(x, row["end"] if end else row["start"])
        if callable(out):
            found = words.name(velocity)
            raise ValueError(
                f"sample: {found}(x, level) returned a function; call it with its conditions: {found}(...)"
            )
        out = as_prediction(out)
        if jnp.shape(out.v) != like.shape:
            raise ValueError(f"sample: the velocity must return the shape of x, {like.shape}, found {jnp.shape(out.v)}")
        return Prediction(jnp.asarray(out.v).astype(like.dtype), dict(out.taps))

    return evaluate


class _Run:
    """One call of `sample`: its static choices, and the pieces of the scan. The carry is (x, solver state, buffers)."""

    def __init__(self, grid, solver, edit, record, x, key, resume):
        self.first, self.state = (None, solver.init(x)) if resume is None else resume
        self.grid, self.solver, self.edit, self.record, self.x = grid, solver, edit, record, x
        self.rows = plan_rows(grid, solver)
        self.kept = record.rows(grid)
        # Every step has a slot: its row in the buffers, or the row behind them which is thrown away.
        self.slots = np.full(grid.steps, len(self.kept), np.int32)
        self.slots[list(self.kept)] = np.arange(len(self.kept), dtype=np.int32)
        self.keys = None if key is None or not (edit or solver.stochastic) else jax.random.split(key, (grid.steps, 2))

    def xs(self, begin: int, stop: int):
        return {
            "step": jnp.arange(begin, stop, dtype=jnp.int32),
            "slot": jnp.asarray(self.slots[begin:stop]),
            "row": constants(self.rows, self.x.dtype, begin, stop),
            "keys": None if self.keys is None else self.keys[begin:stop],
        }

    def advance(self, velocity, x, state, xs):
        """One step without bookkeeping: (state the network saw, next x, next state, Info)."""
        edit_key, step_key = (None, None) if xs["keys"] is None else (xs["keys"][0], xs["keys"][1])
        if self.edit is not None:
            edited = self.edit(xs["step"], x, edit_key)
            mistakes.shape("sample: edit", edited, x)
            x = jnp.asarray(edited).astype(x.dtype)
        evaluate = evaluator(velocity, xs["row"], x)
        x_next, state, info = self.solver.step(
            evaluate, x, state, xs["row"]["coefficients"], step_key if self.solver.stochastic else None
        )
        return x, x_next, state, info

    def observe(self, x, x_next, state, info: Info, xs) -> dict[str, Any]:
        """What the record wants of one step, by name."""
        level, v = xs["row"]["start"], info.prediction.v
        everything = {"x": x, "v": v, "x0": x - level.sigma * v, "next": x_next, **info.extra}
        unknown = [f for f in self.record.fields if f != "taps" and f not in everything]
        if unknown:
            offered = sorted({*CORE_FIELDS, *everything})
            raise ValueError(f"Record: unknown fields {unknown}, this solver offers {', '.join(offered)}")
        wanted = [f for f in self.record.fields if f != "taps"]
        wanted += [f for f in ("log_prob",) if f in everything and f not in wanted]
        out: dict[str, Any] = {f: everything[f] for f in wanted}
        taps = info.prediction.taps
        if taps and (self.record.fn is None or "taps" in self.record.fields):
            out["taps"] = taps
        if self.record.fn is not None:
            snapshot = Snapshot(
                step=xs["step"],
                level=level,
                taps=taps,
                extra=info.extra,
                state=state,
                **{f: everything[f] for f in ("x", "v", "x0", "next")},
            )
            out["stats"] = self.record.fn(snapshot)
        return out

    def start(self, phases):
        """The first carry. Buffers are sized from an abstract step of each phase; no step is run."""
        x, state = self.x, self.state
        xs = jax.tree.map(lambda a: a[0], self.xs(0, 1))

        def abstract(velocity):
            def one(x, state, xs):
                seen, x_next, after, info = self.advance(velocity, x, state, xs)
                return (x_next, after), self.observe(seen, x_next, after, info, xs)

            return jax.eval_shape(one, x, state, xs)

        seen = [abstract(phase.velocity) for phase in phases]
        # Under shard_map a step may make varying what was not (a sharded network, an unsharded start): start so.
        over = frozenset().union(*(axes(a) for after, _ in seen for a in jax.tree.leaves(after)))
        if not all(over <= axes(a) for a in jax.tree.leaves((x, state))):
            x, state = jax.tree.map(lambda a: vary(a, over), (x, state))
            seen = [abstract(phase.velocity) for phase in phases]
        shapes: dict[str, Any] = {}
        for _, fields in seen:
            shapes = _union(shapes, fields)
        return x, state, {n: self.buffers(n, a) for n, a in shapes.items()} if self.kept else {}

    def buffers(self, name, shapes):
        rows = len(self.kept) + (0 if self.record.steps is None and name != "x" else 1)
        return jax.tree.map(lambda a: _empty(rows, a), shapes)

    def phase(self, velocity, carry, begin: int, stop: int):
        def body(carry, xs):
            x, state, buffers = carry
            seen, x_next, after, info = self.advance(velocity, x, state, xs)
            out = self.observe(seen, x_next, after, info, xs)
            write = lambda buffer, a: vary_as(
                lax.dynamic_update_index_in_dim(buffer, jnp.asarray(a, buffer.dtype), xs["slot"], 0), buffer
            )
            if buffers:
                buffers = {**buffers, **_written(buffers, out, write)}
            return (vary_as(x_next, x), jax.tree.map(vary_as, after, state), buffers), None

        xs = self.xs(begin, stop)
        if self.first is None:
            return lax.scan(body, carry, xs)[0]

        def at(step, carry):
            row = jax.tree.map(lambda a: lax.dynamic_index_in_dim(a, step - begin, keepdims=False), xs)
            return body(carry, row)[0]

        return lax.fori_loop(jnp.clip(self.first, begin, stop), stop, at, carry)

    def finish(self, carry) -> Trajectory:
        x, _, buffers = carry
        kept = len(self.kept)
        if self.record.steps is None and "x" in buffers:
            buffers["x"] = lax.dynamic_update_index_in_dim(buffers["x"], x, kept, 0)
        elif self.record.steps is not None:
            buffers = jax.tree.map(lambda b: b[:kept], buffers)
        level = constants({"sigma": self.grid.sigmas, "time": self.grid.times}, x.dtype)
        return Trajectory(
            **level,
            final=x,
            **buffers,
            grid=self.grid,
            solver=self.solver,
            record=self.record,
            edited=self.edit is not None,
        )


def _union(known: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    """Shapes of the buffers over phases: taps of the same name must agree, taps of other names are added."""
    if not known:
        return seen
    taps = dict(known.get("taps", {}))
    for name, shape in seen.get("taps", {}).items():
        if name in taps and jax.tree.map(_aval, taps[name]) != jax.tree.map(_aval, shape):
            raise ValueError(f"sample: tap {name!r} is {taps[name]} in one phase and {shape} in a later one")
        taps[name] = shape
    if jax.tree.map(_aval, known.get("stats")) != jax.tree.map(_aval, seen.get("stats")):
        raise ValueError("sample: Record.fn must return the same shapes in every phase")
    return {**known, **seen, **({"taps": taps} if taps else {})}


def _aval(a):
    return a.shape, a.dtype


def _written(buffers, out, write):
    """The buffers after one step; those of taps that this phase does not have stay as they are."""
    new = {n: jax.tree.map(write, buffers[n], a) for n, a in out.items() if n != "taps"}
    if "taps" in out:
        new["taps"] = {
            **buffers["taps"],
            **{n: jax.tree.map(write, buffers["taps"][n], a) for n, a in out["taps"].items()},
        }
    return new


def _empty(rows: int, like) -> jax.Array:
    """Rows to be written over: NaN where floating, so that a row nobody wrote cannot pass for a value."""
    fill = jnp.nan if jnp.issubdtype(like.dtype, jnp.inexact) else 0
    return vary_as(jnp.full((rows, *like.shape), fill, like.dtype), like)
