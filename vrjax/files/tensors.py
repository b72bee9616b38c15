"""Weight files as named arrays: read lazily and checked, written whole or not at all. No code in a file is run.

safetensors here; PyTorch's `.pth` in `vrjax.files.pth`. Either gives a `Source`.
"""

import json
import math
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from vrjax.files import writing
from vrjax.files.weights import Place, Source, read_json

_DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(jnp.bfloat16),
    "F8_E4M3": np.dtype(jnp.float8_e4m3fn),
    "F8_E5M2": np.dtype(jnp.float8_e5m2),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(bool),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_MAX_HEADER = 100_000_000  # bytes; the format's own limit
_MAX_AXES = 32  # of a tensor
PICKLED = (".pth", ".pt", ".bin", ".ckpt")  # suffixes of files that torch.save wrote


def _header(file: pathlib.Path) -> tuple[dict, int]:
    """Parses and checks a safetensors header; returns it with the position of the first data byte."""
    if not file.is_file():
        raise ValueError(f"{file}: not a file")
    size = file.stat().st_size
    with open(file, "rb") as f:
        length = int.from_bytes(f.read(8), "little")
        if size < 8 or length > min(size - 8, _MAX_HEADER):
            raise ValueError(f"{file}: not a whole safetensors file (header of {length} bytes in a file of {size})")
        try:
            header = json.loads(f.read(length))
            if not isinstance(header, dict):
                raise TypeError
        except (ValueError, TypeError, RecursionError):
            raise ValueError(f"{file}: not a safetensors file (the header is not a JSON object)") from None
    end = 0
    spans = []
    for name, entry in header.items():
        if name == "__metadata__":
            if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
                raise ValueError(f"{file}: the header's __metadata__ is not a table of strings")
            continue
        try:
            dtype, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
            sizes = [first, last, *shape]
            if not isinstance(dtype, str) or not all(type(n) is int and n >= 0 for n in sizes):
                raise ValueError
            if len(shape) > _MAX_AXES:
                raise ValueError
        except (TypeError, KeyError, ValueError):
            raise ValueError(f"{file}: the header entry of {name!r:.99} is malformed") from None
        if dtype not in _DTYPES:
            raise ValueError(f"{file}: {name!r:.99} has dtype {dtype!r:.99}, expected one of {sorted(_DTYPES)}")
        if last - first != math.prod(shape) * _DTYPES[dtype].itemsize:
            raise ValueError(
                f"{file}: {name!r:.99} has {last - first} bytes, which does not fit {dtype} {tuple(shape)}"
            )
        spans.append((first, last, name))
    for first, last, name in sorted(spans):
        if first < end:
            raise ValueError(f"{file}: the data of {name!r:.99} overlaps another tensor")
        end = last
    if end != size - 8 - length:
        raise ValueError(f"{file}: torn or padded: {size - 8 - length} data bytes, expected {end}")
    return header, 8 + length


def locate(path: Any, folder: str, patterns: Iterable[str]) -> pathlib.Path:
    """The weights of one part of a model: `path` itself, its subfolder, or the one file in it that fits a pattern.

    Args:
        path: a file, the part's own folder, or a model's root in diffusers' or Wan's original layout.
        folder: name of the part's subfolder in diffusers' layout.
        patterns: names of its files in original layouts, `pathlib.Path.glob` style; the first that is there counts.

    Raises:
        ValueError: several files fit the pattern.
    """
    path = pathlib.Path(path)
    if (path / folder).is_dir():
        return path / folder
    if path.is_dir():
        for pattern in patterns:
            found = sorted(path.glob(pattern))
            if len(found) > 1:
                raise ValueError(
                    f"{path}: {len(found)} candidates for {pattern}: {', '.join(f.name for f in found[:4])}"
                )
            if found:
                return found[0]
    return path


def read(path: str | os.PathLike) -> Source:
    """Opens a `.safetensors` file, an `.index.json`, a folder that holds either, or a file that torch.save wrote.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: more than one candidate, or a torn or malformed file; names the file.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        found = sorted(path.glob("*.safetensors.index.json")) or sorted(path.glob("*.safetensors"))
        if not found:
            raise FileNotFoundError(f"{path}: no *.safetensors file in this folder")
        if len(found) > 1:
            raise ValueError(f"{path}: {len(found)} candidates, expected one: {', '.join(f.name for f in found[:4])}")
        return _open(path, found[0])
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if path.suffix in PICKLED:
        from vrjax.files import pth

        return pth.read(path)
    return _open(path, path)


def _open(path: pathlib.Path, file: pathlib.Path) -> Source:
    shards, table = _index(file) if file.suffix == ".json" else ([file], {})
    places: dict[str, Place] = {}
    metadata: dict[str, str] = {}
    for shard in shards:
        header, start = _header(shard)
        about = header.pop("__metadata__", {})
        metadata = metadata or about
        for name, entry in header.items():
            if name in places:
                raise ValueError(f"{shard}: tensor {name!r:.99} is also in another shard")
            first, dtype = start + entry["data_offsets"][0], _DTYPES[entry["dtype"]]
            places[name] = Place(shard, first, dtype, tuple(entry["shape"]))
    for name, shard in table.items():
        if name not in places or places[name].file.name != shard:
            raise ValueError(f"{file}: tensor {name!r:.99} is not in its shard {shard}")
    return Source(path, places, metadata)


def _index(file: pathlib.Path) -> tuple[list[pathlib.Path], dict[str, str]]:
    """The shards of an index, and the shard's name of each tensor."""
    index = read_json(file)
    table = index.get("weight_map")
    if not isinstance(table, dict) or not table or not all(isinstance(v, str) for v in table.values()):
        raise ValueError(f"{file}: no weight_map in this index")
    shards = []
    for name in sorted(set(table.values())):
        shard = file.parent / name
        if pathlib.PurePath(name).name != name or "\\" in name or "\0" in name:
            raise ValueError(f"{file}: shard {name!r:.99} lies outside the folder")
        if not shard.exists():
            raise FileNotFoundError(f"{shard}: this shard is listed in {file.name} but missing")
        shards.append(shard)
    return shards, table


def write(
    file: str | os.PathLike,
    shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]],
    tensors: Iterable[np.ndarray],
    metadata: Mapping[str, str],
) -> None:
    """Writes one safetensors file, tensor by tensor, so that no second copy of the weights is held.

    Args:
        file: final name.
        shapes: name -> (shape, dtype), in the order of `tensors`.
        tensors: the arrays themselves; may be a generator.
        metadata: string to string.
    """
    header: dict = {"__metadata__": dict(metadata)}
    end = 0
    for name, (shape, dtype) in shapes.items():
        start, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": _NAMES[np.dtype(dtype)], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # readers map the data aligned

    def chunks():
        yield len(text).to_bytes(8, "little") + text
        for (name, (shape, dtype)), tensor in zip(shapes.items(), tensors, strict=True):
            tensor = np.asarray(tensor, dtype)
            if tensor.shape != shape:
                raise ValueError(f"{name}: shape {tensor.shape}, expected {shape}")
            yield tensor.tobytes()

    writing.chunks(file, chunks())
