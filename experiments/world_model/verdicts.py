"""From kept tables to claims. Every statistic here was fixed before a test episode was drawn.

What a claim reads stands in `claims.json`, field `how`, in the words of `vrjax.study.numbers`.
`{usual}` in an argument is the arm that is asked as the recipe says. Gates, controls and doses are those of `CHECKS`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.world_model import listings, names, reading
from experiments.world_model.config import WorldModel
from vrjax.report.claims import Claim
from vrjax.study import listing, numbers
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


def claims(study: WorldModel, asked: Registration, kept: Mapping[str, Tables]) -> list[Claim]:
    """The claims of `claims.json`, in order; those whose parts were not measured are left out."""
    return numbers.claims(study, asked, reading.gathered(study, kept), CHECKS, {USUAL: study.usual}, TELLS)
