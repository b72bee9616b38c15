"""TPU slices that need not be here: their devices for ahead-of-time compilation, and what their chips can do.

    devices = topology.devices("v5p:4x4x4")        # 64 compile-only devices; needs the libtpu wheel, no TPU
    mesh = parallel.mesh({"fsdp": 64}, devices=devices)

A topology is `CHIP:AxB` or `CHIP:AxBxC`, chips along each axis of the torus. One device is one chip (the two cores of a
v5p chip act as one).
"""

import math
import os
from typing import Any, NamedTuple

GIB = 2**30


class Chip(NamedTuple):
    """One TPU chip. Rates are peaks: no program can be faster, few come near.

    Attributes:
        name: as in a topology.
        hbm: bytes a program may use. What XLA:TPU allows (libtpu 0.0.42 refuses a program that needs more and names
            this limit): 15.75, 95.74 and 31.25 GiB of the 16, 95 and 32 on the data sheets.
        flops: bfloat16 operations a second.
        hbm_bandwidth: bytes a second.
        ici_bandwidth: bytes a second that a chip can receive over all its links together. The data sheets state both
            directions: 400, 1200 and 800 GB/s.
        axes: of the torus.
        most: chips in the largest slice.

    Source: Google Cloud TPU documentation, pages "TPU v5e", "TPU v5p", "TPU v6e" (cloud.google.com/tpu/docs/v5e, /v5p,
    /v6e), tables of key specifications, read in November 2026.
    """

    name: str
    hbm: float | int
    flops: float | int
    hbm_bandwidth: float | int
    ici_bandwidth: float | int
    axes: int
    most: int


CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v5e", 15.75 * GIB, 197e12, 819e9, 200e9, axes=2, most=256),
        Chip("v5p", 95.74 * GIB, 459e12, 2765e9, 600e9, axes=3, most=6144),
        Chip("v6e", 31.25 * GIB, 918e12, 1638e9, 400e9, axes=2, most=256),
    )
}


def parse(topology: str) -> tuple[Chip, tuple[int, ...]]:
    """The chip of a topology and its chips along each axis.

    Raises:
        ValueError: not of the form `v5p:4x4x4`, an unknown chip, the wrong number of axes, or too many chips.
    """
    name, _, sizes = topology.partition(":")
    parts = sizes.split("x")
    known = "v5e:4x4, v6e:8x16 or v5p:4x4x4"
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"topology {topology!r}: expected a chip and its sizes, such as {known}")
    if name not in CHIPS:
        raise ValueError(f"topology {topology!r}: unknown chip {name!r}, expected one of {sorted(CHIPS)}")
    chip, shape = CHIPS[name], tuple(int(part) for part in parts)
    if len(shape) != chip.axes:
        raise ValueError(f"topology {topology!r}: a {name} slice has {chip.axes} axes, such as {known}")
    if math.prod(shape) > chip.most:
        raise ValueError(f"topology {topology!r}: {math.prod(shape)} chips, the largest {name} slice has {chip.most}")
    return chip, shape


def devices(topology: str) -> list[Any]:
    """The slice's devices, for compilation only: they hold no arrays and run nothing.

    The process's own backend may be anything; a CPU is enough.

    Raises:
        ValueError: see `parse`; or libtpu knows no such slice.
        ImportError: libtpu is not installed.
    """
    chip, shape = parse(topology)
    # Compiling touches no hardware: the lock that keeps two processes off one TPU is not needed, and another plan or an
    # idle process may hold it. The library reads these when it is loaded; the last two spare it a vain search.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
        os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
    from jax.experimental import topologies

    # A host has 2 x 2 chips of every kind we know, except in slices that are smaller.
    bounds = [min(2, size) for size in (*shape, 1)[:2]] + [1]
    whole = {} if bounds == [2, 2, 1] else {"chips_per_host_bounds": bounds}
    try:
        return list(topologies.get_topology_desc(topology, "tpu", **whole).devices)
    except Exception as error:
        missing = _missing_libtpu()
        if missing:
            raise ImportError(missing) from None
        line = str(error).split("\n")[0]
        raise ValueError(f"topology {topology!r}: libtpu does not know this slice of {chip.name}: {line}") from None


def _missing_libtpu() -> str | None:
    import importlib.util

    if importlib.util.find_spec("libtpu") or os.environ.get("TPU_LIBRARY_PATH"):
        return None
    return "compiling for a TPU needs the libtpu wheel: pip install 'vrjax[plan]'"
