"""P2: the horizon: how the decoded state leaves the exact one over a thousand steps, and when it is no use any more."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.world.ladder._core import Check, least, most, noted

RUNS, SLOPE = 8, 1.0


@partial(jax.jit, static_argnames="facts")
def _apart(mine, true, *, facts):
    def one(a, b):
        bodies = lambda d: jnp.concatenate([facts.agent(d)[None], facts.others(d)])
        return jnp.linalg.norm(bodies(a) - bodies(b), axis=-1).mean()

    return jax.vmap(jax.vmap(one))(mine, true)


def horizon(errors, limit):
    """Steps (runs,) until an error (runs, steps) is first above the limit; all of them where it never is. An error
    that is not a number is above."""
    over = ~(np.asarray(errors) <= limit)
    return np.where(over.any(1), over.argmax(1), over.shape[1])


def slope(errors):
    """Of the mean error over runs, by least squares, per 1,000 steps."""
    mean = np.asarray(errors, np.float64).mean(0)
    time = np.arange(len(mean)) - (len(mean) - 1) / 2
    return float(1e3 * (time @ mean) / (time @ time))


def measure(subject):
    """Mean distance of agent and bodies from where they are in the exact world, in tolerances of a place, under equal
    random actions and chance; the median of the runs' horizons."""
    subject.needs("action")
    subject.needs_decoded()
    steps = subject.sizes.long
    states = subject.starts(0, RUNS)
    actions = subject.acts(1, states, subject.facts.act, steps)
    mine, true = subject.both(states, actions, 2)
    errors = np.asarray(_apart(mine.decoded, true.decoded, facts=subject.facts)) / subject.facts.TOLERANCE
    return [
        most("slope of the error in tolerances per 1,000 steps", slope(errors), SLOPE, RUNS),
        least(f"interactive horizon in steps, of {steps}", np.median(horizon(errors, 1.0)), steps, RUNS),
        noted("error at the end in tolerances", errors[:, -1].mean()),
    ]


CHECK = Check(
    "P2", 3, "horizon", "takes actions; decodes agent and bodies", measure,
    ("push",), ("drifting", "ignored"),
)  # fmt: skip
