"""MiniDrive: planning within a second through learned driving worlds, the exact one, and none. Descriptive.

    python -m experiments.world_model.roads drive runs/world-drive-1/world        # the shipped world, and another seed
    python -m experiments.world_model.roads drive --write                         # and into roads.md

A planner sees what the front camera shows before every plan, plans a second ahead to keep the lane at a speed, and acts
in the exact world; ten steps of 0.1 s. A drive succeeds where the ego stays within `KEPT` of the middle of its route,
on the road, and hits nothing.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.world_model import beside, names
from experiments.world_model.config import Search
from vrjax import world
from vrjax.world.exact import drive
from vrjax.world.exact.drive import KEPT
from vrjax.world.learned.world import Learned

LEARNED, STRAIGHT = "learned world", "no action"
SUCCESS, ASIDE = "kept", "aside"
NEEDED = ("ego", "route_left", "on_road", "hit_actors", "hit_static")
"""What `drive.cost` reads."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Driving:
    """Of one drive: steps of 0.1 s, the micro scale, and its planner."""

    steps: int = 10
    search: Search = Search(horizon=10)


def check(model: Any) -> None:
    """Raises ValueError where a world does not decode what the cost is made of."""
    decoded = jax.eval_shape(lambda: model.decode(model.make(jax.random.key(0))))
    if lacking := [name for name in NEEDED if name not in decoded]:
        raise ValueError(f"world_model: {model.name} decodes no {', '.join(lacking)}, which the cost of driving reads")


def program(spec: Driving, *, idle: bool = False) -> Callable[[Any, Any], Any]:
    """`((home, model), key) -> {ok, aside}`; a model of None is the exact world, `idle` does nothing at all."""

    def one(both: Any, key: Any) -> Any:
        home, model = both
        layout, acting = jax.random.split(key)
        state = home.make(layout)
        if idle:
            acts = jnp.zeros((spec.steps, *home.inputs["action"].shape))
            decoded = world.rollout(home, state, acts, acting)[1].decoded
        else:
            how: dict[str, Any] = {"steps": spec.steps, **spec.search.options}
            if model is not None:
                check(model)
                how |= {"model": model, "see": lambda now, key: model.encode(home.render(now))}
            found = world.control(home, state, drive.cost, acting, **how)
            decoded = jax.vmap(home.decode)(found.states)
        aside = jnp.abs(decoded["route_left"])
        hit = jnp.any(decoded["hit_actors"], -1) | jnp.any(decoded["hit_static"], -1)
        return {"ok": jnp.all((aside < KEPT) & decoded["on_road"] & ~hit), "aside": aside}

    return one


def measured(w: Learned, count: int, key: Any) -> dict[str, dict[str, float]]:
    """By arm the share of drives that stayed in lane and hit nothing, and the mean distance from the middle in m.

    Raises:
        ValueError: a world of something else than MiniDrive, or one that does not decode what the cost is made of.
    """
    if w.spec.world != "drive":
        raise ValueError(f"roads: {w.name} was learned from {w.spec.world}, expected one that was learned from drive")
    home: Any = w.spec.home
    out: dict[str, dict[str, float]] = {}
    for arm, model in ((names.EXACT, None), (LEARNED, w), (STRAIGHT, None)):
        run = program(Driving(), idle=arm == STRAIGHT)
        each = jax.jit(lambda both, keys, run=run: jax.lax.map(lambda key: run(both, key), keys))
        found = each((home, model), jax.random.split(key, count))
        out[arm] = {SUCCESS: float(np.mean(found["ok"])), ASIDE: float(np.mean(found["aside"]))}
    return out


SAYS = beside.Beside(
    name="roads",
    text=__doc__,
    title="MiniDrive, planning within a second",
    said="{count} drives of "
    f"{Driving().steps} steps of 0.1 s; {Driving().search.candidates} candidates, "
    f"{Driving().search.iterations} iterations, horizon {Driving().search.horizon}, a plan for every step.",
    columns={SUCCESS: "stayed in lane and hit nothing", ASIDE: "m beside the middle"},
    measure=measured,
    count=50,
    key=4243,
)
main = functools.partial(beside.main, SAYS)

if __name__ == "__main__":
    sys.exit(main())
