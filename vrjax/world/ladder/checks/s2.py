"""S2: rare events come as rarely as they should, and a tilted sampler says the same with a fraction of the luck."""

import numpy as np

from vrjax.world.ladder import chance
from vrjax.world.ladder._core import Check, Lacks, most, noted
from vrjax.world.ladder.checks.s1 import sampled

BEYOND, RELATIVE, ERRORS = 0.25, 0.5, 3.0


def rare(law):
    """A bound, the exact probability and a sign: of the outcome's upper end, else of its lower one."""
    try:
        return *chance.threshold(law), 1.0
    except Lacks:
        return *chance.threshold(chance.Law(-law.outcomes[::-1], law.probabilities[::-1])), -1.0


def measure(subject):
    """The rate of an outcome of up to 1e-2 by plain rollouts and by particles of the world under test, each against the
    exact probability; and, of the exact world's own coins, by other odds."""
    found, law = sampled(subject)
    bound, exact, sign = rare(law)
    facts, count = subject.facts, subject.sizes.coins
    state, inputs, _ = facts.coin(subject.truth)
    rate = float((sign * np.asarray(found) >= bound).mean())
    # Few rare events come by luck too many or too few: that much is known, and no fault of the world.
    luck = 2 * np.sqrt((1 - exact) / (exact * count))
    strength = 2.0 * len(inputs) / np.ptp(law.outcomes)
    options = dict(facts=facts, count=count, sign=sign)
    split = chance.split(
        subject.w, subject.truth, state, inputs, bound, strength, subject.split(1), see=subject.see, **options
    )
    p = chance.odds(subject.truth, getattr(facts, "ODDS", "slip"))
    # A coin is made likelier where the event wants one, rarer where it wants none.
    waits = getattr(facts, "FIRST", False) and sign > 0
    tilt = p / 3 if waits else np.sqrt(p)
    tilted = chance.tilted(subject.truth, state, inputs, bound, p, tilt, subject.split(2), **options)
    miss = abs(float(tilted.value) - exact) / max(float(tilted.error), 1e-12)
    off = max(abs(rate / exact - 1) - luck, 0.0)
    return [
        most("relative error of the rate by plain rollouts, beyond two standard errors", off, BEYOND, count),
        most("relative error of the rate by particles", abs(float(split.value) / exact - 1), RELATIVE, count),
        most("standard errors by which tilted coins of the exact world miss", miss, ERRORS, count),
        noted("exact probability", exact),
        noted("standard error by particles, relative", float(split.error) / exact),
    ]


CHECK = Check(
    "S2", 4, "rare events", "as S1", measure, ("push", "grid"), ("sure", "biased", "frozen"),
)  # fmt: skip
