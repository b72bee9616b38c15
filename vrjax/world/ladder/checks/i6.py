"""I6: instructions of one to ten parts are carried out."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.world import protocol
from vrjax.world.ladder._core import Check, Unasked, least, noted

FEWEST, STEPS = 8, 60


@partial(jax.jit, static_argnames="judges")
def _done(truth, states, decoded, codes, *, judges):
    """How many parts came true, by what is decoded; what a world does not say is as it was at first."""

    def one(state, decoded, code):
        fixed = truth.decode(state)
        said = {name: value for name, value in decoded.items() if name not in judges}
        after = jax.vmap(lambda told: truth.encode({**fixed, **told}))(said)
        return truth.obeyed(state, after, protocol.Instruction(code))

    return jax.vmap(one)(states, decoded, codes)


def measure(subject):
    """The share carried out whole, of those that the exact world carries out."""
    subject.needs("instruction")
    subject.needs_decoded()
    states = subject.starts(0)
    if hasattr(subject.facts, "told"):
        code, parts = subject.facts.told(states)
    else:
        texts = subject.fact("texts", "no tasks are known in its words")(subject.truth)
        codes = [np.asarray(subject.truth.parse(text).code) for text in texts]
        code = np.stack([codes[i % len(codes)] for i in range(subject.sizes.runs)])
        parts = (code != 0).any(-1).sum(-1)
    steps = min(STEPS, getattr(subject.facts, "STEPS", STEPS))
    said = jax.vmap(partial(protocol.repeat, steps=steps))(protocol.Instruction(jnp.asarray(code)))
    mine, true = subject.both(states, said, 1)
    count = partial(_done, subject.truth, states, codes=code, judges=subject.judges)
    able, done = (np.asarray(count(decoded=one.decoded)) == parts for one in (true, mine))
    if able.sum() < FEWEST:
        raise Unasked(f"{subject.truth.name}: itself carries out {int(able.sum())} of these, {FEWEST} are needed")
    return [
        least("share of instructions carried out", done[able].mean(), 0.9, int(able.sum())),
        noted("parts of the longest", parts.max()),
    ]


CHECK = Check(
    "I6", 2, "instructions of up to ten parts", "takes instructions; decodes what they speak of", measure,
    ("push", "grid"), ("ignored", "frozen"),
)  # fmt: skip
