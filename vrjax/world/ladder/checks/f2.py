"""F2: videos look and move as real ones do: their µFVD is below that of real ones, blurred.

µFVD is a Fréchet distance of features of our own, hence the name: nobody may compare it with the published FVD. The
features are mean absolute responses of fixed random filters without a mean (3 x 3 pixels x 3 frames) and of first
differences in time, of clips of eight frames, each in units of its spread over real clips.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vrjax.bench.humanml3d import fid
from vrjax.world.ladder._core import Check, most
from vrjax.world.ladder.controls import blur

CLIP, FILTERS = 8, 8


def filters():
    """(3, 3, 3, 3, FILTERS): time, height, width, channels, each of mean 0 and norm 1; the same in every run."""
    drawn = np.random.default_rng(20).normal(size=(3, 3, 3, 3, FILTERS))
    drawn -= drawn.mean((0, 1, 2, 3))
    return jnp.asarray(drawn / np.sqrt((drawn**2).sum((0, 1, 2, 3))), jnp.float32)


@jax.jit
def features(frames):
    """(runs, steps, h, w, 3) -> (clips, FILTERS + 1)."""
    runs, steps = frames.shape[:2]
    clips = frames[:, : steps // CLIP * CLIP].reshape(-1, CLIP, *frames.shape[2:])
    told = jax.lax.conv_general_dilated(
        clips, filters(), (1, 1, 1), "VALID", dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
    )
    moved = jnp.abs(jnp.diff(clips, axis=1)).mean((1, 2, 3, 4))
    return jnp.concatenate([jnp.abs(told).mean((1, 2, 3)), moved[:, None]], 1)


def distance(a, b, scale):
    """The Fréchet distance of features in units of `scale`."""
    return fid(np.asarray(a, np.float64) / scale, np.asarray(b, np.float64) / scale)


def measure(subject):
    """Of videos under random actions, against real ones that begin alike and go on under other actions and chance, so
    that scenes differ in no set; the control are the real videos of the first actions, blurred."""
    subject.needs()
    states = subject.starts(0)
    play = partial(subject.play, states, frames=True)
    act = lambda part: subject.acts(part, states, subject.facts.act, subject.steps)
    mine = features(play(act(1), 2).frames)
    true = play(act(1), 2, truth=True).frames
    real = features(play(act(3), 4, truth=True).frames)
    scale = np.maximum(np.asarray(real, np.float64).std(0), 1e-6)
    control = distance(features(blur(true)), real, scale)
    return [most("µFVD over that of blurred real videos", distance(mine, real, scale) / control, 0.5, len(real))]


CHECK = Check(
    "F2", 1, "µFVD below the blurred control", "takes inputs; frames", measure,
    ("push",), ("blurred",),
)  # fmt: skip
