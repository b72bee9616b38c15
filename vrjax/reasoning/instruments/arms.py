"""One table of ways to spend compute on an answer, run and scored alike: the training-free ensemble among its rivals.

An `Arm` says what is coupled (see `vrjax.reasoning.instruments.ensemble`), in which steps and blocks, from which start,
and what one answer costs; `run` runs any arm on any `Problem` from one seed's noise. Under an axis named "seed" it
returns the trajectory of *this* seed: all M continuations come back, so the seed that continues rotates, arm and single
run are paired on the seed, and no lucky seed is picked. `outcomes` turns the M scored answers of one instance into the
M numbers to average (majority and pass@k live there: they reuse the single runs, see `Arm.program`).

    rows = {}
    for arm in arms(steps=20, layers=6):                                        # 3 seeds, one instance
        rows[arm.name] = over_seeds(lambda key: run(arm, problem, jax.random.normal(key, shape), key).final, keys)
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from vrjax.flow import Grid, Record, Solver, Trajectory, Velocity, euler, sample, words
from vrjax.reasoning.instruments import ensemble, perturb


class Problem(NamedTuple):
    """What an arm is run on: one instance of a task for one model.

    Attributes:
        model: `model(edits={...}) -> velocity` with the conditions closed over, for example
            `functools.partial(dit.velocity, text, image)`. A model without sites may ignore `edits`; such a model
            gives the hidden-mean arms the single run's result.
        grid: number of steps -> Grid.
        solver: of every arm.
    """

    model: Callable[..., Velocity]
    grid: Callable[[int], Grid]
    solver: Solver = euler()

    __repr__ = words.line


COUPLINGS = ("none", "hidden", "x0", "latent", "latent_restored")
SELECTIONS = ("each", "majority", "oracle")


@dataclasses.dataclass(frozen=True)
class Arm:
    """One row of an ensemble table: static, hashable, and plain enough for a results file.

    Attributes:
        name: unique in its table.
        steps: sampler steps.
        members: seeds behind one answer (M).
        couple: one of `COUPLINGS`.
        window: steps (start, stop) that are coupled; one step for the latent couplings.
        blocks: whose residual stream is averaged ("hidden").
        temperature: the initial noise is multiplied by this; 0 starts without noise.
        renoise: steps at which the state is replaced by (1 - sigma) x0_hat + sigma eps with fresh eps.
        select: "each" scores every continuation, "majority" the voted answer, "oracle" whether any member is right.

    Raises:
        ValueError: a value out of range, or one that the coupling does not use.
    """

    name: str
    steps: int
    members: int = 1
    couple: str = "none"
    window: tuple[int, int] = (0, 0)
    blocks: tuple[int, ...] = ()
    temperature: float = 1.0
    renoise: tuple[int, ...] = ()
    select: str = "each"

    def __post_init__(self):
        start, stop = self.window
        where = f"arm {self.name!r}: "
        if self.steps < 1 or self.members < 1:
            raise ValueError(f"{where}expected at least 1 step and 1 member, found {self.steps} and {self.members}")
        if self.couple not in COUPLINGS or self.select not in SELECTIONS:
            found = f"{self.couple!r} and {self.select!r}"
            raise ValueError(f"{where}expected couple of {COUPLINGS} and select of {SELECTIONS}, found {found}")
        if (self.couple == "none") != (start == stop) or not 0 <= start <= stop <= self.steps:
            raise ValueError(f"{where}window {self.window} does not fit couple={self.couple!r} and {self.steps} steps")
        if self.couple.startswith("latent") and stop != start + 1:
            raise ValueError(f"{where}the states are averaged at one step, found window {self.window}")
        if (self.couple == "hidden") != bool(self.blocks):
            raise ValueError(f"{where}blocks {self.blocks} do not fit couple={self.couple!r}")
        if not all(0 <= s < self.steps for s in self.renoise):
            raise ValueError(f"{where}renoise steps {self.renoise} outside 0..{self.steps - 1}")
        if self.renoise and self.couple != "none":
            raise ValueError(f"{where}renoise cannot be combined with couple={self.couple!r}")
        if self.temperature < 0:
            raise ValueError(f"{where}temperature: expected at least 0, found {self.temperature}")

    @property
    def nfe(self) -> int:
        """Network evaluations behind one answer, for a solver that evaluates once per step (double it for Heun).

        M runs up to the end of the coupling, then one continues: M stop + (S - stop). Plain latent averaging needs the
        M runs only up to its step; its restored form evaluates each member once more there, unless it is step 0.
        Majority and oracle need M whole runs; each re-noised step needs its own estimate of x0.
        """
        start, stop = self.window
        shared = {"none": 0, "latent": start, "latent_restored": start}.get(self.couple, stop)
        extra = self.members if self.couple == "latent_restored" and start > 0 else 0
        if self.select != "each":
            return self.members * (self.steps + len(self.renoise))
        return self.members * shared + self.steps - shared + extra + len(self.renoise)

    @property
    def program(self) -> "Arm":
        """The arm without what only concerns scoring: arms with equal programs share their samples."""
        members = 1 if self.couple == "none" else self.members
        return dataclasses.replace(self, name="", select="each", members=members)


def run(
    arm: Arm, problem: Problem, x: Float[Array, "*shape"], key: Any = None, *, record: Record | None = None
) -> Trajectory:
    """Run an arm from this seed's standard normal `x`. Coupled arms must stand under an axis named "seed" of
    `arm.members`.

    Args:
        key: for re-noising arms and stochastic solvers.
        record: what to keep; by default only the final state.

    Raises:
        ValueError: the seed axis has another size than `arm.members`, or a re-noising arm got no key.
    """
    if arm.couple != "none" and (found := lax.axis_size(ensemble.AXIS)) != arm.members:
        raise ValueError(f"arm {arm.name!r} couples {arm.members} members, found an axis of {found} seeds")
    grid = problem.grid(arm.steps)
    plain = velocity = problem.model(edits={})
    edit = None
    if arm.couple == "hidden":
        velocity = ensemble.window(problem.model(edits=ensemble.hidden_mean(arm.blocks)), plain, *arm.window, arm.steps)
    elif arm.couple == "x0":
        velocity = ensemble.window(ensemble.x0_mean(plain), plain, *arm.window, arm.steps)
    elif arm.couple == "latent":
        edit = ensemble.latent_mean(arm.window[0])
    elif arm.couple == "latent_restored":
        edit = ensemble.latent_mean(arm.window[0], restore=plain, grid=grid)
    if arm.renoise:
        marked = np.isin(np.arange(arm.steps), arm.renoise)[:, None] & np.ones(x.shape[0], bool)
        edit = perturb.renoise(jnp.asarray(marked), grid, plain)
    start = x if arm.temperature == 1 else arm.temperature * x
    record = Record(steps=()) if record is None else record
    return sample(velocity, start, grid, solver=problem.solver, key=key, edit=edit, record=record)


def outcomes(arm: Arm, scores: ArrayLike, answers: Sequence[Any] | None = None) -> np.ndarray:
    """The M numbers of one instance whose mean is the arm's result, in the order of the seeds they are paired with.

    Args:
        scores: [M] score of each member's decoded answer.
        answers: the M decoded answers; needed for a majority.

    Returns:
        [M]: the scores themselves ("each"), those of the answers voted for under each rotation ("majority"), or the
        best score M times ("oracle").
    """
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or (arm.select != "each" and len(values) != arm.members):
        raise ValueError(f"scores: expected {arm.members} of them, found shape {values.shape}")
    if arm.select == "each":
        return values
    if arm.select == "oracle":
        return np.full_like(values, values.max())
    if answers is None or len(answers) != len(values):
        found = "none" if answers is None else len(answers)
        raise ValueError(f"answers: a majority needs {len(values)} decoded answers, found {found}")
    return values[np.asarray(ensemble.vote(ensemble.codes(answers)))]


def thirds(layers: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Block numbers of the first, middle and last third of a stack."""
    a, b = round(layers / 3), round(2 * layers / 3)
    return tuple(range(a)), tuple(range(a, b)), tuple(range(b, layers))


