"""From kept tables to claims. Every statistic here was fixed before a test item was drawn.

What a claim reads stands in `claims.json`, field `how`, in the words of `vrjax.study.numbers`.
`{primary}` is the study's first skill. Gates, controls and doses are those of `CHECKS`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.babyvision import listings, names, reading
from experiments.babyvision.config import BabyVision
from vrjax.report.claims import Claim
from vrjax.study import listing, numbers
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


def claims(study: BabyVision, asked: Registration, kept: Mapping[str, Tables]) -> list[Claim]:
    """The claims of `claims.json`, in order; those whose parts were not measured are left out."""
    return numbers.claims(study, asked, reading.gathered(study, kept), CHECKS, {PRIMARY: study.skills[0].task})
