"""Several processes, one program: how they start, agree, and end when one of them is lost.

Every process runs the same command on its own devices; `jax.devices()` are then the devices of all of them, and one
mesh spans them. Where JAX knows the cluster, nothing needs to be said:

    TPU pod slice        for each worker:  vrjax train CONFIG --distributed --root /shared/runs
                         gcloud compute tpus tpu-vm ssh NAME --worker=all --command "..." runs it on all
                         (found by: the TPU's metadata, or TPU_WORKER_HOSTNAMES and TPU_WORKER_ID on GKE;
                         MEGASCALE_COORDINATOR_ADDRESS, MEGASCALE_NUM_SLICES and MEGASCALE_SLICE_ID for several slices)
    Slurm, GPUs          srun --ntasks-per-node=8 --gpus-per-node=8 vrjax train CONFIG --distributed --root /shared/runs
                         (found by: SLURM_JOB_ID, SLURM_STEP_NODELIST, SLURM_NTASKS, SLURM_PROCID, SLURM_LOCALID;
                         one process per GPU)
    Open MPI             mpirun vrjax train CONFIG --distributed ...
                         (found by: OMPI_MCA_orte_hnp_uri, OMPI_COMM_WORLD_SIZE, _RANK and _LOCAL_RANK)
    anything else        vrjax train CONFIG --coordinator HOST0:8476 --processes 2 --process 0     (and --process 1)
                         or JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID with --distributed

The run folder must lie on a file system that all processes see. Killed processes: the others end within the heartbeat
time with a message and status 2 (or JAX's own, by SIGABRT, where they wait outside Python), and the same command, on as
many or on other processes, goes on from the last checkpoint. HTTP proxy variables can keep processes from finding each
other; unset them.
"""

import contextlib
import functools
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Sharding

HEARTBEAT = 60
"""Seconds without a sign of life after which a process counts as lost."""

WAIT = 300
"""Seconds that a process waits for the others at the start."""

_FIRST, _AGAIN = 3.0, 30.0  # seconds after which a waiting process says so, and says so again
_NEVER = 10**8  # seconds: JAX's own end of waiting kills the process
_MESSAGE = 1 << 16  # bytes of a message from the first process: one size, so one compiled program


class Lost(ConnectionError):
    """Another process of the run has ended, or cannot be reached."""


def start(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    *,
    heartbeat: int = HEARTBEAT,
    wait: float | int = WAIT,
    say: Callable[[str], None] = functools.partial(print, flush=True),
) -> None:
    """Joins this process to the others of its run. Call it before anything else touches JAX.

    It says within seconds that it waits, and for whom. After a `TimeoutError` the process had best end (`os._exit`):
    JAX goes on waiting in a thread.

    Args:
        coordinator: address `host:port` of the first process, by which all find each other.
        processes: how many there are.
        process: which one this is, from 0. What is None is taken from JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and
            JAX_PROCESS_ID, else from the cluster (see the module's docstring).
        heartbeat: see `HEARTBEAT`; also how long an ending process waits for the others.
        wait: see `WAIT`.
        say: is told of the waiting.

    Raises:
        ValueError: the cluster is not one that JAX knows and something was not said.
        TimeoutError: the others did not come; says what is known of the coordinator.
        RuntimeError: JAX is in use already.
    """
    coordinator = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    count, index = os.environ.get("JAX_NUM_PROCESSES"), os.environ.get("JAX_PROCESS_ID")
    processes = int(count) if processes is None and count else processes
    process = int(index) if process is None and index else process
    said = (coordinator, processes, process)
    if None in said and any(value is not None for value in said):
        raise ValueError(
            f"--coordinator, --processes and --process belong together, found {coordinator}, {processes}, {process}"
        )
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    options = {
        "coordinator_address": coordinator,
        "num_processes": processes,
        "process_id": process,
        # told everything, JAX must not ask a cluster's metadata server, which may not be there
        "cluster_detection_method": None if coordinator is None else "deactivate",
        "heartbeat_timeout_seconds": heartbeat,
        "shutdown_timeout_seconds": heartbeat,
        "initialization_timeout": _NEVER,
    }
    me = "this process" if process is None else f"process {process} of {processes}"
    try:
        _join(lambda: jax.distributed.initialize(**options), me, coordinator, process == 0, wait, say)
    except ValueError as error:
        raise ValueError(
            f"no known cluster ({error}); say --coordinator HOST:PORT --processes N --process I"
        ) from error


