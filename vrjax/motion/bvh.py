"""BVH, the text format of skeletons that move, which Blender and other programs open.

write_bvh("walk.bvh", motion.from_276(rows))    # y-up, metres; any Motion of 22 joints
found = read_bvh("walk.bvh")                    # Bvh(joints, root, body, transl, names, parents, offsets, fps)
moved = to_motion(found)                        # the 22 joints by their names, at 20 frames a second

Files are y-up, as the format's programs expect; what is read or written here is z-up unless `up_axis=1` is given.
Rotations are degrees about the joint's own axes, one after the other in the order of its channels.
"""

import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.spatial.transform import Rotation

from vrjax.files import given, writing
from vrjax.motion import axes, bvh_text, kinematics
from vrjax.motion.files import FPS, check_rate


class Bvh(NamedTuple):
    """A skeleton that moves; its first four entries are those of `motion.Motion`, for any number of joints.

    Attributes:
        joints (T, J, 3): positions in the world, in metres.
        root (T, 3, 3): the root's rotation in the world.
        body (T, J - 1, 3, 3): the other joints' rotations in their parents' frames.
        transl (T, 3): where the root is, less SMPL-X's `kinematics.REST_PELVIS`, as in a Motion.
        names, parents: of the joints, parents before children, -1 for the root's: in this room's order where they are
            its 22, else in the file's.
        offsets (J, 3): each joint in its parent's frame, in metres.
        fps: frames a second.
    """

    joints: Float[Array, "T J 3"]
    root: Float[Array, "T 3 3"]
    body: Float[Array, "T J-1 3 3"]
    transl: Float[Array, "T 3"]
    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: Float[Array, "J 3"]
    fps: float


def read_bvh(
    path: str | os.PathLike, *, fps: float | int | None = None, scale: float | int = 1.0, up_axis: int = 2
) -> Bvh:
    """A BVH file of any skeleton with one root, any order of channels, and positions in any joint.

    Args:
        path: of the file.
        fps: the rate that it must have; None takes any (`Bvh.fps` says which).
        scale: metres per unit of the file; many files are in centimetres or inches.
        up_axis: of what is returned: 2 turns the file's y-up world z-up, 1 leaves it.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: not a whole BVH file; names it and says what was found.
    """
    path = pathlib.Path(path)
    text = given.text(path)
    try:
        skeleton, numbers, seconds = bvh_text.parse(text)
        turns, places = bvh_text.unpack(skeleton, numbers)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    where, world = [places[:, 0]], [turns[:, 0]]
    for i, joint in enumerate(skeleton[1:], start=1):
        where.append(where[joint.parent] + np.einsum("tij,tj->ti", world[joint.parent], places[:, i]))
        world.append(world[joint.parent] @ turns[:, i])
    joints, root = np.stack(where, 1) * scale, turns[:, 0]
    if _z_up(up_axis):
        joints, root = np.asarray(axes.z_up(joints)), np.asarray(axes.turned(root))
    names = [joint.name for joint in skeleton]
    order = list(range(len(names)))
    if _tree(names, [joint.parent for joint in skeleton]) == _tree(kinematics.JOINTS, kinematics.PARENTS):
        order = [names.index(name) for name in kinematics.JOINTS]
    to32 = lambda array: jnp.asarray(array, jnp.float32)
    return Bvh(
        joints=to32(joints[:, order]),
        root=to32(root),
        body=to32(turns[:, order[1:]]),
        transl=to32(joints[:, 0]) - jnp.asarray(kinematics.REST_PELVIS),
        names=tuple(names[i] for i in order),
        parents=(-1, *(order.index(skeleton[i].parent) for i in order[1:])),
        offsets=to32(np.array([skeleton[i].offset for i in order]) * scale),
        fps=check_rate(path, 1 / seconds, fps),
    )


