"""P5: an event that happens while the world runs shows within a few frames, and nowhere else."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.world.ladder._core import Check, Lacks, least, most, recode
from vrjax.world.rollouts import rollout

RUNS, BEFORE, AFTER, WITHIN = 6, 2, 5, 3
CHANGED, EQUAL = 0.05, 1e-3
"""A pixel shows it where a colour changes by more than the first, and lies elsewhere where, in the exact world, it
changes by less than the second."""


@partial(jax.jit, static_argnames=("see", "event", "camera"))
def _with_and_without(w, truth, states, inputs, keys, *, see, event, camera):
    """Frames (runs, 2, AFTER, h, w, 3) without the event and with it, of one past and one chance."""

    def one(state, inputs, key):
        begin, run = jax.random.split(key)
        early, late = (jax.tree.map(lambda a, s=s: a[s], inputs) for s in (slice(0, BEFORE), slice(BEFORE, None)))
        now, _ = rollout(w, see(w, truth, state, begin), early, run, record=())
        after = lambda now: rollout(w, now, late, run, start=BEFORE, record=("frames",), camera=camera)[1].frames
        return jnp.stack([after(now), after(w.happen(now, event))])

    return jax.vmap(one)(states, inputs, keys)


def measure(subject):
    """Each event: the share of runs that show it in time, of those in which it can be seen; and what else changes."""
    subject.needs("action")
    w, truth = subject.w, subject.truth
    events = [event for event in getattr(truth, "events", ()) if event in getattr(w, "events", ())]
    if not events:
        raise Lacks(f"{w.name}: nothing can be made to happen in it")
    states = subject.starts(0, RUNS)
    if hasattr(subject.facts, "lone"):
        states = subject.facts.lone(states)
    inputs = subject.acts(1, states, subject.facts.act, BEFORE + AFTER)
    keys = jax.random.split(subject.split(2), RUNS)
    out = []
    for event in getattr(subject.facts, "EVENTS", events):
        run = partial(_with_and_without, states=states, inputs=inputs, keys=keys, event=event, camera=None)
        apart = lambda frames: np.abs(np.diff(np.asarray(frames), axis=1)[:, 0]).max(-1)
        mine = apart(run(w, truth, see=subject.see))
        true = apart(run(truth, truth, see=recode))
        visible = (true[:, :WITHIN] > CHANGED).any((1, 2, 3))
        if not visible.any():
            raise Lacks(f"{truth.name}: {event!r} cannot be seen in any of {RUNS} runs")
        shown = (mine[:, :WITHIN] > CHANGED).any((1, 2, 3))
        other = mine[true < EQUAL]
        out.append(
            least(f"{event}: share that shows it within {WITHIN} frames", shown[visible].mean(), 0.9, visible.sum())
        )
        if other.size:
            out.append(most(f"{event}: mean change of colours elsewhere", other.mean(), 0.02, visible.sum()))
    return out


CHECK = Check(
    "P5", 3, "online event", "takes actions and events; frames", measure,
    ("drive",), ("deaf", "late", "shaken"),
)  # fmt: skip
