"""What the studies share at the command line: options, exit status."""

import argparse
import importlib
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console

from vrjax.study import judging

NONE: Mapping[str, Any] = {}


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
    judged: judging.Judge | None = None,
    drawn: judging.Draw | None = None,
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
        judged: reads the claims from kept tables, see `vrjax.study.judging`; adds `--judge`, `--readme` and `--pack`.
        drawn: the paper's picture from kept tables, which `--judge` draws wherever it writes.
        options: beside `--out`, `--fresh` and `--full`: title of a group -> flag -> arguments of `add_argument`.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{paper}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=pathlib.Path, help="where run folders are (runs)")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run made")
    if full is not None:
        parser.add_argument("--full", dest="values", action="store_const", const="full", default="quick", help=full)
    again = {} if judged is None else {"judging again": judging.OPTIONS}
    for title, flags in {**again, **options}.items():
        group = parser.add_argument_group(title)
        for flag, how in flags.items():
            group.add_argument(flag, **how)
    given = parser.parse_args(argv)
    out, given.out = given.out, given.out or pathlib.Path("runs")
    try:
        if judged is not None and (given.judge is not None or given.pack is not None or given.readme):
            judging.run(paper, judged, values(paper, "full"), given, out, Console(highlight=False), drawn=drawn)
            return 0
        job(None if full is None else values(paper, given.values), given, Console(highlight=False))
    except (ValueError, OSError, ImportError, FloatingPointError, argparse.ArgumentTypeError) as error:
        print(f"{paper}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0
