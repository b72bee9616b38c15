"""Disturbing a run: noise at chosen (step, frame) cells, level-matched re-noising, state transplants; and sweeps.

Every disturbance here is an *edit* for `vrjax.flow.sample`: `edit(step, x, key) -> x`, applied to the state before
the network sees it, with `step` traced. *Where* it acts is a boolean table from `vrjax.reasoning.instruments.cells`;
*what* it does is one of

| edit | state at the cell becomes | network evaluations it adds |
| --- | --- | --- |
| `replace(cells)` | N(0, I), the paper's protocol | 0 |
| `renoise(cells, grid, clean.x0)` | (1 - sigma) x0_hat + sigma eps | 0 (x0_hat was recorded by the clean run) |
| `renoise(cells, grid, velocity)` | the same | one per disturbed step |
| `transplant(cells, donor.x)` | the donor's state at that step | 0 |

Replacing late in sampling throws the state off the distribution the network knows; `renoise` keeps its noise level,
and so measures what the network still has to decide. It needs the estimate x0_hat of the very state it changes. The
run is deterministic and untouched before the first disturbed step, so there the estimate is the one the clean run
recorded: `clean.x0[step]`, free and exact. With several disturbed steps the later ones need the disturbed run's own
estimate: pass the velocity. That evaluation sits in a `lax.cond`; under `vmap` over sites a cond runs both branches,
so such sweeps should use `sweep(..., how="map")`.

Disturb runs of solvers that carry their state forward: Euler (what the paper's code uses), Heun, DPM-Solver++, the
stochastic ones, `unipc(corrector=False)`. UniPC's corrector takes the last step again from its own remembered state, so
what an edit wrote reaches later steps only through the one prediction the network made on it.

A disturbed run repeats the clean one up to the disturbed step. `replay(velocity, clean, grid, start)` feeds the
recorded predictions to the solver there instead of calling the network: for sweeps over steps it halves the
evaluations, with one program and static shapes (real branches under how="map"; under vmap it computes everything
anyway).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vrjax.flow import Grid, Level, Prediction, Trajectory, Velocity
from vrjax.reasoning.instruments.cells import Cells

Edit = Callable[[Array | int, Array, Array | None], Array]


def _select(cells: Cells, step: Array | int, new: Array, x: Array) -> Array:
    """`new` on the frames (axis 0 of x) marked at this step, x elsewhere, bit for bit."""
    row = cells[step]
    return jnp.where(row.reshape(-1, *[1] * (x.ndim - 1)), new.astype(x.dtype), x)


def _noise(key: Array | None, x: Array) -> Array:
    if key is None:
        raise ValueError("this edit draws noise: give sample(..., key=...), found key=None")
    return jax.random.normal(key, x.shape, x.dtype)


def replace(cells: Cells) -> Edit:
    """Pure noise at the cells: x <- N(0, I), whatever the level of the step."""
    return lambda step, x, key: _select(cells, step, _noise(key, x), x)


def renoise(cells: Cells, grid: Grid, estimate: Float[Array, "estimates t *rest"] | Velocity) -> Edit:
    """Level-matched re-noising: x <- (1 - sigma) x0_hat + sigma eps at the cells, with fresh eps.

    Args:
        estimate: where x0_hat comes from. An array [S, t, ...]: the clean run's recorded `clean.x0`, exact at the first
            disturbed step of the run (one-step sweeps are all of that kind). A velocity: x0_hat of the state as it is,
            exact everywhere, one more evaluation at each step that has a cell.

    Raises:
        ValueError: the table, the grid and the recorded estimates differ in their number of steps.
    """
    steps = grid.steps if callable(estimate) else estimate.shape[0]
    if not cells.shape[0] == grid.steps == steps:
        raise ValueError(
            f"need one row per step of the grid, {grid.steps}; found {cells.shape[0]} rows of cells"
            + ("" if callable(estimate) else f" and {steps} estimates")
        )
    sigmas, times = jnp.asarray(grid.sigmas, jnp.float32), jnp.asarray(grid.times, jnp.float32)

    def of_the_record(step: Array | int, x: Array) -> Array:
        return estimate[step]  # type: ignore[index]

    def of_the_state(step: Array | int, x: Array) -> Array:
        def evaluate(x):
            out = estimate(x, Level(sigmas[step], times[step]))  # type: ignore[operator]
            return x - sigmas[step].astype(x.dtype) * (out.v if isinstance(out, Prediction) else out).astype(x.dtype)

        return jax.lax.cond(cells[step].any(), evaluate, lambda x: x, x)

    x0_hat = of_the_state if callable(estimate) else of_the_record

    def edit(step: Array | int, x: Array, key: Array | None) -> Array:
        sigma = sigmas[step].astype(x.dtype)
        return _select(cells, step, (1.0 - sigma) * x0_hat(step, x) + sigma * _noise(key, x), x)

    return edit


def transplant(cells: Cells, states: Float[Array, "states t *rest"]) -> Edit:
    """The donor's state at the cells: x <- states[step]; `states` is the recorded `donor.x` on the same grid."""
    return lambda step, x, key: _select(cells, step, states[step], x)


