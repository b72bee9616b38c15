"""Writing so that a reader never meets half of anything: a file, a folder, what a run leaves in its own.

writing.json("runs/a/results.json", {"n": 3})
with writing.atomic("runs/a/film.mp4") as scratch:      # any writer that takes a path
    encode(scratch, frames)
with writing.folder("runs/a/model") as scratch:         # a whole folder
    save(scratch)

A run's folder has one owner at a time, one config, and rows that survive a kill:

with writing.Run("runs/wide", config, kind="train", may_change=("mesh",), fresh=args.fresh) as run:
    for note in run.notes: print(note)
    rows = writing.Rows(run.folder / "metrics.jsonl", step=0)
writing.differences(run.config, writing.to_dict(other))    # ["optim.lr (was 0.003, now 0.001)"]
"""

import contextlib
import dataclasses
import errno
import importlib.metadata
import json as _json
import os
import pathlib
import platform
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from vrjax.files import given
from vrjax.files.records import from_dict

try:
    import fcntl
except ImportError:
    raise ImportError("vrjax runs on Linux and macOS; on Windows use it inside WSL (wsl --install)") from None

SCHEMA = 1  # of a run's config.json; with `kind` and `config`, what tells its folder from any other
_NUMBERS = ("vrjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


@contextlib.contextmanager
def naming(path: str | os.PathLike[str], scratch: pathlib.Path | None = None) -> Iterator[None]:
    """Gives an `OSError` raised inside the name of the file that was to be written, which write errors do not carry.

    Where a scratch path is given, an error that names a third file is about that file, and stays as it is.
    """
    try:
        yield
    except OSError as error:
        if scratch is not None and isinstance(error.filename, (str, bytes, os.PathLike)):
            if not os.fsdecode(error.filename).startswith((os.fspath(path), os.fspath(scratch))):
                raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "no space left on the disk" if full else error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, f"{path} not written: {why}") from error


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Yields a scratch path beside `path`; moves it onto `path` if the block ends well, removes it otherwise.

    The scratch file has the same suffix (encoders look at it) and lies in the same folder (a rename is atomic only
    within one file system). Missing parent folders are made. A full disk therefore leaves the old file as it was.

    Raises:
        OSError: it cannot be written; names `path`, and says it where the disk is full.
    """
    target = pathlib.Path(path)
    with naming(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem[:40]}-", suffix=target.suffix, dir=target.parent)
        os.close(handle)
    scratch = pathlib.Path(name)
    try:
        with naming(target, scratch):
            yield scratch
            _sync(scratch)
            scratch.chmod(0o666 & ~_umask())  # mkstemp makes files that only the owner may read
            os.replace(scratch, target)
    finally:
        scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def folder(path: str | os.PathLike[str], *, replace: bool = False) -> Iterator[pathlib.Path]:
    """Yields an empty scratch folder beside `path`; moves it to `path` if the block ends well, removes it otherwise.

    The scratch folder has a fixed name: what a kill left of it is removed by the next attempt, and two processes must
    not write one folder at a time.

    Args:
        path: must not exist, or be an empty folder.
        replace: take the place of a folder that is there. (Between the two moves there is none for an instant.)

    Raises:
        FileExistsError: something is there that is not to be replaced. OSError: it cannot be written; names `path`.
    """
    target = pathlib.Path(path)
    if not replace and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target}: exists already, expected a new or an empty folder")
    with naming(target):
        scratch, old = (target.with_name(f".{target.name}.{word}") for word in ("part", "old"))
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
    try:
        with naming(target, scratch):
            yield scratch
            for file in scratch.rglob("*"):
                if file.is_file():
                    _sync(file)
            if replace and target.is_dir():
                shutil.rmtree(old, ignore_errors=True)
                os.replace(target, old)
            os.replace(scratch, target)
    finally:
        if old.exists() and not target.exists():
            os.replace(old, target)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(scratch, ignore_errors=True)


def writable(path: str | os.PathLike[str], hint: str) -> None:
    """Makes a folder and tries to write there, before the work whose result shall lie in it.

    Raises:
        OSError: it cannot be written; names it, and says `hint`.
    """
    try:
        pathlib.Path(path).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OSError(error.errno, f"{path} cannot be written ({error.strerror or error}); {hint}") from None


def chunks(path: str | os.PathLike[str], parts: Iterable[bytes | memoryview]) -> None:
    """Writes a file of bytes that come part by part."""
    with atomic(path) as scratch, open(scratch, "wb") as file:
        for part in parts:
            file.write(part)


def text(path: str | os.PathLike[str], value: str) -> None:
    """Writes a file of UTF-8 text, its line ends as they are."""
    chunks(path, [value.encode("utf-8", errors="backslashreplace")])


def json(path: str | os.PathLike[str], value: Any, *, indent: int | None = 2, **options: Any) -> None:
    """Writes a value as JSON that every reader takes: no NaN, a line break at its end."""
    text(path, _json.dumps(value, indent=indent, allow_nan=False, **options) + "\n")


def slug(title: str) -> str:
    """A title as a file name: lower case letters and digits, joined by underscores."""
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")


def _sync(file: pathlib.Path) -> None:
    with open(file, "rb+") as opened:
        os.fsync(opened.fileno())


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


# ---------------------------------------------------------------------------------------------------------------- a run


def versions() -> dict[str, str]:
    """Versions of what decides the numbers of a run."""
    found = {"python": platform.python_version()}
    for name in _NUMBERS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def device() -> str:
    """What computes, such as "8 x TPU v5 (tpu)"."""
    import jax

    return f"{jax.device_count()} x {jax.devices()[0].device_kind} ({jax.default_backend()})"


class Run(contextlib.AbstractContextManager["Run"]):
    """The folder of one run, locked while this object is open; `config.json` in it says what the run is.

    A folder is opened again only with an equal config; fields that are younger than the run count with their defaults.
    A run that fails before it has made anything is forgotten. `config` is the config as JSON; `notes` are remarks for a
    person, on what differs and may.

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
        given.local(folder, "run folder")
        self.folder, self.notes = pathlib.Path(folder), []
        self._cls = type(config) if dataclasses.is_dataclass(config) else None
        self.config = to_dict(config) if self._cls else _json.loads(_json.dumps(config))
        self._kind, self._elsewhere = kind, f"choose another {other}"
        self._stored()  # what is not a run's is left as it is, without even a lock
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

    def __exit__(self, kind: type | None, *_: Any) -> None:
        mine = kind is not None and not self._lock.closed
        if mine and {entry.name for entry in self.folder.iterdir()} == {".lock", "config.json"}:
            (self.folder / "config.json").unlink()
        self.close()

    def _stored(self) -> dict[str, Any] | None:
        """The folder's config.json; None where the folder is new, an error where it is not a run's of this kind."""
        path = self.folder / "config.json"
        if not path.exists():
            if self.folder.is_dir() and any(not entry.name.startswith(".") for entry in self.folder.iterdir()):
                raise ValueError(f"{self.folder} exists and is not a run (no config.json); {self._elsewhere}")
            return None
        try:
            stored = _json.loads(path.read_text("utf-8"))
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
            changed = differences(self._with_defaults(stored["config"]), self.config)
            free = tuple(f"{name}." for name in may_change)
            if fixed := [c for c in changed if not (c.split(" ")[0] + ".").startswith(free)]:
                raise ValueError(
                    f"{self.folder} holds a run with another config: {', '.join(fixed)}; {self._elsewhere}, "
                    "or start over with --fresh"
                )
            if changed:
                self.notes.append(f"goes on with another {', '.join(changed)}")
            if moved := differences(stored.get("versions", {}), here):
                self.notes.append(f"goes on with other versions, bits may differ: {', '.join(moved)}")
        whole = {"schema": SCHEMA, "kind": self._kind, "config": self.config, "versions": here, "device": device()}
        json(self.folder / "config.json", whole)

    def _with_defaults(self, old: dict[str, Any]) -> dict[str, Any]:
        """A stored config with the fields that are younger than it; as it is where its class has lost some."""
        if self._cls is not None:
            with contextlib.suppress(ValueError):
                return to_dict(from_dict(self._cls, old))
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
            kept, whole = [], path.read_text(errors="replace")
            for line in whole.splitlines(keepends=True):
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    if line.endswith("\n") and _json.loads(line)["step"] <= step:
                        kept.append(line)
            if "".join(kept) != whole:
                text(path, "".join(kept))
        with naming(path):
            self._file = open(path, "a")

    def add(self, row: dict[str, Any]) -> None:
        """Appends one row and hands it to the operating system, where a kill of this process cannot reach it."""
        with naming(self.path):
            self._file.write(_json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        with contextlib.suppress(OSError):
            self._file.close()


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass as JSON-ready nested dicts and lists."""
    return _json.loads(_json.dumps(_plain(config)))


def _plain(value: Any) -> Any:
    """`dataclasses.asdict`, which also says the `family` of a network's config where that is not the first one, Wan."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        kind = getattr(type(value), "family", "wan")
        return fields if kind == "wan" or "family" in fields else {"family": kind, **fields}
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the fields in which two `to_dict` results differ, each with both values."""
    out = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            out += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            out.append(f"{prefix}{key} (was {a!r:.80}, now {b!r:.80})")
    return out
