"""Files of inverse problems: draws of a prior, observations, chains; each one `.npz` that NumPy alone can read.

    files.write_prior("moons.npz", x, {"prior": "moons", "seed": 0, "params": {"noise": 0.08}})
    prior = files.read_prior("moons.npz", operator.in_shape)        # a file of another shape is refused
    files.write_observation("y.npz", Observation(y, "darcy", 0.02, mesh=(32, 32), x_true=truth))
    found = files.read_observation("y.npz", operator)               # held to the operator
    files.write_chain("chain.npz", chain)                           # `vrjax.inverse.latent.Chain`
    latent.gate(files.read_chain("chain.npz"))

| file | arrays |
| --- | --- |
| prior | `x` float32 (n, d), (n, N, N) or (n, ...); `meta`, JSON text with prior (its name), seed and params |
| observation | `y`; `A_name`, the operator's; `sigma` of the noise; `mesh`, see below; `x_true` where it is known |
| chain | `z` (C, K, r); `logp` and `subiter` (C, K), see `latent.Chain`; `rhat` and `ess` (r,), rank-normalised |

`mesh` is the shape of the x that the operator takes; `x_true` may be of a finer one. Numbers are finite. Files are
written whole or not at all, without pickles; what is wrong with one is said in one line, which begins with its path.
"""

import json
import os
import pathlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vrjax.files import given, writing
from vrjax.flow import words
from vrjax.inverse import latent, operators

_META = {"prior": str, "seed": int, "params": dict}
_TORN = (OSError, ValueError, KeyError, EOFError, MemoryError, OverflowError, zipfile.BadZipFile, zlib.error)


class Prior(NamedTuple):
    """Draws of a prior.

    Attributes:
        x: (n, ...) float32.
        meta: what they are of: "prior" (a name), "seed" (a whole number), "params" (named numbers), and anything else
            that JSON can hold.
    """

    x: Any
    meta: dict[str, Any]

    __repr__ = words.line


class Observation(NamedTuple):
    """What was observed, `y = A(x_true) + sigma * normal`.

    Attributes:
        y: in the shape that the operator gives.
        A_name: `operator.name`.
        sigma: standard deviation of the noise, one number above 0.
        mesh: `operator.in_shape`, of the grid of the inversion.
        x_true: what made the data, where it is known; for data without the inverse crime it is of a finer mesh.
    """

    y: Any
    A_name: str
    sigma: float
    mesh: tuple[int, ...]
    x_true: Any = None

    __repr__ = words.line


