"""From tables to claims: every registered claim is a measure of one seed's tables (`claims.json`, "how").

    "how": {"measure": "off_path"}                                        # a name in MEASURES of a file of parts
    "how": {"measure": {"itself": "correction", "over ...": "..."}}       # one for each contrast
    "how": {"measure": "step_over_frame", "minus": "null"}                # minus the same of the null model, in pairs

Values are stacked as [training seed, instance, noise]. Each seed has instances of its own (nested); seeds are the unit
(`vrjax.report.seeds`).
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from experiments.chain_of_steps import agreement, doses, exploratory, primaries
from experiments.chain_of_steps.config import ChainOfSteps
from experiments.chain_of_steps.measuring import One, Part, named
from vrjax.reasoning.instruments import counts
from vrjax.report import seeds
from vrjax.report.claims import Claim
from vrjax.report.tables import markdown
from vrjax.study import claims as study_claims
from vrjax.study.claims import Finding, settle
from vrjax.study.registration import Registration
from vrjax.study.tables import Tables

FILES: tuple[ModuleType, ...] = (primaries, exploratory, agreement)
"""Each with `parts`, MEASURES, CONTROLS and, but the first, `tables`."""
MEASURES: dict[str, Callable[[One], np.ndarray]] = {k: v for file in FILES for k, v in file.MEASURES.items()}
CONTROLS: dict[str, tuple[str, Callable[[One], float]]] = {k: v for file in FILES for k, v in file.CONTROLS.items()}
BESIDE = {"null": "null model", "untrained": "untrained network", "causal": "frame-causal"}


Parts: TypeAlias = Mapping[str, Sequence[Tables]]  # part -> tables


def parts(study: ChainOfSteps) -> list[Part]:
    """Everything that is measured, the primaries first."""
    return [part for file in FILES for part in file.parts(study)]


class Unmeasured(Exception):
    """A statistic is defined on no instance of some training seed."""


class LeftOut(KeyError):
    """A part that this run does not measure. Any other KeyError of a measure is a fault, and is not caught."""


class Parted(dict):
    """Parts by name; one that is not there was left out."""

    def __missing__(self, name: str) -> Tables:
        raise LeftOut(name)


@dataclass(frozen=True)
class Measured:
    """All tables.

    Attributes:
        of: "model" and each of "null" (on the clips of each seed), "untrained", "causal" -> for each training seed (or
            each of those) its tables by part, and what a measure may ask for beside.
        gates: name of a gate -> its number of each training seed.
        dose: the arm of the ensemble that is best on validation, mean over all seeds.
    """

    of: Mapping[str, Sequence[One]]
    gates: Mapping[str, Sequence[float]]
    dose: str

    def __post_init__(self) -> None:
        beside = lambda name, value: Parted(value) if name in ("model", "null") else value  # parts of the same seed
        every = {
            who: [Parted({name: beside(name, value) for name, value in one.items()}) for one in ones]
            for who, ones in self.of.items()
        }
        object.__setattr__(self, "of", every)

    @property
    def models(self) -> Parts:
        """Of every part, the tables of all training seeds."""
        return _by_part(self.of["model"])

    @property
    def others(self) -> dict[str, Parts]:
        """The same of each of the others that was measured."""
        return {who: _by_part(ones) for who, ones in self.of.items() if who != "model" and ones}


def _by_part(ones: Sequence[One]) -> Parts:
    out: dict[str, list[Tables]] = {}
    for one in ones:
        for part, table in one.items():
            if "/" in part:
                out.setdefault(part, []).append(table)
    return out


def gather(study: ChainOfSteps, tables: Mapping[str, Tables]) -> Measured:
    """All tables of a run by the names they are kept under: those of training seeds of which every part, and
    the gates, are there."""
    listed = [part for part in parts(study) if part.packed or named(part.name, "model", 0) in tables]

    def read(who: str, index: int) -> dict[str, Tables]:
        names = {part.name: named(part.name, who, index) for part in listed if who == "model" or who in part.also}
        return {part: tables[name] for part, name in names.items() if name in tables}

    whole = {who: sum(who == "model" or who in part.also for part in listed) for who in ("model", "null")}
    seeds = range(max(1, len(study.training)))
    # A trained seed comes with its gates, of validation clips; only models that were not trained here have none.
    gated = lambda i: not study.training or f"{i}-gates" in tables
    done = [i for i in seeds if gated(i) and all(len(read(who, i)) == many for who, many in whole.items())]
    found = {who: {i: one for i in seeds if (one := read(who, i))} for who in ("untrained", "causal")}
    found |= {who: {i: read(who, i) for i in done} for who in whole}
    mine = list(found["model"].values())
    dose = doses.best([one["maze/doses"] for one in mine]) if mine else ""
    of: dict[str, list[One]] = {}
    for who, ones in found.items():
        more = {name: found[name] for name in ("model", "null") if who not in (name, "null")}
        beside = lambda i, more=more: {"dose": dose, **{name: ones.get(i, {}) for name, ones in more.items()}}
        of[who] = [{**one, **beside(i)} for i, one in ones.items()]
    gates = _numbers([tables[f"{i}-gates"] for i in done]) if study.training else looked_at(mine)
    return Measured(of, gates, dose)


def _numbers(rows: Sequence[Tables]) -> dict[str, list[float]]:
    return {f"{world}: solved": [float(row[world]) for row in rows] for world in primaries.WORLDS}


def looked_at(models: Sequence[One]) -> dict[str, list[float]]:
    """Gates of models that come without the rates of their training: on the clips whose steps are read out."""
    ends = lambda one, world: one[f"{world}/trajectories"]["solved"][..., -1].mean()
    return _numbers([{world: ends(one, world) for world in primaries.WORLDS} for one in models])


def stack(rows: Sequence[np.ndarray]) -> np.ndarray:
    """[training, instance, noise] of a number of each seed's instances ([instance] or [instance, noise]).

    Instances on which the number is not defined (NaN) are left out; then every training seed keeps its first k, k being
    the fewest that one of them has.

    Raises:
        Unmeasured: k is 0.
    """
    rows = [np.asarray(r, np.float64) for r in rows]
    rows = [r[:, None] if r.ndim == 1 else r for r in rows]
    rows = [r[np.isfinite(r).all(1)] for r in rows]
    least = min((len(r) for r in rows), default=0)
    if least == 0:
        raise Unmeasured
    return np.stack([r[:least] for r in rows])


def claims(study: ChainOfSteps, asked: Registration, measured: Measured) -> tuple[list[Claim], list[str]]:
    """The registered claims, in their order.

    Returns:
        The claims, and a sentence for each that could not be measured.
    """
    found: dict[str, Finding] = {}
    why: dict[str, str] = {}
    checked = {**measured.gates, **controls(measured)}
    for claim in asked.claims:
        how = claim["how"]
        read = how["measure"]
        several = read if isinstance(read, dict) else {"": read}
        try:
            values = {name: _values(measured, one, how.get("minus")) for name, one in several.items()}
            beside = {k: v for name, one in several.items() for k, v in _beside(measured, name, one, how).items()}
            given: dict[str, Any] = {"measured": checked, "beside": beside, "fill": {"dose": measured.dose}}
            found[claim["id"]] = Finding(values if isinstance(read, dict) else values[""], **given)
        except Unmeasured:
            why[claim["id"]] = "its statistic is defined on no instance of some model"
        except LeftOut:
            why[claim["id"]] = "this run leaves out the part that it is read from"
    rows = settle(asked, found, quick=study.quick, resamples=study.resamples)
    return rows, [f"{lost.id} was not measured: {why[lost.id]}." for lost in study_claims.missing(asked, rows)]


def judged(study: ChainOfSteps, asked: Registration, kept: Mapping[str, Tables]) -> tuple[list[Claim], dict[str, str]]:
    """The claims, and the README's tables as markdown by block name, from kept tables (`vrjax.study.judging`)."""
    measured = gather(study, kept)
    if not measured.of["model"]:
        return [], {}
    shown = {}
    for title, rows in (tables(study, measured) | {"Bill": bill(asked)}).items():
        cells = [[_cell(value) for value in row.values()] for row in rows]
        shown[title.lower().replace(" ", "_")] = markdown(list(rows[0]), cells) if rows else ""
    return claims(study, asked, measured)[0], shown


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return " ".join(map(_cell, value)) if isinstance(value, list) else str(value)


