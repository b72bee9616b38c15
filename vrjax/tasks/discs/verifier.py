"""The exact judge of a clip: distance to the one true future, and residuals that need no reference.

A clip is valid when its largest position error over frames and bodies is below `TOLERANCE`, one disc radius. Calibrated
on true clips that went through the renderer and back (`false_positives`).
"""

from typing import NamedTuple

import numpy as np

from vrjax.tasks.discs import physics, pictures
from vrjax.tasks.discs.physics import Clips

TOLERANCE = 0.06
TIGHT, LOOSE = 0.03, 0.12  # reported beside it
STILL = 0.004  # a move between frames, in box sides, that no body in flight makes twice in a row


class Verdict(NamedTuple):
    """Judgements of samples, each (..., ) over samples.

    Attributes:
        error: largest distance to the truth in either coordinate, over frames and bodies, in box sides.
        rmse: root mean square of the same.
        gravity: mean |acceleration - g| / g over frames in free flight; NaN where there are none.
        gain: largest growth of the bodies' energy over that of the first interval, at least 0.
        below: share of frames with a body deeper in the floor than a third of its radius.
        frozen: share of frames in which a body stands still in mid-air.
        motion: mean distance travelled between frames (dynamic degree), in box sides.

    `gravity` and `gain` come from differences of neighbouring frames, which magnify jitter: in samples of a small model
    they mostly tell how smooth it is. On drawn or simulated clips they tell the violations apart.
    """

    error: np.ndarray
    rmse: np.ndarray
    gravity: np.ndarray
    gain: np.ndarray
    below: np.ndarray
    frozen: np.ndarray
    motion: np.ndarray

    def valid(self, tolerance: float = TOLERANCE) -> np.ndarray:
        """Whether each sample is a true clip."""
        return self.error < tolerance


def judge(clips: Clips, path: np.ndarray) -> Verdict:
    """Judges samples (n, ..., frames, bodies, 2) for the n clips whose first frames they continue.

    Raises:
        ValueError: shapes that do not fit. NaN positions count as infinitely wrong.
    """
    n, (frames, bodies) = len(clips), clips.truth.shape[1:3]
    if path.shape[0] != n or path.shape[-3:] != (frames, bodies, 2):
        raise ValueError(f"judge: expected samples ({n}, ..., {frames}, {bodies}, 2), found {path.shape}")
    lead = path.ndim - 4
    spread = lambda a: a.reshape(n, *(1,) * lead, *a.shape[1:])
    path = np.where(np.isfinite(path), path, 1e3)
    away = path - spread(clips.truth)
    g, radius = spread(clips.gravity)[..., None, None], physics.RADIUS[clips.family]
    move = np.diff(path, axis=-3)  # (..., frames - 1, bodies, 2)
    bend = np.diff(move, axis=-3) / physics.INTERVAL**2  # (..., frames - 2, bodies, 2)
    height = path[..., 1]
    touches = height < radius + 0.15  # a bounce may hide within the frames around
    free = ~(touches[..., :-2, :] | touches[..., 1:-1, :] | touches[..., 2:, :])
    free &= np.abs(bend[..., 0]) < 1.5  # no wall and no other disc either
    residual = np.where(free, np.abs(bend[..., 1] + g) / g, 0.0)
    count = free.sum((-1, -2))
    with np.errstate(invalid="ignore"):
        gravity = np.where(count > 0, residual.sum((-1, -2)) / np.maximum(count, 1), np.nan)
    still = np.all(np.abs(move) < STILL, axis=-1)
    airborne = height[..., 1:, :] > radius + 0.03
    stands = still[..., 1:, :] & still[..., :-1, :] & airborne[..., 1:, :]
    return Verdict(
        error=np.abs(away).max((-1, -2, -3)),
        rmse=np.sqrt(np.mean(away**2, axis=(-1, -2, -3))),
        gravity=gravity,
        gain=_gain(path, g, radius),
        below=(height < radius * 2 / 3).any(-1).mean(-1),
        frozen=stands.any(-1).mean(-1),
        motion=np.linalg.norm(move, axis=-1).mean((-1, -2)),
    )


def _gain(path: np.ndarray, g: np.ndarray, radius: float) -> np.ndarray:
    """Largest total energy of the bodies in any interval over that of the first one, minus 1, at least 0.

    In free flight `v^2 / 2 + g h` at the middle of an interval follows exactly from its two ends. An interval with a
    contact in it has a shorter chord, so it never looks like a gain.
    """
    velocity = np.diff(path, axis=-3) / physics.INTERVAL
    middle = 0.5 * (path[..., 1:, :, 1] + path[..., :-1, :, 1]) + g * physics.INTERVAL**2 / 8
    energy = (0.5 * (velocity**2).sum(-1) + g * (middle - radius)).sum(-1)
    return np.maximum(energy.max(-1) / energy[..., 0] - 1, 0.0)


def false_positives(clips: Clips, tolerance: float = TOLERANCE) -> float:
    """Share of true clips that are judged invalid after being drawn and read back from the pixels."""
    video = pictures.render(clips.truth, physics.RADIUS[clips.family])
    seen = pictures.centroids(video, physics.BODIES[clips.family])
    return float(np.mean(~judge(clips, seen).valid(tolerance)))
