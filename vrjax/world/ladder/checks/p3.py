"""P3: planning through the world by CEM, receding, at three scales: micro (a place within a second), meso (the world's
own task), task (a row of sub-goals); as the same planner does through the exact world, at equal budgets."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vrjax.world.ladder._core import Check, Unasked, least, noted, recode
from vrjax.world.planning import control

SHARE, GATE = 0.9, 0.5
"""Of the exact world's success; and what that must be, so that there is something to compare with."""


@partial(jax.jit, static_argnames=("facts", "see", "goals"))
def _visited(w, truth, states, keys, *, facts, see, goals):
    """(runs, goals) bool: which sub-goals the agent came to, each in its turn and time."""

    def one(state, key):
        choose, act = jax.random.split(key)
        look = lambda now, key: see(w, truth, now, key)

        def visit(state, at):
            place, key = at
            found = control(
                truth, state, facts.short, key, "cem", model=w, see=look, args=(place,), **facts.PLANNERS["near"]
            )
            return found.final, jnp.any(jax.vmap(lambda now: facts.there(truth.decode(now), place))(found.states))

        return lax.scan(visit, state, (facts.reach(choose, state, goals), jax.random.split(act, goals)))[1]

    return jax.vmap(one)(states, keys)


@partial(jax.jit, static_argnames=("facts", "see"))
def _solved(w, truth, states, keys, *, facts, see):
    """(runs,) bool: whether the world's own task was solved at any time."""

    def one(state, key):
        cost, args = facts.goal(state)
        look = lambda now, key: see(w, truth, now, key)
        found = control(truth, state, cost, key, "cem", model=w, see=look, args=args, **facts.PLANNERS["goal"])
        if hasattr(facts, "solved"):
            return facts.solved(truth, state, found.states)
        return jnp.any(jax.vmap(truth.success)(found.states))

    return jax.vmap(one)(states, keys)


def measure(subject):
    """Success in the exact world, planned through the one under test, over success planned through the exact one."""
    subject.needs("action")
    subject.needs_decoded()
    subject.fact("PLANNERS", "no costs are known for its tasks")
    sizes, facts = subject.sizes, subject.facts
    states = subject.starts(0, sizes.plans)
    keys = jax.random.split(subject.split(1), sizes.plans)
    out = {}
    for who, w, see in (("exact", subject.truth, recode), ("mine", subject.w, subject.see)):
        if who == "mine" and w is subject.truth and see is recode:
            out[who] = out["exact"]
            continue
        visited = _visited(w, subject.truth, states, keys, facts=facts, see=see, goals=sizes.goals)
        solved = _solved(w, subject.truth, states, keys, facts=facts, see=see)
        visited = np.asarray(visited)
        out[who] = {"micro": visited[:, 0].mean(), "meso": np.mean(solved), "task": visited.mean(1).mean()}
    told = []
    for scale, exact in out["exact"].items():
        if exact < GATE:
            raise Unasked(
                f"{subject.truth.name}: the planner solves {exact:.2f} of {scale} through the exact world itself"
            )
        told.append(
            least(f"{scale}: success over that of the exact world", out["mine"][scale] / exact, SHARE, sizes.plans)
        )
        told.append(noted(f"{scale}: success through the exact world", exact))
    return told


CHECK = Check(
    "P3", 3, "planning through the world at three scales", "takes actions; decodes what costs are made of", measure,
    ("push", "grid"), ("ignored", "frozen"),
)  # fmt: skip
