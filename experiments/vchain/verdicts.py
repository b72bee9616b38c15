"""From tables to claims and the table of arms. Every statistic here was fixed before a test scene was sampled.

Arrays are [base, scene, noise]; bases are the unit, and each has scenes of its own (`vrjax.report.seeds`). Scenes in
which a novel kind changes and those without ("familiar") are told apart throughout. p-values of arms are two-sided and
corrected over all arms by Holm.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.vchain import suite
from experiments.vchain.config import VChain
from vrjax.report import seeds
from vrjax.report.claims import Claim
from vrjax.report.tables import markdown
from vrjax.study import claims as study_claims
from vrjax.study.claims import Finding, settle
from vrjax.study.registration import Registration
from vrjax.study.tables import Tables

Found = Sequence[Mapping[str, Tables]]  # per base: arm -> tables
Masks = Sequence[np.ndarray]  # per base: which scenes are novel

# Gates, positive controls and doses by their registered names: an arm's metric on some scenes, or the share of clips in
# which an arm reads differently anywhere from another one on the same noise.
CHECKS: dict[str, tuple[str, str, str]] = {
    "ordered thoughts, familiar scenes: complete and lawful": ("text", "primary", "familiar"),
    "ordered thoughts: complete and lawful": ("text", "primary", "all"),
    "ordered thoughts: novel looks right": ("text", "appearance", "novel"),
    "plain base: complete and lawful": ("t2v", "primary", "all"),
    "nearest keyframe: complete and lawful": ("nearest", "primary", "all"),
    "best of k with ordered thoughts: complete and lawful": ("tries", "primary", "all"),
    "the true film: complete and lawful": ("truth", "primary", "all"),
    "the true film: motion": ("truth", "motion", "all"),
    "the first frame, standing still: complete and lawful": ("still", "primary", "all"),
    "the first frame, standing still: motion": ("still", "motion", "all"),
    "true last frame given: novel looks right": ("held", "appearance", "novel"),
    "keyframes given, last one held, familiar scenes: complete and lawful": ("held", "primary", "familiar"),
    "clips that the adapter changes": ("vchain", "changed", "text"),
    "clips that another scene's adapter changes": ("placebo", "changed", "text"),
    "clips that the adapter changes under the short prompt": ("tuned_short", "changed", "t2v"),
    "clips that ordered thoughts change": ("text", "changed", "t2v"),
    "clips that consequences in the prompt change": ("augmented", "changed", "t2v"),
    "clips that the learned reasoner's adapter changes": ("vchain_learned", "changed", "text_learned"),
    **{
        f"clips that the adapter changes, errors {r:g}": (f"vchain_noisy_{r:g}", "changed", f"text_noisy_{r:g}")
        for r in (0.1, 0.25, 0.5)
    },
    **{
        f"clips of held keyframes that errors {r:g} change": (f"nearest_noisy_{r:g}", "changed", "nearest")
        for r in (0.1, 0.25, 0.5)
    },
}


def gathered(study: VChain, kept: Mapping[str, Tables]) -> list[dict[str, Tables]]:
    """Per base its arms, from kept parts by name; bases without the first part are left out."""
    first, *others = suite.parts(study)
    found = []
    for seed in study.bases:
        if f"base{seed}-{first}" in kept:
            there = [name for part in (first, *others) if (name := f"base{seed}-{part}") in kept]
            found.append({arm: table for name in there for arm, table in suite.unflat(kept[name]).items()})
    return found


def novel_scenes(found: Found) -> list[np.ndarray]:
    """Per base in which scenes a novel kind changes, (scenes,): there the truth has a novel look."""
    return [np.isfinite(tables["truth"]["appearance"][:, 0]) for tables in found]


def judged(study: VChain, asked: Registration, kept: Mapping[str, Tables]) -> tuple[list[Claim], dict[str, str]]:
    """Claims and tables of a run, from its kept parts alone: see `vrjax.study.judging`."""
    found = gathered(study, kept)
    if not found:
        return [], {}
    novel = novel_scenes(found)
    return claims(found, novel, study, asked), told(arm_rows(found, novel, study), curve_rows(found, novel, study))


def told(rows: Sequence[Mapping[str, Any]], curve: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The tables of arms and of the trade-off as markdown, those that hold something."""
    shown = {"arms": (HEAD, [arm_cells(row) for row in rows]), "curve": (CURVE, [curve_cells(row) for row in curve])}
    return {name: markdown(head, lines) for name, (head, lines) in shown.items() if lines}


