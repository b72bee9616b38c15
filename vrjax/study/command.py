"""What the studies share at the command line: sizes, options, exit status, and the folder a killed run goes on in."""

import argparse
import contextlib
import dataclasses
import importlib
import importlib.metadata
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vrjax.files import runs
from vrjax.study.tables import Bench, Running

NONE: Mapping[str, Any] = {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """How much is measured. A paper's config derives from it and adds its own numbers, which must be at least 1, and
    lists, which must hold something."""

    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = ()
    """Whole numbers that may be less than 1, and lists that may be empty."""

    name: str
    """The run folder is runs/<name>."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if field.name not in self.MAY_BE_ZERO and ((whole and value < 1) or value == ()):
                found = f"must be at least 1, found {value}" if whole else "is empty, expected at least one"
                raise ValueError(f"{self.name}: {field.name} {found}")


def values(paper: str, size: str) -> Any:
    """What `config()` of `configs/<paper>/<size>.py` returns: the values of a study, `quick` or `full`.

    Raises:
        ValueError: the values of a field are out of range.
    """
    return importlib.import_module(f"configs.{paper}.{size}").config()


def main(
    paper: str,
    description: str | None,
    job: Callable[[Any, argparse.Namespace, Console], object],
    argv: Sequence[str] | None = None,
    *,
    full: str | None = None,
    options: Mapping[str, Mapping[str, Mapping[str, Any]]] = NONE,
) -> int:
    """A study's command line. Returns the exit status: 2 for a mistake in what was asked, 130 where it was interrupted.

    Args:
        paper: its package in `experiments`, its folder in `configs`.
        description: the help, a study's own docstring.
        job: `job(study, options, console)` does what was asked.
        argv: the words, those of the process by default.
        full: what `--full` is; `study` then has the values of `configs/<paper>/quick.py` or, with it, of `full.py`.
            Without, `study` is None.
        options: beside `--out`, `--fresh` and `--full`: title of a group -> flag -> arguments of `add_argument`.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{paper}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs"), help="where run folders are (runs)")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run made")
    if full is not None:
        parser.add_argument("--full", dest="values", action="store_const", const="full", default="quick", help=full)
    for title, flags in options.items():
        group = parser.add_argument_group(title)
        for flag, how in flags.items():
            group.add_argument(flag, **how)
    given = parser.parse_args(argv)
    try:
        job(None if full is None else values(paper, given.values), given, Console())
    except (ValueError, OSError, ImportError, FloatingPointError, argparse.ArgumentTypeError) as error:
        print(f"{paper}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


@contextlib.contextmanager
def running(
    folder: pathlib.Path,
    about: dict[str, Any],
    *,
    kind: str,
    fresh: bool,
    console: Console,
    group: int = 16,
    shared: bool = False,
) -> Iterator[Running]:
    """Opens a run folder, with progress bars, and says at the end how long it took and where to look.

    Args:
        folder: of the run, locked meanwhile. One that holds a run of something else is refused.
        about: what its content depends on, see `made_of`; anything JSON can hold.
        kind: the paper, and which of its runs where it has several; a folder of another kind is refused, never cleared.
        fresh: forget what an earlier run made.
        console: of the user.
        group: instances in one call of a compiled program, see `Bench`.
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
