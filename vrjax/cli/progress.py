"""How a long command shows where it is: what it does now and for how long, and the steps that are done."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any


class Progress:
    """Phases with their seconds, and steps done by all seeds: a live bar on a terminal, a line now and then elsewhere.

    with Progress(len(seeds) * steps) as line:
    with line.phase("loading"): ...                # "loading: 12.3 s" when it is over
    line.step(seed, step)                          # from any thread

    """

    EVERY = 20.0  # seconds between plain lines

    def __init__(self, total: int):
        self._total, self._seen = total, set()
        self._lock, self._live, self._printed = threading.Lock(), None, time.monotonic()

    def __enter__(self) -> "Progress":
        if sys.stdout.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._live = Progress(*columns)
            self._task = self._live.add_task("", total=self._total)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What is done inside. A line says how long it took where it did not fail."""
        began = time.monotonic()
        self._describe(name)
        yield
        self.say(f"{name}: {time.monotonic() - began:.1f} s")

    def say(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            print(text, flush=True)

    def step(self, seed: int, step: int) -> None:
        """One step of one seed is done."""
        with self._lock:
            self._seen.add((seed, step))
            done, now = len(self._seen), time.monotonic()
            if self._live is not None:
                self._live.update(self._task, completed=done, description=f"sampling, seed {seed}")
            elif now - self._printed >= self.EVERY:
                self._printed = now
                print(f"step {done}/{self._total}", flush=True)

    def _describe(self, name: str) -> None:
        if self._live is not None:
            self._live.update(self._task, description=name)


class Phases:
    """What a long command does now, in a line that turns and counts the seconds, where stderr is a terminal."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, name: str) -> None:
        """This begins; "" ends the line."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if name and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
            self._bar.add_task(name, total=None)
            self._bar.start()