def where(name: str, novel: Masks) -> list[np.ndarray] | None:
    """Per base which scenes are "novel" or "familiar"; None for "all"."""
    kinds = {"all": None, "novel": list(novel), "familiar": [~mask for mask in novel]}
    return kinds[name]


def values(found: Found, arm: str, metric: str = "primary", scenes: Sequence[np.ndarray] | None = None) -> np.ndarray:
    """[base, scene, noise]; with `scenes` (per base, (scenes,) of truths) those only, as many of every base as the base
    with the fewest has."""
    rows = [np.asarray(tables[arm][metric], np.float64) for tables in found]
    if scenes is not None:
        rows = [row[mask] for row, mask in zip(rows, scenes, strict=True)]
        rows = [row[: min(map(len, rows))] for row in rows]
    return np.stack(rows)


def changed(found: Found, arm: str, other: str) -> np.ndarray:
    """[base, scene, noise]: whether two arms show anything differently, in any cell and frame, on the same noise."""
    pairs = [(tables[arm]["read"], tables[other]["read"]) for tables in found]
    return np.stack([(a != b).any((-1, -2)) for a, b in pairs])


def measured(found: Found, novel: Masks) -> dict[str, list[float]]:
    """The numbers of `CHECKS`, one per base, of the arms that are there."""
    out: dict[str, list[float]] = {}
    for what, (arm, metric, of) in CHECKS.items():
        needed = (arm, of) if metric == "changed" else (arm,)
        if not all(name in tables for tables in found for name in needed):
            continue
        if metric != "changed" and of != "all" and not _has(of, novel):
            continue
        data = changed(found, arm, of) if metric == "changed" else values(found, arm, metric, where(of, novel))
        out[what] = data.mean((1, 2)).tolist()
    return out


def _has(scenes: str, novel: Masks) -> bool:
    """Whether every base has such scenes."""
    return all(mask.any() for mask in where(scenes, novel) or ())


def cost(study: VChain, arm: str) -> float:
    """Forward equivalents of one video: sampling steps, and three for each video's worth of tokens tuned on."""
    if arm.startswith(("linear", "nearest")) or arm in ("truth", "still"):
        return 0.0
    if arm.startswith("tries"):
        return float(study.tries * study.steps)
    tuned = arm.startswith("vchain") or arm in ("tuned_short", "placebo", "stranger_short")
    return study.steps + (study.tuning_cost(study.tuning) if tuned else 0.0)


def arm_rows(found: Found, novel: Masks, study: VChain) -> list[dict[str, Any]]:
    """One row per arm, in the order of the parts: all, familiar and novel scenes with their intervals, each base's
    share, and the other metrics."""
    rows = {}
    order = [arm for arms in suite.parts(study).values() for arm in arms]
    for arm in (arm for arm in order if arm != "curve" and all(arm in one for one in found)):
        row: dict[str, Any] = {"arm": arm, "label": suite.label(arm), "cost": cost(study, arm)}
        for name in ("all", "familiar", "novel"):
            if not _has(name, novel):
                continue
            data = values(found, arm, scenes=where(name, novel))
            estimate = seeds.interval(data, bounds=(0, 1), resamples=study.resamples)
            low, high = max(0.0, float(estimate.low)), min(1.0, float(estimate.high))
            row[name] = {"share": float(estimate.value), "low": low, "high": high}
            row[name]["per_base"] = data.mean((1, 2)).tolist()
        difference = values(found, arm) - values(found, "t2v")
        against = seeds.interval(difference, bounds=(-1, 1), resamples=study.resamples)
        row |= {"difference": float(against.value), "difference_interval": list(against.interval)}
        for metric in ("completion", "no_violation", "order", "states", "readable", "motion", "distinct"):
            row[metric] = float(values(found, arm, metric).mean())
        if _has("novel", novel):
            row["appearance"] = float(values(found, arm, "appearance", list(novel)).mean())
        rows[arm] = row
    return list(rows.values())


