"""Counting on the host: tables [instances, steps] of decoded answers and of right and wrong. NumPy only.

A task's verifier reads the clean estimate of every step; what comes out is a table of answers (any integers: a
candidate's index, a hash of the reading) or of booleans. The numbers of Chain-of-Steps are counts on such tables.
Both directions of every change are always returned: a claim of self-correction is worth what exceeds self-corruption.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Shaped

from vrjax.flow import words


def commitment(answers: Shaped[np.ndarray, "*batch s"]) -> Int[np.ndarray, "*batch"]:
    """Commitment step: the first step from which the answer never changes again, 0 ... S-1 (last axis: steps)."""
    same = answers == answers[..., -1:]
    differs = ~same
    steps = answers.shape[-1]
    last = steps - 1 - np.argmax(differs[..., ::-1], -1)
    return np.where(differs.any(-1), last + 1, 0)


class Corrections(NamedTuple):
    """How instances moved between a stated first readout and the last step. Four counts that add up to `n`."""

    n: int
    wrong_to_right: int
    right_to_wrong: int
    stayed_right: int
    stayed_wrong: int
    lost: int  # right at some step from the first readout on, wrong at the end (includes right_to_wrong)
    never: int  # instances left out: no readable step

    __repr__ = words.line

    @property
    def net(self) -> float:
        """(wrong_to_right - right_to_wrong) / n; NaN for n = 0."""
        return (self.wrong_to_right - self.right_to_wrong) / self.n if self.n else math.nan


def corrections(correct: Bool[np.ndarray, "n s"], first: Int[np.ndarray, " n"] | int = 0) -> Corrections:
    """Self-correction, counted in both directions.

    Args:
        correct: whether the answer decoded at each step is right.
        first: the step of the first readout, one for all or one per instance. Instances whose
            first readout is S (never readable) are left out and counted in `never`.

    Raises:
        ValueError: a first readout outside 0 ... S.
    """
    n, steps = correct.shape
    start = np.broadcast_to(np.asarray(first), (n,))
    if n and (start.min() < 0 or start.max() > steps):
        raise ValueError(f"first must lie in 0 ... {steps}, found {start.min()} ... {start.max()}")
    kept = start < steps
    table, start = correct[kept], start[kept]
    before = table[np.arange(len(table)), start]
    after = table[:, -1]
    ever = (table & (np.arange(steps)[None] >= start[:, None])).any(1)
    return Corrections(
        n=len(table),
        wrong_to_right=int((~before & after).sum()),
        right_to_wrong=int((before & ~after).sum()),
        stayed_right=int((before & after).sum()),
        stayed_wrong=int((~before & ~after).sum()),
        lost=int((ever & ~after).sum()),
        never=int((~kept).sum()),
    )
