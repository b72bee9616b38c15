"""ViMoGen's smoothing of what it generated: a short Gaussian over time, on normalised rows."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vrjax.motion.rotations import Real

REACH = 2
SIGMA = 1.0


def smooth(
    rows: Float[Real, "t d"], *, length: Int[Array, ""] | int | None = None, padded: bool = False
) -> Float[Array, "t d"]:
    """Each frame as the mean of five, weighted by a Gaussian of one frame's width; the first and last two stay raw.

    Args:
        rows: normalised rows of a motion, maybe padded behind it.
        length: number of frames before the padding, all if not given; may be traced. Padding is left as it is.
        padded: what the public code does: the last two frames are the *array's*, so that the end of a shorter motion
            mixes with its padding, and the padding is smoothed too.
    """
    rows = jnp.asarray(rows)
    size = rows.shape[0]
    weights = np.exp(-0.5 * (np.arange(-REACH, REACH + 1) / SIGMA) ** 2)
    weights /= weights.sum()
    ahead = [jnp.roll(rows, -step, 0) for step in range(-REACH, REACH + 1)]
    means = sum(w * x for w, x in zip(weights.tolist(), ahead, strict=True))
    frame, end = jnp.arange(size), size if length is None or padded else length
    inside = (frame >= REACH) & (frame < end - REACH)
    return jnp.where(inside[:, None], means, rows)
