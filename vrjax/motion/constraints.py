"""How well a motion keeps what it was told: keyframes, ground paths, end effectors; and how often its feet skate.

The definitions of Kimodo's benchmark (github.com/nv-tlabs/kimodo), for 22 joints in metres. Errors come per constraint,
so that a table can show their mean, their 95th percentile or the share within a tolerance; a constraint at a frame that
the motion lacks is refused. Positions are compared where they are: nothing is aligned first.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from vrjax.motion.kinematics import FEET
from vrjax.motion.rotations import Real, length

HIT = 0.1  # m: a root within it has reached its waypoint
ON_FLOOR, SKATES = 0.05, 0.2  # m; m/s

Frames = Int[Array, " k"] | Int[np.ndarray, " k"] | list[int] | tuple[int, ...]


def keyframe_error(joints: Float[Real, "t n 3"], frames: Frames, targets: Float[Real, "k n 3"]) -> Float[Array, " k"]:
    """Mean distance of all joints from the pose that was asked for, in metres, one number a keyframe.

    Args:
        joints: a motion.
        frames: at which frames; a value that is known must be one of 0 to t - 1.
        targets: joints at those frames.

    Raises:
        ValueError: a frame that the motion lacks, or targets of another shape than joints at so many frames.
    """
    found = _at(joints, frames)
    return jnp.mean(length(found - _like(targets, found, "targets")), -1)


def end_effector_error(
    joints: Float[Real, "t n 3"], frames: Frames, which: tuple[int, ...], targets: Float[Real, "k m 3"]
) -> Float[Array, "k m"]:
    """Distance of some joints (hands 20 and 21, feet 10 and 11) from where they should be, in metres.

    How far their rotations are off says `vrjax.motion.rotations.angle_between`.

    Args:
        joints, frames: as in `keyframe_error`.
        which: indices of the constrained joints.
        targets: their places at those frames.

    Raises:
        ValueError: as `keyframe_error`.
    """
    found = _at(joints, frames)[:, np.asarray(which, int)]
    return length(found - _like(targets, found, "targets"))


def path_error(
    joints: Float[Real, "t n 3"], frames: Frames, path: Float[Real, "k 2"], *, up_axis: int = 2
) -> Float[Array, " k"]:
    """Distance over the ground of the root (joint 0) from its waypoint, in metres; a path is a waypoint at every frame.

    Args:
        joints, frames: as in `keyframe_error`.
        path: the two horizontal coordinates, in the order of their axes.
        up_axis: the axis of height.

    Raises:
        ValueError: as `keyframe_error`; no such axis.
    """
    found = _at(joints, frames)[:, 0][:, _ground(up_axis)]
    return length(found - _like(path, found, "path"))


def foot_skate_ratio(
    joints: Float[Real, "t n 3"], *, fps: float | int = 20, up_axis: int = 2, feet: tuple[int, ...] = FEET
) -> Float[Array, ""]:
    """Of the steps in which a toe is on the floor, the share in which it moves: from 0 to 1, and 0 for feet in the air.

    A toe is on the floor for a step when it lies under 5 cm before and after, and moves when it is faster than 0.2 m/s.

    Args:
        joints: a motion of at least two frames, with the floor at height 0.
        fps: frames a second.
        up_axis: the axis of height.
        feet: indices of the toes.

    Raises:
        ValueError: a single frame, no such axis.
    """
    _ground(up_axis)
    if joints.shape[0] < 2:
        raise ValueError(f"joints: expected at least 2 frames, found {joints.shape[0]}")
    toes = jnp.asarray(joints)[:, np.asarray(feet, int)]
    low = toes[..., up_axis] < ON_FLOOR
    down = low[:-1] & low[1:]
    skates = down & (length(jnp.diff(toes, axis=0)) * fps > SKATES)
    return jnp.sum(skates) / jnp.maximum(jnp.sum(down), 1)


def summary(errors: Float[Real, "*n"], *, within: float | int = HIT) -> dict[str, Float[Array, ""]]:
    """What is published of errors: their mean, 95th percentile, and the share that is `within` so many metres."""
    errors = jnp.asarray(errors)
    return {"mean": jnp.mean(errors), "p95": jnp.percentile(errors, 95), "within": jnp.mean(errors <= within)}


def _ground(up_axis: int) -> np.ndarray:
    if up_axis not in (0, 1, 2):
        raise ValueError(f"up_axis: expected 0, 1 or 2, found {up_axis!r}")
    return np.array([axis for axis in range(3) if axis != up_axis])


def _at(joints: Any, frames: Any) -> Array:
    """Joints at frames; JAX alone would clamp a frame that is not there."""
    if not isinstance(frames, Tracer):
        wrong = [int(i) for i in np.ravel(frames) if not 0 <= i < joints.shape[0]]
        if wrong:
            raise ValueError(f"frames: expected 0 to {joints.shape[0] - 1}, found {wrong[0]}")
    return jnp.asarray(joints)[jnp.asarray(frames, int)]


def _like(targets: Any, found: Array, name: str) -> Array:
    if np.shape(targets) != found.shape:
        raise ValueError(f"{name}: expected {found.shape}, found {np.shape(targets)}")
    return jnp.asarray(targets)
