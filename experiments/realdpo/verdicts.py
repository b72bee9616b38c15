"""Claims and the table of arms, from the stored scores.

Fixed before the test split was sampled: the primary measure is the share of valid samples of one disc; every arm of a
base is judged on the same conditions and initial noises, and no two bases share a condition.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.realdpo import arms, scoring, suite, training
from experiments.realdpo.config import RealDPO
from experiments.realdpo.suite import BASE, BEST
from vrjax.report import seeds
from vrjax.report import tables as tables_
from vrjax.report.claims import Claim, verdict
from vrjax.study import claims as study_claims
from vrjax.study.claims import Finding, settle
from vrjax.study.registration import Registration
from vrjax.study.tables import Tables
from vrjax.tasks.discs import verifier

SFT, OWN, GRPO = "SFT", "SFT on valid base samples", "GRPO with the verifier"
FAMILY = {"bounce": "one disc", "collide": "two discs"}
LAST = 5  # blocks of updates at the end of a row that its logged numbers are means of

# What gates, controls and doses are called in claims.json.
DOSE = "samples whose error differs by a tenth of the tolerance"
FOLLOWED = "the reference's way from the start, as a share of the policy's"
LEARNED = "reward on training conditions: last 20 updates minus first 20"
SOLVED, MOVED = "base: valid samples, {}", "SFT minus base: valid samples, {}"
CLIPS = "valid base samples to train on"


@dataclasses.dataclass(frozen=True)
class Row:
    """One scored state.

    Attributes:
        name: as in the tables.
        group: that of its arm; "base" for the bases.
        updates, cost: of one base, the mean over bases; the cost in forward equivalents, losers included.
        scores: as `scoring.score` gives them.
        log: of its arm, name -> (bases, blocks of updates), up to the row's own updates.
        note: what a reader must know.
    """

    name: str
    group: str
    updates: float
    cost: float
    scores: Tables
    log: Tables
    note: str = ""


def gather(study: RealDPO, measured: Mapping[str, Tables]) -> dict[str, Row]:
    """All rows by name, in the order of the tables: the bases, then every arm's rows."""
    of = lambda table, row: {k.split("|", 1)[1]: v for k, v in table.items() if k.split("|", 1)[0] == row}
    out = {BASE: Row(BASE, "base", 0, 0.0, of(measured[BASE], BASE), {})}
    for arm in arms.catalogue(study):
        if arm.name not in measured:
            continue
        table, price = measured[arm.name], arms.bill(arm, study)
        states: dict[str, float] = {**arms.rows(arm, study)}
        if "best" in table:
            states[BEST[arm.name]] = float(table["best"].mean())
        for name, steps in states.items():
            blocks = int(np.ceil(steps / training.BLOCK))
            log = {k: v[:, :blocks] for k, v in of(table, "log").items()}
            cost = price.sampling + steps * price.update
            out[name] = Row(name, arm.group, steps, cost, of(table, name), log, arm.note)
    return out


Comparisons = dict[str, dict[str, float]]


def comparisons(study: RealDPO, rows: Mapping[str, Row], family: str = "bounce") -> Comparisons:
    """Every row against SFT at equal compute: `valid` and `gain` with their intervals, and the two-sided `p` as it is:
    over so many rows the smallest that eight bases can have, 2/256, would not survive a correction."""
    rival = scoring.valid(rows[SFT].scores, family)
    out: Comparisons = {}
    how: dict[str, Any] = {"design": "nested", "resamples": study.resamples}
    for name, row in rows.items():
        mine = scoring.valid(row.scores, family)
        rate = seeds.interval(mine, bounds=(0, 1), **how)
        gain = seeds.interval(mine - rival, bounds=(-1, 1), **how)
        out[name] = {
            "valid": float(rate.value),
            "valid_low": max(0.0, float(rate.low)),
            "valid_high": min(1.0, float(rate.high)),
            "gain": float(gain.value),
            "gain_low": float(gain.low),
            "gain_high": float(gain.high),
            "p": float(seeds.p_value(mine - rival, side="either", **how)),
        }
    return out


