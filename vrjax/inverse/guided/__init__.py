"""Posterior samplers that guide a flow by a measurement: `y = A(x0) + noise_std xi`.

    from vrjax.inverse import guided
    sample(guided.pigdm(velocity, operator, y, noise_std), x, grid, solver=heun())          # a velocity
    sample(velocity, x, grid, solver=guided.dps(operator, y, noise_std), key=key)           # a solver
    guided.daps(velocity, operator, y, noise_std, x, key=key)                               # a sampler
    guided.run("dps", velocity, operator, y, noise_std, x, grid, key=key)                   # any of them by name

| form | methods |
| --- | --- |
| velocity, under any solver | `pigdm`, `ot_ode`, `tmpd` |
| solver | `dps`, `flowdps`, `flowchef` |
| sampler that returns a trajectory | `pnp_flow`, `d_flow`, `daps`, `smc` |

A file of this folder that is named as its method and holds `TRAITS` is a method; nothing is registered. `table()` has
the traits of all: whether a method aims at the posterior or at its mode, and what it needs and costs.

**Conventions.** Everything is for one example, as in `vrjax.flow`: `x = (1 - t) x0 + t n`, v = n - x0. An operator is
anything with `apply(x)`, and for linear methods `adjoint(y)` and `linear` true; `gram_solve(y, r2, noise2)`, which
is `(r2 A A^T + noise2 I)^-1 y`, is used where it exists. `operator.apply` must be differentiable by JAX.

**Defaults are the published settings**, each named in its method's docstring. They were tuned for images; in other
problems their steps may be far too long or too short. Hence:

**The normalised step.** With `step="normalised"`, `dps`, `flowdps`, `flowchef` and `pnp_flow` move their data estimate
x0_hat by the share `scale` of the exact Gaussian correction along their own gradient d: by `scale a d`, where a is the
number that minimises `|y - A (x0_hat + a d)|^2 / (2 noise_std^2) + |a d|^2 / (2 r^2)`, A linearised at x0_hat and
`r^2 = t^2 / (t^2 + (1 - t)^2)`, the variance of x0 given x for data of unit variance. With one observed entry and
`d = A^T (y - A x0_hat)`, share 1 is the posterior mean of N(x0_hat, r^2 I). The step has no unit, does not depend on
the length of d, and never overshoots.

**Finiteness** is a flag, never a replaced number: no method clips or fills. `Record(fn=guided.finite)` records it for a
velocity or a solver, `guided.watch(operator, y)` the residual as well; samplers and `run` have it in
`trajectory.stats["finite"]`. From the first step on at which anything that the method computed was not finite it is
False, even where the state still is: no such run is a draw.
"""

from typing import Any

from jax.typing import ArrayLike
from jaxtyping import Array, Float

from vrjax import flow
from vrjax.files import named
from vrjax.flow.core import Grid, Record, Solver, Trajectory, Velocity
from vrjax.inverse.guided._method import Traits as Traits
from vrjax.inverse.guided._method import finite as finite
from vrjax.inverse.guided._method import keeping
from vrjax.inverse.guided._method import watch as watch
from vrjax.inverse.guided.d_flow import d_flow as d_flow
from vrjax.inverse.guided.d_flow import d_flow_start as d_flow_start
from vrjax.inverse.guided.daps import daps as daps
from vrjax.inverse.guided.daps import daps_grid as daps_grid
from vrjax.inverse.guided.dps import dps as dps
from vrjax.inverse.guided.flowchef import flowchef as flowchef
from vrjax.inverse.guided.flowdps import flowdps as flowdps
from vrjax.inverse.guided.ot_ode import ot_ode as ot_ode
from vrjax.inverse.guided.ot_ode import ot_ode_grid as ot_ode_grid
from vrjax.inverse.guided.ot_ode import ot_ode_start as ot_ode_start
from vrjax.inverse.guided.pigdm import pigdm as pigdm
from vrjax.inverse.guided.pnp_flow import pnp_flow as pnp_flow
from vrjax.inverse.guided.pnp_flow import pnp_flow_start as pnp_flow_start
from vrjax.inverse.guided.smc import smc as smc
from vrjax.inverse.guided.tmpd import tmpd as tmpd

WHAT = "guided method"


def names() -> tuple[str, ...]:
    """The methods that exist."""
    return named.names(__name__)


def get(name: str) -> Any:
    """The method called `name`: a maker of velocities or of solvers, or a sampler, as `traits(name).form` says.

    Raises:
        ValueError: there is none of that name.
    """
    return getattr(named.module(__name__, name, WHAT), name)


def traits(name: str) -> Traits:
    """What a study has to know of a method.

    Raises:
        ValueError: there is none of that name.
    """
    return named.module(__name__, name, WHAT).TRAITS


def table() -> dict[str, Traits]:
    """The traits of every method, by name."""
    return {name: traits(name) for name in names()}


def run(
    name: str,
    velocity: Velocity,
    operator: Any,
    y: ArrayLike,
    noise_std: ArrayLike,
    x: Float[Array, "..."],
    grid: Grid,
    *,
    key: Any,
    solver: Solver | None = None,
    record: Record | None = None,
    **options: Any,
) -> Trajectory:
    """Any method by its name, whatever its form.

    Args:
        name: of the method.
        velocity: of the prior.
        operator, y, noise_std: the problem, see the method.
        x: the state at the grid's first level (for `pnp_flow` the first estimate, for `d_flow` the first latent).
        grid: noise levels.
        key: of the method's noise, and of a stochastic `solver`.
        solver: for a velocity, Euler by default; no other form takes one.
        record: what to keep.
        options: the method's own.

    Returns:
        A trajectory with `stats["finite"]`; what `record.fn` gives is under "record".

    Raises:
        ValueError: an unknown name, a solver for a method that is one, and as the method.
    """
    method, form = get(name), traits(name).form
    if solver is not None and form != "velocity":
        raise ValueError(f"run: {name} is a {form} of its own, found solver={solver!r}")
    if form == "sampler":
        return method(velocity, operator, y, noise_std, x, grid, key=key, record=record, **options)
    kept = keeping(record, lambda snapshot: {"finite": finite(snapshot)})
    if form == "solver":
        made = method(operator, y, noise_std, **options)
        return flow.sample(velocity, x, grid, solver=made, key=key, record=kept)
    guided = method(velocity, operator, y, noise_std, **options)
    return flow.sample(guided, x, grid, solver=solver, key=key, record=kept)
