"""Arrays of a file onto their devices: one parameter at a time, each device's part, without a second copy.

On CPU devices an array *is* the buffer that was filled: nothing is copied, and equal shards of several devices share
it. On an accelerator the array is made there, and a parameter stacked over blocks is filled block by block in place.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, Sharding

_ALIGNMENT = 64  # bytes; XLA takes a buffer over, instead of copying it, only if it starts at such an address
_ROWS = 256  # of a file's matrix turned at a time, so that the file is read in its own order

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
