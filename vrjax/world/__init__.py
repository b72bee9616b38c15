"""Worlds that one can step into, look at, and plan through: `encode`, `step`, `render`.

    from vrjax import world
    w = world.exact.get("push")
    state = w.make(key)
    final, history = world.rollout(w, state, actions, key, record=("decoded", "frames"))     # actions (t, 2)
    found = world.plan(w, state, push.cost, key, "gradient+cem", horizon=20, candidates=64, iterations=8)

A new exact world or planner is one file, held to the laws of `tests/laws/test_worlds.py`.

| module | what is in it |
| --- | --- |
| `protocol` | what a world is; its inputs: actions, trajectories, instructions |
| `rollouts` | `rollout`: one scan of steps, and what is recorded on the way |
| `exact` | worlds whose rules are known: push, grid, drive |
| `learned` | worlds that a causal network has learned from those, and their training |
| `adapter` | any text- or image-to-video pipeline as a world whose step is a clip |
| `planning` | `plan` and `control` by CEM, MPPI, gradients, and both together |
| `ladder` | twenty checks of four generations, their controls, and the score card |
| `play` | driving two worlds side by side, by hand, on a page of this machine |
| `spread` | whether a world's chance is the exact one's: coverage, CRPS, ranks under an exact law |
| `settling` | along the denoising steps of a frame: where things are, and how they look given where they are |
"""

from vrjax.files import named
from vrjax.world import exact as exact
from vrjax.world import ladder as ladder
from vrjax.world import learned as learned
from vrjax.world import planning as planning
from vrjax.world import settling as settling
from vrjax.world import spread as spread
from vrjax.world.planning import Controlled as Controlled
from vrjax.world.planning import Planned as Planned
from vrjax.world.planning import control as control
from vrjax.world.planning import plan as plan
from vrjax.world.protocol import Instruction as Instruction
from vrjax.world.protocol import Space as Space
from vrjax.world.protocol import Waypoint as Waypoint
from vrjax.world.protocol import World as World
from vrjax.world.protocol import follow as follow
from vrjax.world.protocol import kind as kind
from vrjax.world.protocol import repeat as repeat
from vrjax.world.protocol import step_key as step_key
from vrjax.world.rollouts import History as History
from vrjax.world.rollouts import rollout as rollout

__getattr__, __dir__ = named.lazy(__name__)
