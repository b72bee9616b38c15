"""I3: five seconds at 24 frames a second, and a loop that closes: the place that one comes back to looks as it did."""

import numpy as np

from vrjax.world.ladder._core import Check, Lacks, Unasked, least, psnr

CLOSED = 45.0
"""PSNR from which on a loop of the exact world counts as closed: nothing was moved and nobody came."""
FEWEST = 4


def measure(subject):
    """Of the runs whose loop closes in the exact world: first and last frame, and all frames against the true ones."""
    subject.needs("action")
    tour = subject.fact("tour", "no way leads back to where it began")
    camera = subject.facts.MOVING
    states = subject.starts(0)
    if hasattr(subject.facts, "lone"):
        states = subject.facts.lone(states)
    states, actions = subject.acts(1, states, tour, subject.sizes.loop)
    if camera is not None and camera not in subject.w.cameras:
        raise Lacks(f"{subject.w.name}: has no camera {camera!r} that moves")
    mine, true = subject.both(states, actions, 2, frames=True, camera=camera)
    closed = psnr(true.look, true.frames[:, -1]) >= CLOSED
    # A loop that shows one picture all the time would close by itself.
    closed &= (np.abs(np.asarray(true.frames) - np.asarray(true.look)[:, None]).max((2, 3, 4)) > 0.1).any(1)
    if closed.sum() < FEWEST:
        raise Unasked(f"{subject.truth.name}: {int(closed.sum())} loops close in the exact world, {FEWEST} are needed")
    last = psnr(mine.look, mine.frames[:, -1])[closed]
    along = psnr(mine.frames, true.frames)[closed]
    return [
        least(
            "PSNR of the place come back to in dB, in nine of ten runs", np.quantile(last, 0.1), 25.0, int(closed.sum())
        ),
        least("PSNR of all frames against the true ones, in dB", along.mean(), 20.0, int(closed.sum())),
    ]


CHECK = Check(
    "I3", 2, "consistency over five seconds and a closed loop", "takes actions; frames", measure,
    ("push", "drive"), ("drifting", "forgetful"),
    "LPIPS: its network is not shipped, PSNR stands alone",
)  # fmt: skip
