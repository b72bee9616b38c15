"""Files of named arrays: checked when opened, read lazily, onto devices in one copy, written whole or not at all.

safetensors here; PyTorch's `.pth` in `vrjax.files.pth`. No code in a file is run.

A file is memory-mapped, and what is read of it at a time is one tensor, cast and turned on the way into the place where
it stays (`array`). On CPU devices an array *is* the buffer that was filled: nothing is copied, and equal shards of
several devices share it. On an accelerator the array is made there, and a parameter stacked over blocks is filled block
by block in place. So a process needs the bytes that must be there and one tensor of the file more, whatever the dtypes.
"""

import functools
import json
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from vrjax.files import given, scaled, writing

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
_ALIGNMENT = 64  # bytes; XLA takes a buffer over, instead of copying it, only if it starts at such an address
_ROWS = 256  # of a file's matrix turned at a time, so that the file is read in its own order
PICKLED = (".pth", ".pt", ".bin", ".ckpt")  # suffixes of files that torch.save wrote


class Place(NamedTuple):
    """Where a tensor lies: its file, first byte, dtype and shape, and its strides in elements if it is not in order."""

    file: pathlib.Path
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None = None


class Source:
    """Named arrays of an open file of any format, read when they are asked for.

    Eight-bit floats that have scales beside them (ComfyUI's "fp8 scaled", LightX2V's) are read as their products, in
    float32; the scales are then no tensors of the file's. Counters of training (a `step`) are none either.

    Attributes:
        path: what was opened, for messages.
        places: where each tensor lies, with the dtype in which it is to be kept; shapes: name -> shape.
        metadata: the string metadata of the (first) file.
        scales: name -> where the scale of an eight-bit tensor lies.

    Raises:
        ValueError: weights that are whole numbers, quantised in a way that is not read; names the file and a tensor.
    """

    def __init__(self, path: pathlib.Path, places: Mapping[str, Place], metadata: dict[str, str] | None = None):
        self.path, self.metadata = path, metadata or {}
        self._stored, self.scales = scaled.split(path, places)
        kept = {name: place._replace(dtype=np.dtype(jnp.bfloat16)) for name, place in self._stored.items()}
        self.places = {name: kept[name] if name in self.scales else place for name, place in self._stored.items()}
        self.shapes = {name: place.shape for name, place in self.places.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        """The named tensor, as a read-only view of the file where nothing is scaled."""
        array = _mapped(self._stored[name])
        if name not in self.scales:
            return array
        scale = _mapped(self.scales[name]).astype(np.float32)
        return array.astype(np.float32) * scale.reshape(-1, *[1] * (array.ndim - 1))

    def view(self, name: str, rows: slice, shape: tuple[int, ...], turned: bool) -> np.ndarray:
        """Some rows of the named tensor in another shape; `turned`: its first two axes last, the other way round."""
        array = self[name]
        array = (array[rows] if array.ndim else array).reshape(shape)
        return array.transpose(*range(2, array.ndim), 1, 0) if turned else array


def _mapped(place: Place) -> np.ndarray:
    """A tensor as a read-only view of its file."""
    file, offset, dtype, shape, strides = place
    if not math.prod(shape):
        return np.empty(shape, dtype)
    if strides is None:
        return np.memmap(file, dtype, "r", offset, shape)
    extent = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    flat = np.memmap(file, dtype, "r", offset, (extent,))
    return np.lib.stride_tricks.as_strided(flat, shape, [s * dtype.itemsize for s in strides], writeable=False)


def _header(file: pathlib.Path) -> tuple[dict, int]:
    """Parses and checks a safetensors header; returns it with the position of the first data byte."""
    given.refuse(file)
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
            found = sorted(file for file in path.glob(pattern) if not given.hidden(file))
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
        return _open(path, given.weights(path))
    if not path.exists() and not path.is_symlink():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if path.suffix in PICKLED:
        from vrjax.files import pth

        given.refuse(path)
        return Source(path, {name: Place(path, *row) for name, row in pth.read(path).items()})
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
        if not shard.exists() and not shard.is_symlink():
            raise FileNotFoundError(f"{shard}: this shard is listed in {file.name} but missing")
        shards.append(shard)
    return shards, table


def read_json(file: pathlib.Path) -> dict:
    """A JSON object; ValueError naming the file where it is anything else."""
    found = given.text(file)
    try:
        value = json.loads(found)
    except (ValueError, RecursionError):
        raise ValueError(f"{file}: not valid JSON") from None
    if not isinstance(value, dict):
        raise ValueError(f"{file}: expected a JSON object")
    return value


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


# ------------------------------------------------------------------------------------------------------------- placing

Read = Callable[[int], np.ndarray]
"""Block i of a stacked parameter (or the whole parameter, for 0) as a view of the file, in the parameter's order."""


def array(leaf: jax.ShapeDtypeStruct, read: Read, *, stacked: bool) -> jax.Array:
    """One parameter on its devices.

    Args:
        leaf: shape, dtype, and sharding; without one, the array goes to the default device, uncommitted.
        read: see `Read`; called again for every different shard of this process, never kept.
        stacked: whether the first axis numbers blocks, which are read one by one.

    Raises:
        ValueError: what was read has another shape.
    """
    sharding = getattr(leaf, "sharding", None)
    whole = sharding is None or not stacked or sharding.shard_shape(leaf.shape)[0] == leaf.shape[0]
    if stacked and whole and not _hosted(sharding) and math.prod(leaf.shape):
        return _block_by_block(leaf, read, sharding)
    return _parts(tuple(leaf.shape), np.dtype(leaf.dtype), read, stacked, sharding)


def _hosted(sharding: Sharding | None) -> bool:
    """Whether the devices are CPU devices, whose arrays are host memory."""
    if sharding is not None:
        return next(iter(sharding.device_set)).platform == "cpu"
    device: Any = getattr(jax.config, "jax_default_device")  # noqa: B009 (made at run time)
    return (device if isinstance(device, str) else getattr(device, "platform", jax.default_backend())) == "cpu"


def _parts(shape: tuple[int, ...], dtype: np.dtype, read: Read, stacked: bool, sharding: Sharding | None) -> jax.Array:
    """The array from one host buffer per different shard, one after the other."""
    if sharding is None:
        return jax.device_put(_buffer(shape, dtype, read, stacked, (slice(None),) * len(shape)))
    devices: dict[tuple, list[Any]] = {}
    for device, index in sharding.addressable_devices_indices_map(shape).items():
        cut = tuple(slice(*s.indices(n)) for s, n in zip(index or (), shape, strict=True))
        devices.setdefault(tuple((s.start, s.stop) for s in cut), []).append(device)
    shards = []
    for cut, owners in devices.items():
        buffer = _buffer(shape, dtype, read, stacked, tuple(slice(*ends) for ends in cut))
        shards += [jax.device_put(buffer, device) for device in owners]
        if not _hosted(sharding):
            jax.block_until_ready(shards)  # the buffer can go
    return jax.make_array_from_single_device_arrays(shape, sharding, shards)


def _buffer(shape: tuple[int, ...], dtype: np.dtype, read: Read, stacked: bool, cut: tuple[slice, ...]) -> np.ndarray:
    """The part `cut` of a parameter, in host memory that XLA can take over."""
    sizes = [len(range(*s.indices(n))) for s, n in zip(cut, shape, strict=True)]
    out = empty(tuple(sizes), dtype)
    if not stacked:
        _copy(out, read(0), shape, cut)
        return out
    for row, block in zip(out, range(*cut[0].indices(shape[0])), strict=True):
        _copy(row, read(block), shape[1:], cut[1:])
    return out


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Uninitialised host memory that `jax.device_put` on a CPU device takes over without a copy."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


def _copy(to: np.ndarray, view: np.ndarray, shape: tuple[int, ...], cut: tuple[slice, ...]) -> None:
    if view.shape != shape:
        raise ValueError(f"weights: read shape {view.shape}, expected {shape}")
    view = view[cut]
    if view.ndim < 2 or abs(view.strides[-1]) <= abs(view.strides[0]):
        to[...] = view
        return
    for start in range(0, view.shape[-1], _ROWS):
        to[..., start : start + _ROWS] = view[..., start : start + _ROWS]


def _block_by_block(leaf: jax.ShapeDtypeStruct, read: Read, sharding: Sharding | None) -> jax.Array:
    """A stacked parameter filled on its devices; the host holds one block of it at a time."""
    shape, dtype = tuple(leaf.shape), np.dtype(leaf.dtype)
    row = None
    if sharding is not None:
        assert isinstance(sharding, NamedSharding), sharding
        row = NamedSharding(sharding.mesh, PartitionSpec(*sharding.spec[1:]))
    make, put = _programs(shape, str(dtype), sharding)
    whole = make()
    for block in range(shape[0]):
        part = _parts(shape[1:], dtype, lambda _, i=block: read(i), False, row)
        whole = put(whole, part, block)
        jax.block_until_ready(whole)  # else blocks wait in host memory for the devices
    return whole


@functools.lru_cache(maxsize=256)
def _programs(shape: tuple[int, ...], dtype: str, sharding: Sharding | None) -> tuple[Callable, Callable]:
    """Makes the array; puts one block in, in place."""
    where: dict[str, Any] = {} if sharding is None else {"out_shardings": sharding}
    make = jax.jit(lambda: jnp.zeros(shape, dtype), **where)
    return make, jax.jit(lambda whole, row, i: whole.at[i].set(row), donate_argnums=0, **where)
