"""A run's folder: one owner at a time, one config, rows that survive a kill, files that appear whole or not at all."""

import contextlib
import errno
import fcntl
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
from collections.abc import Iterator
from typing import Any

import jax

import vrjax
from vrjax.train import config as configs
from vrjax.train.config import TrainConfig

SCHEMA = 1
MADE = ("config.json", "metrics.jsonl", "timing.jsonl", "results.json", "checkpoints", "model")
# where the arrays live: a run may go on elsewhere, equal up to rounding
MAY_CHANGE = ("mesh", "rules", "model.sequence")


def versions() -> dict[str, str]:
    """Versions of what decides the numbers of a run."""
    names = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
    found = {name: importlib.metadata.version(name) for name in names}
    return {"vrjax": vrjax.__version__, "python": platform.python_version(), **found}


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes JSON under a temporary name in the same folder, then renames it: readers see all of it or nothing."""
    part = path.with_name(path.name + ".part")
    with naming(path):
        part.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")
        os.replace(part, path)


@contextlib.contextmanager
def naming(path: pathlib.Path) -> Iterator[None]:
    """Gives an `OSError` raised inside the name of the file, which write errors do not carry."""
    try:
        yield
    except OSError as error:
        why = "no space left on the disk" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, f"{path} not written: {why}") from error


class Run:
    """The folder `root/<config.name>`, locked while this object is open.

    Args:
      config: the run's config. A folder that holds another config is refused.
      root: where run folders are.
      fresh: delete what an earlier run left under this name first.

    Raises:
      ValueError: the folder holds a run with another config (the differing fields are named), or is not a run's.
      BlockingIOError: another process is training in it.
    """

    def __init__(self, config: TrainConfig, *, root: str | pathlib.Path = "runs", fresh: bool = False):
        self.folder = pathlib.Path(root) / config.name
        with naming(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = open(self.folder / ".lock", "w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise BlockingIOError(errno.EAGAIN, f"{self.folder} is in use by another process") from None
        try:
            self.notes = self._adopt(config, fresh)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Lets another process have the folder."""
        self._lock.close()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _adopt(self, config: TrainConfig, fresh: bool) -> list[str]:
        """Checks or writes config.json. Returns remarks for a person."""
        path, wanted, notes = self.folder / "config.json", configs.to_dict(config), []
        here, was_run = versions(), path.exists()
        if fresh and was_run:
            self._clear()
        if path.exists():
            try:
                stored = json.loads(path.read_text())
                old = stored["config"]
            except (ValueError, KeyError, TypeError):
                raise ValueError(f"{path} is not a run's config; start over with --fresh") from None
            with contextlib.suppress(ValueError, TypeError):  # fields younger than the run have their defaults
                old = configs.to_dict(configs.from_dict(TrainConfig, old))
            changed = configs.differences(old, wanted)
            fixed = [c for c in changed if not (c.split(" ")[0] + ".").startswith(tuple(f"{m}." for m in MAY_CHANGE))]
            if fixed:
                raise ValueError(
                    f"{self.folder} holds a run with another config: {', '.join(fixed)}; "
                    "choose another --name, or start over with --fresh"
                )
            if changed:
                notes.append(f"goes on elsewhere, equal up to rounding: {', '.join(changed)}")
            moved = configs.differences(stored.get("versions", {}), here)
            if moved:
                notes.append(f"goes on with other versions, bits may differ: {', '.join(moved)}")
        elif not was_run and any(
            not p.name.startswith(".") and not p.name.endswith(".part") for p in self.folder.iterdir()
        ):
            raise ValueError(f"{self.folder} exists and is not a run (no config.json); choose another --name")
        device = f"{jax.device_count()} x {jax.devices()[0].device_kind} ({jax.default_backend()})"
        write_json(path, {"schema": SCHEMA, "config": wanted, "versions": here, "device": device})
        return notes

    def _clear(self) -> None:
        for name in MADE:
            path = self.folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


class Rows:
    """An append-only `.jsonl` of rows that carry a `step`.

    Opening it for a run that goes on from `step` drops the rows after that step, and a last line that a kill tore;
    they will be written again. `/dev/null` is a file of no rows, for processes that write nothing.
    """

    def __init__(self, path: pathlib.Path, *, step: int):
        self.path = path
        if path.exists() and path != pathlib.Path(os.devnull):
            kept, text = [], path.read_text(errors="replace")
            for line in text.splitlines(keepends=True):
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    if line.endswith("\n") and json.loads(line)["step"] <= step:
                        kept.append(line)
            if "".join(kept) != text:
                part = path.with_name(path.name + ".part")
                with naming(path):
                    part.write_text("".join(kept))
                    os.replace(part, path)
        with naming(path):
            self._file = open(path, "a")

    def add(self, row: dict[str, Any]) -> None:
        """Appends one row and hands it to the operating system, where a kill of this process cannot reach it."""
        with naming(self.path):
            self._file.write(json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        with contextlib.suppress(OSError):
            self._file.close()
