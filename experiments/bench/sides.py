"""Processes of their own, one a side, asked over a pipe: only one works at a time."""

import contextlib
import importlib
import multiprocessing
import os
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from experiments.bench import timing

PAUSE = 0.3  # seconds before every timed call: the other side's threads spin for a while before they sleep


class Failed(Exception):
    """A side could not do its part; the message says why."""


def serve(pipe: Any, side: str, cores: Sequence[int], devices: int) -> None:
    """The loop of one side's process: builds a case, times or watches calls of it, or does what its module can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    module: Any = importlib.import_module(f"experiments.bench.{side}_side")
    module.start(len(cores), devices)
    call: Any = None
    while True:
        request, *args = pipe.recv()
        try:
            if request == "stop":
                return
            if request == "time":
                answer = timing.timer(call, PAUSE)()
            elif request == "watch":
                answer = module.watch(call, *args)
            elif request in ("build", "gemm"):
                call = None  # frees the last case first
                call = getattr(module, request)(*args)
                answer = call() if request == "build" else None
            else:
                answer = getattr(module, request)(*args)
            pipe.send(("done", answer))
        except Exception as error:
            pipe.send(("failed", f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-3)}"))


@contextlib.contextmanager
def _environment(side: str, cores: Sequence[int], on_gpu: bool) -> Iterator[None]:
    """What a side's process finds in its environment when it starts, before it imports anything."""
    wanted = {"OMP_NUM_THREADS": str(len(cores))}
    # On a GPU both sides hold memory at once; JAX would take three quarters of it.
    wanted |= {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.55"} if on_gpu else {"JAX_PLATFORMS": "cpu"}
    wanted |= {"VRJAX_HOST_MEMORY": "system"} if side == "torch" else {}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class Side:
    """The process of one side, `experiments.bench.<side>_side`; it ends with the block."""

    def __init__(self, side: str, cores: Sequence[int], on_gpu: bool = False, devices: int = 1):
        self.name = side
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        arguments = (theirs, side, cores, 1 if on_gpu else devices)
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        with _environment(side, cores, on_gpu):
            self.process.start()
        theirs.close()

    def ask(self, *request: Any) -> Any:
        """Sends a request and waits for its answer; Failed if it could not be done."""
        try:
            self.pipe.send(request)
            status, answer = self.pipe.recv()
        except (EOFError, BrokenPipeError):
            self.process.join(5)
            raise Failed(
                f"{self.name}: its process ended (exit status {self.process.exitcode}); out of memory?"
            ) from None
        if status == "failed":
            raise Failed(f"{self.name}: {answer}")
        return answer

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: Any) -> None:
        try:
            self.pipe.send(("stop",))
        except (OSError, ValueError):
            pass
        self.process.join(10)
        if self.process.is_alive():
            self.process.kill()
