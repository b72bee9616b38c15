"""The five metrics of MBench that need joints alone, by the definitions of its public code, as pure functions.

A clip is `(t, 22, 3)` in metres at 20 frames a second: thresholds and values are per frame and not per second, so a
clip of another rate must be resampled first. `up_axis` says which axis is height. The public pipeline turns its z-up
joints into y-up ones and goes on to read index 2, which then points forward or back; `columns` gives both numbers.

All five are exactly 0 for a frozen pose. A mask of frames (`length`) stands for cutting the clip, so that clips of many
lengths are one program.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from vrjax.motion.kinematics import FEET, JOINTS
from vrjax.motion.rotations import Real
from vrjax.motion.rotations import length as norm

NAMES = ("Jitter_Degree", "Dynamic_Degree", "Foot_Sliding", "Ground_Penetration", "Foot_Floating")
CORRECT, OFFICIAL = COLUMNS = ("correct axis", "official path")

STILL, LOW = 0.01, 0.02  # a foot is in contact when it moves less in a frame, or is lower (m)
SUNK = 0.005  # penetration that is forgiven (m)
RESTING, MOVES = 0.001, 1.2e-4  # a root that moves less in a frame is not judged; a foot that moves more can be (m)
STUCK, CARRIED, RACING = 0.4, 0.6, 1.75  # speed of the foot about the root, over the root's
SHORTEST = 4  # frames of a flight that is judged
PEAKS = 2  # directions that a flight may take back
TINY = 1e-6

Joints = Float[Real, "_t _joints 3"]  # of any sizes: what is expected is said in one line
Scalar = Float[Array, ""] | np.floating


def metrics(joints: Joints, up_axis: int = 2, *, length: Int[Array, ""] | int | None = None) -> Mapping[str, Scalar]:
    """Jitter, dynamics, sliding, penetration and floating of one clip.

    Inside `jit`, `vmap` and `grad` it is an ordinary function in the dtype of the joints. Called with arrays it
    computes in float64: contacts are comparisons, and a published number should not hang on a float32's last bit.

    Args:
        joints: positions, (t, 22, 3), in metres at 20 frames a second; floor at height 0.
        up_axis: the axis of height: 0, 1 or 2.
        length: frames that count, from 3 to t; all by default. What lies behind them is not read.

    Returns:
        Jitter_Degree: mean of |p[t+2] - 2 p[t+1] + p[t]| over frames and joints, plus that about the root, m/frame².
        Dynamic_Degree: mean of |p[t+1] - p[t]|, plus that about the root, m/frame; of this alone more is better.
        Foot_Sliding: mean horizontal step of a foot in contact, m/frame, mean of the two feet.
        Ground_Penetration: mean depth of the feet where they lie more than 5 mm under the floor, m.
        Foot_Floating: share of frames with a foot that is carried along, plus flights that are stuck or that shake.

    Raises:
        ValueError: not 22 joints, fewer than 3 frames, no such axis, or positions that are not finite.
    """
    frames = _checked(joints, up_axis, length)
    if any(isinstance(x, Tracer) for x in (joints, length)):
        return _metrics(jnp.asarray(joints), up_axis, frames)
    with jax.enable_x64(True), jax.ensure_compile_time_eval():  # constants of a traced function are arrays too
        found = jax.device_get(_compiled(np.asarray(joints, np.float64), up_axis, frames))
    return {name: np.float64(found[name]) for name in NAMES}


def columns(joints: Joints, up_axis: int = 2, *, length: Any = None) -> dict[str, Mapping[str, Scalar]]:
    """`metrics` in both readings: {"correct axis": ..., "official path": ...}. Published numbers may be either."""
    return {
        CORRECT: metrics(joints, up_axis, length=length),
        OFFICIAL: metrics(official(joints, up_axis), 2, length=length),
    }


def batch(
    clips: Sequence[Joints], up_axis: int = 2, *, length: int | None = None
) -> dict[str, dict[str, Float[np.ndarray, " n"]]]:
    """`columns` of many clips of any lengths, one program for all of them: (n,) numbers instead of one.

    Args:
        clips: positions, each (t, 22, 3).
        up_axis: the axis of height of all of them.
        length: frames that the program is made for; the longest clip's by default.

    Raises:
        ValueError: as `metrics`; no clips, or one that is longer.
    """
    if not clips:
        raise ValueError("clips: expected at least one, found none")
    counts = np.array([_checked(clip, up_axis, None) for clip in clips])
    longest = int(counts.max()) if length is None else length
    if counts.max() > longest:
        raise ValueError(f"clips: expected at most {longest} frames, found {counts.max()}")
    pad = lambda clip: np.pad(np.asarray(clip, np.float64), ((0, longest - len(clip)), (0, 0), (0, 0)), mode="edge")
    padded = np.stack([pad(clip) for clip in clips])
    with jax.enable_x64(True):
        found = {
            CORRECT: _compiled_batch(padded, up_axis, counts),
            OFFICIAL: _compiled_batch(official(padded, up_axis), 2, counts),
        }
        return {column: {name: np.asarray(values[name]) for name in NAMES} for column, values in found.items()}


def official(joints: Float[Real, "*clips 3"], up_axis: int = 2) -> Float[Real, "*clips 3"]:
    """The y-up joints that the public pipeline hands to its metrics, which read their index 2 as height.

    Args:
        joints: z-up, turned as the public script does, (x, y, z) -> (-x, z, y); or y-up (`up_axis=1`), left alone.

    Raises:
        ValueError: another axis: the public pipeline has none.
    """
    if up_axis not in (1, 2):
        raise ValueError(f"up_axis: the official path knows z-up (2) and y-up (1) joints, found {up_axis}")
    if up_axis == 1:
        return joints
    use = jnp if isinstance(joints, jax.Array) else np
    return use.stack([-joints[..., 0], joints[..., 2], joints[..., 1]], -1)


def frozen(joints: Joints) -> Joints:
    """The control row that games four of the five: the first frame, held."""
    use = jnp if isinstance(joints, jax.Array) else np
    return use.broadcast_to(joints[:1], joints.shape)


def _checked(joints: Any, up_axis: Any, length: Any) -> Any:
    """The number of frames that count."""
    shape = np.shape(joints)
    if len(shape) != 3 or shape[1:] != (len(JOINTS), 3) or shape[0] < 3:
        raise ValueError(f"joints: expected (t, {len(JOINTS)}, 3) with at least 3 frames, found {shape}")
    if up_axis not in (0, 1, 2):
        raise ValueError(f"up_axis: expected 0, 1 or 2, found {up_axis!r}")
    known = shape[0] if length is None else length
    if not isinstance(known, Tracer):
        known = int(known)
        if not 3 <= known <= shape[0]:
            raise ValueError(f"length: expected 3 to {shape[0]} frames, found {known}")
        if not isinstance(joints, Tracer) and not np.isfinite(np.asarray(joints)[:known]).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(np.asarray(joints)[:known]))[0])
            raise ValueError(f"joints: expected finite positions, found {np.asarray(joints)[where]} at {where}")
    return known


def _metrics(joints: Float[Array, "t joints 3"], up_axis: int, length: Any) -> dict[str, Float[Array, ""]]:
    times = jnp.arange(joints.shape[0])
    p = joints[jnp.minimum(times, length - 1)]  # padding may hold anything
    local = p - p[:, 0][:, None]
    height, flat = p[:, FEET, up_axis], [axis for axis in range(3) if axis != up_axis]
    steps = _forward(p[:, FEET], length)
    valid = (times < length)[:, None]
    contact = valid & ((norm(steps) < STILL) | (height < LOW))
    below = valid & (height < -SUNK)
    slid = jnp.sum(norm(steps[..., flat]) * contact, 0) / (jnp.sum(contact, 0, dtype=p.dtype) + TINY)
    shaken, moved = ([norm(jnp.diff(x, order, axis=0)) for x in (p, local)] for order in (2, 1))
    return {
        "Jitter_Degree": _mean(shaken[0], length - 2) + _mean(shaken[1], length - 2),
        "Dynamic_Degree": _mean(moved[0], length - 1) + _mean(moved[1], length - 1),
        "Foot_Sliding": jnp.mean(slid),
        "Ground_Penetration": jnp.sum(jnp.where(below, -height, 0)) / jnp.maximum(jnp.sum(below), 1),
        "Foot_Floating": _floating(p, local, contact, valid, length),
    }


_compiled = jax.jit(_metrics, static_argnums=1)
_compiled_batch = jax.jit(jax.vmap(_metrics, (0, None, 0)), static_argnums=1)


def _mean(values: Float[Array, "t joints"], frames: Any) -> Float[Array, ""]:
    """Over the first so many frames and all joints."""
    counted = jnp.where((jnp.arange(values.shape[0]) < frames)[:, None], values, 0)
    return jnp.sum(counted) / (frames * values.shape[1])


def _forward(x: Float[Array, "t *joints 3"], length: Any) -> Float[Array, "t *joints 3"]:
    """Forward differences; the last frame, which has none, repeats the one before."""
    return jnp.diff(x, axis=0, append=x[-1:])[jnp.minimum(jnp.arange(x.shape[0]), length - 2)]


def _floating(p: Any, local: Any, contact: Any, valid: Any, length: Any) -> Float[Array, ""]:
    """Frames with a bad contact, half the frames in which a flight is stuck, and all frames of flights that shake,
    over the clip's."""
    root = norm(_forward(p[:, 0], length))[:, None]
    ratio = norm(_forward(local[:, FEET], length)) / (root + TINY)  # 1 for a planted foot, 0 for one that is carried

    moves = norm(_forward(p[:, FEET], length)) > MOVES
    bad = moves & ((ratio < CARRIED) | (ratio > RACING)) & (root >= RESTING)
    flagged = valid[:, 0] & jnp.where(contact.all(1), bad.all(1), (contact & bad).any(1))

    flight = valid & ~contact
    first, last = _runs(flight)
    frames = last - first + 1
    resting = _count((root < RESTING) & flight, first, last)
    stuck = flight & (frames >= SHORTEST) & (2 * resting <= frames) & (ratio < STUCK)

    both = flight.all(1, keepdims=True)
    first, last = _runs(both)
    turns = _count(both & _peaks(_bearing(p[:, FEET[0]], first[:, 0], last[:, 0]), first[:, 0]), first, last)
    shaking = both & (last - first + 1 >= SHORTEST) & (turns > PEAKS)
    half_frames = 2 * jnp.sum(flagged) + jnp.sum(stuck) + 2 * jnp.sum(shaking)
    return half_frames.astype(p.dtype) / (2 * length)