def measures(row: Row) -> dict[str, float]:
    """The secondary numbers of a row: nothing here decides a verdict."""
    s, last = row.scores, lambda name: float(np.nanmean(row.log[name][:, -LAST:])) if name in row.log else float("nan")
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
        "through_floor": share(s["bounce/below"]),
        "frozen": share(s["bounce/frozen"]),
        "motion": share(s["bounce/motion"]),
        "win_gap": last("win_gap"),
        "lose_gap": last("lose_gap"),
        "loser_dominant": last("loser_dominant"),
        "followed": float(row.log["followed"][:, -1].mean()) if "followed" in row.log else float("nan"),
    }


Cell = Callable[[Row, Mapping[str, float], Mapping[str, float]], str]


def _number(name: str, form: str = ".3f") -> Cell:
    """A secondary number, empty where the row has none."""
    return lambda row, found, more: "" if np.isnan(more[name]) else f"{more[name]:{form}}"


def _between(found: Mapping[str, float], name: str, form: str = "+.3f") -> str:
    return study_claims.between(found[name], (found[f"{name}_low"], found[f"{name}_high"]), form)


# The columns of the table of all arms: of a row, its comparison on one disc, and its secondary numbers.
COLUMNS: dict[str, Cell] = {
    "arm": lambda row, found, more: row.name,
    "updates": lambda row, found, more: f"{row.updates:.0f}",
    "cost (kF)": lambda row, found, more: f"{row.cost / 1000:.1f}",
    "valid, one disc [95 %]": lambda row, found, more: _between(found, "valid", ".3f"),
    "minus SFT [95 %]": lambda row, found, more: "" if row.name == SFT else _between(found, "gain"),
    "per base": lambda row, found, more: each(row),
    "valid, two discs (held out)": _number("valid_two"),
    "within half of it": _number("valid_tight"),
    "within twice": _number("valid_loose"),
    "rmse": _number("rmse", ".4f"),
    "through floor": _number("through_floor"),
    "frozen": _number("frozen"),
    "motion": _number("motion", ".4f"),
    "win gap": _number("win_gap", "+.3g"),
    "lose gap": _number("lose_gap", "+.3g"),
    "loser-dominant": _number("loser_dominant", ".2f"),
    "reference moved": _number("followed", ".3f"),
}
HEAD = tuple(COLUMNS)


def each(row: Row) -> str:
    """Valid samples of one disc, in per cent, base by base."""
    return " ".join(f"{100 * rate:.0f}" for rate in scoring.valid(row.scores).mean((1, 2)))


def arm_cells(rows: Mapping[str, Row], found: Comparisons) -> list[list[str]]:
    """The table of all arms as text, columns `HEAD`; `found` are the comparisons on one disc."""
    return [[cell(row, found[name], measures(row)) for cell in COLUMNS.values()] for name, row in rows.items()]


def arms_markdown(rows: Mapping[str, Row], found: Comparisons, note: str = "") -> str:
    """The table of all arms in markdown."""
    return tables_.markdown(HEAD, arm_cells(rows, found), note)


def judged(study: RealDPO, asked: Registration, tables: Mapping[str, Tables]) -> tuple[list[Claim], dict[str, str]]:
    """The claims and the tables of the README, from kept tables alone; see `vrjax.study.judging`."""
    measured = suite.gather(study, tables)
    if BASE not in measured:
        return [], {"bill": bill_markdown(study, asked)}
    rows = gather(study, measured)
    found, _ = claims(study, asked, rows, measured)
    shown = {"bill": bill_markdown(study, asked)}
    if SFT in rows:
        shown["arms"] = arms_markdown(rows, comparisons(study, rows))
    return found, shown


