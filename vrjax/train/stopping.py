"""How a run is asked to stop: by a signal, in any of its processes."""

import contextlib
import signal
import threading
import types
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vrjax.parallel import processes


class Ballot:
    """Whether any process was asked to stop: all learn it at the same step, one step late where they must ask."""

    def __init__(self, mesh: Mesh):
        self._every = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self._any = jax.jit(jnp.max, out_shardings=NamedSharding(mesh, PartitionSpec()))
        self._shape, self._last = (mesh.size,), None

    def any(self, flag: bool) -> bool:
        """Called once a step by all processes; the device answers while it works on the next step."""
        if not processes.several():
            return flag
        votes = jax.make_array_from_callback(self._shape, self._every, lambda _: np.full(1, flag, np.int32))
        last, self._last = self._last, self._any(votes)
        return last is not None and bool(last)


@contextlib.contextmanager
def asked() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; a second one acts as usual. Main thread only."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    old = {}

    def ask(number: int, frame: types.FrameType | None) -> None:
        stop.set()
        for n, handler in old.items():
            signal.signal(n, handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        old[number] = signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