Cell = Callable[[Mapping[str, Any]], str]


def _share(name: str) -> Cell:
    return lambda row: f"{row[name]:.3f}" if name in row else ""


def _of(name: str) -> Cell:
    def cell(row: Mapping[str, Any]) -> str:
        if name not in row:
            return ""
        return study_claims.between(row[name]["share"], (row[name]["low"], row[name]["high"]), ".3f")

    return cell


def _bases(name: str) -> Cell:
    """Each base's share in hundredths."""
    return lambda row: " ".join(f"{100 * x:.0f}" for x in row[name]["per_base"]) if name in row else ""


def _difference(row: Mapping[str, Any]) -> str:
    if row["arm"] in ("t2v", "truth", "still"):
        return ""
    return study_claims.between(row["difference"], row["difference_interval"])


COLUMNS: dict[str, Cell] = {
    "arm": lambda row: row["label"],
    "cost (F)": lambda row: f"{row['cost']:.0f}",
    "complete and lawful [95 %]": _of("all"),
    "familiar [95 %]": _of("familiar"),
    "novel [95 %]": _of("novel"),
    "familiar, each base (%)": _bases("familiar"),
    "novel, each base (%)": _bases("novel"),
    "minus T2V [95 %]": _difference,
    "complete": _share("completion"),
    "lawful": _share("no_violation"),
    "order": _share("order"),
    "states": _share("states"),
    "novel look": _share("appearance"),
    "readable": _share("readable"),
    "motion": _share("motion"),
}
HEAD = list(COLUMNS)


def arm_cells(row: Mapping[str, Any]) -> list[str]:
    """A row of the table of arms as text, columns `HEAD`."""
    return [cell(row) for cell in COLUMNS.values()]


def curve_rows(found: Found, novel: Masks, study: VChain) -> list[dict[str, Any]]:
    """The trade-off over tuning steps: the primary's and the motion's means with their intervals, the primary on
    familiar and on novel scenes, and the other metrics' means."""
    rows = []
    if not all("curve" in tables for tables in found):
        return rows
    n = min(study.curve_scenes, study.scenes)
    few = [mask[:n] for mask in novel]
    for i, updates in enumerate(study.curve):
        at = [{"curve": {k: v[i] for k, v in tables["curve"].items()}} for tables in found]
        row: dict[str, Any] = {"updates": updates}
        for metric in ("primary", "motion"):
            bounds = (0, 1) if metric == "primary" else None
            estimate = seeds.interval(values(at, "curve", metric), bounds=bounds, resamples=study.resamples)
            low, high = study_claims.ends(estimate) or (float(estimate.value),) * 2
            row |= {metric: float(estimate.value), f"{metric}_low": low, f"{metric}_high": high}
        row["per_base"] = values(at, "curve").mean((1, 2)).tolist()
        for scenes in ("familiar", "novel"):
            if _has(scenes, few):
                row[scenes] = float(values(at, "curve", "primary", where(scenes, few)).mean())
        for metric in ("completion", "no_violation", "order", "states", "readable", "distinct"):
            row[metric] = float(values(at, "curve", metric).mean())
        row["appearance"] = float(np.nanmean(values(at, "curve", "appearance")))
        rows.append(row)
    return rows