def bill_markdown(study: RealDPO, asked: Registration) -> str:
    """What was registered as the bill, core minutes per base, in the order of measuring, added up over all bases."""
    total, body = 0.0, []
    for name, minutes in asked.bill.items():
        total += minutes * study.bases
        body.append([name, f"{minutes:.2f}", f"{total:.0f}"])
    return tables_.markdown(("part", "core minutes per base", f"added up, {study.bases} bases"), body)


def claims(
    study: RealDPO, asked: Registration, rows: Mapping[str, Row], measured: Mapping[str, Tables]
) -> tuple[list[Claim], list[str]]:
    """The claims that the measured rows answer, and a sentence for each that they do not."""
    found: dict[str, Finding] = {}
    known = _checks(rows, measured)
    for claim in asked.claims:
        how, pairs = claim["how"], claim["how"]["pairs"]
        if all(name in rows for pair in pairs for name in pair):
            values = {f"{a} minus {b}": _difference(how, rows[a], rows[b]) for a, b in pairs}
            own = {DOSE: np.min([_differ(how, rows[a], rows[b]) for a, b in pairs], 0)}
            if "followed" in (log := rows[pairs[0][0]].log):
                own[FOLLOWED] = log["followed"][:, -1]
            beside = {
                title: float(_difference(how, rows[a], rows[b]).mean())
                for title, (a, b) in how.get("beside", {}).items()
                if a in rows and b in rows
            }
            names = list(dict.fromkeys(name for pair in pairs for name in pair))
            found[claim["id"]] = Finding(values, measured=known | own, beside=beside, arms=names)
    settled = settle(asked, found, quick=study.quick, resamples=study.resamples)
    missing = [
        f"{claim['id']} was not measured: no row {name!r} in this run."
        for claim in asked.claims
        for name in [n for pair in claim["how"]["pairs"] for n in pair if n not in rows][:1]
    ]
    return settled, missing


def _checks(rows: Mapping[str, Row], measured: Mapping[str, Tables]) -> dict[str, np.ndarray]:
    """What gates, controls and doses ask for, one number per base each, as far as it was measured."""
    out: dict[str, np.ndarray] = {}
    rate = lambda name, family: scoring.valid(rows[name].scores, family).mean((1, 2))
    for family, title in FAMILY.items():
        out[SOLVED.format(title)] = rate(BASE, family)
        if SFT in rows:
            out[MOVED.format(title)] = rate(SFT, family) - rate(BASE, family)
    out[CLIPS] = measured[BASE]["valid_losers"].sum((1, 2)).astype(float)
    if GRPO in rows:
        reward, blocks = rows[GRPO].log["reward"], max(1, 20 // training.BLOCK)
        out[LEARNED] = reward[:, -blocks:].mean(1) - reward[:, :blocks].mean(1)
    return out


def _difference(how: Mapping[str, Any], mine: Row, other: Row) -> np.ndarray:
    """(bases, conditions, noises) of what a claim is about."""
    family = how["family"]
    if how["measure"] == "motion":
        a, b = (np.asarray(row.scores[f"{family}/motion"], float)[..., None] for row in (mine, other))
        return (a - b) / b.mean((1, 2), keepdims=True)
    return scoring.valid(mine.scores, family) - scoring.valid(other.scores, family)


def _differ(how: Mapping[str, Any], mine: Row, other: Row) -> np.ndarray:
    """(bases,) share of samples that are not the same under both arms."""
    a, b = (np.asarray(row.scores[f"{how['family']}/error"], float) for row in (mine, other))
    return (np.abs(a - b) > 0.1 * verifier.TOLERANCE).mean((1, 2))


def details(
    study: RealDPO, rows: Mapping[str, Row], one: Comparisons, two: Comparisons, extra: Mapping[str, Any]
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
    body = [[c.statement, study_claims.between(c.estimate, c.interval), verdict(c), " - ".join(c.arms)] for c in rows]
    return tables_.markdown(("statement", "difference [95 %]", "verdict", "arms"), body)
