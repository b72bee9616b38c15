"""Clips of discs as the network takes them: latents and conditions."""

import numpy as np

from vrjax.tasks.discs.physics import BODIES, FRAMES, GRAVITY, RESTITUTION, Clips

SCALE = 0.25  # a latent is (position - 0.5) / SCALE: about unit variance
WIDTH = 6  # of a caption row


def latents(path: np.ndarray) -> np.ndarray:
    """(n, frames, 1, bodies, 2) float32: positions as the network sees them, one column a body."""
    return ((np.asarray(path)[:, :, None] - 0.5) / SCALE).astype(np.float32)


def positions(latent: np.ndarray) -> np.ndarray:
    """(..., frames, bodies, 2) float64: the inverse of `latents`."""
    return np.asarray(latent, np.float64)[..., 0, :, :] * SCALE + 0.5


def conditions(clips: Clips) -> dict[str, np.ndarray]:
    """What a model is given: `text` (n, 3, WIDTH), one row each for gravity, restitution and the number of bodies, and
    `image` (n, frames, 1, bodies, 3): a mask, 1 on frames 0 and 1, and the latents of these two, again and again (as
    `embedded.conditions.first_frame` repeats the one it is given)."""
    n, unit = len(clips), lambda x, low, high: 2 * (x - low) / (high - low) - 1
    values = (unit(clips.gravity, *GRAVITY), unit(clips.restitution, *RESTITUTION), np.full(n, BODIES[clips.family]))
    text = np.zeros((n, 3, WIDTH), np.float32)
    for row, value in enumerate(values):
        text[:, row, row] = 1.0
        text[:, row, 3 + row] = value
    image = np.zeros((n, FRAMES, 1, BODIES[clips.family], 3), np.float32)
    image[:, :2, ..., 0] = 1.0
    image[..., 1:] = np.tile(latents(clips.truth[:, :2]), (1, FRAMES // 2, 1, 1, 1))
    return {"text": text, "image": image}
