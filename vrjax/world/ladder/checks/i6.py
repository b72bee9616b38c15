"""I6: instructions of one to ten parts are carried out."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.world import protocol
from vrjax.world.ladder._core import Check, Lacks, least

FEWEST, STEPS = 8, 60


@jax.jit
def _done(truth, states, decoded, codes):
    """How many parts came true, by what is decoded; what a world does not say is as it was at first."""

    def one(state, decoded, code):
        fixed = truth.decode(state)
        after = jax.vmap(lambda told: truth.encode({**fixed, **told}))(decoded)
        return truth.obeyed(state, after, protocol.Instruction(code))

    return jax.vmap(one)(states, decoded, codes)


def measure(subject):
    """The share carried out whole, of those that the exact world carries out."""
    subject.needs("instruction")
    subject.needs_decoded()
    texts = subject.fact("texts", "no tasks are known in its words")(subject.truth)
    codes = [np.asarray(subject.truth.parse(text).code) for text in texts]
    states = subject.starts(0)
    code = np.stack([codes[i % len(codes)] for i in range(subject.sizes.runs)])
    said = jax.vmap(partial(protocol.repeat, steps=STEPS))(protocol.Instruction(jnp.asarray(code)))
    parts = (code != 0).any(-1).sum(-1)
    mine, true = subject.both(states, said, 1)
    able, done = (np.asarray(_done(subject.truth, states, one.decoded, code)) == parts for one in (true, mine))
    if able.sum() < FEWEST:
        raise Lacks(f"{subject.truth.name}: itself carries out {int(able.sum())} of these, {FEWEST} are needed")
    return [least("share of instructions carried out", done[able].mean(), 0.9, int(able.sum()))]


CHECK = Check(
    "I6", 2, "instructions of up to ten parts", "takes instructions; decodes what they speak of", measure,
    ("push", "grid"), ("ignored", "frozen"),
)  # fmt: skip
