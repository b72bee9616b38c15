"""A network's parameters from a file of named arrays: all keys and shapes are checked before the first is read.

    file = header(tensors.read(path), anchors, "a Wan VAE")     # what its keys say
    network = Opened(file, abstract(cfg), slots).module()

A file is memory-mapped; what is read of it at a time is one tensor, cast and turned on the way, so a model may be
larger than what the host can spare twice. On CPU devices an array *is* the buffer that was filled: nothing is copied,
and equal shards of several devices share it. On an accelerator the array is made there, and a parameter stacked over
blocks is filled block by block in place. So a process needs the bytes that must be there and one tensor of the file
more, whatever the dtypes.
"""

import functools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from vrjax.files import tensors

_LEAF = {"kernel": ".weight", "scale": ".weight", "bias": ".bias"}
_ALIGNMENT = 64  # bytes; XLA takes a buffer over, instead of copying it, only if it starts at such an address
_ROWS = 256  # of a file's matrix turned at a time, so that the file is read in its own order

Read = Callable[[int], np.ndarray]
"""Block i of a stacked parameter (or the whole parameter, for 0) as a view of the file, in the parameter's order."""


class Slot(NamedTuple):
    """Where a parameter comes from.

    Attributes:
        keys: tensor names in the file; several for a parameter stacked over blocks.
        shape: of each of them in the file.
        take: makes the parameter (or its row for one block) of a file's array.
        part: rows of the file's array that belong to the parameter, where several share one.
    """

    keys: tuple[str, ...]
    shape: tuple[int, ...]
    take: Callable[[np.ndarray], np.ndarray] = np.asarray
    part: slice = slice(None)

    def read(self, array: np.ndarray) -> np.ndarray:
        """The parameter, or its row for one block, of a file's array."""
        return self.take(array[self.part] if array.ndim else array)


class Names(NamedTuple):
    """Keys of a network's parameters in its two public layouts.

    Attributes:
        layouts: what they are called.
        top, block: dotted attributes without the leaf -> key in either layout, outside and inside of the blocks.
        blocks: what the blocks are called.
    """

    layouts: tuple[str, str]
    top: Mapping[str, tuple[str, str]]
    block: Mapping[str, tuple[str, str]]
    blocks: tuple[str, str] = ("blocks", "blocks")

    def key(self, path: tuple, layout: str, block: int | None = None) -> str:
        """File key of a parameter: `key(("blocks", "self_attn", "q", "kernel"), "diffusers", 3)`."""
        n, inside = self.layouts.index(layout), path[0] == "blocks"
        leaf = _LEAF.get(path[-1], "")
        name = ".".join(path[inside : len(path) - bool(leaf)])
        start = f"{self.blocks[n]}.{block}." if inside else ""
        return start + (self.block if inside else self.top)[name][n] + leaf

    def rows(self, abstract: Any, layout: str) -> Iterator[tuple[tuple, tuple[int, ...], tuple[str, ...]]]:
        """Every parameter: its path, its shape (in one block), and its keys, one a block."""
        for path, leaf in jax.tree_util.tree_leaves_with_path(abstract):
            name = names(path)
            if name[0] == "blocks":
                yield name, leaf.shape[1:], tuple(self.key(name, layout, i) for i in range(leaf.shape[0]))
            else:
                yield name, leaf.shape, (self.key(name, layout),)


class Header(NamedTuple):
    """An open file of one network: what its keys say.

    Attributes:
        source: the file.
        what: the network, for messages, such as "a Wan VAE".
        layout: of its keys.
        prefix: of its keys; tensors without it belong to others and are left alone.
        shapes: of its tensors, by key without the prefix.
    """

    source: tensors.Source
    what: str
    layout: str
    prefix: str
    shapes: dict[str, tuple[int, ...]]

    def shape(self, key: str, axes: int) -> tuple[int, ...]:
        """Of a tensor that must be there with so many axes; ValueError names it."""
        found = self.shapes.get(key, ())
        if len(found) != axes or 0 in found:
            raise ValueError(f"{self.source.path}: not {self.what}: {key} has shape {found}, expected {axes} axes")
        return found

    def dtype(self, key: str) -> str:
        """Of a tensor."""
        return str(self.source[self.prefix + key].dtype)

    def blocks(self, start: str) -> int:
        """Number of blocks `START0.`, `START1.`, ... among the keys.

        Raises:
            ValueError: none, or a gap in their numbers; names the file and the first block that is missing.
        """
        number = re.compile(re.escape(start) + r"(\d{1,6})\.")
        found = {int(match[1]) for key in self.shapes if (match := number.match(key))}
        missing = next(i for i in range(len(found) + 1) if i not in found)
        if missing != len(found) or not found:
            raise ValueError(f"{self.source.path}: no tensors of block {start}{missing}, and {len(found)} other blocks")
        return len(found)


