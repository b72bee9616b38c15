"""I1: the agent goes where actions say: per step, in direction, and in all."""

import jax
import numpy as np
from scipy import stats

from vrjax.world.ladder._core import Check, far, least, most

DEGREES, FAR = 20.0, 0.3


def spearman(a, b):
    """Rank correlation of all numbers; NaN where either is constant."""
    a, b = np.ravel(a), np.ravel(b)
    if np.ptp(a) < 1e-9 or np.ptp(b) < 1e-9:
        return float("nan")
    return float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1])


def heading(a, b, least_length):
    """Mean angle in degrees between displacements (..., 2), where the second is at least so long; one that is nowhere
    else counts as a right angle."""
    long = np.linalg.norm(b, axis=-1) > least_length
    a, b = a[long], b[long]
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    cosine = np.divide((a * b).sum(-1), norms, out=np.zeros(len(a)), where=norms > 1e-9)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean()) if len(a) else float("nan")


def path(facts, found):
    """(runs, steps + 1, d): the agent, its beginning included."""
    place = jax.vmap(facts.agent)
    start = np.asarray(place(found.first), np.float64)[:, None]
    return np.concatenate([start, np.asarray(jax.vmap(place)(found.decoded), np.float64)], 1)


def measure(subject):
    """Against the truth under equal random actions and chance."""
    subject.needs("action")
    subject.needs_decoded()
    states = subject.starts(0)
    actions = subject.acts(1, states, subject.facts.act, subject.sizes.steps)
    mine, true = (path(subject.facts, one) for one in subject.both(states, actions, 2, frames=True))
    moves, asked = np.diff(mine, axis=1), np.diff(true, axis=1)
    unit = subject.facts.TOLERANCE
    error = far(mine - mine[:, :1], true - true[:, :1]).mean()
    return [
        least("Spearman of displacements per step", spearman(moves, asked), 0.9, len(actions)),
        most("heading error in degrees", heading(moves, asked, FAR * unit), DEGREES, len(actions)),
        most("ATE in tolerances of a place", error / unit, 1.0, len(actions)),
    ]


CHECK = Check(
    "I1", 2, "action following", "takes actions; decodes the agent", measure,
    ("push", "grid"), ("ignored", "delayed", "shuffled", "frozen", "retrieval"),
)  # fmt: skip
