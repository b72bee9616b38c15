"""MiniDrive, descriptive: planning within a second through a learned driving world, beside the exact one and no plan.

Worlds are not trained here: their folders are named in the config, one a seed, and read by `learned.load`. A planner
keeps the car in its lane at a speed; an episode succeeds where the ego stays within `KEPT` of the middle of its route,
on the road, and hits nothing. A world that does not decode what the cost is made of is refused.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.world_model import episodes, names
from experiments.world_model.asking import Worlds
from experiments.world_model.config import Driving, WorldModel
from vrjax import world
from vrjax.study.tables import Bench, Tables
from vrjax.world import learned
from vrjax.world.exact import drive
from vrjax.world.exact.drive import KEPT

LEARNED, STRAIGHT = "learned world", "no action"
NEEDED = ("ego", "route_left", "on_road", "hit_actors", "hit_static")
"""What `drive.cost` reads."""


def measure(study: WorldModel, here: Bench, seed: int, trained: Worlds) -> Tables:
    """The table of a seed: by arm (episode,) whether the drive succeeded, and `<arm> aside` (episode, step) in m."""
    del trained  # of the pushing world
    w = learned.load(study.drive.worlds[study.seeds.index(seed)])
    home: Any = w.spec.home

    def make() -> Tables:
        rows = {"key": episodes.keys(study, seed, names.DRIVE, study.drive.episodes)}
        out: Tables = {}
        for arm, given in ((names.EXACT, (home, None)), (LEARNED, (home, w)), (STRAIGHT, (home, None))):
            run = program(study.drive, idle=arm == STRAIGHT)
            found = here.over(run, given, rows, f"seed {seed}: driving, {arm}")
            out |= {arm: np.asarray(found["ok"], bool), f"{arm} aside": np.asarray(found["aside"], np.float32)}
        return out

    return here.part(names.part(seed, names.DRIVE), make, of={"seed": seed, "mark": int(w.mark)})


def check(model: Any) -> None:
    """Raises ValueError where a world does not decode what the cost is made of."""
    decoded = jax.eval_shape(lambda: model.decode(model.make(jax.random.key(0))))
    if lacking := [name for name in NEEDED if name not in decoded]:
        raise ValueError(f"world_model: {model.name} decodes no {', '.join(lacking)}, which the cost of driving reads")


def program(spec: Driving, *, idle: bool = False) -> Callable[[Any, Any], Any]:
    """`((home, model), row) -> {ok, aside}`; a model of None is the exact world, `idle` does nothing at all."""

    def one(both: Any, row: Any) -> Any:
        home, model = both
        layout, acting = jax.random.split(row["key"])
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
