"""From kept tables to claims. Every statistic here was fixed before a test episode was drawn.

What a claim reads stands in `claims.json`, field `how`, in the words of `reading.number`:

    "of": ["horizon", ["4 steps"], ["1 step"]]               or, of a claim of several contrasts,
    "contrasts": {contrast: ["lead", ["slippery"]]}
    "beside": {what: ["horizon", ["nothing moves"]]}         shown beside the estimate, means over seeds

`{usual}` in an argument is the arm that is asked as the recipe says. Gates, controls and doses are those of `CHECKS`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.world_model import listings, names, reading
from experiments.world_model.config import WorldModel
from experiments.world_model.reading import Seed
from vrjax.report.claims import Claim
from vrjax.study import listing
from vrjax.study.claims import Finding, settle
from vrjax.study.registration import Registration
from vrjax.study.tables import Tables

USUAL = "{usual}"
BIAS = "slippery world: pixels by which the mean of a situation's draws is off the law's"
MOVED = "self-forced world: steps by which an episode's horizon moved"
CHECKS: Mapping[str, Sequence[Any]] = {
    "plain world: steps of horizon beyond a world in which nothing moves": ["horizon", [USUAL], [names.FROZEN]],
    "exact world: goals reached": ["reached", [names.EXACT, names.MESO]],
    "exact world: goals reached in the task": ["reached", [names.EXACT, names.TASK]],
    "another layout: goals reached": ["reached", [names.ELSEWHERE, names.MESO]],
    "exact world: coverage less .90": ["coverage", [names.EXACT]],
    BIAS: ["bias", [USUAL]],
    "slippery world: spread over that of the law": ["spread", [USUAL]],
    "regressor: spread over that of the law": ["spread", [names.REGRESSOR]],
    MOVED: ["moved", ["horizon", names.SELF_FORCED, USUAL]],
    "self-forced slippery world: by how much a situation's coverage moved": [
        "moved",
        ["coverage", names.SELF_FORCED, USUAL],
    ],
    "planted, where first: lead": ["lead", [names.WHERE_FIRST]],
    "planted, look first: lead": ["lead", [names.LOOK_FIRST]],
    "slippery world: pixels that are unsettled at first": ["unsettled", [names.SLIPPERY]],
    "slippery world: seeds whose first step leaves something to settle": ["lead", [names.SLIPPERY]],
}
"""Gates, positive controls and doses by their registered names."""
TELLS = tuple(name for name in CHECKS if "seeds whose" in name)
"""Those that count the seeds in which a number could be told at all."""


def judged(study: WorldModel, asked: Registration, kept: Mapping[str, Tables]) -> tuple[list[Claim], dict[str, str]]:
    """Claims and tables of a run, from its kept parts alone: see `vrjax.study.judging`."""
    return claims(study, asked, kept), listing.told(listings.listed(study, kept))


def named(study: WorldModel, asked: Sequence[Any]) -> list[Any]:
    """A number as it is asked for, with the usual arm by its name."""
    put = lambda part: [study.usual if one == USUAL else one for one in part] if isinstance(part, list) else part
    return [put(part) for part in asked]


def measured(study: WorldModel, seeds: Sequence[Seed]) -> dict[str, list[float]]:
    """The numbers of `CHECKS` that were measured and can be told, one per seed."""
    out = {}
    for name, asked in CHECKS.items():
        found = reading.values(seeds, named(study, asked))
        if found is None:
            continue
        if name in TELLS:
            out[name] = np.isfinite(found).all((1, 2)).astype(float).tolist()
        elif np.isfinite(found).all():
            out[name] = found.mean((1, 2)).tolist()
    return out


def claims(study: WorldModel, asked: Registration, kept: Mapping[str, Tables]) -> list[Claim]:
    """The claims of `claims.json`, in order; those whose parts were not measured are left out.

    What a seed could not tell counts as 0, and the claim has a gate of `TELLS`, which fails then; a quick run, which
    has no verdicts, leaves the claim out.
    """
    seeds = reading.gathered(study, kept)
    checks, out = measured(study, seeds), {}
    for claim in asked.claims:
        how = claim["how"]
        several: Mapping[str, Any] = how.get("contrasts", {claim["id"]: how.get("of")})
        found = {name: reading.values(seeds, named(study, one)) for name, one in several.items()}
        if any(one is None or (study.quick and not np.isfinite(one).all()) for one in found.values()):
            continue
        shaped = {name: np.nan_to_num(one) for name, one in found.items() if one is not None}
        beside = {}
        for what, one in how.get("beside", {}).items():
            told = reading.values(seeds, named(study, one))
            if told is not None and np.isfinite(told).all():
                beside[what] = float(told.mean())
        value = shaped if "contrasts" in how else shaped[claim["id"]]
        out[claim["id"]] = Finding(value, measured=checks, beside=beside)
    return settle(asked, out, quick=study.quick, resamples=study.resamples)
