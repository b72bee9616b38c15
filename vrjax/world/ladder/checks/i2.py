"""I2: actions matter to what is seen, and nothing else does but the key."""

import jax
import numpy as np

from vrjax.world.ladder._core import Check, above, lower, most, psnr


def measure(subject):
    """The survey's delta PSNR: how much nearer to the true frames the world is under the true actions than under
    another run's; and how many numbers differ when all is repeated."""
    subject.needs("action")
    states = subject.starts(0)
    actions = subject.acts(1, states, subject.facts.act, subject.sizes.steps)
    mine, true = subject.both(states, actions, 2, frames=True)
    again = subject.play(states, actions, 2, frames=True)
    other = subject.play(states, np.roll(np.asarray(actions), 1, 0), 2, frames=True)
    gain = (psnr(mine.frames, true.frames) - psnr(other.frames, true.frames)).mean(1)
    pairs = zip(jax.tree.leaves(mine), jax.tree.leaves(again), strict=True)
    differ = sum(int((np.asarray(a) != np.asarray(b)).sum()) for a, b in pairs)
    return [
        above("lower 95 % end of delta PSNR in dB", lower(gain), 0.0, len(gain)),
        most("numbers that differ when repeated", differ, 0),
    ]


CHECK = Check(
    "I2", 2, "controllability", "takes actions; frames", measure,
    ("push",), ("ignored", "frozen", "retrieval", "restless"),
)  # fmt: skip