def _runs(inside: Bool[Array, "t n"]) -> tuple[Int[Array, "t n"], Int[Array, "t n"]]:
    """First and last frame of the run that each frame is in; frames outside have frames that mean nothing."""
    times = jnp.arange(inside.shape[0])[:, None]
    outside = jnp.pad(~inside, ((1, 1), (0, 0)), constant_values=True)
    first = lax.cummax(jnp.where(outside[:-2], times, 0), axis=0)
    last = lax.cummin(jnp.where(outside[2:], times, inside.shape[0] - 1), axis=0, reverse=True)
    return first, last


def _count(what: Bool[Array, "t n"], first: Int[Array, "t n"], last: Int[Array, "t n"]) -> Int[Array, "t n"]:
    """How many frames from `first` to `last` are so, for each frame."""
    so_far = jnp.cumsum(jnp.pad(what, ((1, 0), (0, 0))), 0)
    return jnp.take_along_axis(so_far, last + 1, 0) - jnp.take_along_axis(so_far, first, 0)


def _bearing(x: Float[Array, "t 3"], first: Int[Array, " t"], last: Int[Array, " t"]) -> Float[Array, " t"]:
    """What grows with the angle between the way from `first` to here and the way from `first` to `last`.

    The public code takes arccos of the product of both ways, each over its norm + 1e-6, which for a straight flight
    hangs on the last bits. This is twice 1 minus that product, up to what is constant in a flight, as a sum of positive
    terms: the same order, in float32 too.
    """
    here, whole = x - x[first], x[last] - x[first]
    size = norm(here)[:, None]
    apart = here / (size + TINY) - whole / (norm(whole)[:, None] + TINY)
    return jnp.sum(apart * apart, -1) + (TINY * (2 * size + TINY) / (size + TINY) ** 2)[:, 0]


def _peaks(value: Float[Array, " t"], first: Int[Array, " t"]) -> Bool[Array, "t 1"]:
    """Where `scipy.signal.find_peaks` ends a peak, in each run from its second frame on: it has risen, and falls now.

    A plateau is one peak; what touches an end of the run is none.
    """
    times = jnp.arange(value.shape[0])
    inner = times >= first + 2
    change = jnp.where(inner, jnp.sign(value - jnp.roll(value, 1)), -1)
    latest = lax.cummax(jnp.where(change != 0, times, 0))
    before = jnp.roll(change[latest], 1)
    return (inner & (change < 0) & (before > 0))[:, None]
