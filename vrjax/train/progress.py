"""What a person sees of a run: one live line on a terminal, an occasional plain line elsewhere."""

import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

PLAIN_EVERY = 20.0  # seconds between lines where there is no terminal


def clock(seconds: float) -> str:
    """`47 s`, `3:05`, `2:10:00`."""
    seconds = int(max(seconds, 0))
    if seconds < 60:
        return f"{seconds} s"
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class Line:
    """The progress of one process of a run.

    Args:
        name: of the run.
        start, steps: updates done before this process, and in the whole run.
        quiet: say nothing (all but the first of several processes).
    """

    def __init__(self, name: str, start: int, steps: int, *, quiet: bool = False):
        self._name, self._steps = name, steps
        self._loss: float | None = None
        self._solved = ""
        self._rewards: dict[str, float] = {}
        self._first: tuple[int, float] | None = None  # after the first update: compilation is not speed
        self._printed = 0.0
        self._console = Console(stderr=False, quiet=quiet)
        self._quiet = quiet
        self._live: Progress | None = None
        if self._console.is_terminal and not quiet:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[line]}"))
            self._live = Progress(*columns, console=self._console)
            self._task = self._live.add_task(name, total=steps, completed=start, line="compiling")
            self._live.start()
        else:
            self.say(f"{name}: compiling")

    def say(self, text: str) -> None:
        """Prints a line of its own."""
        if self._quiet:
            return
        if self._live is None:
            print(text, flush=True)
        else:
            self._live.console.print(text, markup=False, highlight=False)

    def solved(self, rates: Mapping[str, Mapping[str, float]]) -> None:
        """Remembers the newest solved-rates of the validation."""
        self._solved = " ".join(f"{name} {rate['solved']:.0%}" for name, rate in rates.items())

    def update(self, step: int, row: Mapping[str, Any]) -> None:
        """Shows the state after `step` updates."""
        now = time.monotonic()
        for name in ("rewards/accuracies", "rewards/margins"):
            if name in row:
                last = self._rewards[name] if name in self._rewards else row[name]
                self._rewards[name] = 0.95 * last + 0.05 * row[name]
        before = row["loss"] if self._loss is None else self._loss
        self._loss = 0.95 * before + 0.05 * row["loss"]
        if self._first is None:
            self._first = (step, now)
        text = self._text(step, now)
        if self._live is not None:
            self._live.update(self._task, completed=step, line=text)
        elif not self._quiet and (now - self._printed >= PLAIN_EVERY or step == self._steps):
            self._printed = now
            print(f"{self._name}: {text}", flush=True)

    def speed(self) -> float | None:
        """Updates per second of this process so far, validation and saving included; None before the second one."""
        return self._speed

    def _text(self, step: int, now: float) -> str:
        assert self._first is not None
        first, began = self._first
        speed = (step - first) / (now - began) if step > first and now > began else None
        self._speed = speed
        pace = "" if speed is None else f", {speed:.2f} steps/s, {clock((self._steps - step) / speed)} left"
        rewards = "".join(f", {name} {value:.3g}" for name, value in self._rewards.items())
        solved = f", solved {self._solved}" if self._solved else ""
        return f"step {step}/{self._steps}, loss {self._loss:.4f}{rewards}{solved}{pace}"

    _speed: float | None = None

    def close(self) -> None:
        """Ends the live display."""
        if self._live is not None:
            self._live.stop()
            sys.stdout.flush()
