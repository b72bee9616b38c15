"""Motions at another frame rate. Metrics and models count per frame, so a file at 30 a second must come to 20 first.

The rule: the first frame stays, frame k of the result is at time k / to, and nothing beyond the last frame is made up.
Positions are interpolated linearly, rotations at constant angular speed, and all ways to the next frame are made anew.
"""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vrjax.motion.kinematics import Motion
from vrjax.motion.rep276 import FPS, encode, from_276
from vrjax.motion.rotations import Real, slerp


def resample(
    rows: Float[Real, "t d"], fps: float | int, to: float | int = FPS, *, path: str = "velocity", public: bool = False
) -> Float[Array, "s d"]:
    """Rows (T, 276) at another frame rate.

    T rows know T + 1 frames, so the result has floor(T to / fps) rows. At an equal rate true rows come back.

    Args:
        rows: at `fps`.
        fps, to: frames a second, plain numbers.
        path: how rows that contradict themselves are read, see `from_276`.
        public: what ViMoGen does to its references, 16 -> 20: as many rows, but every number (6-D forms too) is
            interpolated linearly between the first and the last row, and ways keep their old rate. Any columns fit.

    Raises:
        ValueError: a rate that is not positive and finite, too short a motion, or as `from_276`.
    """
    ratio = _ratio("resample", fps, to)
    count = int(jnp.shape(rows)[0] / ratio)
    if count < 1:
        raise ValueError(f"resample: rows has {jnp.shape(rows)[0]} frames, too few for one at {to} a second")
    if public:
        rows = jnp.asarray(rows)
        return _between(rows, np.linspace(0, rows.shape[0] - 1, count))
    motion = from_276(rows, path=path, equal_length=True)
    return encode(at_times(motion, _times(count + 1, ratio)))


def resample_joints(joints: Float[Real, "t *n"], fps: float | int, to: float | int = FPS) -> Float[Array, "s *n"]:
    """Positions at another frame rate: N frames become floor((N - 1) to / fps) + 1.

    Args:
        joints: positions, such as (t, 22, 3).
        fps, to: frames a second, plain numbers.

    Raises:
        ValueError: a rate that is not positive and finite, or no frames.
    """
    ratio = _ratio("resample_joints", fps, to)
    joints = jnp.asarray(joints)
    if not joints.shape[0]:
        raise ValueError("resample_joints: joints has no frames, expected at least 1")
    return _between(joints, _times(int((joints.shape[0] - 1) / ratio) + 1, ratio))


def at_times(motion: Motion, times: Float[np.ndarray, " s"]) -> Motion:
    """The motion between its frames.

    Args:
        motion: any number of frames.
        times: in frames, 0 is the first and the number of frames - 1 the last.
    """
    low, part = _places(times, motion.joints.shape[0])
    high = np.minimum(low + 1, motion.joints.shape[0] - 1)
    turn = lambda x: slerp(x[low], x[high], part.reshape(-1, *[1] * (x.ndim - 3)))
    return Motion(_between(motion.joints, times), turn(motion.root), turn(motion.body), _between(motion.transl, times))


def _ratio(where: str, fps: float | int, to: float | int) -> Fraction:
    for name, rate in (("fps", fps), ("to", to)):
        if not (np.isfinite(rate) and rate > 0):
            raise ValueError(f"{where}: {name} must be a positive number of frames a second, found {rate}")
    # 29.97 and 1 / 0.05 are meant as written, not as the nearest binary number.
    return Fraction(float(fps)).limit_denominator(10_000) / Fraction(float(to)).limit_denominator(10_000)


def _times(count: int, ratio: Fraction) -> np.ndarray:
    return np.array([float(k * ratio) for k in range(count)])


def _places(times: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    low = np.clip(np.floor(times).astype(int), 0, frames - 1)
    return low, (times - low).astype(np.float32)


def _between(x: Real, times: np.ndarray) -> Array:
    x = jnp.asarray(x)
    low, part = _places(times, x.shape[0])
    part = jnp.asarray(part.reshape(-1, *[1] * (x.ndim - 1)), x.dtype)
    return (1 - part) * x[low] + part * x[np.minimum(low + 1, x.shape[0] - 1)]
