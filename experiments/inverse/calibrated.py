"""What is read from the guided samplers' kept ranks and distances: who is calibrated, how far draws are from exact.

    ranks = np.stack([table["mixtures 2 ranks"][arm, setting] for table in seeds])
    found = calibrated.judged(key, ranks, draws=19)

Ranks of one group of problems are pooled over problems, pairs and seeds, one projection at a time, since projections of
one draw depend on each other. Nothing here needs a model.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from experiments.inverse.guided_names import ARMS, FEW, LATENT, NOT_FINITE, NOT_RUN, SETTINGS
from vrjax.inverse import calibrate
from vrjax.inverse.latent.diagnostics import ESS, RHAT
from vrjax.report import statistics

FEWEST = 20
"""Pairs; of fewer nothing is said."""
LEVEL, COVERED = 0.01, 0.9
"""Of the rank test over all projections together; the probability of the central interval."""


class Judged(NamedTuple):
    """Of one arm in one group.

    Attributes:
        passed: every projection's Wilson interval holds .90, ranks are uniform; None of less than `FEWEST` pairs.
        coverage, low, high: (q,) the share of truths in the central 90 % of the draws, with Wilson's interval, whose
            confidence is such that those of all projections hold together with 95 %.
        p: of the test that ranks are uniform, the least over projections times their number, at most 1; 0 where a run
            was not finite, which no posterior sampler is.
        pairs: how many truths.
        lost: how many of them had a run that was not finite; they count as not covered.
    """

    passed: bool | None
    coverage: Any
    low: Any
    high: Any
    p: float
    pairs: int
    lost: int


class Row(NamedTuple):
    """What is told of one arm in one group at one setting.

    Attributes:
        arm, setting, kind: see `guided_names`.
        number: the arm's, NaN where it has none.
        over_floor, worst: median and largest over problems of the mean distance over seeds by the mean floor. Of chains
            only where they pass the gate of `latent.gate`; NaN where none does.
        mode_error: median over problems of the largest error of a component's weight, seeds pooled; likewise.
        finite: share of runs.
        evaluations: of the network for a draw, the median over problems.
        judged: see `Judged`.
    """

    arm: str
    setting: str
    kind: str
    number: float
    over_floor: float
    worst: float
    mode_error: float
    finite: float
    evaluations: float
    judged: Judged


def rows(key: Any, seeds: Sequence[Mapping[str, np.ndarray]], group: str, *, draws: int) -> list[Row]:
    """All arms of a group at both settings, from the tables of its seeds; "chosen" only where it is another number."""
    mixed = {arm: gated(seeds, group, at) for at, arm in enumerate(LATENT)}
    told = []
    of = lambda name: np.stack([table[f"{group} {name}"] for table in seeds]).astype(np.float64)
    ranks = np.stack([table[f"{group} ranks"] for table in seeds])
    distance, modes, finite, spent = of("distance"), of("modes"), of("finite"), of("evaluations")
    number, floor, few = of("number")[0], of("floor"), of("few floor")
    for a, (arm, known) in enumerate(ARMS.items()):
        for s, setting in enumerate(SETTINGS):
            same = not number[a, 1] == number[a, 1] or number[a, 0] == number[a, 1]
            measured = np.isfinite(finite[:, a, s])  # (seeds, problems)
            if not measured.any() or (s and same):
                continue
            told_of = measured & mixed.get(arm, True)
            with np.errstate(invalid="ignore", divide="ignore"):
                mean = lambda value, m=told_of: np.where(m, value, 0.0).sum(0) / m.sum(0)
                over = mean(distance[:, a, s]) / mean(few if arm in FEW else floor)
                over = np.where(np.isfinite(over), over, np.inf)[told_of.any(0)]
                pooled = np.where(told_of[..., None], modes[:, a, s], 0.0).sum(0) / told_of.sum(0)[:, None]
                wrong = mode_error(pooled, of("weights")[0])[told_of.any(0)]
            told.append(
                Row(
                    arm,
                    setting,
                    known.kind,
                    float(number[a, s]),
                    float(np.median(over)) if over.size else float("nan"),
                    float(np.max(over)) if over.size else float("nan"),
                    float(np.median(wrong)) if wrong.size else float("nan"),
                    float(finite[:, a, s][measured].mean()),
                    float(np.nanmedian(spent[:, a])),
                    judged(key, ranks[:, a, s], draws=draws),  # one null for all: it is of one size,
                )
            )
    return told


def gated(seeds: Sequence[Mapping[str, np.ndarray]], group: str, at: int) -> np.ndarray:
    """Whether the chains of latent arm number `at` passed the gate on each problem: (seeds, problems)."""
    rhat, ess = (np.stack([table[f"{group} {name}"][at] for table in seeds]) for name in ("rhat", "ess"))
    return (rhat < RHAT) & (ess >= ESS)


def judged(key: Any, ranks: Int[np.ndarray, "... q"], *, draws: int, confidence: float = 0.95) -> Judged:
    """The verdict on ranks (..., q), 0 to `draws`, of q projections; `NOT_RUN` is left out.

    The central interval is from the k-th draw to the k-th from the top, k = .05 (draws + 1).

    Raises:
        ValueError: a number of draws of which 5 % is not whole.
    """
    tail = (1 - COVERED) / 2 * (draws + 1)
    if abs(tail - round(tail)) > 1e-9 or round(tail) < 1:
        raise ValueError(f"draws: found {draws}, expected one less than a multiple of 20")
    q = ranks.shape[-1]
    flat = ranks.reshape(-1, q)
    flat = flat[flat[:, 0] != NOT_RUN].astype(int)
    n, lost = len(flat), int(np.sum(flat[:, 0] == NOT_FINITE))
    if not n:
        blank = np.full(q, np.nan)
        return Judged(None, blank, blank, blank, float("nan"), 0, 0)
    k = round(tail)
    held = np.sum((flat >= k) & (flat <= draws - k), 0)
    found = [statistics.wilson(int(h), n, 1 - (1 - confidence) / q) for h in held]
    low, high = np.array([one.low for one in found]), np.array([one.high for one in found])
    if n < FEWEST:
        return Judged(None, held / n, low, high, float("nan"), n, lost)
    p = 0.0
    if not lost:
        p = min(min(_uniform(key, flat[:, i], draws) for i in range(q)) * q, 1.0)
    passed = bool(np.all((low <= COVERED) & (high >= COVERED)) and p > LEVEL)
    return Judged(passed, held / n, low, high, p, n, lost)


def _uniform(key: Any, ranks: np.ndarray, draws: int) -> float:
    """The smaller p-value of two tests, Pearson's and the simultaneous band's, times 2."""
    found = calibrate.uniformity(key, ranks, draws)
    return 2 * min(found.chi2_p, found.ecdf_p)


def ratio(distance: Float[np.ndarray, "..."], floor: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Distances over their floors; infinite where a draw was not finite."""
    return np.where(np.isfinite(distance), distance / floor, np.inf)


def mode_error(modes: Float[np.ndarray, "... k"], exact: Float[np.ndarray, "... k"]) -> Float[np.ndarray, "..."]:
    """The largest error of a component's weight; NaN of problems without components."""
    if not exact.shape[-1]:
        return np.full(np.broadcast_shapes(modes.shape, exact.shape)[:-1], np.nan)
    return np.max(np.abs(modes - exact), -1)
