"""Rivals of the training-free ensemble's hidden mean (`doses` has that at every dose), on the same mazes and noises."""

import functools
from typing import Any

import jax
import numpy as np

from vrjax.flow import grids
from vrjax.reasoning.instruments import arms as table
from vrjax.reasoning.instruments.ensemble import AXIS
from vrjax.study.subjects import Subject, Suite
from vrjax.study.tables import Bench, Tables


def rivals(steps: int, layers: int, members: int) -> tuple[table.Arm, ...]:
    """Single, and what else could be done: fewer steps, the hidden mean late or always, means of estimates and of
    states, temperatures, re-noising, votes."""
    late = sorted({max(1, steps // 4), max(1, steps // 2)})
    mean = functools.partial(table.Arm, steps=steps, members=members)
    hidden = functools.partial(mean, couple="hidden", blocks=table.thirds(layers)[1])
    rows = [table.Arm("single", steps), *(table.Arm(f"steps {k}", k) for k in late if k < steps)]
    rows.append(hidden("hidden mean, middle blocks, all steps", window=(0, steps)))
    rows.append(hidden("hidden mean, middle blocks, last 1", window=(steps - 1, steps)))
    rows += [mean(f"x0 mean, first {k}", couple="x0", window=(0, k)) for k in (1, 2, 4) if k < steps]
    rows += [mean(f"latent mean at {k}", couple="latent", window=(k, k + 1)) for k in (0, *late)]
    rows.append(mean("latent mean at 0, variance restored", couple="latent_restored", window=(0, 1)))
    rows.append(table.Arm("temperature 0.3", steps, temperature=0.3))
    rows.append(table.Arm("noise-free start", steps, temperature=0.0))
    rows += [table.Arm(f"re-noised at {k}", steps, renoise=(k,)) for k in late]
    return (*rows, mean(f"majority of {members}", select="majority"), mean(f"oracle pass@{members}", select="oracle"))


def measure(bench: Bench, subject: Subject, suite: Suite, *, steps: int, shift: float) -> Tables:
    """Runs every arm of `rivals`; arms that differ only in scoring share their samples.

    Args:
        suite: has as many noises as an ensemble has members.

    Returns:
        `solved` bool [arm, N, M] (the seed that continues rotates), `arms` (names) and `nfe`, network evaluations.
    """
    members, velocity = suite.rows["noise"].shape[1], subject.velocity
    rows = rivals(steps, subject.layers, members)
    answers: dict[table.Arm, np.ndarray] = {}
    for arm in rows:
        if arm.program in answers:
            continue

        def one(weights: Any, row: Any, arm: table.Arm = arm.program) -> Any:
            problem = table.Problem(
                model=lambda edits: velocity(weights, row, {}, edits),
                grid=functools.partial(grids.shifted, shift=shift),
            )
            keys = jax.random.split(row["key"], members)
            return jax.vmap(lambda x, k: table.run(arm, problem, x, k).final, axis_name=AXIS)(row["noise"], keys)

        label = f"{subject.name}: {suite.task.name}, {arm.name}"
        answers[arm.program] = suite.answers(bench.over(one, subject.weights, suite.rows, label))
    solved = []
    for arm in rows:
        answer = answers[arm.program]
        right = suite.solved(answer).astype(float)
        coded = [[None if a < 0 else int(a) for a in line] for line in answer]
        solved.append([table.outcomes(arm, r, a) for r, a in zip(right, coded, strict=True)])
    names, nfe = [arm.name for arm in rows], [arm.nfe for arm in rows]
    return {"solved": np.array(solved) > 0, "arms": np.array(names), "nfe": np.array(nfe)}
