"""The training-free ensemble over seeds among its rivals, every arm on the same instances and noises."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from vrjax.flow import grids
from vrjax.reasoning.instruments import arms as table
from vrjax.reasoning.instruments.ensemble import AXIS
from vrjax.study.subjects import Subject, Suite
from vrjax.study.tables import Bench, Tables


def measure(bench: Bench, subject: Subject, suite: Suite, rows: Sequence[table.Arm], *, shift: float) -> Tables:
    """Runs every arm; arms that differ only in scoring share their samples.

    Returns:
        `solved` [arm, instance, seed] float (0 or 1; the seed that continues rotates), `answer` [arm, instance, seed],
        `arms` (names) and `nfe`. The suite must have as many noises as the arms have members.
    """
    members, velocity = suite.rows["noise"].shape[1], subject.velocity
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
    solved, shown = [], []
    for arm in rows:
        answer = answers[arm.program]
        right = suite.solved(answer).astype(float)
        coded = [[None if a < 0 else int(a) for a in line] for line in answer]
        solved.append([table.outcomes(arm, r, a) for r, a in zip(right, coded, strict=True)])
        shown.append(answer)
    return {
        "solved": np.array(solved),
        "answer": np.array(shown),
        "arms": np.array([arm.name for arm in rows]),
        "nfe": np.array([arm.nfe for arm in rows]),
    }
