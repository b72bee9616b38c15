"""Motion files: 276-d rows as `.pt` or `.npy`, joints, text embeddings; read without PyTorch, running nothing in them.

stored = files.read("walk.pt")                 # Stored(motion (T, 276), extrinsic (T, 9), intrinsic (3, 3), fps)
files.write("walk.npy", stored.motion)
joints = files.read_joints("17.npy")           # MBench's input: (T, 22, 3)
"""

import os
import pathlib
import zipfile
import zlib
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from vrjax.files import given, pth, pth_writer, tensors, writing

FPS = 20.0
_TORCH, _NUMPY = (".pt", ".pth"), (".npy", ".npz")
RATES = ("fps", "mocap_framerate", "mocap_frame_rate", "framerate", "frame_rate")
_MOST = 1 << 31  # bytes of an archive's arrays: an hour of rows has eighty million
_PLAIN = (int, float, str)
_TORN = (ValueError, EOFError, KeyError, OSError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error)


class Stored(NamedTuple):
    """A motion file's content, float32.

    Attributes:
        motion (T, 276): rows that are not normalised.
        extrinsic (T, 9), intrinsic (3, 3): of a motion from video, else None.
        fps: what the file says of its rate; None where it says nothing, as ViMoGen's own files do.
    """

    motion: Float[np.ndarray, "T 276"]
    extrinsic: Float[np.ndarray, "T 9"] | None = None
    intrinsic: Float[np.ndarray, "3 3"] | None = None
    fps: float | int | None = None


def read(path: str | os.PathLike, *, fps: float | int | None = FPS) -> Stored:
    """A file of 276-d rows: ViMoGen's `.pt` (a dictionary, or the rows alone), or `.npy`.

    Columns after the first 276 are cut: ViMoGen's own files have some.

    Args:
        path: of the file.
        fps: the rate that a file which states one must have; None takes any.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: a torn or hostile file, another shape or rate, numbers that are not finite; names the file.
    """
    found = arrays(path, ("motion", "extrinsic", "intrinsic", *RATES))
    motion = _frames(path, found, "motion", (276,), more=True)[:, :276]
    extrinsic, intrinsic = None, None
    if "extrinsic" in found:
        extrinsic = _frames(path, found, "extrinsic", (9,))
        if len(extrinsic) != len(motion):
            raise ValueError(f"{path}: extrinsic has {len(extrinsic)} frames, expected {len(motion)}, as motion has")
    if "intrinsic" in found:
        intrinsic = finite(path, "intrinsic", found["intrinsic"])
        if intrinsic.shape != (3, 3):
            raise ValueError(f"{path}: intrinsic has shape {intrinsic.shape}, expected (3, 3)")
    return Stored(motion, extrinsic, intrinsic, rate(path, found, fps))


def write(
    path: str | os.PathLike,
    motion: Any,
    *,
    extrinsic: Any = None,
    intrinsic: Any = None,
) -> None:
    """Writes rows as ViMoGen reads them, whole or not at all: `.pt` as a dictionary, `.npy` as the rows alone.

    Args:
        path: its suffix says which.
        motion (T, 276): rows that are not normalised.
        extrinsic (T, 9), intrinsic (3, 3): of the camera, in `.pt` only.

    Raises:
        ValueError: another suffix or shape, or numbers that are not finite.
    """
    path = pathlib.Path(path)
    values = {"motion": motion, "extrinsic": extrinsic, "intrinsic": intrinsic}
    parts = {name: np.asarray(value) for name, value in values.items() if value is not None}
    motion = _frames(path, parts, "motion", (276,))
    shapes = {"motion": motion.shape, "extrinsic": (len(motion), 9), "intrinsic": (3, 3)}
    for name, value in parts.items():
        parts[name] = finite(path, name, value)
        if value.shape != shapes[name]:
            raise ValueError(f"{path}: {name} has shape {value.shape}, expected {shapes[name]}")
    if path.suffix in _TORCH:
        layout = {name: (value.shape, value.dtype) for name, value in parts.items()}
        pth_writer.write(path, layout, parts.values())
    elif path.suffix == ".npy":
        if len(parts) > 1:
            raise ValueError(f"{path}: a .npy file holds one array, expected .pt for a motion with its camera")
        save(path, motion)
    else:
        raise ValueError(f"{path}: unknown kind of file {path.suffix!r}, expected .pt or .npy")


def read_joints(path: str | os.PathLike, *, fps: float | int | None = FPS) -> Float[np.ndarray, "T 22 3"]:
    """Positions of 22 joints in metres, float32: MBench's `{id}.npy`, or a `.pt` dictionary that has `joints`.

    Raises:
        FileNotFoundError, ValueError: as `read` does.
    """
    found = arrays(path, ("joints", *RATES))
    rate(path, found, fps)
    return _frames(path, found, "joints", (22, 3))


