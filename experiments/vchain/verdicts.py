"""From tables to claims and the table of arms. Every statistic here was fixed before a test scene was sampled.

Arrays are stacked as [base, scene, noise]; bases are the unit, and each has scenes of its own (`vrjax.report.seeds`).
p-values of arms are two-sided and corrected over all arms by Holm.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.vchain import suite
from experiments.vchain.config import VChain
from vrjax.report import seeds, tables
from vrjax.report.claims import Claim
from vrjax.study import claims as study_claims
from vrjax.study.claims import Finding, settle
from vrjax.study.registration import Registration
from vrjax.study.tables import Tables

Found = Sequence[Mapping[str, Tables]]  # per base: arm -> tables


def values(found: Found, arm: str, metric: str = "primary", where: Sequence[np.ndarray] | None = None) -> np.ndarray:
    """[base, scene, noise]; with `where` (per base, (scenes,) of truths) those scenes only, as many of every base as
    the base with the fewest has."""
    rows = [np.asarray(tables[arm][metric], np.float64) for tables in found]
    if where is not None:
        rows = [row[mask] for row, mask in zip(rows, where, strict=True)]
        rows = [row[: min(map(len, rows))] for row in rows]
    return np.stack(rows)


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
        all_ = seeds.interval(primary, bounds=(0, 1), resamples=study.resamples)
        against = seeds.interval(difference, bounds=(-1, 1), resamples=study.resamples)
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
            ps[arm] = float(seeds.p_value(difference, side="either", resamples=study.resamples))
    study_claims.add_holm(rows, ps)
    return list(rows.values())


Cell = Callable[[Mapping[str, Any]], str]


def _share(name: str) -> Cell:
    return lambda row: f"{row[name]:.3f}" if name in row else ""


def _difference(row: Mapping[str, Any]) -> str:
    return study_claims.between(row["difference"], row["difference_interval"]) if row["arm"] != "t2v" else ""


COLUMNS: dict[str, Cell] = {
    "arm": lambda row: row["label"],
    "cost (F)": lambda row: f"{row['cost']:.0f}",
    "complete and lawful [95 %]": lambda row: study_claims.between(row["primary"], (row["low"], row["high"]), ".3f"),
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
            bounds = (0, 1) if metric == "primary" else None
            estimate = seeds.interval(values(at, "curve", metric), bounds=bounds, resamples=study.resamples)
            low, high = study_claims.ends(estimate) or (float(estimate.value),) * 2
            row |= {metric: float(estimate.value), f"{metric}_low": low, f"{metric}_high": high}
        for metric in ("completion", "no_violation", "order", "states", "readable", "distinct"):
            row[metric] = float(values(at, "curve", metric).mean())
        row["appearance"] = float(np.nanmean(values(at, "curve", "appearance")))
        rows.append(row)
    return rows


def claims(found: Found, novel: Sequence[np.ndarray], study: VChain, asked: Registration) -> list[Claim]:
    """The claims of `claims.json`, in order: two arms, or two lengths of tuning, compared by a measure.

    The paper's claims come first, then this library's own about the controls that the paper lacks. A run that has not
    measured all of its bases yet gives numbers without verdicts.
    """
    out: dict[str, Finding] = {}
    masks = {"all": None, "novel": list(novel), "familiar": [~mask for mask in novel]}
    fill = {"tries": study.tries, "first": study.curve[0], "tuned": study.tuning, "last": study.curve[-1]}
    for claim in asked.claims:
        how, beside = claim["how"], {}
        where, names = masks[how.get("scenes", "all")], how.get("arms", ())
        if not all(name in found[0] for name in names) or (where is not None and not all(m.any() for m in where)):
            continue
        if "updates" in how:
            one, other = (study.curve.index(fill[name]) for name in how["updates"])
            at = lambda i, how=how: np.stack([tables["curve"][how["measure"]][i] for tables in found])
            data = at(one) - at(other)
        else:
            read = lambda arm, how=how, where=where: values(found, arm, how["measure"], where)
            data = read(names[0]) - read(names[1])
            if claim["null"] is not None:
                beside = {"placebo": float((read("placebo") - read(names[1])).mean())}
        out[claim["id"]] = Finding(data, beside=beside, fill=fill, arms=[suite.label(name) for name in names])
    return settle(asked, out, quick=study.quick or len(found) < len(study.bases), resamples=study.resamples)