CURVE = ("updates", "complete and lawful [95 %]", "each base (%)", "familiar", "novel", "motion [95 %]", "novel look")


def curve_cells(row: Mapping[str, Any]) -> list[str]:
    """A row of the trade-off as text, columns `CURVE`."""
    out = [str(row["updates"])]
    out.append(study_claims.between(row["primary"], (row["primary_low"], row["primary_high"]), ".3f"))
    out.append(" ".join(f"{100 * x:.0f}" for x in row["per_base"]))
    out += [_share("familiar")(row), _share("novel")(row)]
    out.append(study_claims.between(row["motion"], (row["motion_low"], row["motion_high"]), ".3f"))
    return [*out, _share("appearance")(row)]


# --------------------------------------------------------------------------------------------------------------- claims


class Reader:
    """Reads what `how` of a registered claim names, `[arm, other, metric, scenes]` each: paired differences.

    An arm called "{tuned}", "{first}" or "{last}" is VChain after so many updates, from the curve's tables.
    """

    def __init__(self, found: Found, novel: Masks, study: VChain):
        self.found, self.novel, self.study = found, novel, study
        few = min(study.curve_scenes, study.scenes)
        self.few = [mask[:few] for mask in novel]
        self.fill = {"tries": study.tries, "first": study.curve[0], "tuned": study.tuning, "last": study.curve[-1]}

    def there(self, one: str, other: str, metric: str, scenes: str) -> bool:
        """Whether every base has both arms and such scenes."""
        named = ["curve" if arm.startswith("{") else arm for arm in (one, other)]
        masks = self.few if "curve" in named else self.novel
        return all(arm in tables for arm in named for tables in self.found) and _has(scenes, masks)

    def difference(self, one: str, other: str, metric: str, scenes: str) -> np.ndarray:
        """[base, scene, noise]."""
        return self._of(one, metric, scenes) - self._of(other, metric, scenes)

    def name(self, arm: str) -> str:
        """An arm in words."""
        return f"VChain, {arm.format(**self.fill)} updates" if arm.startswith("{") else suite.label(arm)

    def _of(self, arm: str, metric: str, scenes: str) -> np.ndarray:
        if not arm.startswith("{"):
            return values(self.found, arm, metric, where(scenes, self.novel))
        i = self.study.curve.index(self.fill[arm.strip("{}")])
        at = [{"curve": {k: v[i] for k, v in tables["curve"].items()}} for tables in self.found]
        return values(at, "curve", metric, where(scenes, self.few))


def claims(found: Found, novel: Masks, study: VChain, asked: Registration) -> list[Claim]:
    """The claims of `claims.json`, in order; those whose arms were not measured are left out.

    A run that has not measured all of its bases gives numbers without verdicts.
    """
    out: dict[str, Finding] = {}
    read, checks = Reader(found, novel, study), measured(found, novel)
    for claim in asked.claims:
        how = claim["how"]
        contrasts: dict[str, list[str]] = how["contrasts"]
        if not all(read.there(*contrast) for contrast in contrasts.values()):
            continue
        data = {name: read.difference(*contrast) for name, contrast in contrasts.items()}
        beside = {n: float(read.difference(*c).mean()) for n, c in how.get("beside", {}).items() if read.there(*c)}
        ((one, other, metric, scenes), *more) = contrasts.values()
        if not more and scenes == "all":
            for kind in ("familiar", "novel"):
                if metric != "appearance" and read.there(one, other, metric, kind):
                    beside[kind] = float(read.difference(one, other, metric, kind).mean())
        arms = list(dict.fromkeys(read.name(arm) for c in contrasts.values() for arm in c[:2]))
        several = data if more else data[next(iter(data))]
        out[claim["id"]] = Finding(several, measured=checks, beside=beside, fill=read.fill, arms=arms)
    return settle(asked, out, quick=study.quick or len(found) < len(study.bases), resamples=study.resamples)
