"""A run's folder: one owner at a time, one config, rows that survive a kill, files that appear whole or not at all.

with runs.Run("runs/wide", config, kind="train", may_change=("mesh",), fresh=args.fresh) as run:
    for note in run.notes: print(note)
    rows = runs.Rows(run.folder / "metrics.jsonl", step=0)
"""

import contextlib
import dataclasses
import errno
import fcntl
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
from collections.abc import Sequence
from typing import Any

from vrjax.files import records, writing

SCHEMA = 1  # of config.json; with `kind` and `config`, what tells a run's folder from any other
_NUMBERS = ("vrjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def versions() -> dict[str, str]:
    """Versions of what decides the numbers of a run."""
    found = {"python": platform.python_version()}
    for name in _NUMBERS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


class Run:
    """The folder of one run, locked while this object is open; `config.json` in it says what the run is.

    A folder is opened again only with an equal config; fields that are younger than the run count with their defaults.
    `notes` are remarks for a person, on what differs and may.

    Args:
        folder: made if missing.
        config: of the run: a dataclass, or named values that JSON can hold.
        kind: what sort of run; a folder of another kind is refused.
        fresh: delete what an earlier run of this kind left. Nothing but a run's folder is ever cleared.
        may_change: dotted names of fields that may differ when a run goes on.
        made: patterns of what this kind of run leaves in its folder, which is what `fresh` deletes.
        other: the option that chooses another folder, for messages.

    Raises:
        ValueError: the folder holds a run with another config (the differing fields are named), or is not a run's.
        BlockingIOError: another process works in it. OSError: it cannot be written, or its disk knows no locks.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        config: Any,
        *,
        kind: str,
        fresh: bool = False,
        may_change: Sequence[str] = (),
        made: Sequence[str] = ("*",),
        other: str = "--out",
    ):
        self.folder, self.notes = pathlib.Path(folder), []
        self._cls = type(config) if dataclasses.is_dataclass(config) else None
        self._wanted = records.to_dict(config) if self._cls else json.loads(json.dumps(config))
        self._kind, self._elsewhere = kind, f"choose another {other}"
        self._stored()  # what is not a run's is left as it is, without even a lock
        with writing.naming(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.folder / ".lock", "w")
        try:
            _lock(self._lock, self.folder)
            self._adopt(fresh, tuple(may_change), made)
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

    def _stored(self) -> dict[str, Any] | None:
        """The folder's config.json; None where the folder is new, an error where it is not a run's of this kind."""
        path = self.folder / "config.json"
        if not path.exists():
            if self.folder.is_dir() and any(not entry.name.startswith(".") for entry in self.folder.iterdir()):
                raise ValueError(f"{self.folder} exists and is not a run (no config.json); {self._elsewhere}")
            return None
        try:
            stored = json.loads(path.read_text("utf-8"))
            if not (isinstance(stored["schema"], int) and isinstance(stored["config"], dict)):
                raise TypeError
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError(f"{path} is not a run's config; {self._elsewhere}") from None
        if (found := stored.get("kind", "train")) != self._kind:  # the first runs of training did not say it
            raise ValueError(f"{self.folder} holds a run of kind {found!r:.60}, not {self._kind!r}; {self._elsewhere}")
        return stored

    def _adopt(self, fresh: bool, may_change: tuple[str, ...], made: Sequence[str]) -> None:
        """Checks or writes config.json."""
        stored, here = self._stored(), versions()
        if fresh and stored is not None:
            self._clear(made)
        elif stored is not None:
            changed = records.differences(self._with_defaults(stored["config"]), self._wanted)
            free = tuple(f"{name}." for name in may_change)
            if fixed := [c for c in changed if not (c.split(" ")[0] + ".").startswith(free)]:
                raise ValueError(
                    f"{self.folder} holds a run with another config: {', '.join(fixed)}; {self._elsewhere}, "
                    "or start over with --fresh"
                )
            if changed:
                self.notes.append(f"goes on with another {', '.join(changed)}")
            if moved := records.differences(stored.get("versions", {}), here):
                self.notes.append(f"goes on with other versions, bits may differ: {', '.join(moved)}")
        import jax

        device = f"{jax.device_count()} x {jax.devices()[0].device_kind} ({jax.default_backend()})"
        whole = {"schema": SCHEMA, "kind": self._kind, "config": self._wanted, "versions": here, "device": device}
        writing.json(self.folder / "config.json", whole)

    def _with_defaults(self, old: dict[str, Any]) -> dict[str, Any]:
        """A stored config with the fields that are younger than it; as it is where its class has lost some."""
        if self._cls is not None:
            with contextlib.suppress(ValueError):
                return records.to_dict(records.from_dict(self._cls, old))
        return old

    def _clear(self, made: Sequence[str]) -> None:
        """Deletes what a run made, config.json last: a kill in between leaves a folder that can be cleared again."""
        last = self.folder / "config.json"
        for path in {path for pattern in made for path in self.folder.glob(pattern)} - {last, self.folder / ".lock"}:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        last.unlink()


def _lock(file: Any, folder: pathlib.Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(errno.EAGAIN, f"{folder} is in use by another process") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise OSError(error.errno, f"{folder} cannot be locked ({why}); choose a folder on another disk") from None


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
                writing.text(path, "".join(kept))
        with writing.naming(path):
            self._file = open(path, "a")

    def add(self, row: dict[str, Any]) -> None:
        """Appends one row and hands it to the operating system, where a kill of this process cannot reach it."""
        with writing.naming(self.path):
            self._file.write(json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        with contextlib.suppress(OSError):
            self._file.close()
