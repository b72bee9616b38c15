"""A Wan model's run as pure functions: conditions to velocities, experts to phases, noise to a trajectory.

plan = Plan(grid, "unipc", guidance=(4.0, 3.0), boundary=0.875)
run = jax.jit(functools.partial(trajectory, plan=plan))
traj = run(dits, text, negative, given, noise)
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import Array, Float

from vrjax import flow
from vrjax.flow import solvers
from vrjax.models.wan.conditions import Conditions

NONE: Mapping[str, Callable] = {}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is fixed when a run is compiled.

    Attributes:
        grid: noise levels, and the times the network is shown.
        solver: its name, see `vrjax.flow.solvers`.
        guidance: scale of each network, the high-noise expert's first; 1 asks the conditional branch alone.
        boundary: time / 1000 from which on the high-noise expert is asked; None for one network.
    """

    grid: flow.Grid
    solver: str = "unipc"
    guidance: tuple[float, ...] = (5.0,)
    boundary: float | None = None

    def __post_init__(self):
        if len(self.guidance) != (1 if self.boundary is None else 2):
            raise ValueError(f"Plan: guidance {self.guidance} for boundary {self.boundary}, expected one per network")

    @property
    def high_steps(self) -> int:
        """Steps of the high-noise expert (all of them, for one network)."""
        if self.boundary is None:
            return self.grid.steps
        return int((self.grid.times >= 1000.0 * self.boundary).sum())


def phases(
    dits: tuple[Any, ...],
    text: Float[Array, "l d"],
    negative: Float[Array, "l d"] | None,
    given: Conditions,
    plan: Plan,
    *,
    taps: Mapping[str, Callable] = NONE,
    edits: Mapping[str, Callable] = NONE,
) -> tuple[flow.Phase, ...]:
    """The run's phases for `flow.sample`: one network, or the high-noise expert's steps and then the low-noise one's.

    Args:
        dits: one transformer, or the high- and the low-noise expert.
        text, negative: rows of the prompt and the negative prompt; the latter is read only where guidance is not 1.
        given: the pictures' conditions.
        plan: see `Plan`.
        taps, edits: as in a call of the transformer. With guidance, edits act on both branches, taps read the prompt's.

    Raises:
        ValueError: networks or conditions that do not fit the plan or each other.
    """
    if len(dits) != len(plan.guidance):
        raise ValueError(f"phases: {len(dits)} networks and guidance {plan.guidance}, expected one scale per network")

    def velocity(dit, scale):
        if scale == 1:
            v = dit.velocity(text, given.image, taps=taps, edits=edits)
        elif negative is None:
            raise ValueError(f"phases: guidance {scale} needs the rows of a negative prompt")
        else:
            v = dit.guided(text, negative, scale, given.image, taps=taps, edits=edits)
        if given.first is None:
            return v
        if dit.cfg.patch[0] != 1:
            raise ValueError(f"phases: a first frame with patches of {dit.cfg.patch[0]} latent frames, expected 1")
        return flow.clamp_first_frame(v, given.first, tokens_per_frame=1)  # one time per latent frame

    velocities = [velocity(dit, scale) for dit, scale in zip(dits, plan.guidance, strict=True)]
    if plan.boundary is None:
        return (flow.Phase(plan.grid.steps, velocities[0]),)
    return flow.experts(plan.grid, velocities[0], velocities[1], plan.boundary)


def trajectory(
    dits: tuple[Any, ...],
    text: Float[Array, "l d"],
    negative: Float[Array, "l d"] | None,
    given: Conditions,
    noise: Float[Array, "t h w c"],
    *,
    plan: Plan,
    key: Any = None,
    record: flow.Record | None = None,
    edit: Callable | None = None,
    taps: Mapping[str, Callable] = NONE,
    edits: Mapping[str, Callable] = NONE,
) -> flow.Trajectory:
    """One run from noise to data, see `phases` and `vrjax.flow.sample`."""
    layout = dits[0].layout
    x = noise if layout is None else layout.video(noise)
    run = phases(dits, text, negative, given, plan, taps=taps, edits=edits)
    return flow.sample(run, x, plan.grid, solver=solvers.get(plan.solver), key=key, edit=edit, record=record)
