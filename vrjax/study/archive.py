"""A run's tables in one small file that is committed: from it every claim of a paper is judged again.

    kept = archive.of_run("runs/chain_of_steps")        # tables, what was registered, config; finished or not
    archive.write("experiments/chain_of_steps/tables.zip", kept)
    archive.read("experiments/chain_of_steps/tables.zip").tables["worlds-maze-paths"]["right"]

The file is a zip of `index.json` and of one stream for each type of number, which holds all arrays of that type after
each other, by part and name. Numbers of several bytes lie in planes, all first bytes before all second ones: nearly
equal exponents then stand together. Thousands of small arrays so cost what they hold. Every bit comes back, nothing is
pickled, and equal tables give equal bytes.
"""

import hashlib
import json
import lzma
import os
import pathlib
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vrjax.files import kept, writing
from vrjax.study import registration
from vrjax.study.tables import FINISHED, Tables

FILE = "tables.zip"
_INDEX, _FORMAT = "index.json", 1
_KINDS = "biufcUS"
_TORN = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, NotImplementedError)
_TORN += (zipfile.BadZipFile, zlib.error, lzma.LZMAError)


class Kept(NamedTuple):
    """What claims are judged from.

    Attributes:
        where: the run folder or the file.
        kind: the paper that measured it.
        config: what the tables were made of: config of the study, versions, fingerprints of weights.
        registered: what was registered before they were measured.
        tables: by part.
        finished: whether the run came to its end; of one that did not, the parts that are there.
    """

    where: pathlib.Path
    kind: str
    config: Mapping[str, Any]
    registered: Mapping[str, Any]
    tables: Mapping[str, Tables]
    finished: bool


def of_run(folder: str | os.PathLike[str]) -> Kept:
    """The tables of a run folder: those that the finished run used, or those there are so far.

    Raises:
        FileNotFoundError: no run there. ValueError: it is of no registered study, or a file is torn or missing.
    """
    folder = pathlib.Path(folder)
    if not (folder / "config.json").exists():
        raise FileNotFoundError(f"{folder}: no run there (no config.json)")
    try:
        about = json.loads((folder / "config.json").read_text("utf-8"))
        kind, config = about["kind"], about["config"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{folder / 'config.json'} is not a run's config") from None
    place = folder / "tables"
    there = sorted(file.stem for file in place.glob("*.npz") if not file.name.startswith("."))
    done = place / FINISHED
    names = json.loads(done.read_text("utf-8"))["parts"] if done.exists() else there
    if lost := [name for name in names if name not in there]:
        raise ValueError(f"{place}: the finished run used {lost[0]!r}, which is missing; run it again")
    tables = {name: kept.read(place / f"{name}.npz")[0] for name in sorted(names)}
    return Kept(folder, kind, config, registration.kept_in(place), tables, done.exists())


def write(path: str | os.PathLike[str], run: Kept) -> pathlib.Path:
    """Writes the file, whole or not at all; the same run gives the same bytes.

    Raises:
        ValueError: an array is of no plain type. OSError: it cannot be written.
    """
    path = pathlib.Path(path)
    parts: dict[str, dict[str, Any]] = {}
    streams: dict[str, list[bytes]] = {}
    for part, table in sorted(run.tables.items()):
        parts[part] = {}
        for name, value in sorted(table.items()):
            array = np.asarray(value)
            if array.dtype.kind not in _KINDS:
                raise ValueError(f"{path}: {part}/{name} is of type {array.dtype}, which an archive cannot hold")
            parts[part][name] = [array.dtype.str, list(array.shape)]
            streams.setdefault(array.dtype.str, []).append(array.tobytes())
    data = {kind: _planes(b"".join(some), kind) for kind, some in sorted(streams.items())}
    index = {
        "format": _FORMAT,
        **{name: getattr(run, name) for name in ("kind", "config", "registered", "finished")},
        "parts": parts,
        "sha256": {kind: hashlib.sha256(stream).hexdigest() for kind, stream in data.items()},
    }
    text = json.dumps(index, sort_keys=False, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    with writing.atomic(path) as scratch, zipfile.ZipFile(scratch, "w", zipfile.ZIP_LZMA) as file:
        _add(file, _INDEX, text.encode("utf-8"))
        for kind, stream in data.items():
            _add(file, _member(kind), stream)
    return path


def read(path: str | os.PathLike[str]) -> Kept:
    """What `write` wrote.

    Raises:
        FileNotFoundError: no such file. ValueError: it is torn or changed, or no such archive.
    """
    path = pathlib.Path(path)
    try:
        with zipfile.ZipFile(path) as file:
            index = json.loads(file.read(_INDEX).decode("utf-8"))
            if index["format"] != _FORMAT:
                raise ValueError(f"format {index['format']!r}, expected {_FORMAT}")
            data = {kind: file.read(_member(kind)) for kind in index["sha256"]}
        for kind, stream in data.items():
            if hashlib.sha256(stream).hexdigest() != index["sha256"][kind]:
                raise ValueError(f"the numbers of type {kind} are others")
        tables = _cut(index["parts"], {kind: _planes(stream, kind, back=True) for kind, stream in data.items()})
        return Kept(path, index["kind"], index["config"], index["registered"], tables, bool(index["finished"]))
    except FileNotFoundError:
        raise
    except _TORN as error:
        raise ValueError(f"{path}: torn, or no archive of tables ({error})") from None


def _cut(parts: Mapping[str, Mapping[str, Any]], data: Mapping[str, bytes]) -> dict[str, Tables]:
    """The arrays, cut one by one off the streams of their types."""
    at = dict.fromkeys(data, 0)
    tables: dict[str, Tables] = {}
    for part, arrays in parts.items():
        tables[part] = {}
        for name, (kind, shape) in arrays.items():
            count = int(np.prod(shape, dtype=np.int64))
            array = np.frombuffer(data[kind], np.dtype(kind), count, at[kind]).reshape(shape).copy()
            at[kind] += array.nbytes
            tables[part][name] = array
    if over := [kind for kind in data if at[kind] != len(data[kind])]:
        raise ValueError(f"{len(data[over[0]]) - at[over[0]]} bytes of type {over[0]} are of no array")
    return tables


def _planes(stream: bytes, kind: str, *, back: bool = False) -> bytes:
    """The bytes of numbers, all first ones before all second ones; or `back` again."""
    dtype = np.dtype(kind)
    width = {"U": 4, "S": 1, "c": dtype.itemsize // 2}.get(dtype.kind, dtype.itemsize)
    flat = np.frombuffer(stream, np.uint8)
    return (flat.reshape(width, -1) if back else flat.reshape(-1, width)).T.tobytes()


def _member(kind: str) -> str:
    return kind.replace("<", "").replace("|", "").replace(">", "big-") + ".bin"


def _add(file: zipfile.ZipFile, name: str, data: bytes) -> None:
    """A member whose header holds no time."""
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.external_attr, entry.create_system = 0o644 << 16, 3
    file.writestr(entry, data, zipfile.ZIP_LZMA)