def _join(
    initialize: Callable[[], None], me: str, coordinator: str | None, leads: bool, wait: float | int, say: Callable
) -> None:
    """Runs `initialize` in a thread, which alone can be given up."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            initialize()
        except BaseException as error:
            failed.append(error)

    def whom() -> str:
        if coordinator is None:
            return "the other processes of the cluster"
        return "the other processes" if leads else f"the coordinator {coordinator} ({_reached(coordinator)})"

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ends, again = time.monotonic() + wait, _FIRST
    while thread.is_alive() and (left := ends - time.monotonic()) > 0:
        thread.join(min(left, again))
        if thread.is_alive() and left > again:
            say(f"{me}: waiting for {whom()}; gives up in {left - again:.0f} s (--wait)")
        again = _AGAIN
    if thread.is_alive():
        raise TimeoutError(
            f"{me}: waited {wait:g} s in vain for {whom()}; every process must be started, with the same --coordinator "
            "and --processes, the first one must be reached by the others, without a proxy; --wait is how long"
        )
    if failed:
        raise failed[0]


def _reached(address: str) -> str:
    """Whether somebody listens at an address, in words."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return "it answers, but not all processes have come"


def several() -> bool:
    """Whether there is more than one process."""
    return jax.process_count() > 1


def first() -> bool:
    """Whether this is the process that writes files and speaks to a person."""
    return jax.process_index() == 0


def from_first(fn: Callable[[], Any]) -> Any:
    """Calls `fn` in the first process and returns its JSON-able result in all. What it raises is raised in all.

    Raises:
        ValueError, OSError: from `fn`; in the other processes with the same message.
    """
    if not several():
        return fn()
    told: dict[str, Any] = {}
    failure: Exception | None = None
    if first():
        try:
            told = {"value": fn()}
        except (ValueError, OSError) as error:
            told, failure = {"error": str(error), "os": isinstance(error, OSError)}, error
    text = json.dumps(told).encode()
    if len(text) > _MESSAGE:
        raise ValueError(f"a message of {len(text)} bytes, expected at most {_MESSAGE}")
    # bytes, filled up with blanks, which JSON allows
    sent = np.frombuffer(text.ljust(_MESSAGE), np.uint8)
    heard = json.loads(np.asarray(multihost_utils.broadcast_one_to_all(sent)).tobytes())
    if failure is not None:
        raise failure
    if "error" in heard:
        raise (OSError if heard["os"] else ValueError)(f"the first process: {heard['error']}")
    return heard["value"]


def in_all(fn: Callable[[], Any]) -> None:
    """Calls `fn` in every process. What it raises in one ends all.

    Raises:
        ValueError, OSError: from `fn`; ValueError in the processes in which it did not raise.
    """
    failure: Exception | None = None
    try:
        fn()
    except (ValueError, OSError) as error:
        failure = error
    if any_of(failure is not None):
        raise failure or ValueError("another process found a fault, and says which")


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any process. All must ask."""
    return bool(np.any(multihost_utils.process_allgather(np.array(flag)))) if several() else flag


def wait(name: str) -> None:
    """Returns when all processes have come here."""
    if several():
        multihost_utils.sync_global_devices(name)


@contextlib.contextmanager
def watched(then: str) -> Iterator[None]:
    """Turns the failure of a collective into `Lost`, with what to do then."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not several():
            raise
        reason = (str(error).strip().splitlines() or [""])[0][:160]
        raise Lost(f"process {jax.process_index()} lost another process of the run ({reason}); {then}") from error


def local_rows(sharding: Sharding, rows: int) -> tuple[int, ...]:
    """Which rows of an array whose first axis is divided by `sharding` this process's devices hold, in order."""
    held: Any = sharding.addressable_devices_indices_map((rows,)).values()
    return tuple(sorted({i for index in held for i in range(rows)[index[0]]}))


def from_rows(sharding: Sharding, rows: tuple[int, ...], local: np.ndarray, total: int) -> jax.Array:
    """The global array of `total` rows, of which this process gives those named by `rows`."""
    place = {row: i for i, row in enumerate(rows)}

    def part(index: Any) -> np.ndarray:
        wanted = [place[i] for i in range(total)[index[0]]]
        return local[wanted[0] : wanted[-1] + 1] if wanted else local[:0]

    return jax.make_array_from_callback((total, *local.shape[1:]), sharding, part)


def from_host(x: Any, sharding: Sharding) -> jax.Array:
    """An array that every process has whole, placed on a mesh; each device takes its own part."""
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])


def to_first(tree: Any, whole: Sharding) -> Any:
    """The tree as NumPy arrays in the first process; zeros of no memory elsewhere. All must ask.

    Stacked arrays are gathered a row of the first axis at a time: a device never holds more than one block's weight.
    """

    def gather(x: jax.Array) -> np.ndarray:
        if x.is_fully_addressable or x.is_fully_replicated:
            return np.asarray(x)
        if x.ndim < 3:
            return np.asarray(everywhere(x))
        out = np.empty(x.shape, x.dtype) if first() else None
        for i in range(x.shape[0]):
            row = np.asarray(row_of(x, i))
            if out is not None:
                out[i] = row
        return np.broadcast_to(np.zeros((), x.dtype), x.shape) if out is None else out

    everywhere = jax.jit(lambda x: x, out_shardings=whole)
    row_of = jax.jit(lambda x, i: x[i], out_shardings=whole)
    return jax.tree.map(gather, tree)
