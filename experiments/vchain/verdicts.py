"""From tables to claims and the table of arms. Every statistic here was fixed before a test scene was sampled.

Arrays are stacked as [base, scene, noise]. Intervals resample bases, then scenes within each; noises are averaged.
p-values flip the signs of whole scenes (paired permutation) and are corrected over all arms by Holm.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.vchain import suite
from experiments.vchain.config import VChain
from vrjax.report import statistics, tables
from vrjax.report.claims import Claim
from vrjax.study import claims as study_claims
from vrjax.study.tables import Tables

MEASURES = {
    "primary": "complete and lawful clips",
    "order": "causal pairs in order",
    "appearance": "novel looks right",
}
Found = Sequence[Mapping[str, Tables]]  # per base: arm -> tables


def values(found: Found, arm: str, metric: str = "primary", where: Sequence[np.ndarray] | None = None) -> np.ndarray:
    """[base, scene, noise]; with `where` (per base, (scenes,) of truths) those scenes only, as many of every base as
    the base with the fewest has."""
    rows = [np.asarray(tables[arm][metric], np.float64) for tables in found]
    if where is not None:
        rows = [row[mask] for row, mask in zip(rows, where, strict=True)]
        rows = [row[: min(map(len, rows))] for row in rows]
    return np.stack(rows)


def bootstrap(data: np.ndarray, resamples: int) -> statistics.Estimate:
    """Mean of [base, scene, noise] with its interval over bases and scenes."""
    return study_claims.interval(data, resamples, levels=2)


def cost(study: VChain, arm: str) -> float:
    """Forward equivalents of one video: sampling steps, and three for each video's worth of tokens tuned on."""
    if arm in ("linear", "nearest"):
        return 0.0
    if arm.startswith("tries"):
        return float(study.tries * study.steps)
    tuned = arm.startswith("vchain") or arm in ("tuned_short", "placebo", "stranger_short")
    return study.steps + (study.tuning_cost(study.tuning) if tuned else 0.0)


def arm_rows(found: Found, novel: Sequence[np.ndarray], study: VChain) -> list[dict[str, Any]]:
    """One row per arm, in the order measured, and the oracle's ceiling at the end."""
    rows, ps = {}, {}
    for arm in (arm for arm in found[0] if arm != "curve"):
        primary, difference = values(found, arm), values(found, arm) - values(found, "t2v")
        all_, against = bootstrap(primary, study.resamples), bootstrap(difference, study.resamples)
        row: dict[str, Any] = {"arm": arm, "label": suite.label(arm), "cost": cost(study, arm)}
        row |= {"primary": float(all_.value), "low": max(0.0, float(all_.low)), "high": min(1.0, float(all_.high))}
        row |= {"per_base": primary.mean((1, 2)).tolist()}
        row |= {"difference": float(against.value), "difference_interval": list(against.interval)}
        for name, masks in (("familiar", [~m for m in novel]), ("novel", list(novel))):
            if all(mask.any() for mask in masks):
                row[name] = float(values(found, arm, where=masks).mean())
        for metric in ("completion", "no_violation", "order", "states", "readable", "motion", "distinct"):
            row[metric] = float(values(found, arm, metric).mean())
        if all(mask.any() for mask in novel):
            row["appearance"] = float(values(found, arm, "appearance", list(novel)).mean())
        rows[arm] = row
        if arm != "t2v":
            ps[arm] = study_claims.p_value(difference, study.resamples)
    study_claims.add_holm(rows, ps)
    return list(rows.values())


Cell = Callable[[Mapping[str, Any]], str]


def _share(name: str) -> Cell:
    return lambda row: f"{row[name]:.3f}" if name in row else ""


def _difference(row: Mapping[str, Any]) -> str:
    return study_claims.between(row["difference"], *row["difference_interval"]) if row["arm"] != "t2v" else ""


