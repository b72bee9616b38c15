"""P4: what physics forbids does not happen, judged by the decoded states alone, whatever the exact world does."""

from functools import partial

import jax
import numpy as np

from vrjax.world.ladder._core import Check, most

QUANTILE = 0.999


@partial(jax.jit, static_argnames="facts")
def _violated(decoded, first, *, facts):
    return jax.vmap(facts.violations)(decoded, first)


def measure(subject):
    """Of each violation that is known of this kind of world, the largest of nearly all moments."""
    subject.needs()
    subject.needs_decoded()
    subject.fact("violations", "no invariant is known of it")
    states = subject.starts(0)
    inputs = subject.acts(1, states, subject.facts.act, subject.steps)
    mine = subject.play(states, inputs, 2, frames=True)
    found = _violated(mine.decoded, mine.first, facts=subject.facts)
    limit = subject.facts.EPSILON
    told = {name: np.nan_to_num(np.asarray(values), nan=np.inf) for name, values in found.items()}
    return [most(name, np.quantile(values, QUANTILE), limit, subject.sizes.runs) for name, values in told.items()]


CHECK = Check(
    "P4", 3, "physics invariants", "takes inputs; decodes agent and bodies", measure,
    ("push", "grid"), ("ghostly", "swimming"),
    "energy and free fall: nothing falls and nothing bounces in any exact world here",
)  # fmt: skip
