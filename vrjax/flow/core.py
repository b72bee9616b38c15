"""The nouns of sampling: level, prediction, grid, solver, phase, record, trajectory.

Everywhere `x_sigma = (1 - sigma) x0 + sigma eps`, the velocity is `v = eps - x0`, so `x0 = x - sigma v`; sigma 1 is
pure noise and sigma 0 is data. A run walks a grid of falling sigmas `[S + 1]` in `S` steps.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from vrjax.flow import words
from vrjax.flow.grids import Grid

DEFAULT_FIELDS = ("x", "v", "x0")
LEVELS = ("sigma", "time")
CORE_FIELDS = ("x", "v", "x0", "next", "taps")


class Level(NamedTuple):
    """Where on the noise grid the network is asked.

    Attributes:
        sigma: noise level in [0, 1], a scalar in the precision of the state.
        time: what the network was trained to see, usually `1000 * sigma`; a scalar, or one value per token where a
            combinator made it so.
    """

    sigma: Any
    time: Any

    __repr__ = words.line


class Prediction(NamedTuple):
    """What a velocity may return instead of a bare array: `v` of the shape of `x`, and a dict of named taps."""

    v: Any
    taps: Any = {}

    __repr__ = words.line


Velocity = Callable[[Any, Level], Any]


def as_prediction(out: Any) -> Prediction:
    """What a velocity returned, as a `Prediction`."""
    return out if isinstance(out, Prediction) else Prediction(out)


class Info(NamedTuple):
    """What a person may want to see of one step, apart from what the next step needs.

    Attributes:
        prediction: the network's answer at the start of the step.
        extra: further arrays by name, e.g. `log_prob`, `mean`, `std`, `noise` of a stochastic step.
    """

    prediction: Prediction
    extra: Mapping[str, Any] = {}

    __repr__ = words.line


class Solver(NamedTuple):
    """A solver as pure functions.

    Attributes:
        plan: `plan(grid) -> {name: [S, ...]}`: every coefficient of every step, in float64 numpy, once, on the host.
            Rows are cast to the precision of the state when the run is traced, and `lax.scan` hands `step` one of them.
        init: `init(x) -> state`: what the first step needs beyond `x`. Built from `x`, so that it has its sharding.
        step: `step(evaluate, x, state, row, key) -> (x_next, state, Info)`. `evaluate(x)` asks the velocity at the
            level the step starts from, `evaluate(x, end=True)` at the level where it ends; both return a
            `Prediction`. `key` is None unless the solver is stochastic.
        replay: of a stochastic solver, `replay(evaluate, x, row, x_next) -> Info`: the same step with its outcome
            given, for `log_prob`.
        stochastic: whether `step` needs a key.
        order: of the global error in the step size, measured by a test away from sigma 0.
    """

    plan: Callable[[Grid], Mapping[str, np.ndarray]]
    init: Callable[[Any], Any]
    step: Callable[..., tuple[Any, Any, Info]]
    replay: Callable[..., Info] | None = None
    stochastic: bool = False
    order: int = 1

    def __repr__(self) -> str:
        return f"Solver({self.name}, order {self.order}{', stochastic' if self.stochastic else ''})"

    @property
    def name(self) -> str:
        """Its maker's name: of one of this room, its file's."""
        own = words.name(self.step)
        return words.inner(self.step).__module__.rpartition(".")[2] if own.startswith("_") else own


class Phase(NamedTuple):
    """Use `velocity` for the steps before `stop` that no earlier phase took. The last phase stops at the grid's S."""

    stop: int
    velocity: Velocity

    __repr__ = words.line


class Snapshot(NamedTuple):
    """What `Record.fn` is shown at a step: arrays of one example, before anything is stored.

    `next` and `state`, the solver's, are what the step after this one needs: see `resume` of `sample`.
    """

    step: Any
    level: Level
    x: Any
    v: Any
    x0: Any
    next: Any
    taps: Any
    extra: Mapping[str, Any]
    state: Any = None

    __repr__ = words.line


