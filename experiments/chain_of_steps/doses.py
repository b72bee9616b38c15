"""The training-free ensemble at every dose, beside a single run and a lower temperature: one program for all arms.

`ensembles` has more arms, each a program of its own; here what is coupled is an argument: which blocks, up to which
noise level, from which temperature. The same numbers come out of `vrjax.reasoning.instruments.arms.run`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.flow import Level, Prediction, Record, grids, sample
from vrjax.models.wan import indexed
from vrjax.reasoning.instruments import arms, ensemble
from vrjax.study.subjects import Subject, Suite
from vrjax.study.tables import Bench, Tables

FIRSTS = (1, 2, 4)  # first steps that are averaged
THIRDS = ("first", "middle", "last")
SINGLE, COOL, ESTIMATES = "single", "temperature 1/sqrt(M)", "x0 mean, all steps"


class Dose(NamedTuple):
    """An arm: the hidden states of some blocks are averaged in the first steps.

    Attributes:
        name: of it, as in `vrjax.reasoning.instruments.arms`.
        blocks: whose residual stream is averaged.
        first: in how many steps, from the first on.
        temperature: the initial noise is multiplied by this.
        estimates: average the clean estimates instead, at all steps.
    """

    name: str
    blocks: tuple[int, ...] = ()
    first: int = 0
    temperature: float = 1.0
    estimates: bool = False


def doses(layers: int, members: int = 3) -> tuple[Dose, ...]:
    """Single, low temperature, the positive control, and the hidden mean at every dose: thirds x `FIRSTS`."""
    rows = [Dose(SINGLE), Dose(COOL, temperature=members**-0.5), Dose(ESTIMATES, estimates=True)]
    for part, blocks in zip(THIRDS, arms.thirds(layers), strict=True):
        rows += [Dose(f"hidden mean, {part} blocks, first {k}", blocks, k) for k in FIRSTS]
    return tuple(rows)


def measure(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float) -> Tables:
    """Runs every arm of `doses` on every instance; the suite has as many noises as an ensemble has members.

    Returns:
        `answer` int8 [arm, N, M] (the seed that continues rotates), `solved` bool, and `arms`, the names.
    """
    grid, blocks, model = grids.shifted(steps, shift=shift), subject.layers, subject.velocity
    rows = doses(blocks, suite.rows["noise"].shape[1])
    # A step is coupled where its noise level is above that of the first step that is not.
    until = [float(grid.sigmas[min(row.first, steps)]) if row.first else 2.0 for row in rows]
    settings = {
        "blocks": jnp.asarray([np.isin(np.arange(blocks), row.blocks) for row in rows]),
        "until": jnp.asarray(until, jnp.float32),
        "temperature": jnp.asarray([row.temperature for row in rows], jnp.float32),
        "estimates": jnp.asarray([row.estimates for row in rows]),
    }

    def one(weights: Any, row: Any) -> Any:
        def run(arm: Any) -> Any:
            def velocity(x: jax.Array, level: Level) -> Prediction:
                coupled = arm["blocks"] & (level.sigma > arm["until"])
                average = lambda h, block: jnp.where(coupled[block], ensemble.mean(h), h)
                out = model(weights, row, {}, {"block.*": indexed(average)})(x, level)
                estimates = ensemble.x0_mean(lambda *_: out)(x, level)
                return Prediction(jnp.where(arm["estimates"], estimates.v, out.v), {})

            member = lambda x: sample(velocity, arm["temperature"] * x, grid, record=Record(steps=())).final
            return jax.vmap(member, axis_name=ensemble.AXIS)(row["noise"])

        return jax.lax.map(run, settings)

    given = {k: suite.rows[k] for k in ("image", "text", "noise")}
    out = bench.over(one, subject.weights, given, f"{subject.name}: {suite.task.name}, doses of the ensemble")
    answer = suite.answers(out).swapaxes(0, 1)  # [arm, N, M]
    solved = np.stack([suite.solved(one) for one in answer])
    return {"answer": answer.astype(np.int8), "solved": solved, "arms": np.array([row.name for row in rows])}


def solved(table: Tables) -> dict[str, np.ndarray]:
    """Solved by each arm, float [N, M]."""
    return {str(name): right.astype(float) for name, right in zip(table["arms"], table["solved"], strict=True)}


def best(tables: Sequence[Tables]) -> str:
    """The hidden mean that solves most, mean over the training seeds' tables of validation clips (first of equals)."""
    names = [str(name) for name in tables[0]["arms"]]
    rates = np.mean([table["solved"].mean((1, 2)) for table in tables], axis=0)
    hidden = [i for i, name in enumerate(names) if name.startswith("hidden mean")]
    return names[max(hidden, key=lambda i: (rates[i], -i))]
