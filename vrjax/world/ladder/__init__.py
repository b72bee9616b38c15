"""The survey's ladder of four generations, as twenty checks with controls, and a score card.

    card = world.ladder.run(w, key, quick=True)             # an exact world, against itself
    card = world.ladder.run(learned, key)                   # a learned one, against the world that it was learned from
    card = world.ladder.run(world.adapter.of_task("worlds", "maze"), key)           # a pipeline, against exact films
    card.generation, card["P2"].why, print(card.show())

A generation is reached where each of its checks, and each of those below, passed. A check that needs what a world
lacks is "not applicable", with the reason, and does not pass; "not tested" is one for which the exact world itself had
too little to compare with. All thresholds are starting values. Each check states exact worlds that pass it and worlds
with one fault that fail it, and is held to that by `tests/laws/test_ladder.py`.

| file | what is in it |
| --- | --- |
| `checks` | the checks: F1-F4 faithfulness, I1-I6 interactiveness, P1-P5 planning, S1-S5 stochasticity |
| `facts` | what checks may ask of a kind of exact world: push, grid, drive, films |
| `controls` | exact worlds with one thing wrong |
| `chance` | exact laws by enumeration, ten thousand rollouts, tilted samplers of rare events |
| `conditions` | the survey's table of conditions (in time, independent of content, spatial), computed |
"""

from vrjax.world.ladder import chance as chance
from vrjax.world.ladder import checks as checks
from vrjax.world.ladder import controls as controls
from vrjax.world.ladder import facts as facts
from vrjax.world.ladder._card import Row as Row
from vrjax.world.ladder._card import Scorecard as Scorecard
from vrjax.world.ladder._core import FULL as FULL
from vrjax.world.ladder._core import QUICK as QUICK
from vrjax.world.ladder._core import Check as Check
from vrjax.world.ladder._core import Lacks as Lacks
from vrjax.world.ladder._core import Sizes as Sizes
from vrjax.world.ladder._core import Statistic as Statistic
from vrjax.world.ladder._core import Subject as Subject
from vrjax.world.ladder._core import by_frame as by_frame
from vrjax.world.ladder._core import recode as recode
from vrjax.world.ladder._run import run as run
from vrjax.world.ladder.checks import get as get
from vrjax.world.ladder.checks import names as names
