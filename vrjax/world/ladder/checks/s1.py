"""S1: coins fall as often as they should: total variation and Pearson's test against the exact law."""

from vrjax.world.ladder import chance
from vrjax.world.ladder._core import Check, least, most


def measure(subject):
    """Of what the coins of a few steps lead to, over many rollouts from one state."""
    found, law = sampled(subject)
    counts = chance.faces(found, law, 2 * subject.facts.TOLERANCE)
    return [
        most("total variation from the exact law", chance.total_variation(counts, law.probabilities), 0.05, len(found)),
        least("p-value of the chi-squared test", chance.chi_squared(counts, law.probabilities), 0.01, len(found)),
    ]


def sampled(subject):
    """Outcomes (coins,) of the world, and the exact law of the truth. S1 to S3 look at the same program."""
    subject.needs()
    subject.needs_decoded()
    coin = subject.fact("coin", "no steps are known in which a coin decides")
    chance.odds(subject.truth, getattr(subject.facts, "ODDS", "slip"))
    state, inputs, _ = coin(subject.truth)
    law = chance.law(subject.truth, state, inputs, subject.facts)
    options = dict(see=subject.see, facts=subject.facts, count=subject.sizes.coins)
    return chance.outcomes(subject.w, subject.truth, state, inputs, subject.split(0), **options), law


CHECK = Check(
    "S1", 4, "calibration", "takes actions; decodes what coins decide; the exact world has a coin", measure,
    ("push", "grid"), ("sure", "biased", "frozen"),
)  # fmt: skip
