"""From kept tables to claims. Every statistic here was fixed before a test item was drawn.

What a claim reads stands in `claims.json`, field `how`, in the words of `reading.number`:

    "of": ["right", ["{primary}"], "trivial", ["{primary}"]]         or, of a claim of several contrasts,
    "contrasts": {contrast: ["further", ["{primary}", "preferred"], "further", ["{primary}", "longer"]]}
    "beside": {what: ["guess", ["{primary}"]]}                       shown beside the estimate, means over seeds

`{primary}` is the study's first skill. Gates, controls and doses are those of `CHECKS`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.babyvision import listings, names, reading
from experiments.babyvision.config import BabyVision
from experiments.babyvision.reading import Seed
from vrjax.report.claims import Claim
from vrjax.study import listing
from vrjax.study.claims import Finding, settle
from vrjax.study.registration import Registration
from vrjax.study.tables import Tables

PRIMARY = "{primary}"
CHECKS: Mapping[str, Sequence[Any]] = {
    "specialist: drawings that are right": ["right", [PRIMARY]],
    "specialist: PSNR of what is not marked, dB": ["kept_back", [PRIMARY]],
    "guesses": ["guess", [PRIMARY]],
    "preferred: share of drawings that it made right or wrong": ["moved", [PRIMARY, names.PREFERRED]],
    "head on the untrained network: answers that are right, less a guess": [
        "answered",
        [PRIMARY, names.UNTRAINED],
        "guess",
        [PRIMARY],
    ],
}
"""Gates, positive controls and doses by their registered names."""


def judged(study: BabyVision, asked: Registration, kept: Mapping[str, Tables]) -> tuple[list[Claim], dict[str, str]]:
    """Claims and tables of a run, from its kept parts alone: see `vrjax.study.judging`."""
    return claims(study, asked, kept), listing.told(listings.listed(study, kept))


def named(study: BabyVision, asked: Sequence[Any]) -> list[Any]:
    """A number as it is asked for, with the primary skill by its name."""
    first = study.skills[0].task
    put = lambda part: [first if one == PRIMARY else one for one in part] if isinstance(part, list | tuple) else part
    return [put(part) for part in asked]


def measured(study: BabyVision, seeds: Sequence[Seed]) -> dict[str, list[float]]:
    """The numbers of `CHECKS` that were measured, one per seed."""
    found = {name: reading.values(seeds, named(study, asked)) for name, asked in CHECKS.items()}
    return {name: one.mean((1, 2)).tolist() for name, one in found.items() if one is not None}


def claims(study: BabyVision, asked: Registration, kept: Mapping[str, Tables]) -> list[Claim]:
    """The claims of `claims.json`, in order; those whose parts were not measured are left out."""
    seeds = reading.gathered(study, kept)
    checks, out = measured(study, seeds), {}
    for claim in asked.claims:
        how = claim["how"]
        several: Mapping[str, Any] = how.get("contrasts", {claim["id"]: how.get("of")})
        found = {name: reading.values(seeds, named(study, one)) for name, one in several.items()}
        if any(one is None for one in found.values()):
            continue
        shaped = {name: np.asarray(one) for name, one in found.items()}
        beside = {}
        for what, one in how.get("beside", {}).items():
            told = reading.values(seeds, named(study, one))
            if told is not None:
                beside[what] = float(told.mean())
        value = shaped if "contrasts" in how else shaped[claim["id"]]
        out[claim["id"]] = Finding(value, measured=checks, beside=beside)
    return settle(asked, out, quick=study.quick, resamples=study.resamples)