def replay(velocity: Velocity, clean: Trajectory, grid: Grid, start: Int[Array, ""] | int) -> Velocity:
    """A velocity that answers from the record of `clean` before step `start`, and calls `velocity` from there on.

    Give it to `sample` with the clean run's own initial state, grid, solver (and key, if that is stochastic): the
    solver, its multistep history included, passes through exactly the clean states and reaches step `start` without a
    network call. `start` may be traced; undisturbed, the run equals the clean one. The solver must evaluate once per
    step, at the grid's own levels (Euler, UniPC, DPM-Solver++, the stochastic ones; not Heun).

    Args:
        clean: recorded at every step with `v`. Its taps are repeated before `start`; taps it did not keep are dropped.

    Raises:
        ValueError: `clean` does not hold a prediction for every step.
    """
    if clean.v is None or clean.v.shape[0] != grid.steps:
        found = "none" if clean.v is None else str(clean.v.shape[0])
        raise ValueError(f"replay needs the predictions v of all {grid.steps} steps, found {found}")
    recorded, kept, sigmas = clean.v, clean.taps or {}, jnp.asarray(grid.sigmas[:-1], jnp.float32)

    def replayed(x: Array, level: Level) -> Prediction:
        step = jnp.argmin(jnp.abs(sigmas - level.sigma))

        def remember(x):
            return Prediction(recorded[step].astype(x.dtype), jax.tree.map(lambda a: a[step], kept))

        def evaluate(x):
            out = velocity(x, level)
            out = out if isinstance(out, Prediction) else Prediction(out, {})
            return Prediction(out.v, {name: out.taps[name] for name in kept})

        return jax.lax.cond(step < start, remember, evaluate, x)

    return replayed


def sweep(run: Callable[[Any], Any], sites: Any, *, how: str = "vmap", group: int | None = None) -> Any:
    """All sites of a disturbance through one compiled program: `run(site)` for every entry of the leading axis.

    Args:
        run: site -> any pytree; typically samples with an edit built from the site and returns the few numbers that
            matter (`cka.divergence`, `traj.final`), because everything returned is stored for every site.
        sites: a pytree with a leading axis: step numbers, tables of cells [n, S, F], keys, donors.
        how: "vmap" computes all sites side by side (accelerators); "map" one after another, or `group` at a time
            (CPU, and wherever memory is short). Branches that skip work (`replay`, `renoise` with a velocity) only
            skip in "map" with no group. Both give the same numbers up to rounding, whatever `group`.

    Raises:
        ValueError: unknown `how`, no sites, or leading axes that differ.
    """
    leaves = jax.tree.leaves(sites)
    sizes = {jnp.shape(leaf)[:1] for leaf in leaves}
    if len(sizes) != 1 or sizes <= {(), (0,)}:
        raise ValueError(
            f"sites needs one common, non-empty leading axis, found shapes {[jnp.shape(a) for a in leaves]}"
        )
    if how == "vmap":
        return jax.vmap(run)(sites)
    if how != "map":
        raise ValueError(f"how must be 'vmap' or 'map', found {how!r}")
    return jax.lax.map(run, sites, batch_size=group)
