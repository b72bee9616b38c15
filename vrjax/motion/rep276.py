"""ViMoGen's 276 numbers a frame (arXiv 2510.26794), in DART's style (arXiv 2410.05260), and their inverse.

| columns | what |
| --- | --- |
| 0:126 | rotations of the 21 joints in their parents' frames, 6-D |
| 126:192 | positions of the 22 joints in the world |
| 192:258 | their way to the next frame |
| 258:264 | the pelvis' rotation in the world, 6-D |
| 264:270 | its turn to the next frame, in the world's frame, 6-D: R[t + 1] @ R[t]ᵀ |
| 270:273 | transl |
| 273:276 | its way to the next frame |

Metres, z up, 20 frames a second; ways are per frame, not per second. T + 1 frames make T rows. The 6-D form is that of
`rotations.rot6d`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float

from vrjax.files import named
from vrjax.motion.canonical import canonicalise
from vrjax.motion.kinematics import Motion
from vrjax.motion.rotations import Real, compose, inverse, matrix, rot6d
from vrjax.motion.shapes import expect

WIDTH = 276
FPS = 20
BODY, JOINTS, JOINTS_WAY = slice(0, 126), slice(126, 192), slice(192, 258)
ROOT, ROOT_TURN = slice(258, 264), slice(264, 270)
TRANSL, TRANSL_WAY = slice(270, 273), slice(273, 276)
PATHS = ("velocity", "position")


class Statistics(NamedTuple):
    """Mean and standard deviation of every column; see `statistics`."""

    mean: Float[Array, " d"]
    std: Float[Array, " d"]


def to_276(
    joints: Float[Real, "..."],
    root: Float[Real, "..."],
    body: Float[Real, "..."],
    transl: Float[Real, "..."],
    *,
    canonical: bool = True,
    floor: bool = False,
) -> Float[Array, "t 276"]:
    """The rows of a motion.

    Args:
        joints (T + 1, 22, 3): positions in metres, z up, at 20 frames a second.
        root (T + 1, 3, 3): the pelvis' rotation in the world.
        body (T + 1, 21, 3, 3): the other joints' rotations in their parents' frames.
        transl (T + 1, 3): displacement of the pelvis from its place at rest, SMPL-X's `REST_PELVIS`.
        canonical: turn and move the motion first so that it begins at the origin facing along y.
        floor: with `canonical`, the lowest joint of all frames comes to height 0, instead of the first pelvis.

    Raises:
        ValueError: shapes that do not fit, fewer than two frames, or `floor` without `canonical`.
    """
    size = expect(
        "to_276",
        joints=(joints, ("frames", 22, 3)),
        root=(root, ("frames", 3, 3)),
        body=(body, ("frames", 21, 3, 3)),
        transl=(transl, ("frames", 3)),
    )
    if size["frames"] < 2:
        raise ValueError("to_276: joints has 1 frame or none, expected at least 2: a row holds the way to the next one")
    if floor and not canonical:
        raise ValueError("to_276: floor=True moves the motion, which canonical=False forbids; expected canonical=True")
    motion = Motion(*(jnp.asarray(part) for part in (joints, root, body, transl)))
    return encode(canonicalise(motion, floor=floor)[0] if canonical else motion)


def encode(motion: Motion) -> Float[Array, "t 276"]:
    """The rows of a motion of T + 1 frames where it is: `to_276` without moving."""
    ways = lambda x: x[1:] - x[:-1]
    flat = lambda x: rearrange(x, "t ... -> t (...)")
    now = jax.tree.map(lambda x: x[:-1], motion)
    turn = compose(motion.root[1:], inverse(motion.root[:-1]))
    parts = (
        *(flat(rot6d(now.body)), flat(now.joints), flat(ways(motion.joints))),
        *(rot6d(now.root), rot6d(turn), now.transl, ways(motion.transl)),
    )
    return jnp.concatenate(parts, -1)


def from_276(rows: Float[Real, "..."], *, path: str = "velocity", equal_length: bool = False) -> Motion:
    """The motion of rows, not normalised.

    Of true rows both paths give the same. Of generated ones, `velocity` is what ViMoGen shows and MBench judges: each
    joint is integrated by itself from where the first row has it, so that a bias of the ways becomes drift.

    Args:
        rows (T, 276): as `to_276` makes them.
        path: "velocity" sums the ways and multiplies the turns up from the first row; "position" reads each row's own
            positions and rotation.
        equal_length: also give the frame to which the last row's ways lead, T + 1 in all; its body pose is the last
            one's.

    Returns:
        The motion, T frames (T + 1 with `equal_length`).

    Raises:
        ValueError: a shape that does not fit, no rows, or an unknown path.
    """
    size = expect("from_276", rows=(rows, ("frames", WIDTH)))["frames"]
    if not size:
        raise ValueError("from_276: rows has no frames, expected at least 1")
    if path not in PATHS:
        raise ValueError(f"from_276: {named.unknown('path', path, PATHS)}")
    rows = jnp.asarray(rows)
    body = matrix(rearrange(rows[:, BODY], "t (j c) -> t j c", c=6))
    joints, ways = (rearrange(rows[:, c], "t (j c) -> t j c", c=3) for c in (JOINTS, JOINTS_WAY))
    root, turns = matrix(rows[:, ROOT]), matrix(rows[:, ROOT_TURN])
    if path == "velocity":
        later = lambda a, b: compose(b, a)
        root = jax.lax.associative_scan(later, jnp.concatenate([root[:1], turns]))
        joints, transl = _summed(joints, ways), _summed(rows[:, TRANSL], rows[:, TRANSL_WAY])
    else:
        root = jnp.concatenate([root, compose(turns[-1:], root[-1:])])
        joints = jnp.concatenate([joints, joints[-1:] + ways[-1:]])
        transl = jnp.concatenate([rows[:, TRANSL], rows[-1:, TRANSL] + rows[-1:, TRANSL_WAY]])
    motion = Motion(joints, root, jnp.concatenate([body, body[-1:]]), transl)
    return motion if equal_length else jax.tree.map(lambda x: x[:-1], motion)


def _summed(places: Float[Array, "t *n"], ways: Float[Array, "t *n"]) -> Float[Array, "s *n"]:
    return jnp.concatenate([places[:1], places[:1] + jnp.cumsum(ways, 0)])


def statistics(rows: Float[Real, "frames d"], least: float | int = 1e-8) -> Statistics:
    """Mean and standard deviation (n - 1 in the denominator) of each column over all frames, the latter >= `least`."""
    rows = jnp.asarray(rows)
    return Statistics(rows.mean(0), jnp.maximum(rows.std(0, ddof=1), least))


def normalise(rows: Float[Real, "*n d"], of: Statistics) -> Float[Array, "*n d"]:
    """`(rows - mean) / std`: what the network sees."""
    return (jnp.asarray(rows) - of.mean) / of.std


def denormalise(rows: Float[Real, "*n d"], of: Statistics) -> Float[Array, "*n d"]:
    """`rows * std + mean`: the inverse of `normalise`."""
    return jnp.asarray(rows) * of.std + of.mean
