"""F3: what is out of sight is still there when one looks again."""

from functools import partial

import jax
import numpy as np

from vrjax.world.ladder._core import Check, Unasked, far, least

FEWEST = 8


@partial(jax.jit, static_argnames="facts")
def _told(decoded, *, facts):
    each = jax.vmap(jax.vmap(lambda one: (facts.seen(one), facts.others(one))))
    return each(decoded)


def measure(subject):
    """The share of bodies that were in sight, out of it and in it again, and are where they belong at the end."""
    hide = subject.fact("hide", "nothing of it is ever out of sight")
    subject.needs("action")
    subject.needs_decoded()
    states, actions = subject.acts(1, subject.starts(0), hide, subject.sizes.steps)
    mine, true = subject.both(states, actions, 2, frames=True)
    seen, places = (np.asarray(a) for a in _told(true.decoded, facts=subject.facts))
    back = seen[:, -1] & ~seen.all(1)
    count = int(back.sum())
    if count < FEWEST:
        raise Unasked(f"{subject.truth.name}: {count} bodies came back into sight, {FEWEST} are needed")
    found = np.asarray(_told(mine.decoded, facts=subject.facts)[1])
    right = far(found[:, -1], places[:, -1]) <= subject.facts.TOLERANCE
    return [least("share of bodies that are still there", right[back].mean(), 0.95, count)]


CHECK = Check(
    "F3", 1, "object permanence", "takes actions; decodes places; something gets out of sight and back", measure,
    ("push", "grid", "drive"), ("forgetful",),
)  # fmt: skip
