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
    boxes = jax.vmap(jax.vmap(facts.boxes))
    return overlap(boxes(mine), boxes(true))


def measure(subject):
    """The worst body's mean intersection over union with the truth's box."""
    subject.needs("action")
    subject.needs_decoded()
    states = subject.starts(0)
    actions = subject.acts(1, states, subject.facts.act, subject.sizes.steps)
    rest = jnp.asarray(subject.facts.rest(), actions.dtype)
    short = jnp.arange(subject.sizes.steps)[:, None] < SHORT
    actions = jnp.where(short, actions[:, :1], rest)
    mine, true = subject.both(states, actions, 2, frames=True)
    found = np.asarray(_matched(mine.decoded, true.decoded, facts=subject.facts)).mean((0, 1))
    return [least("mean IoU of the worst body", found.min(), 0.8, len(actions))]


CHECK = Check(
    "F1", 1, "condition match", "takes actions; decodes the agent and all bodies", measure,
    ("push", "grid"), ("frozen", "elsewhere", "ignored", "retrieval"),
)  # fmt: skip
