"""I5: acting on one actor leaves the others where they would have been."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.world.ladder._core import Check, far, least, most

STEPS = 6


@partial(jax.jit, static_argnames="facts")
def _bodies(decoded, *, facts):
    return jax.vmap(jax.vmap(lambda one: (facts.agent(one), facts.others(one))))(decoded)


def measure(subject):
    """Pairs under one chance, with actions and without. Of the bodies that in the exact world are not affected: how far
    apart they are; and how much of the agent's own difference is there."""
    subject.needs("action")
    subject.needs_decoded()
    states = subject.starts(0)
    actions = subject.acts(1, states, subject.facts.act, subject.sizes.steps)
    rest = jnp.broadcast_to(jnp.asarray(subject.facts.rest(), actions.dtype), actions.shape)
    acts = [jnp.where(jnp.arange(actions.shape[1])[:, None] < STEPS, one, rest) for one in (actions, rest)]
    pairs = [subject.both(states, one, 2, frames=True) for one in acts]
    told = [[_bodies(one.decoded, facts=subject.facts) for one in pair] for pair in pairs]
    (mine, true), (mine_still, true_still) = [[(np.asarray(a), np.asarray(o)) for a, o in pair] for pair in told]
    apart, meant = far(mine[1], mine_still[1]), far(true[1], true_still[1])
    free = (meant < 1e-6).all(1)[:, None]
    own = far(mine[0], mine_still[0]).mean() / max(far(true[0], true_still[0]).mean(), 1e-9)
    found = np.quantile(np.where(free, apart, 0.0).max((1, 2)), 0.95)
    return [
        most("others' difference in tolerances, 95 % of runs", found / subject.facts.TOLERANCE, 0.1, int(free.sum())),
        least("the agent's difference over that in the exact world", own, 0.5, len(apart)),
    ]


CHECK = Check(
    "I5", 2, "locality", "takes actions; decodes agent and bodies", measure,
    ("push", "grid"), ("swimming", "ignored", "frozen"),
)  # fmt: skip
