"""The reference motion of ViMoGen's second branch (138 numbers a frame), and how training corrupts it.

What a body estimated from a video is good for: local pose, and the pelvis' rotation with its turn. Positions and
translation are left out, because from one camera they are unreliable.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from vrjax.motion.rep276 import BODY, ROOT, ROOT_TURN
from vrjax.motion.rotations import Real

WIDTH = 138


class Draws(NamedTuple):
    """The random numbers of one corruption. ViMoGen shares the first three over a batch.

    Attributes:
        corrupt_rate: probability that a frame gets noise, from 0 to 0.4.
        noise_scale: the noise' standard deviation, 0.05 to 0.15.
        replace_rate: probability that a frame is replaced by its neighbours, 0.03 to 0.08.
        normal (t, 138): standard normal.
        noise, replace, alpha, dropout (t,): uniform on [0, 1); an event happens where one is below its rate.
    """

    corrupt_rate: Float[Array, ""]
    noise_scale: Float[Array, ""]
    replace_rate: Float[Array, ""]
    normal: Float[Array, "t d"]
    noise: Float[Array, " t"]
    replace: Float[Array, " t"]
    alpha: Float[Array, " t"]
    dropout: Float[Array, " t"]


def reference(rows: Float[Real, "*t 276"]) -> Float[Array, "*t 138"]:
    """Columns 0:126 and 258:270 of rows, normalised or not."""
    rows = jnp.asarray(rows)
    return jnp.concatenate([rows[..., BODY], rows[..., ROOT], rows[..., ROOT_TURN]], -1)


def draw(key: PRNGKeyArray, frames: int, width: int = WIDTH) -> Draws:
    """Draws with ViMoGen's distributions."""
    keys = jax.random.split(key, 8)
    scalar = lambda i, low, high: jax.random.uniform(keys[i], (), minval=low, maxval=high)
    return Draws(
        *(scalar(0, 0.0, 0.4), scalar(1, 0.05, 0.15), scalar(2, 0.03, 0.08)),
        jax.random.normal(keys[3], (frames, width)),
        *(jax.random.uniform(k, (frames,)) for k in keys[4:]),
    )


def corrupt(
    reference: Float[Real, "t d"], valid: Bool[Real, " t"], draws: Draws, *, dropout: float | int = 0.02
) -> tuple[Float[Array, "t d"], Bool[Array, " t"]]:
    """A reference as a poor estimate would give it: noisy frames, then smeared ones, then missing ones.

    A smeared frame is `a previous + (1 - a) next`, a from 0.35 to 0.65, of the *clean* neighbours, so that it loses its
    noise. As in the public code the neighbours wrap around the ends of the array, and one that is not valid is
    replaced by the frame itself.

    Args:
        reference: normalised, zero-padded.
        valid: which frames are no padding; the others stay as they are.
        draws: see `Draws`.
        dropout: probability that a frame is missing.

    Returns:
        The corrupted reference, with zeros where frames are missing, and which frames are left.
    """
    clean = jnp.asarray(reference)
    happens = lambda uniform, rate: ((uniform < rate) & valid)[:, None]
    beside = lambda step: jnp.where(jnp.roll(valid, step)[:, None], jnp.roll(clean, step, 0), clean)
    alpha = (0.5 + 0.3 * (draws.alpha - 0.5))[:, None]
    noisy = jnp.where(happens(draws.noise, draws.corrupt_rate), clean + draws.noise_scale * draws.normal, clean)
    smeared = alpha * beside(1) + (1 - alpha) * beside(-1)
    kept = jnp.where(happens(draws.replace, draws.replace_rate), smeared, noisy)
    missing = happens(draws.dropout, dropout)
    return jnp.where(missing, 0.0, kept), valid & ~missing[:, 0]
