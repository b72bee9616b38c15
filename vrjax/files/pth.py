"""PyTorch's `.pth` files as named arrays, memory-mapped, without PyTorch and without running what they pickle.

Both containers of `torch.save`: the zip archive (since 1.6) and the stream of pickles before it. The file must hold a
dictionary of tensors; dictionaries inside it ("state_dict", "generator") become dotted prefixes.
"""

import io
import math
import os
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from vrjax.files import given, pickles

_STORAGES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": jnp.bfloat16,
    "Float8_e4m3fnStorage": jnp.float8_e4m3fn,
    "Float8_e5m2Storage": jnp.float8_e5m2,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of the stream format
_MAX_AXES = 32
_MAX_ENTRIES, _MAX_KEY = 2**17, 1000  # of a file's dictionaries; characters of a tensor's name
_NOTES, _MAX_NOTES = (int, float, bool, str, type(None)), 2**16
_LOCAL_HEADER = 30  # bytes of a zip member's header before its name


class Storage(NamedTuple):
    """A run of numbers in the file: which, their type, how many."""

    key: str
    dtype: np.dtype
    size: int


class View(NamedTuple):
    """A tensor: a storage, and offset, shape and strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(
    path: str | os.PathLike, *, bare: bool = False
) -> dict[str, tuple[int, np.dtype, tuple[int, ...], tuple[int, ...]]]:
    """Opens a file that `torch.save` wrote; see `vrjax.files.tensors.read`.

    Args:
        path: of the file.
        bare: a tensor alone, in no dictionary, is taken too; its name is "".

    Returns:
        name -> first byte, dtype, shape, strides in elements.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: not such a file, a damaged one, one that holds anything but tensors, or one that would run code
            when unpickled; names the file, and the key or the global in question.
    """
    path = pathlib.Path(path)
    tree, starts, sizes = _open(path)
    try:
        views = {"": tree} if bare and isinstance(tree, View) else _flatten(tree)[0]
        for name, view in views.items():
            held = sizes.get(view.storage.key)
            if held is None or view.storage.size * view.storage.dtype.itemsize > held:
                raise ValueError(
                    f"tensor {name!r} needs {view.storage.size} numbers of storage {view.storage.key!r}, which has "
                    f"{held or 0} bytes"
                )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    first = lambda storage, offset: starts[storage.key] + offset * storage.dtype.itemsize
    return {name: (first(v.storage, v.offset), v.storage.dtype, v.shape, v.strides) for name, v in views.items()}


def notes(path: str | os.PathLike) -> dict[str, Any]:
    """What lies beside the tensors of such a file and is no tensor: a rate, a step, a name, a list of such.

    Returns:
        dotted name -> value; nothing for a tensor alone. Raises what `read` does.
    """
    path = pathlib.Path(path)
    tree = _open(path)[0]
    try:
        return {} if isinstance(tree, View) else _flatten(tree)[1]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


# ------------------------------------------------------------------------------------------------------- containers

_Found = tuple[Any, dict[str, int], dict[str, int]]  # what was pickled; first byte and bytes of each storage


def _open(path: pathlib.Path) -> _Found:
    """The content of a file in either container."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise ValueError(f"{path}: not a file")
    with open(path, "rb") as file:
        start = file.read(4)
    try:
        return _archive(path) if start[:2] == b"PK" else _stream(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _archive(path: pathlib.Path) -> _Found:
    """A zip archive `NAME/data.pkl`, `NAME/data/KEY`, stored without compression."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            pickled = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(pickled) != 1:
                raise ValueError(f"not a file of torch.save: {len(pickled)} members named */data.pkl, expected 1")
            root = pickled[0].removesuffix("data.pkl")
            for name, info in members.items():
                if given.outside(name):
                    raise ValueError(f"member {name!r:.199} is a path out of the archive, expected names inside it")
                if (
                    info.compress_type != zipfile.ZIP_STORED
                    or info.file_size != info.compress_size
                    or info.flag_bits & 1
                ):
                    raise ValueError(f"member {name!r} is compressed or encrypted, expected plain bytes")
            if members[pickled[0]].file_size > pickles.LIMIT:
                raise ValueError(
                    f"{pickled[0]} has {members[pickled[0]].file_size} bytes, expected under {pickles.LIMIT}"
                )
            order = members.get(root + "byteorder")
            if order is not None and order.file_size < 32 and archive.read(order) != b"little":
                raise ValueError("not little-endian")
            data = archive.read(pickled[0])
    except ValueError:
        raise
    except Exception as error:  # zipfile raises a dozen kinds on damaged archives
        raise ValueError(f"damaged zip archive ({type(error).__name__}: {error})") from None

    starts, sizes = {}, {}
    with open(path, "rb") as file:
        for name, info in members.items():
            if not name.startswith(root + "data/"):
                continue
            file.seek(info.header_offset)
            header = file.read(_LOCAL_HEADER)
            if header[:4] != b"PK\3\4" or len(header) < _LOCAL_HEADER:
                raise ValueError(f"damaged zip archive (no member at the place of {name!r})")
            extra = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
            start = info.header_offset + _LOCAL_HEADER + extra
            if start + info.file_size > size:
                raise ValueError(f"torn: member {name!r} ends at byte {start + info.file_size} of {size}")
            key = name.removeprefix(root + "data/")
            starts[key], sizes[key] = start, info.file_size
    return pickles.load(io.BytesIO(data), _CALLS, _persistent), starts, sizes


def _stream(path: pathlib.Path) -> _Found:
    """Pickles one after another: magic number, version, machine, the object, storage keys; then raw storages."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = io.BytesIO(file.read(pickles.LIMIT))
        load = lambda: pickles.load(head, _CALLS, _persistent)
        try:
            magic = load()
        except ValueError:
            magic = None
        if magic != _MAGIC:
            raise ValueError(
                "neither a zip archive nor a stream of torch.save (Python pickles and tar files are not read)"
            )
        version, machine = load(), load()
        if version != 1001 or not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise ValueError("a stream of another version or byte order, expected 1001, little-endian")
        tree = load()
        keys = load()
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise ValueError("damaged list of storages")
        widths = _widths(tree)
        starts, sizes, position = {}, {}, head.tell()
        for key in keys:
            file.seek(position)
            count = int.from_bytes(file.read(8), "little")
            if key not in widths:
                raise ValueError(f"storage {key!r} belongs to no tensor")
            starts[key], sizes[key] = position + 8, count * widths[key]
            position = starts[key] + sizes[key]
            if position > size:
                raise ValueError(f"torn: storage {key!r} ends at byte {position} of {size}")
    return tree, starts, sizes


def _widths(tree: Any) -> dict[str, int]:
    """Bytes per number of each storage."""
    views = [tree] if isinstance(tree, View) else _flatten(tree)[0].values()
    return {view.storage.key: view.storage.dtype.itemsize for view in views}


# ----------------------------------------------------------------------------------------------- what a pickle means


def _flatten(tree: Any) -> tuple[dict[str, View], dict[str, Any]]:
    """The tensors of nested dictionaries under dotted names, and what else they hold that is harmless."""
    views: dict[str, View] = {}
    others: dict[str, Any] = {}
    entries = 0
    todo = [("", tree)]
    while todo:
        prefix, node = todo.pop()
        if not isinstance(node, dict):
            raise ValueError(f"holds {_kind(node)}, expected a dictionary of tensors")
        for key, value in node.items():
            entries += 1
            if entries > _MAX_ENTRIES:  # a small pickle may hold one dictionary many times over
                raise ValueError(f"holds more than {_MAX_ENTRIES} entries")
            if type(key) is int:  # an optimiser's numbers of parameters
                key = str(key)
            if not isinstance(key, str):
                raise ValueError(f"key {key!r:.80} is not a string")
            if len(key) + len(prefix) > _MAX_KEY:
                raise ValueError(f"a key of {len(key) + len(prefix)} characters, expected at most {_MAX_KEY}")
            name = f"{prefix}{key}"
            if isinstance(value, dict):
                todo.append((f"{name}.", value))
            elif _is_note(value):
                others[name] = value
            elif not isinstance(value, View):
                raise ValueError(f"{name!r} is {_kind(value)}, expected a tensor")
            elif name in views:
                raise ValueError(f"tensor {name!r} is there twice")
            else:
                views[name] = value
    return views, others


def _is_note(value: Any) -> bool:
    """Whether a value of a checkpoint is no weight and cannot hide one: a step, a rate, a name, a list of such."""
    if isinstance(value, (list, tuple)) and not isinstance(value, (View, Storage, pickles.Name)):
        return len(value) <= _MAX_NOTES and all(type(part) in _NOTES for part in value)
    return type(value) in _NOTES


def _kind(value: Any) -> str:
    """What was found, for a message: `a list`."""
    return "a tensor" if isinstance(value, View) else f"a {type(value).__name__}"


def _persistent(identity: Any) -> Storage:
    """The storage of `("storage", type, key, device, size)`; the stream format adds a view, which must be None."""
    if (
        not isinstance(identity, tuple)
        or len(identity) not in (5, 6)
        or identity[0] != "storage"
        or identity[5:]
        not in (
            (),
            (None,),
        )
    ):
        raise ValueError("damaged pickle (a persistent id that is no storage)")
    _, kind, key, _, size = identity[:5]
    if not isinstance(kind, pickles.Name) or kind.name not in _STORAGES:
        found = kind if isinstance(kind, pickles.Name) else _kind(kind)
        raise ValueError(f"storage of type {found}, expected one of {sorted(_STORAGES)}")
    if not isinstance(key, str) or type(size) is not int or size < 0:
        raise ValueError("damaged pickle (a storage without key or size)")
    return Storage(key, np.dtype(_STORAGES[kind.name]), size)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> View:
    """`torch._utils._rebuild_tensor_v2`: a tensor of a storage. Hooks and gradients are left alone.

    Its last argument, where there is a third, says whether the numbers are to be negated (`neg`) or conjugated when
    they are read: a view that was saved lazily.
    """
    if len(rest) > 2 and isinstance(rest[2], dict) and any(rest[2].values()):
        raise ValueError(f"a lazy view ({', '.join(map(str, rest[2]))}), expected plain numbers: save tensor.clone()")
    if not isinstance(storage, Storage):
        raise ValueError("damaged pickle (a tensor without a storage)")
    if not isinstance(shape, tuple) or not isinstance(strides, tuple) or not len(shape) == len(strides) <= _MAX_AXES:
        raise ValueError("damaged pickle (a tensor without shape or strides)")
    if not all(type(n) is int and 0 <= n < 2**62 for n in (*shape, *strides, offset)):
        raise ValueError("damaged pickle (a tensor with impossible shape or strides)")
    if math.prod(shape) and offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) >= storage.size:
        raise ValueError(f"a tensor of shape {shape} reaches beyond the {storage.size} numbers of its storage")
    return View(storage, offset, shape, strides)


def _same(value: Any, *_: Any) -> Any:
    """`torch._utils._rebuild_parameter`: a parameter is its tensor."""
    return value


def _dictionary() -> dict:
    """`collections.OrderedDict`, which torch's files make empty and fill by opcodes."""
    return {}


def _never(*_: Any) -> Any:
    raise ValueError("damaged pickle (call of a storage type)")


_CALLS: dict[str, Callable] = {
    "collections.OrderedDict": _dictionary,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _same,
    **{f"torch.{name}": _never for name in _STORAGES},
}
