"""Writes files that `torch.load` reads, without PyTorch: a zip archive with one pickle and the tensors' bytes.

Wan's own code wants its VAE and encoders as `.pth`. The pickle names nothing but tensors and a dictionary, so
`torch.load(..., weights_only=True)` accepts it; `vrjax.files.pth` reads it back.
"""

import os
import pathlib
import zipfile
from collections.abc import Iterable, Mapping

import jax.numpy as jnp
import numpy as np

from vrjax.files.writing import atomic

_STORAGES = {
    np.dtype(np.float64): "DoubleStorage",
    np.dtype(np.float32): "FloatStorage",
    np.dtype(np.float16): "HalfStorage",
    np.dtype(jnp.bfloat16): "BFloat16Storage",
    np.dtype(np.int64): "LongStorage",
    np.dtype(np.int32): "IntStorage",
    np.dtype(np.int16): "ShortStorage",
    np.dtype(np.int8): "CharStorage",
    np.dtype(np.uint8): "ByteStorage",
    np.dtype(bool): "BoolStorage",
}
_PIECE = 2**26  # bytes written at a time
_DATE = (1980, 1, 1, 0, 0, 0)  # equal tensors make equal files


def write(
    file: str | os.PathLike,
    shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]],
    tensors: Iterable[np.ndarray],
) -> None:
    """Writes a dictionary of tensors, one tensor at a time; the file appears whole or not at all.

    Args:
        file: final name.
        shapes: name -> (shape, dtype), in the order of `tensors`.
        tensors: the arrays themselves; may be a generator.

    Raises:
        ValueError: a dtype that torch has no storage type for; an array of another shape.
    """
    file = pathlib.Path(file)
    for name, (_, dtype) in shapes.items():
        if np.dtype(dtype) not in _STORAGES:
            raise ValueError(f"{file}: {name} has dtype {np.dtype(dtype)}, which a .pth file cannot hold")
    root = file.stem
    with atomic(file) as scratch:
        with zipfile.ZipFile(scratch, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            archive.writestr(zipfile.ZipInfo(f"{root}/data.pkl", _DATE), _pickle(shapes))
            archive.writestr(zipfile.ZipInfo(f"{root}/byteorder", _DATE), b"little")
            for i, ((name, (shape, dtype)), tensor) in enumerate(zip(shapes.items(), tensors, strict=True)):
                if tensor.shape != shape:
                    raise ValueError(f"{name}: shape {tensor.shape}, expected {shape}")
                flat = np.ascontiguousarray(tensor, dtype).reshape(-1).view(np.uint8)
                with archive.open(zipfile.ZipInfo(f"{root}/data/{i}", _DATE), "w", force_zip64=True) as member:
                    for start in range(0, len(flat), _PIECE):
                        member.write(flat[start : start + _PIECE].tobytes())
            archive.writestr(zipfile.ZipInfo(f"{root}/version", _DATE), b"3\n")


def _pickle(shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]]) -> bytes:
    """The pickle (protocol 2) of an ordered dictionary whose tensors are storages "0", "1", ..."""
    ordered = b"ccollections\nOrderedDict\n)R"
    out = [b"\x80\x02", ordered, b"("]
    for i, (name, (shape, dtype)) in enumerate(shapes.items()):
        count = int(np.prod(shape, dtype=np.int64))
        strides = [int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape))]
        storage = f"ctorch\n{_STORAGES[np.dtype(dtype)]}\n".encode()
        out += [_text(name), b"ctorch._utils\n_rebuild_tensor_v2\n("]
        out += [b"(", _text("storage"), storage, _text(str(i)), _text("cpu"), _integer(count), b"tQ"]
        out += [_integer(0), _tuple(shape), _tuple(strides), b"\x89", ordered, b"tR"]
    return b"".join([*out, b"u."])


def _text(value: str) -> bytes:
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def _integer(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def _tuple(values: Iterable[int]) -> bytes:
    return b"(" + b"".join(_integer(int(value)) for value in values) + b"t"
