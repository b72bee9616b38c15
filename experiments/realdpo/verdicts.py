"""Claims and the table of arms, from the stored scores.

Fixed before the test world was sampled: the primary measure is the share of valid samples of one disc; every row is
compared with SFT at equal compute on the same bases, conditions and initial noises.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.realdpo import arms, scoring
from experiments.realdpo.config import Study
from experiments.realdpo.scoring import Tables
from experiments.realdpo.suite import BASE, BEST
from vrjax.report import statistics, tables
from vrjax.report.claims import Claim, claim
from vrjax.tasks.discs import verifier

PAPER, OURS = "RealDPO (2510.14955)", "vrjax"
PLAIN, ANCHORED, SFT = "RealDPO", "RealDPO + SFT anchor", "SFT"
MARGIN = 0.02  # smallest effect of interest: two valid samples in a hundred


@dataclasses.dataclass(frozen=True)
class Row:
    """One scored state.

    Attributes:
        name: as in the tables.
        group: that of its arm; "base" for the bases.
        updates, cost: of one base; the cost in forward equivalents, losers included.
        scores: "<family>/<measure>" -> (bases, conditions, noises).
        log: of its arm, name -> (updates, bases), up to the row's own updates.
        note: what a reader must know.
    """

    name: str
    group: str
    updates: int
    cost: float
    scores: Tables
    log: Tables
    note: str = ""


def gather(study: Study, measured: Mapping[str, Tables]) -> dict[str, Row]:
    """All rows by name, in the order of the tables: the bases, then every arm's rows."""
    of = lambda table, row: {k.split("|", 1)[1]: v for k, v in table.items() if k.split("|", 1)[0] == row}
    out = {BASE: Row(BASE, "base", 0, 0.0, of(measured[BASE], BASE), {})}
    for arm in arms.catalogue(study):
        if arm.name not in measured:
            continue
        table, price = measured[arm.name], arms.bill(arm, study)
        states = arms.rows(arm, study)
        if "best" in table:
            states = {**states, BEST: int(table["best"])}
        for name, steps in states.items():
            log = {k: v[:steps] for k, v in of(table, "log").items()}
            out[name] = Row(name, arm.group, steps, price.total(steps), of(table, name), log, arm.note)
    return out


def estimate(values: np.ndarray, study: Study) -> statistics.Estimate:
    """Mean with its hierarchical interval: bases, conditions (shared by all bases) and noises are resampled."""
    resample = tuple(axis for axis in (0, 1, 2) if values.shape[axis] > 1)
    return statistics.hierarchical_bootstrap(values, resample=resample, resamples=study.resamples)


def p_value(difference: np.ndarray, study: Study) -> float:
    """Paired permutation test: both arms' answers to one condition, all bases and noises, are exchanged together."""
    conditions = np.arange(difference.shape[1])
    return float(statistics.sign_flip(difference.mean((0, 2)), conditions, resamples=study.resamples))


Comparisons = dict[str, dict[str, float]]


def comparisons(study: Study, rows: Mapping[str, Row], family: str = "bounce") -> Comparisons:
    """Every row against SFT at equal compute: `valid` and `gain` with intervals, `p`, and `holm` over all rows."""
    rival = scoring.valid(rows[SFT].scores, family)
    out: Comparisons = {}
    for name, row in rows.items():
        mine = scoring.valid(row.scores, family)
        rate, gain = estimate(mine, study), estimate(mine - rival, study)
        out[name] = {
            "valid": float(rate.value),
            "valid_low": max(0.0, float(rate.low)),
            "valid_high": min(1.0, float(rate.high)),
            "gain": float(gain.value),
            "gain_low": float(gain.low),
            "gain_high": float(gain.high),
            "p": p_value(mine - rival, study),
        }
    others = [name for name in out if name != SFT]
    if others:
        adjusted = statistics.holm(np.array([out[name]["p"] for name in others])).adjusted
        for name, value in zip(others, adjusted, strict=True):
            out[name]["holm"] = float(value)
    return out


def measures(row: Row) -> dict[str, float]:
    """The secondary numbers of a row: nothing here decides a verdict."""
    s, last = row.scores, lambda name: float(np.nanmean(row.log[name][-50:])) if name in row.log else float("nan")
    share = lambda values: float(np.mean(values))
    flights = s["bounce/gravity"][np.isfinite(s["bounce/gravity"])]
    return {
        "valid_tight": share(scoring.valid(s, tolerance=verifier.TIGHT)),
        "valid_loose": share(scoring.valid(s, tolerance=verifier.LOOSE)),
        "valid_two": share(scoring.valid(s, "collide")),
        "valid_two_tight": share(scoring.valid(s, "collide", verifier.TOLERANCE)),
        "rmse": share(s["bounce/rmse"]),
        "gravity_residual": share(flights) if flights.size else float("nan"),
        "energy_gain": share(s["bounce/gain"]),
        "through_floor": share(s["bounce/below"] > 0),
        "frozen": share(s["bounce/frozen"] > 0),
        "motion": share(s["bounce/motion"]),
        "win_gap": last("win_gap"),
        "lose_gap": last("lose_gap"),
        "loser_dominant": last("loser_dominant"),
    }


