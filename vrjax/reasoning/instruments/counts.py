"""Counting on the host: tables [instances, steps] of decoded answers and of right and wrong. NumPy only.

A task's verifier reads the clean estimate of every step; what comes out is a table of answers (any integers: a
candidate's index, a hash of the reading) or of booleans. The numbers of Chain-of-Steps are counts on such tables.
Both directions of every change are always returned: a claim of self-correction is worth what exceeds self-corruption.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Shaped


def commitment(answers: Shaped[np.ndarray, "*batch s"]) -> Int[np.ndarray, "*batch"]:
    """Commitment step: the first step from which the answer never changes again, 0 ... S-1 (last axis: steps)."""
    same = answers == answers[..., -1:]
    differs = ~same
    steps = answers.shape[-1]
    last = steps - 1 - np.argmax(differs[..., ::-1], -1)
    return np.where(differs.any(-1), last + 1, 0)


def commitment_spread(answers: Shaped[np.ndarray, "n s frames"]) -> Int[np.ndarray, " n"]:
    """Latest minus earliest commitment step over the frames of an instance: 0 if all settle in the same step."""
    steps = commitment(np.swapaxes(answers, 1, 2))
    return steps.max(1) - steps.min(1)


def first_readable(readable: Bool[np.ndarray, "n s"]) -> Int[np.ndarray, " n"]:
    """First step at which the decoder reads anything at all; S where it never does."""
    return np.where(readable.any(1), readable.argmax(1), readable.shape[1])


class Corrections(NamedTuple):
    """How instances moved between a stated first readout and the last step. Four counts that add up to `n`."""

    n: int
    wrong_to_right: int
    right_to_wrong: int
    stayed_right: int
    stayed_wrong: int
    lost: int  # right at some step from the first readout on, wrong at the end (includes right_to_wrong)
    never: int  # instances left out: no readable step

    @property
    def net(self) -> float:
        """(wrong_to_right - right_to_wrong) / n; NaN for n = 0."""
        return (self.wrong_to_right - self.right_to_wrong) / self.n if self.n else math.nan


def corrections(correct: Bool[np.ndarray, "n s"], first: Int[np.ndarray, " n"] | int = 0) -> Corrections:
    """Self-correction, counted in both directions.

    Args:
        correct: whether the answer decoded at each step is right.
        first: the step of the first readout, one for all or one per instance (`first_readable`). Instances whose
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


def turns(correct: Bool[np.ndarray, "n s"]) -> tuple[Int[np.ndarray, " t"], Int[np.ndarray, " t"]]:
    """Per step 1 ... S-1: how many instances turned from wrong to right there, and how many from right to wrong."""
    before, after = correct[:, :-1], correct[:, 1:]
    return (~before & after).sum(0), (before & ~after).sum(0)


class Lead(NamedTuple):
    """A paired comparison of two steps per instance."""

    n: int  # pairs in which at least one of the two was reached
    earlier: int  # the first quantity came strictly earlier
    tied: int
    later: int
    mean: float  # second minus first, in steps; positive: the first leads
    median: float
    p_value: float  # exact two-sided sign test on the untied pairs; 1 if there are none


def lead(first: Int[np.ndarray, " n"], second: Int[np.ndarray, " n"], steps: int) -> Lead:
    """Does one content arrive before another? For "perception before action": `lead(still_step, moving_step, S)`.

    Args:
        first, second: steps of arrival (`readout.first_reach`); `steps` where it never arrived.
        steps: S. Pairs in which neither arrived are left out. If one arrived, the other counts as arriving at S:
            counts and sign test are exact then, mean and median differences are lower bounds in size.
    """
    kept = (first < steps) | (second < steps)
    difference = (second - first)[kept]
    earlier, later = int((difference > 0).sum()), int((difference < 0).sum())
    untied = earlier + later
    tail = sum(math.comb(untied, i) for i in range(min(earlier, later) + 1))
    p_value = min(1.0, float(2 * tail / 2**untied)) if untied else 1.0
    return Lead(
        n=int(kept.sum()),
        earlier=earlier,
        tied=int((difference == 0).sum()),
        later=later,
        mean=float(difference.mean()) if difference.size else math.nan,
        median=float(np.median(difference)) if difference.size else math.nan,
        p_value=p_value,
    )


class Flips(NamedTuple):
    """Disturbed runs beside their clean pairs; the last axis of both tables (instances) is counted over."""

    flipped: Int[np.ndarray, "*sites"]  # decoded answer differs from the clean run's
    broken: Int[np.ndarray, "*sites"]  # right when clean, wrong when disturbed
    repaired: Int[np.ndarray, "*sites"]  # wrong when clean, right when disturbed
    n: int


def flips(
    clean_answers: Shaped[np.ndarray, " n"],
    answers: Shaped[np.ndarray, "*sites n"],
    clean_correct: Bool[np.ndarray, " n"],
    correct: Bool[np.ndarray, "*sites n"],
) -> Flips:
    """What a disturbance did to answers and to correctness, per site, both directions."""
    return Flips(
        (answers != clean_answers).sum(-1),
        (clean_correct & ~correct).sum(-1),
        (~clean_correct & correct).sum(-1),
        len(clean_answers),
    )
