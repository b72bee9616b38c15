"""What a run tells while it goes: rows on disk, the line on screen, its page, and loggers elsewhere."""

import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from vrjax.files import writing
from vrjax.train import loggers, page
from vrjax.train.progress import Line

PAGE_EVERY = 10.0  # seconds between pages that only a checkpoint asked for


class Telling:
    """All that a process of a run says.

    Args:
        config: of the run.
        folder: of the run.
        done: updates before this process.
        quiet: says and writes nothing (all but the first of several processes).
        log: names of loggers, see `vrjax.train.loggers`.
    """

    def __init__(self, config: Any, folder: pathlib.Path, done: int, *, quiet: bool, log: Sequence[str] = ()):
        self._config, self._folder, self._quiet = config, folder, quiet
        self._loggers = [] if quiet else loggers.opened(log, folder, config, done)
        where = lambda name: pathlib.Path(os.devnull) if quiet else folder / name
        self._metrics = writing.Rows(where("metrics.jsonl"), step=done)
        self._timing = writing.Rows(where("timing.jsonl"), step=done)
        self._line = Line(config.name, done, config.steps, quiet=quiet)
        self.say = self._line.say
        self._drawn = -PAGE_EVERY

    def update(self, step: int, row: Mapping[str, float], named: Mapping[str, float]) -> None:
        """One update's metrics, and the same under other names."""
        values = {**row, **named}
        if step % self._config.log_every == 0 or step == self._config.steps:
            self._metrics.add({"step": step, **values})
            self._log(step, values)
        self._line.update(step, values)

    def remark(self, step: int, text: str) -> None:
        """What a person should know, on screen and page."""
        self.say(f"{self._config.name}: {text}")
        self._metrics.add({"step": step, "remark": text})
        self.page("running")

    def validation(self, step: int, rates: Mapping[str, Mapping[str, float]]) -> None:
        """Solved-rates by task."""
        self._line.solved(rates)
        self._metrics.add({"step": step, "validation": rates})
        self._log(step, {f"validation/{task}/{what}": rate[what] for task, rate in rates.items() for what in rate})
        self.page("running")

    def saved(self, step: int, start: int, seconds: float) -> None:
        """A checkpoint, and how long this process took from `start`."""
        self._timing.add({"step": step, "from": start, "seconds": round(seconds, 3)})
        if time.monotonic() - self._drawn > PAGE_EVERY:
            self.page("running")

    def page(self, state: str, alerts: Sequence[str] = ()) -> None:
        """Writes the page of all rows so far."""
        if not self._quiet:
            page.write(self._folder, self._config, state, alerts)
            self._drawn = time.monotonic()

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        for logger in self._loggers:
            logger.log(step, values)

    def close(self) -> None:
        """Ends the line, closes files and loggers."""
        self._line.close()
        self._metrics.close()
        self._timing.close()
        for logger in self._loggers:
            logger.close()