HEAD = (
    "arm",
    "updates",
    "cost (kF)",
    "valid, one disc [95 %]",
    "minus SFT [95 %]",
    "p (Holm)",
    "valid, two discs (held out)",
    "within half of it",
    "within twice",
    "rmse",
    "through floor",
    "frozen",
    "motion",
    "win gap",
    "lose gap",
    "loser-dominant",
)


def arm_cells(rows: Mapping[str, Row], found: Comparisons) -> list[list[str]]:
    """The table of all arms as text, columns `HEAD`; `found` are the comparisons on one disc."""
    out = []
    for name, row in rows.items():
        c, m = found[name], measures(row)
        gap = lambda key, sign="+", m=m: "" if np.isnan(m[key]) else f"{m[key]:{sign}.3g}"
        out.append(
            [
                name,
                str(row.updates),
                f"{row.cost / 1000:.1f}",
                f"{c['valid']:.3f} [{c['valid_low']:.3f}, {c['valid_high']:.3f}]",
                "" if name == SFT else f"{c['gain']:+.3f} [{c['gain_low']:+.3f}, {c['gain_high']:+.3f}]",
                f"{c['holm']:.2g}" if "holm" in c else "",
                f"{m['valid_two']:.3f}",
                f"{m['valid_tight']:.3f}",
                f"{m['valid_loose']:.3f}",
                f"{m['rmse']:.4f}",
                f"{m['through_floor']:.3f}",
                f"{m['frozen']:.3f}",
                f"{m['motion']:.4f}",
                gap("win_gap"),
                gap("lose_gap"),
                gap("loser_dominant", ""),
            ]
        )
    return out


def arms_markdown(rows: Mapping[str, Row], found: Comparisons, note: str = "") -> str:
    """The table of all arms in markdown."""
    return tables.markdown(HEAD, arm_cells(rows, found), note)


@dataclasses.dataclass(frozen=True)
class Question:
    """A claim before it is measured: valid(a) - valid(b) on a family, with a direction."""

    name: str
    paper: str
    statement: str
    a: str
    b: str
    family: str = "bounce"
    direction: str = "greater"
    notes: str = ""


def questions() -> tuple[Question, ...]:
    """The claims of the study, in order."""
    equal, held = "Equal compute, the sampling of losers billed.", "collide"
    half, steps = arms.OTHER_RANGE, f"{SFT}, equal steps"
    return (
        Question("over_base", PAPER, "RealDPO removes what the base has learned wrongly.", PLAIN, BASE),
        Question("over_sft", PAPER, "RealDPO is better than SFT on the same real clips.", PLAIN, SFT, notes=equal),
        Question("over_sft_steps", PAPER, "RealDPO is better than SFT after as many updates.", PLAIN, steps),
        Question(
            "anchored_over_sft",
            "Reg-DPO (2511.01450)",
            "With the winner's own error kept in the loss, preferences over base samples beat SFT.",
            ANCHORED,
            SFT,
            notes=equal,
        ),
        Question(
            "anchored_over_best_sft",
            OURS,
            "The anchored form beats SFT stopped at its best validation point.",
            ANCHORED,
            BEST,
            notes="SFT's best point may lie beyond equal compute.",
        ),
        Question(
            "anchored_over_sft_steps", OURS, "The anchored form beats SFT after as many updates.", ANCHORED, steps
        ),
        Question(
            "anchor",
            "Reg-DPO (2511.01450)",
            "An anchor on the winner improves DPO.",
            ANCHORED,
            PLAIN,
        ),
        Question(
            "labels",
            OURS,
            "It is the preference that helps: pairs with coin-flipped sides do not.",
            PLAIN,
            "null: RealDPO, coin-flipped pairs",
        ),
        Question(
            "own_losers",
            PAPER,
            "Losers must be the model's own samples: real continuations of other clips do not serve.",
            PLAIN,
            "null: RealDPO, other real clips lose",
        ),
        Question(
            "own_losers_anchored",
            OURS,
            "The same with the anchor.",
            ANCHORED,
            "null: anchored, other real clips lose",
        ),
        Question("real_winners", PAPER, "Real winners beat the base's own best samples.", PLAIN, OWN),
        Question("losers", PAPER, "Three losers are better than one.", f"{PLAIN}, 3 losers", PLAIN, notes=equal),
        Question("losers_anchored", OURS, "The same with the anchor.", f"{ANCHORED}, 3 losers", ANCHORED, notes=equal),
        Question(
            "ema",
            PAPER,
            "A slowly moving reference beats a frozen one.",
            ANCHORED,
            f"{ANCHORED}, frozen reference",
            notes="The released motion, a thousandth every hundred updates, hardly moves in a run of this length.",
        ),
        Question(
            "half",
            PAPER,
            "Training on the cleaner half of the noise levels is better.",
            f"{PLAIN}, {half}",
            PLAIN,
        ),
        Question("half_anchored", OURS, "The same with the anchor.", f"{ANCHORED}, {half}", ANCHORED),
        Question(
            "noise",
            PAPER,
            "One noise shared by winner and losers beats one each.",
            ANCHORED,
            f"{ANCHORED}, independent noise",
        ),
        Question(
            "filter",
            OURS,
            "Leaving out losers that are valid improves on calling every sample a loser.",
            f"{PLAIN}, invalid losers only",
            PLAIN,
            notes="The filter uses the verifier; its judging is not billed, all candidates are.",
        ),
        Question(
            "filter_anchored",
            OURS,
            "The same with the anchor.",
            f"{ANCHORED}, invalid losers only",
            ANCHORED,
        ),
        Question(
            "filter_over_sft",
            OURS,
            "The anchored form with invalid losers only beats SFT.",
            f"{ANCHORED}, invalid losers only",
            SFT,
            notes=equal + " The filter uses the verifier.",
        ),
        Question(
            "few",
            OURS,
            "With few real clips losers help: the anchored form beats SFT on 16.",
            FEW,
            FEW_SFT,
            notes=equal,
        ),
        Question("held_base", PAPER, "What it learns carries over to motions without real clips.", PLAIN, BASE, held),
        Question("held_sft", OURS, "It carries over better than what SFT learns.", PLAIN, SFT, held, notes=equal),
        Question("held_sft_anchored", OURS, "The same with the anchor.", ANCHORED, SFT, held, notes=equal),
    )


