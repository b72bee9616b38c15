"""The mathematics of sampling: velocities, noise grids, solvers, and the trajectory of a run. Knows no model."""

from vrjax.flow import grids as grids
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
from vrjax.flow.sampling import sample as sample
from vrjax.flow.solvers.dpmpp_2m import dpmpp_2m as dpmpp_2m
from vrjax.flow.solvers.euler import euler as euler
from vrjax.flow.solvers.heun import heun as heun
from vrjax.flow.solvers.sde import sde as sde
from vrjax.flow.solvers.unipc import unipc as unipc