COLUMNS: dict[str, Cell] = {
    "arm": lambda row: row["label"],
    "cost (F)": lambda row: f"{row['cost']:.0f}",
    "complete and lawful [95 %]": lambda row: study_claims.between(row["primary"], row["low"], row["high"], ".3f"),
    "familiar": _share("familiar"),
    "novel": _share("novel"),
    "minus T2V [95 %]": _difference,
    "p (Holm)": lambda row: f"{row['holm']:.2g}" if "holm" in row else "",
    "complete": _share("completion"),
    "lawful": _share("no_violation"),
    "order": _share("order"),
    "states": _share("states"),
    "novel look": _share("appearance"),
    "readable": _share("readable"),
    "motion": _share("motion"),
    "frames": _share("distinct"),
}
HEAD = list(COLUMNS)


def arm_cells(row: Mapping[str, Any]) -> list[str]:
    """A row of the table of arms as text, columns `HEAD`."""
    return [cell(row) for cell in COLUMNS.values()]


def arms_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """All arms as a table."""
    return tables.markdown(HEAD, [arm_cells(row) for row in rows])


def curve_rows(found: Found, study: VChain) -> list[dict[str, float]]:
    """The trade-off over tuning steps: every metric's mean with the primary's and the motion's interval."""
    rows = []
    for i, updates in enumerate(study.curve):
        at = [{"curve": {k: v[i] for k, v in tables["curve"].items()}} for tables in found]
        row: dict[str, float] = {"updates": updates}
        for metric in ("primary", "motion"):
            estimate = bootstrap(values(at, "curve", metric), study.resamples)
            row |= {metric: float(estimate.value), f"{metric}_low": float(estimate.low)}
            row[f"{metric}_high"] = float(estimate.high)
        for metric in ("completion", "no_violation", "order", "states", "readable", "distinct"):
            row[metric] = float(values(at, "curve", metric).mean())
        row["appearance"] = float(np.nanmean(values(at, "curve", "appearance")))
        rows.append(row)
    return rows


def claims(found: Found, novel: Sequence[np.ndarray], study: VChain) -> list[Claim]:
    """The claims of `claims.json`, in order: two arms, or two lengths of tuning, compared by a measure.

    The paper's claims come first, then this library's own about the controls that the paper lacks. A claim about noisy
    reasoners stands for one of every rate.
    """
    out: list[Claim] = []
    masks = {"all": None, "novel": list(novel), "familiar": [~mask for mask in novel]}
    registered = study_claims.registered(__file__)
    all_ = [(asked, rate) for asked in registered for rate in (study.rates if "{rate" in asked["id"] else (0.0,))]
    for asked, rate in all_:
        asked = study_claims.filled(asked, rate=rate, tries=study.tries)
        where, notes = masks[asked.get("scenes", "all")], asked.get("notes", "")
        if where is not None and not all(mask.any() for mask in where):
            continue
        if "updates" in asked:
            data, statistic = _trade_off(found, asked, study)
        else:
            (a, b), metric = asked["arms"], asked["measure"]
            data = values(found, a, metric, where) - values(found, b, metric, where)
            if a.startswith("vchain") and b != "placebo":
                null = bootstrap(
                    values(found, "placebo", metric, where) - values(found, b, metric, where), study.resamples
                )
                value = study_claims.between(float(null.value), *null.interval)
                notes = f"The same difference with another scene's keyframes (placebo): {value}. {notes}".strip()
            part = "" if where is None else f"{asked['scenes']} scenes: "
            compared = f"'{suite.label(a)}' minus '{suite.label(b)}', same scenes and noises"
            statistic = f"{part}share of {MEASURES[metric]}, {compared}"
        out.append(study_claims.judged(asked, bootstrap(data, study.resamples), statistic=statistic, notes=notes))
    return out


def _trade_off(found: Found, asked: Mapping[str, Any], study: VChain) -> tuple[np.ndarray, str]:
    """One length of tuning minus another, on the same scenes and noise, and how that is called."""
    length = {"first": study.curve[0], "tuned": study.tuning, "last": study.curve[-1]}
    one, other = (length[name] for name in asked["updates"])
    at = lambda updates: np.stack([t["curve"][asked["measure"]][study.curve.index(updates)] for t in found])
    what = {"primary": "share of complete and lawful clips", "motion": "motion relative to the true film"}
    statistic = f"trade-off over tuning steps: {what[asked['measure']]} after {one} updates minus after {other}"
    return at(one) - at(other), f"{statistic}, same scenes and noise"
