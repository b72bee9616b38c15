"""What the studies share at the command line: help, exit status, and the run folder that a killed run goes on in."""

import argparse
import dataclasses
import json
import pathlib
import shutil
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import vrjax
from vrjax.files.writing import atomic


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


def settle(folder: pathlib.Path, about: dict[str, Any], *, fresh: bool = False) -> None:
    """Makes a run folder with `about` in its config.json, or checks that the one there was made of the same.

    Args:
        folder: of the run.
        about: what its content depends on; anything JSON can hold.
        fresh: forget what is there.

    Raises:
        ValueError: it was made of something else, or its config.json is torn; the message says what differs. Or what is
            to be forgotten does not look like a run folder.
    """
    about = json.loads(json.dumps(about))
    path = folder / "config.json"
    if fresh and folder.exists():
        if not path.exists() and any(folder.iterdir()):
            raise ValueError(f"{folder} has files but no config.json, so it is no run folder; remove it by hand")
        shutil.rmtree(folder)
    if path.exists():
        try:
            then = json.loads(path.read_text("utf-8"))
        except ValueError:
            then = None
        if not isinstance(then, dict):  # torn, or another program's
            raise ValueError(f"{path} is not JSON; use --fresh to measure again, or another folder")
        changed = [key for key in {**about, **then} if about.get(key) != then.get(key)]
        if changed:
            raise ValueError(
                f"{folder} was made with another {' and '.join(changed)}; use --fresh to measure again, or another "
                "folder"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(path) as scratch:
        scratch.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
