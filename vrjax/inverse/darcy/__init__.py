"""Recover the permeability of a plate from the pressure at 36 sensors: an elliptic inverse problem, not linear.

    p = darcy.solve(u)                          # log-permeability (n, n) -> pressure (n, n)
    y = darcy.observe(p, darcy.sensors())
    problem = darcy.problem(key, truth, n=32)   # data from a finer grid, or a ValueError

| room | what is in it |
| --- | --- |
| elliptic | the equation on a grid, its residual, sensors |
| problem | the map to the sensors as an operator, data without the inverse crime |
| priors | random fields as exact maps of white noise: two layers, and two Gaussian ones |
"""

from vrjax.inverse.darcy.elliptic import observe as observe
from vrjax.inverse.darcy.elliptic import residual as residual
from vrjax.inverse.darcy.elliptic import sensors as sensors
from vrjax.inverse.darcy.elliptic import solve as solve
from vrjax.inverse.darcy.priors import matern as matern
from vrjax.inverse.darcy.priors import prior as prior
from vrjax.inverse.darcy.priors import varying as varying
from vrjax.inverse.darcy.problem import Problem as Problem
from vrjax.inverse.darcy.problem import coarsen as coarsen
from vrjax.inverse.darcy.problem import operator as operator
from vrjax.inverse.darcy.problem import problem as problem
