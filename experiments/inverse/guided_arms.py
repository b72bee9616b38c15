"""How every arm draws: methods of `vrjax.inverse.guided` as they are published, and latent samplers through the flow.

A compiled program takes `lanes` draws at once, each with its own observation and key; the problem and the arm's number
are arguments, so that it serves all problems of a group and all settings.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from experiments.inverse import solvable
from experiments.inverse.guided_names import ARMS
from vrjax.flow import Grid, Record, grids
from vrjax.inverse import guided


class Setting(NamedTuple):
    """An arm: its method, its grid, options from the arm's number, and where a draw starts (noise where None)."""

    method: str
    grid: Grid
    options: Callable[[Any], dict[str, Any]] = lambda number: {}
    start: Callable[..., Any] | None = None
    static: bool = False
    """The number is not an argument: each one has a program of its own."""


def _steered(velocity, operator, y, noise):
    return guided.ot_ode_start(operator, y, noise)


def _inverted(velocity, operator, y, noise):
    return guided.d_flow_start(velocity, operator, y, noise)


def _back(velocity, operator, y, noise):
    return guided.pnp_flow_start(operator, y)


HUNDRED, SHORT, MIDPOINT = grids.shifted(100), grids.shifted(28, 4.0), Grid(np.linspace(1.0, 0.0, 11))
NORMALISED = lambda number: {"step": "normalised", "scale": number}
SCALE = lambda number: {"scale": number}
RUNS = {
    "pigdm": Setting("pigdm", HUNDRED, lambda number: {"prior_variance": number}),
    # Of TMPD 1,000 are published, of a stochastic chain; Euler's error is far below the method's.
    "tmpd": Setting("tmpd", HUNDRED),
    "ot_ode": Setting("ot_ode", guided.ot_ode_grid(), start=_steered),
    "ot_ode gamma_t": Setting("ot_ode", guided.ot_ode_grid(), lambda number: {"gamma": "gamma_t"}, _steered),
    "dps": Setting("dps", grids.shifted(1000), SCALE),
    "dps normalised": Setting("dps", HUNDRED, NORMALISED),
    "dps likelihood": Setting("dps", HUNDRED, lambda number: {"step": "likelihood"}),
    "flowdps": Setting("flowdps", SHORT, SCALE),
    "flowdps normalised": Setting("flowdps", SHORT, NORMALISED),
    "flowchef": Setting("flowchef", SHORT, SCALE),
    "flowchef normalised": Setting("flowchef", SHORT, NORMALISED),
    "daps": Setting("daps", guided.daps_grid()),
    "daps of the noise": Setting("daps", guided.daps_grid(), lambda number: {"tau": None, "lr": number}, static=True),
    "smc": Setting("smc", HUNDRED, lambda number: {"twist": number}),
    "pnp_flow": Setting("pnp_flow", HUNDRED, SCALE, _back),
    "pnp_flow normalised": Setting("pnp_flow", HUNDRED, NORMALISED, _back),
    "d_flow": Setting("d_flow", MIDPOINT, start=_inverted),
}


def evaluations(arm: str) -> int:
    """Of the network for a draw, derivatives not counted (and of D-Flow, not those of its line searches)."""
    method, grid = RUNS[arm].method, RUNS[arm].grid
    # A descent asks the whole flow once in each of its 400 iterations.
    return guided.traits(method).evaluations * (400 if method == "d_flow" else grid.steps)


def differentiates(arm: str) -> bool:
    """Whether the network is differentiated."""
    return guided.traits(RUNS[arm].method).network_gradient


def draws(
    arm: str,
    problem: solvable.Problem,
    y: Float[Any, "n m"],
    key: Key[Array, ""],
    number: float,
    *,
    lanes: int,
    particles: int = 1,
) -> tuple[Float[np.ndarray, "n d"], Bool[np.ndarray, " n"]]:
    """One draw given each row of y, and whether the run that gave it was finite.

    Args:
        arm: one of `RUNS`.
        y: observations; of a filter its particles' must be equal and lie together.
        key: split into one of each row.
        number: the arm's, ignored where it has none.
        lanes: rows in a call; the last ones are filled up.
        particles: of a filter, which divides n and `lanes`.
    """
    run = RUNS[arm]
    coupled = guided.traits(run.method).coupled
    group = particles if coupled else 1
    n = len(y)
    if n % group or lanes % group:
        raise ValueError(f"draws: {n} rows and {lanes} lanes must be multiples of {group} particles")
    keys = jax.random.split(key, n)
    found = []
    for begin in range(0, n, lanes):
        at = np.arange(begin, begin + lanes) % n if n >= lanes else np.arange(lanes) % n
        shape = (lanes // group, group)
        rows = np.asarray(y)[at].reshape(*shape, -1), keys[at].reshape(shape)
        own = {"fixed": float(number), "number": None} if run.static else {"fixed": None, "number": jnp.float32(number)}
        x, fine = _call(problem, *rows, arm=arm, **own)
        found.append((np.asarray(x).reshape(lanes, -1), np.asarray(fine).reshape(lanes)))
    x, fine = (np.concatenate(parts)[:n] for parts in zip(*found, strict=True))
    return x, fine


@functools.partial(jax.jit, static_argnames=("arm", "fixed"))
def _call(problem: Any, y: Any, keys: Any, number: Any, *, arm: str, fixed: float | None) -> Any:
    run = RUNS[arm]
    velocity, operator = solvable.velocity(problem.prior), problem.operator
    record = Record((run.grid.steps - 1,), ("next",))

    def one(y, key):
        first, key = jax.random.split(key)
        x = jax.random.normal(first, operator.in_shape)
        x = x if run.start is None else run.start(velocity, operator, y, x)
        options = run.options(number if fixed is None else fixed)
        trajectory = guided.run(
            run.method, velocity, operator, y, problem.noise_std, x, run.grid, key=key, record=record, **options
        )
        stats: Any = trajectory.stats
        return trajectory.final, jnp.all(stats["finite"]) & jnp.all(jnp.isfinite(trajectory.final))

    return jax.vmap(jax.vmap(one, axis_name="seed"))(y, keys)


assert set(RUNS) | {name for name in ARMS if name.startswith("latent ")} == set(ARMS)
