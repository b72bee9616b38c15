"""From kept tables to claims. Every statistic here was fixed before a test item was sampled.

Values are [training seed, item, 1]; seeds are the unit, and each has items of its own (`vrjax.report.seeds`). What a
claim compares stands in `claims.json`, field `how`:

    "contrasts": {name: [arm, other, metric, items]}     differences, item by item, see `reading.difference`
    "beside": likewise, shown beside the estimate
    "of": "kappa" or "ranks"                             instead: one number a seed, see `SINGLE`
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.vimogen import listings, names, reading
from experiments.vimogen.config import ViMoGen
from experiments.vimogen.names import ADAPTIVE, CONTROL, FROZEN, LIFTED, M2M, ORACLE, RANDOM, STUDENT, SYNTHETIC, T2M
from experiments.vimogen.reading import Seed
from vrjax.motion.program import Script
from vrjax.report.claims import Claim
from vrjax.study.claims import Finding, settle
from vrjax.study.registration import Registration
from vrjax.study.tables import Tables


class Check(NamedTuple):
    """A number of a seed that a gate, a positive control or a dose is about, and the arms and parts it is read from."""

    read: Callable[[Seed], float]
    needs: tuple[str, ...]


def _mean(arm: str, metric: str, items: str = "all") -> Check:
    return Check(lambda seed: seed.mean(arm, metric, items), (arm,))


def _minus(arm: str, other: str, metric: str, items: str = "all") -> Check:
    return Check(lambda seed: seed.mean(arm, metric, items) - seed.mean(other, metric, items), (arm, other))


def _over(arm: str, other: str, metric: str, items: str) -> Check:
    return Check(lambda seed: seed.mean(arm, metric, items) / seed.mean(other, metric, items), (arm, other))


def _far(arm: str, other: str) -> Check:
    return Check(lambda seed: seed.far(arm, other), (arm, other))


def _room(seed: Seed) -> float:
    """How much more an oracle solves than the better of the two branches alone."""
    return seed.mean(ORACLE, "rules") - max(seed.mean(T2M, "rules"), seed.mean(M2M, "rules"))


def _clips(seed: Seed) -> float:
    """Of the clips with a distilled verb that the student is shown, how many the rules call solved."""
    table = seed.table(names.CLIPS)
    lacking = [len(found) > 0 for found in reading.unseen(Script(*np.asarray(table["script"], np.int64).T))]
    shown = np.array(lacking, bool) & np.asarray(table["chosen"], bool)  # `gates.learnable`
    return float(table["rules"][shown].mean()) if shown.any() else 0.0


CHECKS: Mapping[str, Check] = {
    "T2M, S: solved by recogniser": _mean(T2M, "recogniser", "S"),
    "control, S: solved by recogniser": _mean(CONTROL, "recogniser", "S"),
    "M2M, V: solved by recogniser": _mean(M2M, "recogniser", "V"),
    "distilled verbs in the student's clips: solved by rules": Check(_clips, (names.CLIPS,)),
    "T2M over ground truth, S: Dynamic_Degree": _over(T2M, names.TRUTH, "Dynamic_Degree", "S"),
    "ground truth: solved by both": _mean(names.TRUTH, "both"),
    "frozen pose, C and V: solved by either": _mean(FROZEN, "either", "C and V"),
    "oracle gate minus the better branch: solved by rules": Check(_room, (ORACLE,)),
    "oracle gate minus random gate: solved by rules": _minus(ORACLE, RANDOM, "rules"),
    "video baseline minus ground truth, S: Jitter_Degree": _minus(names.VIDEO, names.TRUTH, "Jitter_Degree", "S"),
    "share of prompts that the gate sends to M2M": Check(
        lambda seed: float(seed.choices[ADAPTIVE].mean()), (ADAPTIVE,)
    ),
    "student and control: distance of joints (m)": Check(
        lambda seed: float(seed.table(names.ITEMS)["far student control"].mean()), (STUDENT, CONTROL)
    ),
    "M2M and T2M: distance of features": _far(M2M, T2M),
    "M2M and video baseline: distance of features": _far(M2M, names.VIDEO),
    "student and adaptive gate: distance of features": _far(STUDENT, ADAPTIVE),
    "+ lifted and control: distance of features": _far(LIFTED, CONTROL),
    "+ synthetic and + lifted: distance of features": _far(SYNTHETIC, LIFTED),
}
"""Gates, positive controls and doses by their registered names."""

SINGLE: Mapping[str, tuple[Callable[[Seed, Sequence[str]], float], tuple[str, ...]]] = {
    "kappa": (reading.kappa, (T2M, M2M, CONTROL, STUDENT)),
    "ranks": (reading.ranks, (FROZEN, names.NEAREST, names.VIDEO, T2M, M2M, names.TRUE, CONTROL, STUDENT)),
}
"""Statistics that are one number a seed, and the arms whose motions they are of."""


def judged(study: ViMoGen, asked: Registration, kept: Mapping[str, Tables]) -> tuple[list[Claim], dict[str, str]]:
    """Claims and tables of a run, from its kept parts alone: see `vrjax.study.judging`."""
    seeds = reading.gathered(study, kept)
    return (claims(study, asked, seeds), listings.told(listings.listed(study, seeds))) if seeds else ([], {})


def measured(seeds: Sequence[Seed]) -> dict[str, list[float]]:
    """The numbers of `CHECKS`, one per seed, of what every seed has."""
    return {
        what: [one.read(seed) for seed in seeds] for what, one in CHECKS.items() if reading.there(seeds, *one.needs)
    }


def claims(study: ViMoGen, asked: Registration, seeds: Sequence[Seed]) -> list[Claim]:
    """The claims of `claims.json`, in order; those whose arms were not measured are left out.

    A run that has not measured all of its seeds gives numbers without verdicts.
    """
    checks, out = measured(seeds), {}
    for claim in asked.claims:
        found = _single(seeds, claim["how"]["of"]) if "of" in claim["how"] else _differences(seeds, claim["how"])
        if found is not None:
            values, beside, arms = found
            out[claim["id"]] = Finding(values, measured=checks, beside=beside, arms=arms)
    return settle(asked, out, quick=study.quick or len(seeds) < len(study.seeds), resamples=study.resamples)


Found = tuple[np.ndarray | Mapping[str, np.ndarray], dict[str, float], list[str]]  # values, beside, arms


def _single(seeds: Sequence[Seed], which: str) -> Found | None:
    """A statistic of `SINGLE`."""
    read, arms = SINGLE[which]
    if not reading.there(seeds, *arms):
        return None
    return np.array([read(seed, arms) for seed in seeds])[:, None, None], {}, list(arms)


def _differences(seeds: Sequence[Seed], how: Mapping[str, Mapping[str, Sequence[str]]]) -> Found | None:
    """Contrasts, what stands beside them, and what an untrained network scores on the same; where all arms are there.

    Of one over all items its sets stand beside it too.
    """
    can = lambda contrast: reading.there(seeds, *contrast[:2], items=contrast[3])
    contrasts = how["contrasts"]
    if not all(can(contrast) for contrast in contrasts.values()):
        return None
    mean = lambda contrast: float(reading.difference(seeds, *contrast).mean())
    beside = {name: mean(contrast) for name, contrast in how.get("beside", {}).items() if can(contrast)}
    one, other, metric, items = next(iter(contrasts.values()))
    if items == "all":
        beside |= {f"{split} alone ({metric})": mean((one, other, metric, split)) for split in ("S", "C", "V")}
    if reading.there(seeds, names.UNTRAINED, items=items):
        scored = float(reading.values(seeds, names.UNTRAINED, metric, items).mean())
        beside[f"an untrained network scores ({metric})"] = scored
    arms = list(dict.fromkeys(arm for contrast in contrasts.values() for arm in contrast[:2]))
    return {name: reading.difference(seeds, *contrast) for name, contrast in contrasts.items()}, beside, arms
