"""P5: an event that happens while the world runs shows within a few frames, and nowhere else."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.world.ladder._core import Check, Lacks, Unasked, least, most, recode
from vrjax.world.rollouts import rollout

RUNS, BEFORE, AFTER, WITHIN = 6, 2, 5, 3
CHANGED, EQUAL = 0.05, 1e-3
"""A pixel shows it where a colour changes by more than the first, and lies elsewhere where, in the exact world, it
changes by less than the second."""


@partial(jax.jit, static_argnames=("see", "events"))
def _with_and_without(w, truth, states, inputs, keys, *, see, events):
    """Frames (runs, 1 + events, AFTER, h, w, 3) without any event and with each, of one past and one chance."""
    happen = [lambda now: now, *(lambda now, event=event: w.happen(now, event) for event in events)]

    def one(state, inputs, key):
        begin, run = jax.random.split(key)
        early, late = (jax.tree.map(lambda a, s=s: a[s], inputs) for s in (slice(0, BEFORE), slice(BEFORE, None)))
        now, _ = rollout(w, see(w, truth, state, begin), early, run, record=())

        def after(which):
            then = jax.lax.switch(which, happen, now)
            return rollout(w, then, late, run, start=BEFORE, record=("frames",))[1].frames

        return jax.lax.map(after, jnp.arange(len(happen)))

    return jax.vmap(one)(states, inputs, keys)


def measure(subject):
    """Each event: the share of runs that show it in time, of those in which it can be seen; and what else changes."""
    subject.needs("action")
    w, truth = subject.w, subject.truth
    events = tuple(event for event in truth.events if event in w.events)
    if not events:
        raise Lacks(f"{w.name}: nothing can be made to happen in it")
    states = subject.starts(0, RUNS)
    if hasattr(subject.facts, "lone"):
        states = subject.facts.lone(states)
    inputs = subject.acts(1, states, subject.facts.act, BEFORE + AFTER)
    keys = jax.random.split(subject.split(2), RUNS)
    run = partial(_with_and_without, truth=truth, states=states, inputs=inputs, keys=keys, events=events)
    mine, true = (np.asarray(run(who, see=see)) for who, see in ((w, subject.see), (truth, recode)))
    out = []
    for i, event in enumerate(events):
        apart, meant = (np.abs(frames[:, 1 + i] - frames[:, 0]).max(-1) for frames in (mine, true))
        visible = (meant[:, :WITHIN] > CHANGED).any((1, 2, 3))
        if not visible.any():
            raise Unasked(f"{truth.name}: {event!r} cannot be seen in any of {RUNS} runs")
        shown = (apart[:, :WITHIN] > CHANGED).any((1, 2, 3))[visible]
        other = apart[meant < EQUAL]
        out.append(least(f"{event}: share that shows it within {WITHIN} frames", shown.mean(), 0.9, len(shown)))
        if other.size:
            out.append(most(f"{event}: mean change of colours elsewhere", other.mean(), 0.02, len(shown)))
    return out


CHECK = Check(
    "P5", 3, "online event", "takes actions and events; frames", measure,
    ("drive",), ("deaf", "late", "shaken"),
)  # fmt: skip
