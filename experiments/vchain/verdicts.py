"""From tables to claims and the table of arms. Every statistic here was fixed before a test scene was sampled.

Arrays are stacked as [base, scene, noise]. Intervals resample bases, then scenes within each; noises are averaged.
p-values flip the signs of whole scenes (paired permutation) and are corrected over all arms by Holm.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.vchain import suite
from experiments.vchain.config import Study
from vrjax.report import statistics, tables
from vrjax.report.claims import Claim, claim
from vrjax.study.tables import Tables

PAPER = "2510.05094"
MARGIN = 0.05  # smallest effect of interest, in shares of clips
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
    """Mean of [base, scene, noise] with its interval; a level of length 1 is not resampled.

    Where nothing varies, resampling would claim certainty: the rule of three takes its place (an exception may still
    have probability 3 / n).
    """
    data = np.asarray(data, np.float64)
    if np.ptp(data) == 0:
        value, slack = float(data.flat[0]), 3.0 / (data.shape[0] * data.shape[1])
        return statistics.Estimate(value, value - slack, value + slack, data.size)
    levels = tuple(axis for axis in (0, 1) if data.shape[axis] > 1)
    return statistics.hierarchical_bootstrap(data, resample=levels, instances="nested", resamples=resamples)


def cost(study: Study, arm: str) -> float:
    """Forward equivalents of one video: sampling steps, and three for each video's worth of tokens tuned on."""
    if arm in ("linear", "nearest"):
        return 0.0
    if arm.startswith("tries"):
        return float(study.tries * study.steps)
    tuned = arm.startswith("vchain") or arm in ("tuned_short", "placebo", "stranger_short")
    return study.steps + (study.tuning_cost(study.tuning) if tuned else 0.0)


def arm_rows(found: Found, novel: Sequence[np.ndarray], study: Study) -> list[dict[str, Any]]:
    """One row per arm, in the order measured, and the oracle's ceiling at the end."""
    names = [arm for arm in found[0] if arm != "curve"]
    rows, ps = [], []
    for arm in names:
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
        rows.append(row)
        scene = np.repeat(np.arange(difference.shape[0] * difference.shape[1]), difference.shape[2])
        ps.append(float(statistics.sign_flip(difference.ravel(), scene, resamples=study.resamples)))
    others = [i for i, arm in enumerate(names) if arm != "t2v"]
    for i, p in zip(others, statistics.holm(np.array(ps)[others]).adjusted, strict=True):
        rows[i]["holm"] = float(p)
    return rows


HEAD = [
    "arm",
    "cost (F)",
    "complete and lawful [95 %]",
    "familiar",
    "novel",
    "minus T2V [95 %]",
    "p (Holm)",
    "complete",
    "lawful",
    "order",
    "states",
    "novel look",
    "readable",
    "motion",
    "frames",
]


def arm_cells(row: Mapping[str, Any]) -> list[str]:
    """A row of the table of arms as text."""
    show = lambda name: f"{row[name]:.3f}" if name in row else ""
    low, high = row["difference_interval"]
    return [
        row["label"],
        f"{row['cost']:.0f}",
        f"{row['primary']:.3f} [{row['low']:.3f}, {row['high']:.3f}]",
        show("familiar"),
        show("novel"),
        f"{row['difference']:+.3f} [{low:+.3f}, {high:+.3f}]" if row["arm"] != "t2v" else "",
        f"{row['holm']:.2g}" if "holm" in row else "",
        *(show(n) for n in ("completion", "no_violation", "order", "states", "appearance")),
        *(show(n) for n in ("readable", "motion", "distinct")),
    ]


def arms_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """All arms as a table."""
    return tables.markdown(HEAD, [arm_cells(row) for row in rows])


def curve_rows(found: Found, study: Study) -> list[dict[str, float]]:
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


