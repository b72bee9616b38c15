"""P1: real time: a step and its pictures, within as many frames of 24 a second as it yields, on this device at this
size."""

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
    return w.film(state)


def measure(subject):
    """Quantiles over steps after warm-up, each waited for, in time a frame; step and render apart, and their sum, which
    is asked."""
    subject.needs()
    count = subject.sizes.frames + WARM
    start = subject.starts(0, 1)
    inputs = jax.tree.map(lambda a: a[0], subject.acts(1, start, subject.facts.act, count))
    state = jax.jit(subject.see)(subject.w, subject.truth, jax.tree.map(lambda a: a[0], start), subject.split(2))
    keys = jax.random.split(subject.split(3), count)
    told = jax.block_until_ready([(jax.tree.map(lambda a, i=i: a[i], inputs), keys[i]) for i in range(count)])
    times = []
    for now, key in told:
        begin = time.perf_counter()
        state = jax.block_until_ready(_step(subject.w, state, now, key))
        middle = time.perf_counter()
        jax.block_until_ready(_render(subject.w, state))
        times.append((middle - begin, time.perf_counter() - middle))
    each = 1e3 * np.array(times[WARM:]) / subject.w.frames_a_step
    p50, p95 = np.quantile(each, 0.5, axis=0), np.quantile(each, 0.95, axis=0)
    both = each.sum(1)
    return [
        most("p95 of step and render in ms", np.quantile(both, 0.95), FRAME, len(each)),
        noted("frames a step yields", subject.w.frames_a_step),
        noted("p50 of step and render in ms", np.quantile(both, 0.5)),
        noted("p50 of a step in ms", p50[0]),
        noted("p95 of a step in ms", p95[0]),
        noted("p50 of a render in ms", p50[1]),
        noted("p95 of a render in ms", p95[1]),
    ]


CHECK = Check(
    "P1", 3, "real time", "takes inputs; frames", measure,
    ("push",), ("slow",),
)  # fmt: skip
