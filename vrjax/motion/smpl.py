"""SMPL's parameters, axis-angle, as AMASS, SMPL-X and tools for mesh recovery keep them; in and out of matrices.

found = smpl.read("walk_poses.npz")                # Smpl(global_orient, body_pose, transl, fps, ...)
root, body = smpl.rotations(found)                 # matrices: with `transl`, what kinematics.forward takes
smpl.write("walk.npz", smpl.parameters(root, body, found.transl))

Only the first 22 joints are kept: no hands, no face. Which way is up is not converted: AMASS is z-up, mesh recovery is
in its camera's space (`vrjax.motion.camera`).
"""

import os
import pathlib
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vrjax.files import pth_writer, writing
from vrjax.motion import files
from vrjax.motion import rotations as rot
from vrjax.motion.rotations import Real
from vrjax.motion.shapes import expect

_ORIENT, _POSE, _TRANSL = ("global_orient", "root_orient"), ("body_pose", "pose_body"), ("transl", "trans")
_CAMERA = ("focal_length", "width", "height")
_NAMES = ("poses", *_ORIENT, *_POSE, *_TRANSL, *_CAMERA, "betas", "gender", *files.RATES)
_WIDTHS = (63, 69)  # of body poses: SMPL-X's 21 joints, SMPL's 23, whose last two are hands


class Smpl(NamedTuple):
    """The parameters of one clip, float32.

    Attributes:
        global_orient (T, 3): the root's rotation, axis times angle in radians.
        body_pose (T, 63): the other 21 joints' in their parents' frames, one after the other.
        transl (T, 3): displacement of the root, in metres.
        fps: what the file says of its rate, or None.
        betas (B,): the shape, or None; gender: "neutral", "female" or "male", or None.
        focal_length, width, height: of the camera, in pixels; None where the file has none.
    """

    global_orient: Float[Real, "T 3"]
    body_pose: Float[Real, "T 63"]
    transl: Float[Real, "T 3"]
    fps: float | int | None = None
    betas: Float[np.ndarray, " B"] | None = None
    gender: str | None = None
    focal_length: float | None = None
    width: float | None = None
    height: float | None = None


def rotations(found: Smpl, *, first_order: bool = False) -> tuple[Float[Array, "T 3 3"], Float[Array, "T 21 3 3"]]:
    """Root and body as matrices.

    Args:
        found: parameters.
        first_order: the form of public motion code; see `rotations.matrix_from_axis_angle`.
    """
    orient, pose = jnp.asarray(found.global_orient), jnp.asarray(found.body_pose)
    expect("smpl.rotations", global_orient=(orient, ("frames", 3)), body_pose=(pose, ("frames", 63)))
    body = rot.matrix_from_axis_angle(pose.reshape(-1, 21, 3), first_order=first_order)
    return rot.matrix_from_axis_angle(orient, first_order=first_order), body


def parameters(root: Float[Real, "..."], body: Float[Real, "..."], transl: Float[Real, "..."]) -> Smpl:
    """The parameters of root (T, 3, 3), body (T, 21, 3, 3) and transl (T, 3), in metres; angles from 0 to pi.

    Raises:
        ValueError: shapes that do not fit.
    """
    shapes = {"root": (root, ("frames", 3, 3)), "body": (body, ("frames", 21, 3, 3)), "transl": (transl, ("frames", 3))}
    expect("smpl.parameters", **shapes)
    return Smpl(rot.axis_angle(root), rot.axis_angle(body).reshape(-1, 63), jnp.asarray(transl))


