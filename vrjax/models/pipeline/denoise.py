"""A model's run as pure functions: conditions to velocities, experts to phases, noise to a trajectory, seeds together.

    recipe = Recipe(grid, "unipc", guidance=(4.0, 3.0), boundary=0.875)
    traj = jax.jit(run(recipe))(dits, Inputs({"text": text}, {"text": negative}), noise, seeds)

Networks are of any family (`vrjax.models.family`), conditions a dict of arrays by the family's names. Whoever samples
(`Pipeline.sample`, the command line, evaluation, rollouts) compiles `run`, so that an edit or a tap may use collectives
over the axis "seed" everywhere.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from vrjax import flow, parallel
from vrjax.flow import draws, solvers, words
from vrjax.models import family
from vrjax.models.settings import Recipe

NONE: Mapping[str, Callable] = {}


class Inputs(NamedTuple):
    """What a run is given besides noise.

    Attributes:
        given: conditions by name, such as `text` (l, d) and `image`, see `vrjax.models.family`.
        negative: those that differ in guidance's other branch; None where there is no guidance.
        first: (h, w, z), the clean first latent frame that is imposed at every step, or None.
    """

    given: Mapping[str, Any]
    negative: Mapping[str, Any] | None = None
    first: Any = None

    __repr__ = words.line


def phases(
    dits: tuple[Any, ...],
    inputs: Inputs,
    recipe: Recipe,
    *,
    taps: Mapping[str, Callable] = NONE,
    edits: Mapping[str, Callable] = NONE,
) -> tuple[flow.Phase, ...]:
    """The run's phases for `flow.sample`: one network, or the high-noise expert's steps and then the low-noise one's.

    Args:
        dits: one network, or the high- and the low-noise expert.
        inputs: of one example.
        recipe: see `Recipe`.
        taps, edits: as in a call of the network. With guidance, edits act on both branches, taps read the prompt's.

    Raises:
        ValueError: networks or conditions that do not fit the recipe or each other.
    """
    if not len(dits) == len(recipe.guidance) == (1 if recipe.boundary is None else 2):
        found = f"{len(dits)} networks and guidance {recipe.guidance} for boundary {recipe.boundary}"
        raise ValueError(f"phases: {found}, expected one scale per network, and a boundary between two")

    def velocity(dit, scale):
        of = family.of(dit.cfg)
        if scale == 1:
            v = of.velocity(dit, inputs.given, taps=taps, edits=edits)
        elif inputs.negative is None:
            raise ValueError(f"phases: guidance {scale} needs the rows of a negative prompt")
        else:
            v = of.guided(dit, inputs.given, inputs.negative, scale, taps=taps, edits=edits)
        if inputs.first is None:
            return v
        if dit.cfg.patch[0] != 1:
            raise ValueError(f"phases: a first frame with patches of {dit.cfg.patch[0]} latent frames, expected 1")
        return flow.clamp_first_frame(v, inputs.first, tokens_per_frame=1)  # one time per latent frame

    velocities = [velocity(dit, scale) for dit, scale in zip(dits, recipe.guidance, strict=True)]
    if recipe.boundary is None:
        return (flow.Phase(recipe.grid.steps, velocities[0]),)
    return flow.experts(recipe.grid, velocities[0], velocities[1], recipe.boundary)


def run(
    recipe: Recipe,
    *,
    record: flow.Record | Callable[[Any], flow.Record] | None = None,
    edit: Callable | None = None,
    taps: Mapping[str, Callable] = NONE,
    edits: Mapping[str, Callable] = NONE,
) -> Callable[..., flow.Trajectory]:
    """`(dits, inputs, noise (n, ...), seeds (n,), resume=None) -> Trajectory`: n seeds of one example, to be compiled.

    With `resume`, the first step and the solver's state of each seed, `noise` is the state there, see `flow.sample`.

    Seeds are mapped under the axis name "seed", on one device and on the mesh of `dits[0].layout`. Many examples are
    `parallel.batch(layout, functools.partial(run(recipe), dits))(inputs, noise, seeds)`.

    Args:
        recipe: see `Recipe`.
        record, edit: see `vrjax.flow.sample`. A function of the seed may make the record.
        taps, edits: see `phases`.
    """
    solver = solvers.get(recipe.solver)

    def together(dits, inputs, noise, seeds, resume=None):
        layout = dits[0].layout
        first, states = (None, None) if resume is None else resume

        def one(noise, seed, state):
            key = jax.random.fold_in(draws.key(seed), 1) if solver.stochastic or edit is not None else None
            x = noise if layout is None else layout.video(noise)
            steps = phases(dits, inputs, recipe, taps=taps, edits=edits)
            keep = record(seed) if callable(record) else record
            if layout is not None:
                state = jax.tree.map(lambda a: layout.video(a) if a.shape == x.shape else a, state)
            begin = None if resume is None else (first, state)
            return flow.sample(steps, x, recipe.grid, solver=solver, key=key, edit=edit, record=keep, resume=begin)

        return parallel.batch(layout, one, axis_name="seed")(noise, seeds, states)

    return together