OWN = "SFT on valid base samples"
FEW, FEW_SFT = f"{ANCHORED}, 16 real clips", "SFT, 16 real clips"


def claims(study: Study, rows: Mapping[str, Row]) -> tuple[list[Claim], list[str]]:
    """The claims that the measured rows answer, and a sentence for each that they do not."""
    out, missing = [], []
    for q in questions():
        lost = [name for name in (q.a, q.b) if name not in rows]
        if lost:
            missing.append(f"realdpo.{q.name} was not measured: no row {lost[0]!r} in this run.")
            continue
        values = scoring.valid(rows[q.a].scores, q.family) - scoring.valid(rows[q.b].scores, q.family)
        found = estimate(values, study)
        one = q.family == "bounce"
        on = "one disc" if one else "two discs that collide, a family without real clips, twice the tolerance"
        out.append(
            claim(
                f"realdpo.{q.name}",
                paper=q.paper,
                statement=q.statement,
                statistic=f"{on}: share of valid samples with '{q.a}' minus with '{q.b}'",
                estimate=float(found.value),
                interval=found.interval,
                n=values.shape[1],
                null=0.0,
                direction=q.direction,
                margin=MARGIN,
                arms=(q.a, q.b),
                notes=q.notes,
            )
        )
    if PLAIN in rows:
        out.append(_motion(study, rows[PLAIN], rows[BASE]))
    return out, missing


def _motion(study: Study, row: Row, base: Row) -> Claim:
    """Whether motion stays: the dynamic degree over that of the base."""
    unit = float(base.scores["bounce/motion"].mean())
    found = estimate((row.scores["bounce/motion"].astype(float) - base.scores["bounce/motion"]) / unit, study)
    return claim(
        "realdpo.motion",
        paper=PAPER,
        statement="Motion does not die: samples move as much as before.",
        statistic="one disc: dynamic degree with 'RealDPO' minus that of the base, as a share of the latter",
        estimate=float(found.value),
        interval=found.interval,
        n=row.scores["bounce/motion"].shape[1],
        null=0.0,
        direction="equal",
        margin=0.1,
        arms=(row.name, base.name),
    )


def details(
    study: Study, rows: Mapping[str, Row], one: Comparisons, two: Comparisons, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """All numbers behind the tables, for `results.json`; no NaN. `one`, `two`: comparisons on one and two discs."""
    clean = lambda d: {k: v for k, v in d.items() if np.isfinite(v)}
    listed = [
        {
            "arm": name,
            "group": row.group,
            "updates": row.updates,
            "cost": row.cost,
            "note": row.note,
            "one_disc": clean(one[name]),
            "two_discs": clean(two[name]),
            "per_base": scoring.valid(row.scores).mean((1, 2)).tolist(),
            **clean(measures(row)),
        }
        for name, row in rows.items()
    ]
    return {"arms": listed, "budget": arms.budget(study), **extra}


def short(rows: Sequence[Claim]) -> str:
    """The claims as a short markdown table for people."""
    body = [
        [c.statement, f"{c.estimate:+.3f} [{c.interval[0]:+.3f}, {c.interval[1]:+.3f}]", c.verdict, " - ".join(c.arms)]
        for c in rows
    ]
    return tables.markdown(("statement", "difference [95 %]", "verdict", "arms"), body)
