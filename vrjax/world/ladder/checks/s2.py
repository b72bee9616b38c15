"""S2: rare events come as rarely as they should, and a tilted sampler says the same with a fraction of the luck."""

import numpy as np

from vrjax.world.ladder import chance
from vrjax.world.ladder._core import Check, most, noted
from vrjax.world.ladder.checks.s1 import sampled

RELATIVE, ERRORS = 0.5, 3.0


def measure(subject):
    """The rate of an outcome of 1e-3 to 1e-2 by plain rollouts and by particles of the world under test, each against
    the exact probability; and, of the exact world's own coins, by other odds."""
    found, law = sampled(subject)
    bound, exact = chance.threshold(law)
    state, inputs, _ = subject.facts.coin(subject.truth)
    count = subject.sizes.coins
    rate = float((np.asarray(found) >= bound).mean())
    strength = 2.0 * len(inputs) / np.ptp(law.outcomes)
    split = chance.split(
        subject.w, subject.truth, state, inputs, bound, strength, subject.split(1), see=subject.see,
        facts=subject.facts, count=count,
    )  # fmt: skip
    told = [
        most("relative error of the rate by plain rollouts", abs(rate / exact - 1), RELATIVE, count),
        most("relative error of the rate by particles", abs(float(split.value) / exact - 1), RELATIVE, count),
        noted("exact probability", exact),
        noted("standard error by particles, relative", float(split.error) / exact),
    ]
    p = chance.odds(subject.truth, getattr(subject.facts, "ODDS", "slip"))
    # A coin is made likelier where the event wants many, rarer where it wants none.
    tilt = p / 3 if getattr(subject.facts, "FIRST", False) else np.sqrt(p)
    tilted = chance.tilted(
        subject.truth, state, inputs, bound, p, tilt, subject.split(2), facts=subject.facts, count=count
    )
    told.append(
        most(
            "standard errors by which tilted coins miss", abs(float(tilted.value) - exact) / float(tilted.error), ERRORS
        )
    )
    return told


CHECK = Check(
    "S2", 4, "rare events", "as S1", measure, ("push", "grid"), ("sure", "biased", "frozen"),
)  # fmt: skip
