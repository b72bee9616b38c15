"""What the studies share at the command line: help, exit status, and the run folder that a killed run goes on in."""

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import vrjax
from vrjax.files import runs


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the study's own docstring, with the options `--out` and `--fresh`."""
    made = argparse.ArgumentParser(
        prog=f"python -m experiments.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs"), help="where run folders are (runs)")
    made.add_argument("--fresh", action="store_true", help="forget what an earlier run made")
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


def made_of(config: Any, **more: Any) -> dict[str, Any]:
    """What a study's measurements depend on: its config (a dataclass), the versions, and what else is named."""
    versions = {"vrjax": vrjax.__version__, "jax": jax.__version__, "numpy": np.__version__}
    return {"config": dataclasses.asdict(config), "versions": versions, **more}


def settle(folder: pathlib.Path, about: dict[str, Any], *, fresh: bool = False, kind: str = "study") -> None:
    """Makes a run folder with `about` in its config.json, or checks that the one there was made of the same.

    Args:
        folder: of the run.
        about: what its content depends on; anything JSON can hold.
        fresh: forget what is there.
        kind: of study; the folder of another kind is refused.

    Raises:
        ValueError: it was made of something else (the message says what differs), or is no run's folder.
    """
    runs.Run(folder, about, kind=kind, fresh=fresh).close()
