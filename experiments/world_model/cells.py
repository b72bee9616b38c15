"""The key-and-door grid: does planning through a learned one get as far as through the exact one? Descriptive.

    python -m experiments.world_model.cells runs/world-grid/world runs/world-grid-1/world          # one a training seed
    python -m experiments.world_model.cells runs/world-grid/world --write                          # and into cells.md

A planner sees the exact world's frame before every action, plans a few steps through the world under test, and acts in
the exact one. Its cost is how many steps are left from where the agent comes to, by the exact map; what the world under
test must know is where that is, and who holds the key. On the meso scale the key is fetched, the task is to reach the
flag: by the key, through the door. Beside a learned world stand the exact one, and the exact one that is shown another
layout, with that one's map.
"""

import functools
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.world_model import beside, names
from experiments.world_model.config import Search
from vrjax import world
from vrjax.world.exact import grid
from vrjax.world.learned.world import Learned

SEARCH = Search(horizon=3, candidates=32, iterations=2, elites=4)
STEPS = {names.MESO: 12, names.TASK: 32}
"""Actions; whether they are enough is what the exact world's row says."""
HELD = 0.5
"""Cells between agent and key, either way, below which the key is held."""


def cost(decoded: Any, left: Any) -> Any:
    """Steps left by a table as `grid.steps_left` makes it, mean over time; places may lie between cells."""
    place = jnp.clip(jnp.round(decoded["agent"]), 0, grid.CELLS - 1).astype(jnp.int32)
    held = jnp.all(jnp.abs(decoded["item"] - decoded["agent"]) < HELD, -1).astype(jnp.int32)
    return jnp.mean(left[held, place[:, 1], place[:, 0]].astype(jnp.float32))


def table(state: grid.State, scale: str) -> Any:
    """How many steps are left: to the key, or to the flag."""
    return grid.steps_left(state._replace(goal=state.key) if scale == names.MESO else state)


def reached(w: Learned, scale: str, arm: str, key: Any) -> Any:
    """Whether it was: the key taken, or the flag reached, at any time.

    Args:
        arm: `names.EXACT`, `names.ELSEWHERE`, or anything else for the learned world.
    """
    home: Any = w.spec.home
    layout, acting, other = jax.random.split(key, 3)
    state, elsewhere = home.make(layout), home.make(other)
    how: dict[str, Any] = {"steps": STEPS[scale], **SEARCH.options}
    shown = elsewhere if arm == names.ELSEWHERE else state
    if arm == names.ELSEWHERE:
        how["see"] = lambda now, key: elsewhere
    elif arm != names.EXACT:
        how |= {"model": w, "see": lambda now, key: w.encode(home.render(now))}
    found = world.control(home, state, cost, acting, args=(table(shown, scale),), **how)
    done = found.states.held if scale == names.MESO else jax.vmap(home.success)(found.states)
    return done.any()


def measured(w: Learned, layouts: int, key: Any) -> dict[str, dict[str, float]]:
    """By arm and scale, the share of layouts.

    Raises:
        ValueError: a world of something else than the grid, or one that does not read agent and item.
    """
    if w.spec.world != "grid" or not {"agent", "item"} <= set(w.spec.names) or w.reader is None:
        raise ValueError(f"cells: {w.name} reads {w.spec.names} of {w.spec.world}, expected agent and item of grid")
    keys = jax.random.split(key, layouts)
    out: dict[str, dict[str, float]] = {}
    for arm in (names.EXACT, w.name, names.ELSEWHERE):
        for scale in STEPS:
            run = jax.jit(jax.vmap(lambda w, k, arm=arm, scale=scale: reached(w, scale, arm, k), (None, 0)))
            out.setdefault(arm, {})[scale] = float(np.mean(run(w, keys)))
    return out


SAYS = beside.Beside(
    name="cells",
    text=__doc__,
    title="Planning in the key-and-door grid",
    said="Shares of {count} layouts; "
    f"{SEARCH.candidates} candidates, {SEARCH.iterations} iterations, horizon {SEARCH.horizon}, a plan for every step.",
    columns={names.MESO: "meso: the key is fetched", names.TASK: "task: the flag is reached"},
    measure=measured,
    count=64,
    key=4242,
)
main = functools.partial(beside.main, SAYS)

if __name__ == "__main__":
    sys.exit(main())