def _values(measured: Measured, name: str, minus: str | None) -> np.ndarray:
    """[training seed, instance, noise]; minus the same of another, pair by pair."""
    read, mine = MEASURES[name], measured.of["model"]
    if minus is None:
        return stack([read(one) for one in mine])
    return stack([read(one) - read(other) for one, other in zip(mine, measured.of[minus], strict=True)])


def _beside(measured: Measured, contrast: str, name: str, how: Mapping[str, Any]) -> dict[str, float]:
    """The same statistic of the others, where they were measured; of the models too where theirs is a difference."""
    out, label = {}, f"{contrast}, " if contrast else ""
    itself = {"model": "model, not minus null"} if "minus" in how else {}
    for who, words in (itself | BESIDE).items():
        with contextlib.suppress(Unmeasured, LeftOut):
            out[f"{label}{words}"] = float(stack([MEASURES[name](one) for one in measured.of.get(who, ())]).mean())
    return out


def controls(measured: Measured) -> dict[str, list[float]]:
    """The number of every control, of each seed that it is measured on; left out where it is not."""
    out = {}
    for what, (who, read) in CONTROLS.items():
        with contextlib.suppress(LeftOut):
            if (tables := measured.of.get(who)) and np.isfinite(numbers := [read(one) for one in tables]).all():
                out[what] = numbers
    return out


