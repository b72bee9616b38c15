"""S3: all that can happen does: the energy distance of end states from the exact law, and the faces that are met."""

import jax.numpy as jnp
import numpy as np

from vrjax.inverse.distances import energy
from vrjax.world.ladder import chance
from vrjax.world.ladder._core import Check, least, most
from vrjax.world.ladder.checks.s1 import sampled

COMMON = 0.01


def recall(counts, law):
    """The share of faces of at least `COMMON` that come at least half as often as they should."""
    counts, p = np.asarray(counts, np.float64)[: len(law.probabilities)], law.probabilities
    common = p >= COMMON
    return float((counts[common] / max(np.sum(counts), 1) >= 0.5 * p[common]).mean())


def measure(subject):
    """The squared energy distance is twice what the mean CRPS of the world's ensemble exceeds that of the exact law by;
    it is told over the mean distance of two exact outcomes."""
    found, law = sampled(subject)
    spread = float(law.probabilities @ np.abs(law.outcomes[:, None] - law.outcomes) @ law.probabilities)
    apart = energy(jnp.asarray(found, jnp.float32), jnp.asarray(law.outcomes, jnp.float32), None, law.probabilities)
    counts = chance.faces(found, law, 2 * subject.facts.TOLERANCE)
    return [
        most("energy distance over the spread of outcomes", float(apart) / spread, 0.02, len(found)),
        least("share of common outcomes that are met", recall(counts, law), 0.9, len(found)),
    ]


CHECK = Check("S3", 4, "coverage", "as S1", measure, ("push", "grid"), ("sure", "biased", "frozen"))
