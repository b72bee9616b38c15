"""F1: what the condition states is there: the layout and a single short action, over three seconds."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.world.ladder._core import Check, least

SHORT = 5


def overlap(a, b):
    """Intersection over union of axis-parallel boxes (..., 2 d): centres and half sides. NaN where a box is empty."""
    d = a.shape[-1] // 2
    low = jnp.maximum(a[..., :d] - a[..., d:], b[..., :d] - b[..., d:])
    high = jnp.minimum(a[..., :d] + a[..., d:], b[..., :d] + b[..., d:])
    shared = jnp.prod(jnp.maximum(high - low, 0.0), -1)
    each = jnp.prod(2 * a[..., d:], -1) + jnp.prod(2 * b[..., d:], -1)
    return shared / (each - shared)


@partial(jax.jit, static_argnames="facts")
def _matched(mine, true, *, facts):
    if hasattr(facts, "matched"):
        return jax.vmap(jax.vmap(facts.matched))(mine, true)
    boxes = jax.vmap(jax.vmap(facts.boxes))
    return overlap(boxes(mine), boxes(true))


def _short(subject, inputs):
    """Actions that last for five steps only; an instruction is one thing anyway."""
    if subject.kind != "action":
        return inputs
    rest = jnp.asarray(subject.facts.rest(), inputs.dtype)
    return jnp.where(jnp.arange(inputs.shape[1])[:, None] < SHORT, inputs[:, :1], rest)


def measure(subject):
    """The worst body's mean intersection over union with the truth's box."""
    subject.needs()
    subject.needs_decoded()
    states = subject.starts(0)
    inputs = _short(subject, subject.acts(1, states, subject.facts.act, subject.steps))
    mine, true = subject.both(states, inputs, 2, frames=True)
    found = np.asarray(_matched(mine.decoded, true.decoded, facts=subject.facts))
    if hasattr(subject.facts, "matched"):
        shared, either = found.sum((0, 1))
        told = "IoU of the worst colour, blocks of all runs together"
        return [least(told, (shared / np.maximum(either, 1))[either > 0].min(), 0.8, subject.sizes.runs)]
    return [least("mean IoU of the worst body", found.mean((0, 1)).min(), 0.8, subject.sizes.runs)]


CHECK = Check(
    "F1", 1, "condition match", "takes inputs; decodes the agent and all bodies", measure,
    ("push", "grid"), ("frozen", "elsewhere", "ignored", "retrieval"),
)  # fmt: skip
