"""Claims and the table of arms, from the stored scores.

Fixed before the test split was sampled: the primary measure is the share of valid samples of one disc; every row is
compared with SFT at equal compute on the same bases, conditions and initial noises.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.realdpo import arms, scoring
from experiments.realdpo.config import RealDPO
from experiments.realdpo.suite import BASE, BEST
from vrjax.report import seeds, tables
from vrjax.report.claims import Claim, verdict
from vrjax.study import claims as study_claims
from vrjax.study.claims import Finding, settle
from vrjax.study.registration import Registration
from vrjax.study.tables import Tables
from vrjax.tasks.discs import verifier

SFT = "SFT"
DOSE = "samples whose error differs by a tenth of the tolerance"


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


def gather(study: RealDPO, measured: Mapping[str, Tables]) -> dict[str, Row]:
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


Comparisons = dict[str, dict[str, float]]


def comparisons(study: RealDPO, rows: Mapping[str, Row], family: str = "bounce") -> Comparisons:
    """Every row against SFT at equal compute: `valid` and `gain` with intervals, `p`, and `holm` over all rows."""
    rival = scoring.valid(rows[SFT].scores, family)
    out: Comparisons = {}
    how: dict[str, Any] = {"design": "crossed", "resamples": study.resamples}
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
    study_claims.add_holm(out, {name: found["p"] for name, found in out.items() if name != SFT})
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


Cell = Callable[[Row, Mapping[str, float], Mapping[str, float]], str]


def _number(name: str, form: str = ".3f") -> Cell:
    """A secondary number, empty where the row has none."""
    return lambda row, found, more: "" if np.isnan(more[name]) else f"{more[name]:{form}}"


def _between(found: Mapping[str, float], name: str, form: str = "+.3f") -> str:
    return study_claims.between(found[name], (found[f"{name}_low"], found[f"{name}_high"]), form)


# The columns of the table of all arms: of a row, its comparison on one disc, and its secondary numbers.
COLUMNS: dict[str, Cell] = {
    "arm": lambda row, found, more: row.name,
    "updates": lambda row, found, more: str(row.updates),
    "cost (kF)": lambda row, found, more: f"{row.cost / 1000:.1f}",
    "valid, one disc [95 %]": lambda row, found, more: _between(found, "valid", ".3f"),
    "minus SFT [95 %]": lambda row, found, more: "" if row.name == SFT else _between(found, "gain"),
    "p (Holm)": lambda row, found, more: f"{found['holm']:.2g}" if "holm" in found else "",
    "valid, two discs (held out)": _number("valid_two"),
    "within half of it": _number("valid_tight"),
    "within twice": _number("valid_loose"),
    "rmse": _number("rmse", ".4f"),
    "through floor": _number("through_floor"),
    "frozen": _number("frozen"),
    "motion": _number("motion", ".4f"),
    "win gap": _number("win_gap", "+.3g"),
    "lose gap": _number("lose_gap", "+.3g"),
    "loser-dominant": _number("loser_dominant", ".3g"),
}
HEAD = tuple(COLUMNS)


def arm_cells(rows: Mapping[str, Row], found: Comparisons) -> list[list[str]]:
    """The table of all arms as text, columns `HEAD`; `found` are the comparisons on one disc."""
    return [[cell(row, found[name], measures(row)) for cell in COLUMNS.values()] for name, row in rows.items()]


def arms_markdown(rows: Mapping[str, Row], found: Comparisons, note: str = "") -> str:
    """The table of all arms in markdown."""
    return tables.markdown(HEAD, arm_cells(rows, found), note)


def claims(study: RealDPO, asked: Registration, rows: Mapping[str, Row]) -> tuple[list[Claim], list[str]]:
    """The claims that the measured rows answer, and a sentence for each that they do not."""
    found: dict[str, Finding] = {}
    for claim in asked.claims:
        names = claim["how"]["arms"]
        if all(name in rows for name in names):
            mine, other = (rows[name].scores for name in names)
            values, dose = _difference(claim["how"], mine, other), {DOSE: _moved(mine, other)}
            found[claim["id"]] = Finding(values, design="crossed", measured=dose, arms=names)
    settled = settle(asked, found, quick=study.quick, resamples=study.resamples)
    missing = [
        f"{claim['id']} was not measured: no row {name!r} in this run."
        for claim in asked.claims
        for name in [n for n in claim["how"]["arms"] if n not in rows][:1]
    ]
    return settled, missing


def _difference(how: Mapping[str, Any], mine: Tables, other: Tables) -> np.ndarray:
    """(bases, conditions, noises) of what a claim is about."""
    family = how["family"]
    if how["measure"] == "motion":
        name = f"{family}/motion"
        return (mine[name].astype(float) - other[name]) / float(other[name].mean())
    return scoring.valid(mine, family) - scoring.valid(other, family)


def _moved(mine: Tables, other: Tables) -> np.ndarray:
    """(bases,) share of samples that are not the same under both arms."""
    a, b = (np.asarray(scores["bounce/error"], float) for scores in (mine, other))
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
    return tables.markdown(("statement", "difference [95 %]", "verdict", "arms"), body)