def write_bvh(
    path: str | os.PathLike,
    motion: Any,
    *,
    offsets: Any = None,
    fps: float | int = FPS,
    names: Sequence[str] = kinematics.JOINTS,
    parents: Sequence[int] = kinematics.PARENTS,
    up_axis: int = 2,
) -> None:
    """Writes a motion by its rotations, whole or not at all, y-up and in metres.

    A BVH skeleton is rigid: where the joints of a motion say otherwise (a model's, recovered from velocities), they
    are moved onto it, and only the root is where it was.

    Args:
        path: of the file.
        motion: a `Motion` or `Bvh` of one clip: joints (T, J, 3) in metres, root (T, 3, 3), body (T, J - 1, 3, 3).
        offsets (J, 3): each joint in its parent's frame; None: the mean of the motion's own over its frames.
        fps: frames a second.
        names, parents: of the joints, where they are not the 22 of this room.
        up_axis: of the motion, 2 or 1.

    Raises:
        ValueError: shapes that do not fit, or numbers that are not finite.
    """
    joints, root, body = (np.asarray(part, np.float64) for part in (motion.joints, motion.root, motion.body))
    frames, count = joints.shape[:1], len(names)
    shapes = {"joints": (joints, (*frames, count, 3)), "root": (root, (*frames, 3, 3))}
    shapes["body"] = body, (*frames, count - 1, 3, 3)
    if offsets is not None:
        shapes["offsets"] = np.asarray(offsets, np.float64), (count, 3)
    for name, (value, expected) in shapes.items():
        if value.shape != expected or not len(value):
            raise ValueError(f"write_bvh: {name} has shape {value.shape}, expected {expected} of one motion")
        if not np.isfinite(value).all():
            raise ValueError(f"write_bvh: {name} holds numbers that are not finite")
    if bad := [name for name in names if not re.fullmatch(r"[\w.:-]+", name)]:
        raise ValueError(f"write_bvh: names {bad}, expected words")
    if len(parents) != count or any(not -1 <= p < i or (p < 0) != (i == 0) for i, p in enumerate(parents)):
        raise ValueError(
            f"write_bvh: parents {tuple(parents)}, expected {count}, the root's -1 first, each before its own"
        )
    if not 0 < fps < np.inf:
        raise ValueError(f"write_bvh: fps={fps}, expected a positive number")
    bones = _own_offsets(joints, root, body, parents) if offsets is None else shapes["offsets"][0]
    if _z_up(up_axis):
        joints, root = np.asarray(axes.y_up(joints)), np.asarray(axes.turned(root))
    angles = Rotation.from_matrix(np.concatenate([root[:, None], body], 1).reshape(-1, 3, 3))
    angles = angles.as_euler(bvh_text.ORDER, degrees=True, suppress_warnings=True).reshape(*frames, count, 3)
    lines, order = ["HIERARCHY"], []
    bvh_text.describe(0, "", names, parents, bones, lines, order)
    lines += ["MOTION", f"Frames: {len(joints)}", f"Frame Time: {1 / fps:.9g}"]
    lines += [
        bvh_text.row_text(row) for row in np.concatenate([joints[:, 0], angles[:, order].reshape(*frames, -1)], 1)
    ]
    writing.text(path, "\n".join(lines) + "\n")


def to_motion(
    found: Bvh, *, names: Sequence[str] = kinematics.JOINTS, fps: float | int | None = FPS
) -> kinematics.Motion:
    """The 22 joints of this room out of a BVH file's, which must hang together as they do here.

    Args:
        found: what `read_bvh` gave.
        names: what the file calls the 22 joints, in this room's order.
        fps: the rate that it must have; None takes any.

    Raises:
        ValueError: a joint that is not there or has another parent, or another rate.
    """
    check_rate("to_motion", found.fps, fps)
    if missing := [name for name in names if name not in found.names]:
        raise ValueError(f"to_motion: no joints {missing}, expected {len(names)} names of {list(found.names)}")
    order = [found.names.index(name) for name in names]
    for name, joint, parent in zip(names, order, kinematics.PARENTS, strict=True):
        expected = order[parent] if parent >= 0 else -1
        if found.parents[joint] != expected:
            above = found.names[found.parents[joint]] if found.parents[joint] >= 0 else None
            raise ValueError(f"to_motion: {name} hangs on {above}, expected {names[parent] if parent >= 0 else None}")
    index = np.array(order)
    return kinematics.Motion(found.joints[:, index], found.root, found.body[:, index[1:] - 1], found.transl)


def _z_up(up_axis: int) -> bool:
    if up_axis not in (1, 2):
        raise ValueError(f"up_axis={up_axis}, expected 2 (z) or 1 (y)")
    return up_axis == 2


def _own_offsets(joints: np.ndarray, root: np.ndarray, body: np.ndarray, parents: Sequence[int]) -> np.ndarray:
    """Each joint in its parent's frame, the mean over frames."""
    turn, out = [root], [np.zeros(3)]
    for joint, parent in enumerate(parents[1:], start=1):
        out.append(np.einsum("tji,tj->i", turn[parent], joints[:, joint] - joints[:, parent]) / len(joints))
        turn.append(turn[parent] @ body[:, joint - 1])
    return np.stack(out)


def _tree(names: Sequence[str], parents: Sequence[int]) -> set[tuple[str, str | None]]:
    """Each joint and the one it hangs on, by names."""
    return {(name, names[parent] if parent >= 0 else None) for name, parent in zip(names, parents, strict=True)}
