"""S5: counterfactual pairs: under the same key another action leaves the coins as they are, and all that is not
downstream of it."""

from functools import partial

import jax
import numpy as np

from vrjax.world.ladder import chance
from vrjax.world.ladder._core import Check, far, least, most, repeated

RUNS = 400


@partial(jax.jit, static_argnames="facts")
def _read(decoded, first, *, facts):
    each = jax.vmap(lambda d, f: (facts.faces(d, f), jax.vmap(facts.agent)(d), jax.vmap(facts.others)(d)))
    return each(decoded, first)


def measure(subject):
    """Many pairs of one key and two actions: which coins are equal, what else differs, and that something does."""
    subject.needs("action")
    subject.needs_decoded()
    coin = subject.fact("coin", "no steps are known in which a coin is seen")
    p = chance.odds(subject.truth, getattr(subject.facts, "ODDS", "slip"))
    state, one, other = coin(subject.truth)
    states = repeated(state, RUNS)
    told = []
    for inputs in (one, other):
        mine, true = subject.both(states, repeated(inputs, RUNS), 0)
        told.append([np.asarray(a) for a in _read(mine.decoded, mine.first, facts=subject.facts)])
        told[-1] += [np.asarray(a) for a in _read(true.decoded, true.first, facts=subject.facts)]
    (coins, agents, others, _, true_agents, true_others), again = told
    free = far(true_others, again[5]).max((0, 1)) < 1e-6
    apart = far(others, again[2])[..., free] if free.any() else np.zeros(1)
    moved = far(agents, again[1]).mean() / max(far(true_agents, again[4]).mean(), 1e-9)
    # Step by step: a world whose coins are settled once and for all has both faces over time, but not in one step.
    share = coins.mean(0)
    rarer = float(np.minimum(share, 1 - share).mean())
    return [
        least("share of coins that fall alike", (coins == again[0]).mean(), 0.99, RUNS),
        most("difference of what is not downstream, in tolerances", apart.max() / subject.facts.TOLERANCE, 0.1, RUNS),
        least("the agent's difference over that in the exact world", moved, 0.5, RUNS),
        least("share of the rarer face over that of the exact coin", rarer / min(p, 1 - p), 0.2, coins.size),
    ]


CHECK = Check(
    "S5", 4, "counterfactual pairs", "as S1; decodes agent and bodies", measure,
    ("push", "grid"), ("fateful", "swimming", "sure", "ignored"),
)  # fmt: skip
