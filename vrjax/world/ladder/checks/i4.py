"""I4: a second camera shows the same world: it agrees with the first where both look, and with the exact renderer."""

from functools import partial

import jax
import numpy as np

from vrjax.world.ladder._core import Check, Lacks, least, most, psnr

DISAGREE = 0.1


@partial(jax.jit, static_argnames=("facts", "see", "names"))
def _looked(w, truth, states, keys, *, facts, see, names):
    def one(state, key):
        own = see(w, truth, state, key)
        frames = {name: w.render(own, name) for name in names}
        decoded = w.decode(own)
        there = truth.encode({**truth.decode(state), **decoded})
        exact = {name: truth.render(there, name) for name in names}
        return frames, exact, facts.cross(frames, decoded, truth)

    return jax.vmap(one)(states, keys)


def measure(subject):
    """Of first states: disagreement of the two cameras (G.8), and PSNR of the second against the exact renderer (R)."""
    subject.needs_decoded()
    if len(subject.w.cameras) < 2:
        raise Lacks(f"{subject.w.name}: has one camera only")
    subject.fact("cross", "its cameras have no common points")
    names = tuple(getattr(subject.facts, "PAIR", subject.w.cameras[:2]))
    if not set(names) <= set(subject.w.cameras):
        raise Lacks(f"{subject.w.name}: has not both of {', '.join(names)}, which look at common points")
    states = subject.starts(0)
    keys = jax.random.split(subject.split(1), subject.sizes.runs)
    told = _looked(subject.w, subject.truth, states, keys, facts=subject.facts, see=subject.see, names=names)
    frames, exact, apart = told
    apart = np.asarray(apart)
    return [
        most("mean difference of colours where both cameras look", apart.mean(), DISAGREE, len(apart)),
        least("PSNR of the second camera in dB", psnr(frames[names[1]], exact[names[1]]).mean(), 25.0, len(apart)),
    ]


CHECK = Check(
    "I4", 2, "novel camera", "two cameras; decodes all that is drawn", measure,
    ("push",), ("flat", "blurred"),
)  # fmt: skip