def read(path: str | os.PathLike, *, fps: float | int | None = files.FPS) -> Smpl:
    """A file of parameters: `.npz` or `.pt`, under any of the names in use.

    AMASS's `poses` (66 columns or more; hands and face are cut) and `trans`; SMPL-X's `root_orient`, `pose_body`,
    `trans`; mesh recovery's `global_orient`, `body_pose` (63 or 69 columns, or one axis more), `transl`.

    Args:
        path: of the file.
        fps: the rate that a file which states one must have; None takes any.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: a torn or hostile file, one that lacks a part, another shape or rate, numbers that are not finite.
    """
    found = files.arrays(path, _NAMES)
    if "poses" in found:
        poses = _rows(path, "poses", found["poses"])
        if poses.shape[1] < 66:
            raise ValueError(f"{path}: poses has shape {poses.shape}, expected (frames, 66 or more)")
        orient, pose = poses[:, :3], poses[:, 3:66]
    else:
        orient, pose = (_rows(path, names[0], _first(path, found, names)) for names in (_ORIENT, _POSE))
    transl = _rows(path, "transl", _first(path, found, _TRANSL))
    if pose.shape[1] not in _WIDTHS:
        raise ValueError(f"{path}: body_pose has shape {pose.shape}, expected (frames, 63) or (frames, 69)")
    for name, value in (("global_orient", orient), ("transl", transl)):
        if value.shape != (len(pose), 3):
            raise ValueError(f"{path}: {name} has shape {value.shape}, expected ({len(pose)}, 3)")
    betas = found.get("betas")
    return Smpl(
        orient,
        pose[:, :63],
        transl,
        fps=files.rate(path, found, fps),
        betas=None if betas is None else files.finite(path, "betas", betas).reshape(-1),
        gender=_word(found["gender"]) if "gender" in found else None,
        **{name: _number(path, name, found[name]) for name in _CAMERA if name in found},
    )


def write(path: str | os.PathLike, found: Smpl) -> None:
    """Writes parameters, whole or not at all: `.npz` as AMASS has them for SMPL-X, `.pt` as mesh recovery has them.

    `.npz` holds `poses` (T, 165) with hands and face at rest, `trans`, `betas`, `gender` and `mocap_frame_rate`, which
    Blender's SMPL-X add-on opens; `.pt` holds `global_orient`, `body_pose` and `transl`, and the camera's numbers.

    Args:
        path: its suffix says which.
        found: without `fps` the rate is 20, without shape and gender the neutral mean body.

    Raises:
        ValueError: another suffix or shape, or numbers that are not finite.
    """
    path = pathlib.Path(path)
    parts: dict[str, Any] = {"global_orient": found.global_orient, "body_pose": found.body_pose, "transl": found.transl}
    parts = {name: files.finite(path, name, value) for name, value in parts.items()}
    dims = {"global_orient": 3, "body_pose": 63, "transl": 3}
    expect(str(path), **{name: (value, ("frames", dims[name])) for name, value in parts.items()})
    fps = files.FPS if found.fps is None else found.fps
    if path.suffix in (".pt", ".pth"):
        camera = {name: getattr(found, name) for name in _CAMERA}
        parts |= {name: np.float32(value) for name, value in camera.items() if value is not None}
        parts["fps"] = np.float32(fps)
        pth_writer.write(
            path, {name: (np.shape(v), v.dtype) for name, v in parts.items()}, map(np.asarray, parts.values())
        )
        return
    if path.suffix != ".npz":
        raise ValueError(f"{path}: unknown kind of file {path.suffix!r}, expected .npz or .pt")
    poses = np.zeros((len(parts["transl"]), 165), np.float32)
    poses[:, :3], poses[:, 3:66] = parts["global_orient"], parts["body_pose"]
    betas = np.zeros(16, np.float32) if found.betas is None else files.finite(path, "betas", found.betas)
    with writing.atomic(path) as scratch, open(scratch, "wb") as file:
        np.savez(
            file,
            poses=poses,
            trans=parts["transl"],
            betas=betas,
            gender=np.array(found.gender or "neutral"),
            surface_model_type=np.array("smplx"),
            mocap_frame_rate=np.array(fps),
        )


def _first(path: str | os.PathLike, found: dict[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    """The array under the first of its names that is there."""
    for name in names:
        if name in found:
            return found[name]
    raise ValueError(f"{path}: holds {', '.join(sorted(found)) or 'nothing'}, expected {' or '.join(names)}")


def _rows(path: str | os.PathLike, name: str, value: np.ndarray) -> np.ndarray:
    """An array of one row a frame; joints that have an axis of their own come behind one another."""
    if value.ndim not in (2, 3) or not len(value):
        raise ValueError(f"{path}: {name} has shape {value.shape}, expected one row a frame")
    return files.finite(path, name, value).reshape(len(value), -1)


def _number(path: str | os.PathLike, name: str, value: np.ndarray) -> float:
    """A positive number; one for each frame, as mesh recovery has it, counts where all are equal."""
    value = np.unique(np.asarray(value, np.float32))
    if value.size != 1 or not 0 < value.item() < np.inf:
        raise ValueError(f"{path}: {name} is {value[:3].tolist()}, expected one positive number")
    return float(value.item())


def _word(value: np.ndarray) -> str:
    """Text out of an array of letters or bytes."""
    word = value.item() if value.size == 1 else ""
    return word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word)