def write_prior(path: str | os.PathLike[str], x: Any, meta: Mapping[str, Any]) -> None:
    """Writes draws (n, ...) of a prior, in float32.

    Raises:
        ValueError: no draws, draws that are not finite in float32, `meta` without prior, seed and params or that JSON
            cannot hold, a suffix other than .npz. OSError: it cannot be written.
    """
    x = np.asarray(x)
    if x.dtype.kind not in "fiu" or x.ndim < 2 or not x.size:
        raise ValueError(f"{path}: x must be real numbers (n, ...) of at least two axes, found {x.dtype} {x.shape}")
    with np.errstate(over="ignore"):
        x = x.astype(np.float32)
    _finite(path, "x", x)
    meta = _described(path, dict(meta))
    try:
        text = json.dumps(meta, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: meta cannot be written as JSON ({error})") from None
    _write(path, {"x": x, "meta": np.asarray(text)})


def read_prior(path: str | os.PathLike[str], shape: Sequence[int] | None = None) -> Prior:
    """Draws of a prior, and what they are of.

    Args:
        path: of the file.
        shape: of one draw, such as `operator.in_shape` or `generator.output`; None for any.

    Raises:
        FileNotFoundError: none there. ValueError: the file is torn or none of these, or its draws are not finite or of
            another shape.
    """
    found = _read(path, ("x", "meta"))
    x = found["x"]
    if x.dtype != np.float32 or x.ndim < 2 or not x.size:
        raise ValueError(f"{path}: x must be float32 (n, ...) of at least two axes, found {x.dtype} {x.shape}")
    if shape is not None and x.shape[1:] != tuple(shape):
        raise ValueError(f"{path}: x must hold draws of the shape {tuple(shape)}, found {x.shape[1:]} (of {len(x)})")
    _finite(path, "x", x)
    try:
        meta = json.loads(_word(path, "meta", found["meta"]))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: meta is no JSON ({error!s:.99})") from None
    return Prior(x, _described(path, meta))


def write_observation(path: str | os.PathLike[str], found: Observation) -> None:
    """Writes an observation.

    Raises:
        ValueError: y or x_true that are not finite, a sigma that is not one finite number above 0, no mesh, a suffix
            other than .npz. OSError: it cannot be written.
    """
    arrays = {
        "y": np.asarray(found.y),
        "A_name": np.asarray(found.A_name),
        "sigma": np.asarray(found.sigma),
        "mesh": np.asarray(found.mesh),
    }
    if found.x_true is not None:
        arrays["x_true"] = np.asarray(found.x_true)
    _observation(path, arrays)
    _write(path, arrays)


def read_observation(path: str | os.PathLike[str], operator: operators.Operator | None = None) -> Observation:
    """An observation.

    Args:
        path: of the file.
        operator: that it must be of: by name, and by the shapes that it takes and gives; None for any.

    Raises:
        FileNotFoundError: none there. ValueError: the file is torn or none of these, holds numbers that are not finite
            or a sigma that is not above 0, or is of another operator.
    """
    observed = _observation(path, _read(path, ("y", "A_name", "sigma", "mesh"), ("x_true",)))
    if operator is not None:
        if observed.A_name != operator.name:
            raise ValueError(f"{path}: A_name must be {operator.name!r}, the operator's, found {observed.A_name!r:.80}")
        if observed.mesh != operator.in_shape:
            raise ValueError(
                f"{path}: mesh must be {operator.in_shape}, what the operator takes, found {observed.mesh}"
            )
        if np.shape(observed.y) != operator.out_shape:
            raise ValueError(
                f"{path}: y must have the shape that the operator gives, {operator.out_shape}, found "
                f"{np.shape(observed.y)}"
            )
    return observed


def write_chain(path: str | os.PathLike[str], chain: latent.Chain) -> None:
    """Writes the chains of one posterior, with R-hat and effective sample size of every entry.

    Raises:
        ValueError: z that is not (C, K, r) of at least 2 chains of 4 rows, a log-density that is not finite, particles
            of `tempered_smc`, a suffix other than .npz. OSError: it cannot be written.
    """
    if chain.info.tempering is not None:
        raise ValueError(f"{path}: particles of tempered_smc depend on each other, expected chains")
    arrays = {
        "z": np.asarray(chain.z),
        "logp": np.asarray(chain.log_density),
        "subiter": np.asarray(chain.info.evaluations, np.int64),
    }
    _chains(path, arrays)
    told = {"rhat": latent.rhat(arrays["z"]), "ess": latent.ess(arrays["z"])}
    _write(path, arrays | {name: np.asarray(value) for name, value in told.items()})


def read_chain(path: str | os.PathLike[str]) -> latent.Chain:
    """Chains of one posterior; of `info`, `evaluations`.

    The R-hat and effective sizes of the file are for readers that cannot compute them: `latent.gate` asks the draws.

    Raises:
        FileNotFoundError: none there. ValueError: the file is torn or none of these, or its arrays do not fit.
    """
    found = _read(path, ("z", "logp", "subiter", "rhat", "ess"))
    _chains(path, found)
    for name in ("rhat", "ess"):
        if found[name].shape != found["z"].shape[2:]:
            raise ValueError(f"{path}: {name} must be (r,) of z {found['z'].shape}, found {found[name].shape}")
    return latent.Chain(found["z"], found["logp"], latent.Info(evaluations=found["subiter"]))


def _described(path: Any, meta: Any) -> dict[str, Any]:
    if not isinstance(meta, dict) or any(
        not isinstance(meta.get(name), kind) or isinstance(meta.get(name), bool) for name, kind in _META.items()
    ):
        wanted = ", ".join(f"{name} ({kind.__name__})" for name, kind in _META.items())
        raise ValueError(f"{path}: meta must have {wanted}, found {meta!r:.99}")
    return meta


def _observation(path: Any, found: Mapping[str, np.ndarray]) -> Observation:
    sigma, mesh = found["sigma"], found["mesh"]
    for name in ("y", *(["x_true"] if "x_true" in found else [])):
        if found[name].dtype.kind != "f" or not found[name].size:
            raise ValueError(f"{path}: {name} must be real numbers, found {found[name].dtype} {found[name].shape}")
        _finite(path, name, found[name])
    if sigma.shape or sigma.dtype.kind not in "fiu" or not (np.isfinite(sigma) and sigma > 0):
        raise ValueError(f"{path}: sigma must be one finite number above 0, found {sigma!s:.80}")
    if mesh.ndim != 1 or mesh.dtype.kind not in "iu" or not mesh.size or mesh.min() < 1:
        raise ValueError(f"{path}: mesh must be whole numbers of at least 1, a shape, found {mesh!s:.80}")
    name = _word(path, "A_name", found["A_name"])
    return Observation(found["y"], name, float(sigma), tuple(int(n) for n in mesh), found.get("x_true"))


def _chains(path: Any, found: Mapping[str, np.ndarray]) -> None:
    z = found["z"]
    if z.dtype.kind != "f" or z.ndim != 3 or z.shape[0] < 2 or z.shape[1] < 4 or not z.shape[2]:
        raise ValueError(
            f"{path}: z must be real numbers (C, K, r) of at least 2 chains and 4 rows, found {z.dtype} {z.shape}"
        )
    for name in ("logp", "subiter"):
        if found[name].shape != z.shape[:2]:
            raise ValueError(f"{path}: {name} must be (C, K) of z {z.shape}, found {found[name].shape}")
    for name in ("z", "logp"):
        _finite(path, name, found[name])


def _finite(path: Any, name: str, array: np.ndarray) -> None:
    if bad := int(np.sum(~np.isfinite(array))):
        raise ValueError(f"{path}: {name} must be finite, found {bad} of {array.size} entries that are not")


def _word(path: Any, name: str, array: np.ndarray) -> str:
    if array.shape or array.dtype.kind != "U":
        raise ValueError(f"{path}: {name} must be a text, found {array.dtype} {array.shape}")
    return str(array)


def _npz(path: str | os.PathLike[str]) -> pathlib.Path:
    path = pathlib.Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"{path}: unknown kind of file {path.suffix!r}, expected .npz")
    return path


def _write(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    with writing.atomic(_npz(path)) as scratch, open(scratch, "wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _read(path: str | os.PathLike[str], names: Sequence[str], more: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The arrays of these names, all of which must be there, and those of `more` that are."""
    path = _npz(path)
    if not path.exists() and not path.is_symlink():
        raise FileNotFoundError(f"{path}: no such file")
    given.refuse(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            there = archive.files
            found = {name: archive[name] for name in (*names, *more) if name in there}
    except _TORN as error:
        said = " ".join(str(error).split())
        raise ValueError(f"{path}: not read as .npz ({type(error).__name__}: {said:.199})") from None
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"{path}: holds {sorted(there)!s:.199}, expected {', '.join(names)} ({missing[0]} is missing)")
    return found
