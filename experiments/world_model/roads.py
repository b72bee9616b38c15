"""MiniDrive: planning within a second through learned driving worlds, the exact one, and none. Descriptive.

    python -m experiments.world_model.roads drive runs/world-drive-1/world        # the shipped world, and another seed
    python -m experiments.world_model.roads drive --write                         # and into roads.md

A planner sees what the front camera shows before every plan, plans a second ahead to keep the lane at a speed, and acts
in the exact world; ten steps of 0.1 s. See `driving`.
"""

import functools
import sys
from typing import Any

import jax
import numpy as np

from experiments.world_model import beside, driving, names
from experiments.world_model.config import Driving
from vrjax.world.learned.world import Learned

KEPT, ASIDE = "kept", "aside"


def measured(w: Learned, count: int, key: Any) -> dict[str, dict[str, float]]:
    """By arm the share of drives that stayed in lane and hit nothing, and the mean distance from the middle in m.

    Raises:
        ValueError: a world of something else than MiniDrive, or one that does not decode what the cost is made of.
    """
    if w.spec.world != "drive":
        raise ValueError(f"roads: {w.name} was learned from {w.spec.world}, expected one that was learned from drive")
    home: Any = w.spec.home
    out: dict[str, dict[str, float]] = {}
    for arm, model in ((names.EXACT, None), (driving.LEARNED, w), (driving.STRAIGHT, None)):
        run = driving.program(Driving(), idle=arm == driving.STRAIGHT)
        each = jax.jit(lambda both, keys, run=run: jax.lax.map(lambda key: run(both, {"key": key}), keys))
        found = each((home, model), jax.random.split(key, count))
        out[arm] = {KEPT: float(np.mean(found["ok"])), ASIDE: float(np.mean(found["aside"]))}
    return out


SAYS = beside.Beside(
    name="roads",
    text=__doc__,
    title="MiniDrive, planning within a second",
    said="{count} drives of "
    f"{Driving().steps} steps of 0.1 s; {Driving().search.candidates} candidates, "
    f"{Driving().search.iterations} iterations, horizon {Driving().search.horizon}, a plan for every step.",
    columns={KEPT: "stayed in lane and hit nothing", ASIDE: "m beside the middle"},
    measure=measured,
    count=50,
    key=4243,
)
main = functools.partial(beside.main, SAYS)

if __name__ == "__main__":
    sys.exit(main())