# ------------------------------------------------------------------------------------------------------------- tables


def tables(study: ChainOfSteps, measured: Measured) -> dict[str, list[dict[str, Any]]]:
    """What the page and the results show beside the claims, by title."""
    mine = {
        "Worlds": world_table(measured, study.resamples),
        "Ensemble": ensemble_table(measured, study.resamples),
        "Blocks swapped": swap_table(measured),
    }
    return mine | {title: rows for file in FILES[1:] for title, rows in file.tables(study, measured).items()}


def bill(asked: Registration) -> list[dict[str, Any]]:
    """What was registered as its price: core minutes per training seed."""
    return [{"arm": arm, "core minutes": minutes} for arm, minutes in asked.bill.items()]


def ensemble_table(measured: Measured, resamples: int) -> list[dict[str, Any]]:
    """One row per arm: solved, of each seed, on validation, difference to the single run with interval."""
    each = [doses.solved(table) for table in measured.models["maze/ensembles"]]
    held = [doses.solved(table) for table in measured.models["maze/doses"]]
    rows: list[dict[str, Any]] = []
    for name in each[0]:
        values = np.stack([solved[name] for solved in each])
        difference = values - np.stack([solved[doses.SINGLE] for solved in each])
        estimate = seeds.interval(difference, bounds=(-1, 1), resamples=resamples)
        row = {
            "arm": name,
            "chosen": name == measured.dose,
            "validation": float(np.mean([solved[name].mean() for solved in held])),
            "solved": float(values.mean()),
            "per_seed": values.mean((1, 2)).tolist(),
            "difference": float(estimate.value),
            "low": float(estimate.low),
            "high": float(estimate.high),
            "pairs": int(difference.size),
            "discordant": float((difference != 0).mean()),
        }
        rows.append(row)
    return rows


def world_table(measured: Measured, resamples: int) -> list[dict[str, Any]]:
    """Per world: solved at the end, solved at step 0, both directions of change, commitment; and the others."""
    rows = []
    for world in primaries.WORLDS:
        part = f"{world}/trajectories"
        each = measured.models[part]
        rate = seeds.interval(stack([t["solved"][..., -1] for t in each]), bounds=(0, 1), resamples=resamples)
        low, high = max(0.0, float(rate.low)), min(1.0, float(rate.high))
        right = np.concatenate([t["solved"].reshape(-1, t["solved"].shape[-1]) for t in each])
        moved = counts.corrections(right)
        commits = counts.commitment(np.concatenate([t["answer"].reshape(-1, t["answer"].shape[-1]) for t in each]))
        row = {
            "world": world,
            "runs": str(moved.n),
            "solved": study_claims.between(float(rate.value), (low, high), ".3f"),
            "every frame right": f"{np.mean([(t['score'] >= 1).mean() for t in each]):.3f}",
            "right at step 0": f"{right[:, 0].mean():.3f}",
            "wrong to right": f"{moved.wrong_to_right / moved.n:.3f}",
            "right to wrong": f"{moved.right_to_wrong / moved.n:.3f}",
            "commits at step (median, 90 %)": f"{np.median(commits):.0f}, {np.quantile(commits, 0.9):.0f}",
        }
        for who, words in BESIDE.items():
            found = [table["solved"][..., -1].mean() for table in measured.others.get(who, {}).get(part, ())]
            row[f"solved, {words}"] = f"{np.mean(found):.3f}" if found else ""
        rows.append(row)
    return rows


def swap_table(measured: Measured) -> list[dict[str, Any]]:
    """Per condition: share of usable pairs whose answer the swap flips, and keeps; mean over the training seeds."""
    each = measured.models["maze/goals"]
    names = ["none", "all", *(f"block {b}" for b in range(each[0]["flip"].shape[1] - 2))]
    mean = lambda field, i: float(np.mean([t[field][t["usable"], i].mean() for t in each if t["usable"].any()] or [0]))
    pairs = sum(int(t["usable"].sum()) for t in each)
    return [
        {"swapped after": name, "flips": mean("flip", i), "keeps its own": mean("kept", i), "pairs": pairs}
        for i, name in enumerate(names)
    ]
