"""P1: real time: a step and its picture within a frame of 24 a second, on this device at this size."""

import time

import jax
import numpy as np

from vrjax.world.ladder._core import Check, most, noted

FRAME = 1000 / 24
"""Milliseconds."""
WARM = 3


@jax.jit
def _step(w, state, action, key):
    return w.step(state, action, key)


@jax.jit
def _render(w, state):
    return w.render(state)


def measure(subject):
    """Quantiles over frames after warm-up, each waited for; step and render apart, and their sum, which is asked."""
    subject.needs("action")
    count = subject.sizes.frames + WARM
    start = subject.starts(0, 1)
    actions = subject.acts(1, start, subject.facts.act, count)[0]
    state = jax.jit(subject.see)(subject.w, subject.truth, jax.tree.map(lambda a: a[0], start), subject.split(2))
    keys = jax.random.split(subject.split(3), count)
    told = jax.block_until_ready([(actions[i], keys[i]) for i in range(count)])
    times = []
    for action, key in told:
        begin = time.perf_counter()
        state = jax.block_until_ready(_step(subject.w, state, action, key))
        middle = time.perf_counter()
        jax.block_until_ready(_render(subject.w, state))
        times.append((middle - begin, time.perf_counter() - middle))
    each = 1e3 * np.array(times[WARM:])
    p50, p95 = np.quantile(each, 0.5, axis=0), np.quantile(each, 0.95, axis=0)
    both = each.sum(1)
    return [
        most("p95 of step and render in ms", np.quantile(both, 0.95), FRAME, len(each)),
        noted("p50 of step and render in ms", np.quantile(both, 0.5)),
        noted("p50 of a step in ms", p50[0]),
        noted("p95 of a step in ms", p95[0]),
        noted("p50 of a render in ms", p50[1]),
        noted("p95 of a render in ms", p95[1]),
    ]


CHECK = Check(
    "P1", 3, "real time", "takes actions; frames", measure,
    ("push",), ("slow",),
)  # fmt: skip
