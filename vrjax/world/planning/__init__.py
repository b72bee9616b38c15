"""Planning through `step`: inputs whose rollout costs little, found by sampling, by gradients, or by both.

    found = world.plan(w, state, cost, key, "gradient+cem", horizon=20, candidates=64, iterations=8)
    found.inputs                    # (20, 2)
    told = world.control(w, state, cost, key, steps=30, horizon=12, candidates=64, iterations=4)

A cost is a pure function of what the world decodes over time, `cost(decoded, *args) -> scalar`. One file a method,
named as the function it holds, which returns a `Method` and says what its options are; nothing is registered.

| method | how |
| --- | --- |
| cem | fits a normal law to the best candidates, again and again |
| mppi | averages candidates by the exponential of their costs |
| gradient | Adam on each candidate, through the model |
| gradient+cem | `cem` whose elites descend by Adam before the law is fitted |

Methods are compared at equal `calls`: one for each step of each candidate, and `BACKWARD` more for a step backward.
"""

from vrjax.world.planning._control import Controlled as Controlled
from vrjax.world.planning._control import control as control
from vrjax.world.planning._core import BACKWARD as BACKWARD
from vrjax.world.planning._core import Judge as Judge
from vrjax.world.planning._core import Method as Method
from vrjax.world.planning._core import Planned as Planned
from vrjax.world.planning._plan import get as get
from vrjax.world.planning._plan import names as names
from vrjax.world.planning._plan import plan as plan
