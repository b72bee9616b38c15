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
from vrjax.flow.sampling import sample as sample
from vrjax.flow.solvers.euler import euler as euler
