"""What a program runs on: the one mesh of the library, five named axes; a CPU's cores and its memory."""

import ctypes
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh

INSTALL = "pip install 'vrjax[tpu]' or 'vrjax[gpu]'"
AXES = ("seed", "data", "fsdp", "context", "tensor")
"""Mesh axes from the outermost (rarest communication) to the innermost (most communication, nearest neighbours)."""

# glibc's mallopt parameters (malloc.h)
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


def available() -> int:
    """The number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores(count: int | None = None) -> int:
    """Makes CPU cores devices of their own, over which a mesh then divides the work of one CPU.

        parallel.cores()                                        # before JAX computes anything
        dit = wan.shard(dit, parallel.mesh({"data": -1}))       # guidance: one branch a core

    By default the CPU is one device and XLA divides single operations over its cores, which small ones gain little
    from; `python -m experiments.bench` measures what sampling gains. All devices share the same threads and memory, but
    what a mesh does not divide is held by each.

    Args:
        count: how many; by default the cores that this process may run on.

    Returns:
        The number of CPU devices. Where XLA_FLAGS sets it (`--xla_force_host_platform_device_count`), that stands.

    Raises:
        ValueError: a count below 1. RuntimeError: JAX has started with another number of CPU devices.
    """
    count = available() if count is None else count
    if count < 1:
        raise ValueError(f"cores: expected at least 1, found {count}")
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        try:
            jax.config.update("jax_num_cpu_devices", count)
        except RuntimeError:
            found = len(jax.devices("cpu"))
            if found != count:
                raise RuntimeError(
                    f"cores: JAX runs already, with {found} CPU devices; call cores({count}) before it computes"
                ) from None
        return count
    return len(jax.devices("cpu"))


def mesh(shape: Mapping[str, int] | None = None, *, devices: Sequence[Any] | None = None) -> Mesh:
    """Arrange devices in the five-axis mesh `("seed", "data", "fsdp", "context", "tensor")`.

    Axis types are always `Auto`: the compiler propagates shardings (`jax.make_mesh`'s own default is `Explicit`).
    A program written for this mesh runs on one device unchanged, because every axis exists and may have size 1.

    Args:
        shape: sizes by axis name; an axis left out has size 1. At most one size may be -1: it takes all devices that
            the others leave. `mesh({"data": -1})` is plain data parallelism; `None` means that.
        devices: the devices to use; all devices of all processes by default.

    Returns:
        The mesh. On TPU, `jax.make_mesh` lays it out along the physical torus.

    Raises:
        ValueError: unknown axis, size that is not a positive integer or -1, more than one -1, or sizes whose product is
            not the number of devices. Leaving devices idle is an error as well: pass `devices` to use fewer on purpose.
    """
    devices = list(jax.devices() if devices is None else devices)
    shape = {"data": -1} if shape is None else dict(shape)
    unknown = [name for name in shape if name not in AXES]
    if unknown:
        raise ValueError(f"mesh shape: unknown axes {unknown}; the axes are {list(AXES)}")
    for name, size in shape.items():
        if isinstance(size, bool) or not isinstance(size, int) or (size < 1 and size != -1):
            raise ValueError(f"mesh shape: axis {name!r} has size {size!r}; expected a positive integer, or -1 to fill")
    fill = [name for name, size in shape.items() if size == -1]
    if len(fill) > 1:
        raise ValueError(f"mesh shape: only one axis may be -1, found {fill}")
    sizes = {name: shape.get(name, 1) for name in AXES}
    fixed = math.prod(size for size in sizes.values() if size != -1)
    if fill:
        if len(devices) % fixed:
            raise ValueError(
                f"mesh shape {shape}: the fixed axes take {fixed} devices, which does not divide {len(devices)}"
            )
        sizes[fill[0]] = len(devices) // fixed
    elif fixed != len(devices):
        raise ValueError(
            f"mesh shape {shape}: takes {fixed} devices, found {len(devices)}; "
            "set one axis to -1 to fill, or choose the devices with `devices=`"
        )
    return jax.make_mesh(
        tuple(sizes[name] for name in AXES), AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices
    )


def found() -> str:
    """The devices that there are, in words; of a CPU, also what accelerators need."""
    devices = jax.devices()
    words = f"{len(devices)} ({devices[0].device_kind})"
    return words if devices[0].platform != "cpu" else f"{words}; accelerators need {INSTALL}"


def run_mesh(shape: Mapping[str, int]) -> Mesh:
    """The mesh of a run on the first devices that its sizes need, see `mesh`; one device where they name no axes.

    A run of several processes uses all their devices, by plain data parallelism where the sizes name no axes.

    Raises:
        ValueError: more devices than there are; and as `mesh`.
    """
    if jax.process_count() > 1:  # every process must take part
        return mesh(shape or {"data": -1})
    if -1 in shape.values():
        return mesh(shape)
    count = math.prod(shape.values())
    if count > len(jax.devices()):
        raise ValueError(f"mesh {dict(shape)} needs {count} devices, found {found()}")
    return mesh(shape, devices=jax.devices()[:count])


def reuse_host_memory(pad: int = 2**28) -> bool:
    """Tells glibc's malloc to serve large buffers from one heap that never shrinks.

    XLA's CPU client allocates all temporaries of a program anew at every call; by default glibc maps them freshly and
    unmaps them after, so a train step of a small model takes over 100,000 page faults (measured: 6 blocks of width 64,
    225 tokens, batch 32: 932 ms of CPU a step with them, 538 ms without). The process keeps its peak memory
    until it ends.

    Call it before the first JAX computation; threads that exist already keep their own heaps.

    Args:
        pad: bytes by which the heap grows at least.

    Returns:
        whether the allocator took the settings; False on systems without glibc, where nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, pad))
    return all([mallopt(name, value) == 1 for name, value in settings])
