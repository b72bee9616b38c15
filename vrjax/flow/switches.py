"""Combinators that choose a velocity by noise level, inside the running program.

Where the choice can be made by step number, `Phase` makes it before anything is compiled; `experts` writes those
phases. The ones here branch with `lax.cond`: one program holds both, and only the chosen one runs.
"""

import jax
import numpy as np
from jax import lax

from vrjax.flow.core import Grid, Level, Phase, Prediction, Velocity, as_prediction


def interval(guided: Velocity, plain: Velocity, low: float, high: float) -> Velocity:
    """Guidance in a limited interval (Kynkäänniemi et al. 2024): `guided` where `low < sigma <= high`, else `plain`."""
    if not low < high:
        raise ValueError(f"interval: low must lie below high, found {low} and {high}")

    def velocity(x, level: Level) -> Prediction:
        return _choose("interval", (level.sigma > low) & (level.sigma <= high), guided, plain, x, level)

    return velocity


def switch(high: Velocity, low: Velocity, boundary: float) -> Velocity:
    """Two experts split by noise level, as in Wan 2.2: `high` where `time >= 1000 boundary`, else `low`.

    The boundary is compared with the time that the network is shown, as Wan's code does, not with sigma.
    """

    def velocity(x, level: Level) -> Prediction:
        return _choose("switch", level.time >= 1000.0 * boundary, high, low, x, level)

    return velocity


def experts(grid: Grid, high: Velocity, low: Velocity, boundary: float) -> tuple[Phase, ...]:
    """The same split as `switch`, as phases: `high` for the steps whose time is at least `1000 boundary`."""
    stop = int(np.sum(grid.times >= 1000.0 * boundary))
    if np.any(grid.times[:stop] < 1000.0 * boundary):
        raise ValueError(f"experts: times must fall, found {grid.times}")
    phases = (Phase(stop, high), Phase(grid.steps, low))
    return phases[1:] if stop == 0 else phases[:1] if stop == grid.steps else phases


def _choose(name: str, first, a: Velocity, b: Velocity, x, level: Level) -> Prediction:
    branches = [lambda v=v: as_prediction(v(x, level)) for v in (a, b)]
    shapes = [jax.tree.map(lambda s: (s.shape, s.dtype), jax.eval_shape(branch)) for branch in branches]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"{name}: both velocities must return equal shapes and taps, found {shapes[0]} and {shapes[1]}"
        )
    return lax.cond(first, *branches)