def read_embedding(path: str | os.PathLike) -> Float[np.ndarray, "rows dim"]:
    """A text's rows, float32, as ViMoGen keeps the output of its encoder (`.pt`, a tensor alone, bfloat16).

    Raises:
        FileNotFoundError, ValueError: as `read` does.
    """
    found = arrays(path, ())
    name = next(iter(found), "")
    if len(found) != 1 or found[name].ndim != 2 or not found[name].size:
        shapes = {key: value.shape for key, value in found.items()}
        raise ValueError(f"{path}: holds {shapes}, expected one text's rows (tokens, dim)")
    return finite(path, name or "embedding", found[name])


# ------------------------------------------------------------------------------------------------ arrays of any file


def arrays(path: str | os.PathLike, names: Collection[str]) -> dict[str, np.ndarray]:
    """Arrays of a `.pt`, `.npz` or `.npy` file, as they are stored; one alone in its file has the name "".

    Args:
        path: of the file.
        names: which to read, of those that are there; none: all.

    Returns:
        name -> array. A number or word that a `.pt` keeps beside its tensors, such as `fps`, is one without axes.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: another kind of file, a torn one, or one that pickles anything but tensors; names the file.
    """
    path = pathlib.Path(path)
    if path.suffix not in _TORCH + _NUMPY:
        kinds = ", ".join(_TORCH + _NUMPY)
        raise ValueError(
            f"{path}: unknown kind of file {path.suffix!r}, expected one of {kinds} (pickles are not read)"
        )
    if not path.exists() and not path.is_symlink():
        raise FileNotFoundError(f"{path}: no such file")
    given.refuse(path)
    if path.suffix in _TORCH:
        places = {name: tensors.Place(path, *row) for name, row in pth.read(path, bare=True).items()}
        source = tensors.Source(path, places)
        found = {name: np.asarray(value) for name, value in pth.notes(path).items() if isinstance(value, _PLAIN)}
        found |= {name: source[name] for name in source.shapes}
        return {name: value for name, value in found.items() if not name or not names or name in names}
    try:
        if path.suffix == ".npy":
            return {"": np.lib.format.open_memmap(path, mode="r")}
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        for member in members:
            if given.outside(member.filename):
                raise ValueError(f"member {member.filename!r:.199} is a path out of the archive")
        if (size := sum(member.file_size for member in members)) > _MOST:
            raise ValueError(f"{size} bytes of arrays, expected at most {_MOST}")
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if not names or name in names}
    except _TORN as error:
        said = " ".join(str(error).split()).removeprefix(f"{path}: ")
        raise ValueError(f"{path}: not read as {path.suffix} ({type(error).__name__}: {said:.199})") from None


def rate(path: str | os.PathLike, found: Mapping[str, np.ndarray], expected: float | int | None) -> float | None:
    """The frames a second that a file states under one of the names in use; None where it states none.

    Raises:
        ValueError: another than expected (None: any), or no positive number.
    """
    for name in RATES:
        if name not in found:
            continue
        value = found[name]
        if value.size != 1 or value.dtype.kind not in "iuf" or not 0 < value.item() < 1e6:
            raise ValueError(f"{path}: {name} is {value!s:.40}, expected frames a second")
        return check_rate(path, float(value.item()), expected)
    return None


def check_rate(path: str | os.PathLike, fps: float | int, expected: float | int | None) -> float:
    """The rate itself; ValueError where it is off the expected one by more than a part in a thousand."""
    if expected is not None and abs(fps - expected) > 1e-3 * expected:
        raise ValueError(
            f"{path}: {fps:g} frames a second, expected {expected:g}: read it with fps=None, then motion.resample"
        )
    return fps


def finite(path: str | os.PathLike, name: str, value: Any) -> np.ndarray:
    """An array of floating point numbers as float32 of its own.

    Raises:
        ValueError: it holds something else, or a number that is not finite in float32; says where.
    """
    value = np.asarray(value)
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(f"{path}: {name} holds {value.dtype}, expected floating point numbers")
    with np.errstate(over="ignore"):
        value = np.array(value, np.float32)
    if not np.isfinite(value).all():
        where = tuple(map(int, np.argwhere(~np.isfinite(value))[0]))
        raise ValueError(f"{path}: {name}{list(where)} is {value[where]}, expected finite numbers")
    return value


def save(path: pathlib.Path, array: np.ndarray) -> None:
    """Writes a `.npy` file, whole or not at all."""
    with writing.atomic(path) as scratch, open(scratch, "wb") as file:
        np.save(file, array, allow_pickle=False)


def _frames(
    path: str | os.PathLike, found: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], more: bool = False
) -> np.ndarray:
    """The array of one entry a frame that is called `name`, or alone in its file; `more`: it may have more columns."""
    if name not in found and "" not in found:
        raise ValueError(f"{path}: holds {', '.join(sorted(found)) or 'nothing'}, expected {name}")
    value = found.get(name, found.get("", np.zeros(0)))
    fits = value.ndim == 1 + len(shape) and (value.shape[1:] == shape or (more and value.shape[1] > shape[0]))
    if not fits or not len(value):
        raise ValueError(f"{path}: {name} has shape {value.shape}, expected (frames, {', '.join(map(str, shape))})")
    return finite(path, name, value)
