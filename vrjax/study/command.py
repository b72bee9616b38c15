"""What the studies share at the command line: help, exit status, and the run folder that a killed run goes on in."""

import argparse
import contextlib
import dataclasses
import importlib.metadata
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vrjax.files import runs
from vrjax.report.claims import Claim
from vrjax.study import claims
from vrjax.study.tables import Bench


def parser(name: str, description: str | None, *, full: str | None = None) -> argparse.ArgumentParser:
    """A parser whose help is the study's own docstring, with the options `--out`, `--fresh` and, where `full` says what
    it is, `--full`: the parsed `values` is then "quick" or "full", a file of `configs/<paper>/`."""
    made = argparse.ArgumentParser(
        prog=f"python -m experiments.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs"), help="where run folders are (runs)")
    made.add_argument("--fresh", action="store_true", help="forget what an earlier run made")
    if full is not None:
        made.add_argument("--full", dest="values", action="store_const", const="full", default="quick", help=full)
    return made


def status(name: str, job: Callable[[], object]) -> int:
    """Does the job and returns the exit status: 2 for a mistake in what was asked, 130 where it was interrupted."""
    try:
        job()
    except (ValueError, OSError, ImportError, FloatingPointError, argparse.ArgumentTypeError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


@dataclasses.dataclass(frozen=True)
class Running:
    """An open run folder: where a study measures, and to whom it talks.

    Attributes:
        folder: of the run.
        bench: keeps its tables.
        progress: its bars.
        console: of the user.
    """

    folder: pathlib.Path
    bench: Bench
    progress: Progress
    console: Console

    def say(self, text: str) -> None:
        """A line for the user."""
        self.console.print(text, highlight=False)

    def tell(self, found: Iterable[Claim]) -> None:
        """One line a claim."""
        claims.tell(self.console, found)


@contextlib.contextmanager
def running(
    folder: pathlib.Path,
    about: dict[str, Any],
    *,
    fresh: bool,
    console: Console,
    group: int = 16,
    kind: str = "study",
    shared: bool = False,
) -> Iterator[Running]:
    """Opens a run folder, with progress bars, and says at the end how long it took and where to look.

    Args:
        folder: of the run, locked meanwhile. One that holds a run of something else is refused.
        about: what its content depends on, see `made_of`; anything JSON can hold.
        fresh: forget what an earlier run made.
        console: of the user.
        group: instances in one call of a compiled program, see `Bench`.
        kind: of study; a folder of another kind is refused.
        shared: other processes work in it too, each on tables of its own.

    Raises:
        ValueError: the folder was made of something else (the message says what differs), or is no run folder.
        BlockingIOError: another process works in it.
    """
    began = time.monotonic()
    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with runs.Run(folder, about, kind=kind, fresh=fresh) as run:
        for note in run.notes:
            console.print(note, highlight=False)
        if shared:
            run.close()
        with Progress(*columns, console=console, transient=True) as progress:
            yield Running(folder, Bench(folder / "tables", of=about, group=group, progress=progress), progress, console)
    shown = folder / "report.html"
    minutes = (time.monotonic() - began) / 60
    console.print(f"done in {minutes:.1f} min. Look at it: {shown if shown.exists() else folder}")


def made_of(config: Any, **more: Any) -> dict[str, Any]:
    """What a study's measurements depend on: its config (a dataclass), the versions, and what else is named."""
    versions = {"vrjax": importlib.metadata.version("vrjax"), "jax": jax.__version__, "numpy": np.__version__}
    return {"config": dataclasses.asdict(config), "versions": versions, **more}
