"""S4: the same world at several scales of time: two half steps are one, long steps tell what matters, short ones when
bodies touch."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vrjax.world.ladder._core import Check, Lacks, Unasked, far, least, most, noted, recode
from vrjax.world.protocol import step_key

MICRO, LONG, SECONDS, HELD = 1 / 240, 1.0, 5, 12
"""Seconds of the shortest and of the longest step; how many are driven; over how many long rollouts."""


def retimed(w, dt):
    """The world with steps of so many seconds."""
    if any(field.name == "dt" for field in dataclasses.fields(w)):
        return dataclasses.replace(w, dt=jnp.asarray(dt, jnp.float32))
    return dataclasses.replace(w, inner=retimed(w.inner, dt))


def _rolled(w, state, action, key, dt, steps):
    """Decoded states after each of so many steps of one held action."""
    w = retimed(w, dt)
    step = lambda now, t: (after := w.step(now, action, step_key(key, t)), w.decode(after))
    return lax.scan(step, state, jnp.arange(steps))[1]


@partial(jax.jit, static_argnames=("facts", "see", "steps"))
def _held(w, truth, states, actions, keys, dt, *, facts, see, steps):
    """Agent, others and flags after each step: (runs, steps, ...)."""

    def one(state, action, key):
        told = _rolled(w, see(w, truth, state, key), action, key, dt, steps)
        return jax.vmap(facts.agent)(told), jax.vmap(facts.others)(told), jax.vmap(facts.salient)(told)

    return jax.vmap(one)(states, actions, keys)


@partial(jax.jit, static_argnames=("facts", "see", "steps"))
def _touching(w, truth, keys, dt, *, facts, see, steps):
    """Seconds until bodies touch, and the exact ones, of runs at a box."""

    def one(key):
        state, exact = facts.contact(truth, key)
        rest = jnp.asarray(facts.rest(), jnp.float32)
        told = _rolled(w, see(w, truth, state, key), rest, key, dt, steps)
        flags = jax.vmap(facts.touched)(told)
        return jnp.where(flags.any(), (1 + jnp.argmax(flags)) * dt, jnp.inf), exact

    return jax.vmap(one)(keys)


def measure(subject):
    """The semigroup error; the share of the exact world's salient flags at whole seconds that steps of a second tell;
    the error of the time of contact with steps of 1/240 s."""
    subject.needs("action")
    subject.needs_decoded()
    w, truth, facts = subject.w, subject.truth, subject.facts
    if not hasattr(w, "dt") or not hasattr(truth, "dt"):
        raise Lacks(f"{w.name}: has one step in time only")
    subject.fact("contact", "no contact of known time is known")
    runs = min(HELD, subject.sizes.runs)
    states = subject.starts(0, runs)
    states = facts.lone(states) if hasattr(facts, "lone") else states
    actions = subject.acts(1, states, facts.act, 3)[:, 0]
    keys = jax.random.split(subject.split(2), runs)
    dt = float(truth.dt)
    per = round(LONG / dt)
    # As many steps of each length, though few of them are read: one program serves all.
    options = dict(states=states, actions=actions, keys=keys, facts=facts, steps=per * SECONDS)
    two, one, long = (_held(w, truth, dt=length, see=subject.see, **options) for length in (dt, 2 * dt, LONG))
    apart = max(float(far(a[:, 1], b[:, 0]).max()) for a, b in zip(two[:2], one[:2], strict=True))
    long = np.asarray(long[2])[:, :SECONDS]
    fine = np.asarray(_held(truth, truth, dt=dt, see=recode, **options)[2])[:, per - 1 :: per]
    if not fine.any():
        raise Unasked(f"{truth.name}: nothing salient happens in {runs} runs of {SECONDS} s")
    found, exact = (np.asarray(a) for a in _touching(w, truth, keys, MICRO, facts=facts, see=subject.see, steps=240))
    late = np.abs(found - exact)
    return [
        most("largest semigroup error in tolerances", apart / facts.TOLERANCE, 0.1, runs),
        least(
            "share of salient flags told by steps of a second", (long & fine).sum() / fine.sum(), 0.9, int(fine.sum())
        ),
        most("largest error of the time of contact in ms", 1e3 * late.max(), 2e3 * MICRO, runs),
        noted("share of flags told that are not there", (long & ~fine).mean()),
    ]


CHECK = Check(
    "S4", 4, "multi-scale", "takes actions; decodes agent, bodies and flags; steps of several lengths", measure,
    ("drive",), ("elastic", "frozen"),
    "years compressed to minutes: five seconds in steps of one are what the exact worlds have",
)  # fmt: skip