def arms(
    steps: int,
    layers: int,
    *,
    members: int = 3,
    early: Sequence[int] = (1, 3, 6),
    mid: Sequence[int] | None = None,
    temperatures: Sequence[float] = (0.3,),
) -> tuple[Arm, ...]:
    """The table of a training-free ensemble study: the method, its rivals at equal compute, and its controls.

    The paper does not say which steps, blocks or formula it used; the default (middle third of the blocks, first steps)
    is this library's reading. Choose among the rows on validation instances only.

    Args:
        steps, layers: of the sampler and the model (at least 3 blocks).
        members: M.
        early: lengths of the coupled windows that start at step 0.
        mid: steps at which to re-noise and to average states; a quarter and half of the run by default.
        temperatures: of the start, beside 1 / sqrt(M) (the temperature that averaging M noises amounts to) and 0.
    """
    if layers < 3 or steps < 2 or members < 2:
        found = f"{steps}, {layers} and {members}"
        raise ValueError(f"arms: expected at least 2 steps, 3 layers and 2 members, found {found}")
    first, middle, last = thirds(layers)
    mid = sorted({max(1, steps // 4), max(1, steps // 2)}) if mid is None else mid
    early = [k for k in early if 0 < k <= steps]
    if not early:
        raise ValueError(f"arms: no window of `early` fits into {steps} steps")
    n = early[0]
    coupled = functools.partial(Arm, steps=steps, members=members)
    hidden = functools.partial(coupled, couple="hidden")
    rows = [Arm("single", steps)]
    rows += [Arm(f"steps {s}", s) for s in sorted({max(1, steps // 4), max(1, steps // 2), members * steps})]
    rows += [hidden(f"hidden mean, middle blocks, first {k}", window=(0, k), blocks=middle) for k in early]
    rows += [
        hidden("hidden mean, middle blocks, all steps", window=(0, steps), blocks=middle),
        hidden(f"hidden mean, first blocks, first {n}", window=(0, n), blocks=first),
        hidden(f"hidden mean, last blocks, first {n}", window=(0, n), blocks=last),
        hidden(f"hidden mean, middle blocks, last {n}", window=(steps - n, steps), blocks=middle),
    ]
    rows += [coupled(f"x0 mean, first {k}", couple="x0", window=(0, k)) for k in early]
    rows.append(coupled("x0 mean, all steps", couple="x0", window=(0, steps)))
    for s in (0, *mid):
        rows.append(coupled(f"latent mean at {s}", couple="latent", window=(s, s + 1)))
        rows.append(coupled(f"latent mean at {s}, variance restored", couple="latent_restored", window=(s, s + 1)))
    rows.append(Arm("temperature 1/sqrt(M)", steps, temperature=members**-0.5))
    rows += [Arm(f"temperature {t:g}", steps, temperature=t) for t in temperatures]
    rows.append(Arm("noise-free start", steps, temperature=0.0))
    rows += [Arm(f"re-noised at {s}", steps, renoise=(s,)) for s in mid]
    rows.append(coupled(f"majority of {members}", select="majority"))
    rows.append(coupled(f"oracle pass@{members}", select="oracle"))
    # Short runs make some rows coincide (all steps = the first n): keep the first of equals.
    unique: dict[Arm, Arm] = {}
    for row in rows:
        unique.setdefault(dataclasses.replace(row, name=""), row)
    return tuple(unique.values())