@dataclasses.dataclass(frozen=True)
class Record:
    """What a run keeps: which steps, and of each step which fields. Static; memory grows with what is kept only.

    Attributes:
        steps: step numbers within 0 ... S - 1 in the order of the rows wanted, or None for every step. `()` keeps
            nothing.
        fields: any of `x` (the state the network saw), `v`, `x0` (`x - sigma v`), `next` (the state the step led to),
            and what the solver offers: `log_prob`, `mean`, `std`, `noise` of a stochastic one, `corrected` of UniPC. By
            default x, v and x0, or nothing where `fn` is given. `log_prob`, a scalar, is kept whenever there is one,
            and taps are kept whenever there are some, unless `fn` is given and `taps` is not among the fields.
        fn: `fn(Snapshot) -> pytree`, a statistic kept in `Trajectory.stats` instead of the fields it is computed from.
    """

    steps: tuple[int, ...] | None = None
    fields: tuple[str, ...] = None  # type: ignore[assignment]
    fn: Callable[[Snapshot], Any] | None = None

    def __post_init__(self):
        if self.fields is None:
            object.__setattr__(self, "fields", () if self.fn else DEFAULT_FIELDS)
        if isinstance(self.fields, str):
            raise ValueError(f"Record: fields must be a tuple of names, found the string {self.fields!r}")
        object.__setattr__(self, "fields", tuple(self.fields))
        if self.steps is not None:
            object.__setattr__(self, "steps", tuple(int(s) for s in self.steps))
            if len(set(self.steps)) != len(self.steps):
                raise ValueError(f"Record: steps must differ from each other, found {self.steps}")

    def __repr__(self) -> str:
        steps = "every step" if self.steps is None else f"steps {words.value(self.steps)}"
        kept = [*self.fields, *([] if self.fn is None else [words.name(self.fn)])]
        return f"Record({steps}: {', '.join(kept) or 'nothing'})"

    def rows(self, grid: Grid) -> tuple[int, ...]:
        """The recorded step of each row. Raises ValueError for a step that the grid does not have."""
        if self.steps is None:
            return tuple(range(grid.steps))
        wrong = [s for s in self.steps if not 0 <= s < grid.steps]
        if wrong:
            raise ValueError(f"Record: steps {wrong} are out of range, the grid has steps 0 to {grid.steps - 1}")
        return self.steps


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Trajectory:
    """What happened in a run. A pytree: it may be vmapped, sharded, mapped and differentiated.

    A run of S steps that keeps K of them (S by default) has K rows in every recorded field. Only when every step is
    kept does `x` have one row more, S + 1: the last row is the final state, so that `x[s]` and `x[s + 1]` are the two
    ends of step `s`. Fields that were not recorded are None.

    Attributes:
        sigma: `[S + 1]` noise levels of the whole grid.
        time: `[S]` times shown to the network.
        final: the state after the last step, `[...]`; always there.
        x: the state the network saw (after an edit), `[S + 1, ...]`, or `[K, ...]` for chosen steps.
        v, x0: velocity and data estimate `x - sigma v` at that state, `[K, ...]`.
        next: the state that the step led to, before the next step's edit, `[K, ...]`.
        taps: `{name: [K, ...]}`; steps of a phase whose velocity has no such tap hold NaN (0 for integers).
        stats: the results of `Record.fn`, each with K rows.
        log_prob: `[K]` log-density of each step's outcome, mean over elements (see `sde`).
        mean, std, noise: of a stochastic step, `[K, ...]`, `[K]`, `[K, ...]`: `next = mean + std * noise`.
        corrected: UniPC's corrected state, `[K, ...]`.
        grid, solver, record, edited: how the run was made (static).
    """

    sigma: Any
    time: Any
    final: Any
    x: Any = None
    v: Any = None
    x0: Any = None
    next: Any = None
    taps: Any = dataclasses.field(default_factory=dict)
    stats: Any = None
    log_prob: Any = None
    mean: Any = None
    std: Any = None
    noise: Any = None
    corrected: Any = None
    grid: Grid = dataclasses.field(default=None, metadata=dict(static=True))  # type: ignore[assignment]
    solver: Solver = dataclasses.field(default=None, metadata=dict(static=True))  # type: ignore[assignment]
    record: Record = dataclasses.field(default=None, metadata=dict(static=True))  # type: ignore[assignment]
    edited: bool = dataclasses.field(default=False, metadata=dict(static=True))

    def __repr__(self) -> str:
        held = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if not f.metadata.get("static")}
        told = [f"{name} {words.value(item)}" for name, item in words.filled(held).items() if name not in LEVELS]
        kept = None if self.record is None else self.record.steps
        run = [] if self.grid is None else [f"{self.grid.steps} steps"]
        run += [] if self.solver is None else [self.solver.name]
        run += [*(["edited"] if self.edited else []), *([] if kept is None else [f"{len(kept)} kept"])]
        return f"Trajectory({'; '.join([', '.join(run), *told])})"

    @property
    def steps(self) -> tuple[int, ...]:
        """The step that each recorded row belongs to."""
        return self.record.rows(self.grid)
