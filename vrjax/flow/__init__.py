"""The mathematics of sampling: velocities, noise grids, solvers, and the trajectory of a run. Knows no model.

| module | what is in it |
| --- | --- |
| `core` | the nouns: `Level`, `Prediction`, `Grid`, `Solver`, `Phase`, `Record`, `Trajectory` |
| `grids` | noise grids by name |
| `sampling` | `sample`: one scan that walks the grid |
| `solvers` | one file a solver |
| `guidance` | classifier-free guidance and what renormalises it |
| `switches` | velocities chosen by noise level; two experts as phases |
| `draws` | random numbers that a seed alone decides |
| `constraints` | a known first frame |
| `density` | log-probabilities of recorded transitions |
| `varying` | types inside `shard_map` |
| `words`, `mistakes` | records, and what is wrong with a call, in one line |
"""

from vrjax.files import named
from vrjax.flow import grids as grids
from vrjax.flow import solvers as solvers
from vrjax.flow.constraints import clamp_first_frame as clamp_first_frame
from vrjax.flow.core import Grid as Grid
from vrjax.flow.core import Info as Info
from vrjax.flow.core import Level as Level
from vrjax.flow.core import Phase as Phase
from vrjax.flow.core import Prediction as Prediction
from vrjax.flow.core import Record as Record
from vrjax.flow.core import Snapshot as Snapshot
from vrjax.flow.core import Solver as Solver
from vrjax.flow.core import Trajectory as Trajectory
from vrjax.flow.core import Velocity as Velocity
from vrjax.flow.density import log_prob as log_prob
from vrjax.flow.guidance import cfg as cfg
from vrjax.flow.guidance import dual as dual
from vrjax.flow.guidance import keep_norm as keep_norm
from vrjax.flow.guidance import rescale as rescale
from vrjax.flow.sampling import sample as sample
from vrjax.flow.solvers.ab2 import ab2 as ab2
from vrjax.flow.solvers.dpmpp_2m import dpmpp_2m as dpmpp_2m
from vrjax.flow.solvers.euler import euler as euler
from vrjax.flow.solvers.heun import heun as heun
from vrjax.flow.solvers.renoise import renoise as renoise
from vrjax.flow.solvers.sde import sde as sde
from vrjax.flow.solvers.unipc import unipc as unipc
from vrjax.flow.switches import experts as experts
from vrjax.flow.switches import interval as interval
from vrjax.flow.switches import switch as switch

__getattr__, __dir__ = named.lazy(__name__)