def claims(found: Found, novel: Sequence[np.ndarray], study: Study) -> list[Claim]:
    """The paper's claims in this world, then this library's own about the controls that the paper lacks."""
    out: list[Claim] = []
    familiar = [~mask for mask in novel]

    def mean(data: np.ndarray) -> str:
        estimate = bootstrap(data, study.resamples)
        low, high = estimate.interval
        return f"{float(estimate.value):+.3f} [{low:+.3f}, {high:+.3f}]"

    def add(name: str, data: np.ndarray, statement: str, statistic: str, *, notes: str = "", **how: Any) -> None:
        estimate = bootstrap(data, study.resamples)
        how = {"paper": PAPER, "direction": "greater", "margin": MARGIN, "null": 0.0, "arms": ()} | how
        out.append(
            claim(
                f"vchain.{name}",
                statement=statement,
                statistic=statistic,
                estimate=float(estimate.value),
                interval=estimate.interval,
                n=estimate.n,
                notes=notes,
                **how,
            )
        )

    def versus(
        name: str, a: str, b: str, statement: str, metric: str = "primary", where: Any = None, **how: Any
    ) -> None:
        kind = {
            "primary": "complete and lawful clips",
            "order": "causal pairs in order",
            "appearance": "novel looks right",
        }
        part = "" if where is None else ("novel scenes: " if where is novel else "familiar scenes: ")
        placebo = "placebo" if a.startswith("vchain") and b != "placebo" else None
        data = values(found, a, metric, where) - values(found, b, metric, where)
        notes = how.pop("notes", "")
        if placebo:
            null = values(found, placebo, metric, where) - values(found, b, metric, where)
            notes = f"The same difference with another scene's keyframes (placebo): {mean(null)}. {notes}".strip()
        stat = f"{part}share of {kind[metric]}, '{suite.label(a)}' minus '{suite.label(b)}', same scenes and noises"
        add(name, data, statement, stat, arms=(a, b), notes=notes, **how)

    versus("t2v", "vchain", "t2v", "VChain's videos follow cause and effect better than the base model's.")
    versus("order", "vchain", "t2v", "VChain improves causal order.", "order")
    versus("augmented", "vchain", "augmented", "VChain is better than prompt augmentation.")
    versus("thoughts", "text", "t2v", "Ordered textual thoughts alone improve on the base.")
    versus("visual", "vchain", "text", "Visual thoughts (tuning) add to the textual ones.")
    if all(mask.any() for mask in novel):
        versus(
            "appearance",
            "vchain",
            "text",
            "Keyframes teach appearances that text cannot render.",
            "appearance",
            novel,
        )
    versus("interpolation", "vchain", "linear", "Tuning is better than interpolating the keyframes.")
    _trade_off(add, found, study)
    own = {"paper": "vrjax"}
    versus("placebo", "vchain", "placebo", "The gain needs the scene's own keyframes.", **own)
    versus(
        "short", "vchain", "tuned_short", "Tuning alone is not enough: the ordered thoughts matter in sampling.", **own
    )
    versus("pinned", "vchain", "pinned", "Tuning is better than giving the keyframes at their true times.", **own)
    k = f"k = {study.tries}, chosen by likeness to the keyframes."
    versus(
        "best_of_k",
        "vchain",
        "tries_short",
        "VChain is better than best of k of the base at equal compute.",
        notes=k,
        **own,
    )
    versus(
        "best_of_k_thoughts",
        "vchain",
        "tries",
        "VChain is better than best of k with ordered thoughts.",
        notes=k,
        **own,
    )
    if all(mask.any() for mask in familiar):
        versus(
            "retention",
            "placebo",
            "text",
            "An adapter leaves other, familiar scenes as they were.",
            where=familiar,
            direction="equal",
            **own,
        )
    versus("learned", "vchain_learned", "t2v", "A small learned reasoner is enough for the gain.", **own)
    for rate in study.rates:
        arm = f"vchain_noisy_{rate:g}"
        versus(
            f"noisy_{rate:g}", arm, "t2v", f"The gain survives a reasoner that errs at {rate:g} of keyframes.", **own
        )
    return out


def _trade_off(add: Any, found: Found, study: Study) -> None:
    at = lambda updates, metric: np.stack([t["curve"][metric][study.curve.index(updates)] for t in found])
    low, best, high = study.curve[0], study.tuning, study.curve[-1]
    say = "trade-off over tuning steps: {} after {} updates minus after {}, same scenes and noise"
    add(
        "too_short",
        at(low, "primary") - at(best, "primary"),
        "Tuned too briefly, keyframes have no effect.",
        say.format("share of complete and lawful clips", low, best),
        direction="less",
    )
    add(
        "too_long",
        at(high, "primary") - at(best, "primary"),
        "Tuned too long, the result gets worse.",
        say.format("share of complete and lawful clips", high, best),
        direction="less",
    )
    add(
        "static",
        at(high, "motion") - at(best, "motion"),
        "Tuned too long, videos stand still.",
        say.format("motion relative to the true film", high, best),
        direction="less",
    )
