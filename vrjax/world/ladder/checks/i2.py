"""I2: actions matter to what is seen, and nothing else does but the key."""

import jax
import numpy as np

from vrjax.world.ladder._core import Check, Lacks, above, lower, most, psnr


def measure(subject):
    """The survey's delta PSNR: how much nearer to the true frames the world is under the true actions than under
    another run's; and how many numbers differ when all is repeated."""
    subject.needs()
    states = subject.starts(0)
    inputs = subject.acts(1, states, subject.facts.act, subject.steps)
    exchanged = jax.tree.map(lambda a: np.roll(np.asarray(a), 1, 0), inputs)
    if all((np.asarray(a) == b).all() for a, b in zip(*map(jax.tree.leaves, (inputs, exchanged)), strict=True)):
        raise Lacks(f"{subject.truth.name}: knows one {subject.kind} only, no other can take its place")
    mine, true = subject.both(states, inputs, 2, frames=True)
    again = subject.play(states, inputs, 2, frames=True)
    other = subject.play(states, exchanged, 2, frames=True)
    gain = (psnr(mine.frames, true.frames) - psnr(other.frames, true.frames)).mean(1)
    pairs = zip(jax.tree.leaves(mine), jax.tree.leaves(again), strict=True)
    differ = sum(int((np.asarray(a) != np.asarray(b)).sum()) for a, b in pairs)
    return [
        above("lower 95 % end of delta PSNR in dB", lower(gain), 0.0, len(gain)),
        most("numbers that differ when repeated", differ, 0),
    ]


CHECK = Check(
    "I2", 2, "controllability", "takes inputs; frames", measure,
    ("push",), ("ignored", "frozen", "retrieval", "restless"),
)  # fmt: skip