def header(source: tensors.Source, anchors: Mapping[str, str], what: str, prefix: str | None = None) -> Header:
    """Finds a network in an open file, told by one key per layout.

    Args:
        source: the file.
        anchors: layout -> a key that only this layout has.
        what: the network.
        prefix: of its keys, where it is known.

    Raises:
        ValueError: no anchor, or several.
    """
    found = [
        (layout, key[: -len(anchor)])
        for layout, anchor in anchors.items()
        for key in source.shapes
        if (key == anchor or key.endswith("." + anchor)) and prefix in (None, key[: -len(anchor)])
    ]
    if not found:
        known = " nor ".join(f"{key} ({name})" for name, key in anchors.items())
        keys = some(list(source.shapes))
        raise ValueError(f"{source.path}: not {what}: neither {known} among its {len(source.shapes)} tensors ({keys})")
    if len(found) > 1:
        raise ValueError(f"{source.path}: holds {what} more than once: {', '.join(repr(p) for _, p in found[:4])}")
    layout, prefix = found[0]
    shapes = {key[len(prefix) :]: shape for key, shape in source.shapes.items() if key.startswith(prefix)}
    return Header(source, what, layout, prefix, shapes)


class Opened(NamedTuple):
    """An open file of one network, and what is in it.

    Attributes:
        file: its header.
        abstract: the module as `jax.eval_shape` gives it; its config is `abstract.cfg`.
        slots: where its parameters are, one per leaf of the module, in order.
        unused: pattern (`re.fullmatch`) of keys that may be in the file and are not read.
    """

    file: Header
    abstract: Any
    slots: list[Slot]
    unused: str = ""

    @property
    def cfg(self) -> Any:
        """The network's config."""
        return self.abstract.cfg

    def check(self) -> None:
        """ValueError that names the file and the first keys which are missing, unexpected or misshapen."""
        shapes = self.file.shapes
        expected = {key: slot.shape for slot in self.slots for key in slot.keys}
        missing = [key for key in expected if key not in shapes]
        unexpected = [key for key in shapes if key not in expected and not re.fullmatch(self.unused or "(?!)", key)]
        complaints = []
        if missing:
            complaints.append(f"{len(missing)} missing tensors ({some(missing)})")
        if unexpected:
            complaints.append(f"{len(unexpected)} unexpected tensors ({some(unexpected)})")
        wrong = [key for key, shape in expected.items() if key in shapes and tuple(shapes[key]) != tuple(shape)]
        complaints += [f"{key} has shape {shapes[key]}, expected {expected[key]}" for key in wrong[:3]]
        if complaints:
            raise ValueError(f"{self.file.source.path}: not the weights of this model: {'; '.join(complaints)}")

    def module(self, abstract: Any = None) -> Any:
        """The network, checked and read.

        Args:
            abstract: the module with other dtypes, or with shardings: parameters are cast to those, and go there.

        Raises:
            ValueError: see `check`.
        """
        self.check()
        source, prefix = self.file.source, self.file.prefix
        leaves, tree = jax.tree.flatten(self.abstract if abstract is None else abstract)
        values = []
        for leaf, slot in zip(leaves, self.slots, strict=True):
            read = lambda i, slot=slot: slot.read(source[prefix + slot.keys[i]])
            values.append(array(leaf, read, stacked=leaf.shape != read(0).shape))  # a leading axis of blocks
        return jax.tree.unflatten(tree, values)


def some(keys: list[str]) -> str:
    """The first few keys, for a message."""
    return ", ".join(key[:99] for key in keys[:3]) + (", ..." if len(keys) > 3 else "")


def names(path: Iterable[Any]) -> tuple[Any, ...]:
    """A leaf's path as attribute names and list indices: `("stages", 0, "conv", "kernel")`."""
    parts = (getattr(key, "name", getattr(key, "idx", None)) for key in path)
    return tuple(part for part in parts if part != "value")


def matrix(array: np.ndarray) -> np.ndarray:
    """A kernel over patches, or a linear one, as the matrix (in, out)."""
    return array.reshape(len(array), -1).T


def stated(source: tensors.Source, table: Mapping[str, str]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """What the `config.json` beside an open file says: its name, its content, and the fields of it under our names.

    Args:
        source: the file.
        table: names of fields there -> ours.
    """
    file = (source.path if source.path.is_dir() else source.path.parent) / "config.json"
    public = tensors.read_json(file) if file.exists() else {}
    return str(file), public, {ours: public[theirs] for theirs, ours in table.items() if theirs in public}


def config(make: Callable[..., Any], found: Mapping[str, Any], origin: Any, what: str) -> Any:
    """`make(**found)`; JSON knows no tuples. ValueError: it names `origin` and says that this is no `what` config."""
    try:
        return make(**{name: tuple(value) if isinstance(value, list) else value for name, value in found.items()})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{origin}: not a {what} config: {error}") from None


# ------------------------------------------------------------------------------------------------------------- placing


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
