"""A run's folder: one owner at a time, one config, rows that survive a kill, files that appear whole or not at all.

What decides a run's numbers stands in its config: versions, and of what it read, fingerprints in which every byte
counts.

with runs.Run("runs/wide", config, kind="train", may_change=("mesh",), fresh=args.fresh) as run:
    for note in run.notes: print(note)
    rows = runs.Rows(run.folder / "metrics.jsonl", step=0)

A config is a frozen dataclass; as JSON and back it is strict: a wrong type is one line that names the field.

values = runs.to_dict(config)
config = runs.from_dict(TrainConfig, values)
runs.differences(values, runs.to_dict(other))          # ["optim.lr (was 0.003, now 0.001)"]

fingerprint("Wan2.1-T2V-1.3B/vae")                     # a folder: names and contents
key(video=fingerprint("clip.mp4"), frames=81)          # of named parts
"""

import collections.abc
import concurrent.futures
import contextlib
import dataclasses
import errno
import fcntl
import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import time
import types
import typing
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from vrjax.files import writing

SCHEMA = 1  # of config.json; with `kind` and `config`, what tells a run's folder from any other
_NUMBERS = ("vrjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
_SETTLED = 2_000_000_000  # ns after which a file's clock would show another write
T = TypeVar("T")

_SAID = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "null"}


def versions() -> dict[str, str]:
    """Versions of what decides the numbers of a run."""
    found = {"python": platform.python_version()}
    for name in _NUMBERS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def key(**parts: Any) -> str:
    """SHA-256 of named parts; anything JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, allow_nan=False).encode()).hexdigest()


def fingerprint(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes; of a folder's, the names of all files in it and theirs.

    The index of a model in several files stands for these as well. Nothing is skipped: a file of 28 GB takes about half
    a minute. What was hashed is remembered in this process for as long as size and times of the file stay.

    Raises:
        FileNotFoundError: nothing there. OSError: a file that cannot be read.
    """
    path = pathlib.Path(path)
    if path.name.endswith(".safetensors.index.json"):
        parts = set(json.loads(path.read_bytes())["weight_map"].values())
        return key(index=_file(path), **{name: _file(path.parent / name) for name in parts})
    if not path.is_dir():
        return _file(path)
    files = sorted((p.relative_to(path).as_posix(), p) for p in path.rglob("*") if p.is_file())
    with concurrent.futures.ThreadPoolExecutor(4) as pool:  # hashing lets the interpreter go
        found = list(pool.map(_file, (file for _, file in files)))
    whole = hashlib.sha256()
    for (name, _), digest in zip(files, found, strict=True):
        whole.update(f"{name}\0{digest}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _file(path: pathlib.Path) -> str:
    about = os.stat(path)
    stamp = (os.path.realpath(path), about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    young = time.time_ns() - max(about.st_mtime_ns, about.st_ctime_ns) < _SETTLED
    return (_read.__wrapped__ if young else _read)(*stamp)


@functools.lru_cache(maxsize=4096)
def _read(path: str, *stamp: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
        self.folder, self.notes = pathlib.Path(folder), []
        self._cls = type(config) if dataclasses.is_dataclass(config) else None
        self.config = to_dict(config) if self._cls else json.loads(json.dumps(config))
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
        import jax

        device = f"{jax.device_count()} x {jax.devices()[0].device_kind} ({jax.default_backend()})"
        whole = {"schema": SCHEMA, "kind": self._kind, "config": self.config, "versions": here, "device": device}
        writing.json(self.folder / "config.json", whole)

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


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass as JSON-ready nested dicts and lists."""
    return json.loads(json.dumps(_plain(config)))


def _plain(value: Any) -> Any:
    """`dataclasses.asdict`, which also says the `family` of a network's config where that is not the first one, Wan."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        kind = getattr(type(value), "family", "wan")
        return fields if kind == "wan" or "family" in fields else {"family": kind, **fields}
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def from_dict(cls: type[T], values: Any, where: str = "config") -> T:
    """The inverse of `to_dict`: rebuilds dataclass `cls`, lists becoming tuples again.

    Raises:
        ValueError: no object, an unknown or missing field, or a value of another type; names the field with its place,
            what was found and what was expected. And what the class itself refuses.
    """
    if not isinstance(values, dict):
        raise _wrong(where, values, f"an object with the fields of {cls.__name__}")
    hints = _hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - set(fields)):
        raise ValueError(f"{where}: unknown fields {unknown}, expected some of {sorted(fields)}")
    nothing = dataclasses.MISSING
    needed = {name for name, f in fields.items() if f.default is nothing and f.default_factory is nothing}
    if missing := sorted(needed - set(values)):
        raise ValueError(f"{where}: missing fields {missing} of {cls.__name__}")
    return cls(**{name: _convert(hints[name], value, f"{where}.{name}") for name, value in values.items()})


_hints = functools.cache(functools.partial(typing.get_type_hints, include_extras=True))


def _convert(hint: Any, value: Any, place: str) -> Any:
    """A JSON value as the annotation has it."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return value
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, place)  # type: ignore[arg-type]
    if origin is typing.Annotated:
        if isinstance(inner[1], types.FunctionType):  # reads what the annotation alone does not say
            return inner[1](value, place)
        return _convert(inner[0], value, place)
    if origin in (typing.Union, types.UnionType):
        return _either(inner, value, place)
    if origin is Literal:
        if not any(type(value) is type(option) and value == option for option in inner):
            raise _wrong(place, value, _name(hint))
        return value
    if (origin or hint) in (tuple, list, collections.abc.Sequence):
        return _sequence(hint, value, place)
    if (origin or hint) in (dict, collections.abc.Mapping):
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise _wrong(place, value, "an object")
        return {name: _convert(inner[1], v, f"{place}.{name}") if inner else v for name, v in value.items()}
    if hint is float and type(value) is int:
        return value
    if hint in _SAID and type(value) is not hint:
        raise _wrong(place, value, _SAID[hint])
    return value


def _either(options: tuple[Any, ...], value: Any, place: str) -> Any:
    errors = []
    for option in options:
        try:
            return _convert(type(None) if option is None else option, value, place)
        except ValueError as error:
            errors.append((option, error))
    told = [error for option, error in errors if option is not type(None)]
    if value is not None and len(told) == 1 and isinstance(value, (dict, list)):
        raise told[0]  # says what is wrong inside
    raise _wrong(place, value, " or ".join(_name(option) for option in options))


def _sequence(hint: Any, value: Any, place: str) -> Any:
    inner = typing.get_args(hint)
    if not isinstance(value, (list, tuple)):
        raise _wrong(place, value, "a list")
    if typing.get_origin(hint) is not tuple or inner[-1:] == (Ellipsis,):
        inner = inner[:1] * len(value)
    elif len(inner) != len(value):
        raise _wrong(place, value, f"a list of {len(inner)}")
    hints = inner or (Any,) * len(value)
    made = [_convert(h, v, f"{place}[{i}]") for i, (h, v) in enumerate(zip(hints, value, strict=True))]
    return made if list in (hint, typing.get_origin(hint)) else tuple(made)


def _name(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(option) for option in typing.get_args(hint))
    if dataclasses.is_dataclass(hint):
        return f"an object with the fields of {hint.__name__}"  # type: ignore[union-attr]
    origin = typing.get_origin(hint) or hint
    return _SAID.get(origin) or {tuple: "a list", list: "a list", dict: "an object"}.get(origin) or str(hint)


def _wrong(place: str, value: Any, expected: str) -> ValueError:
    shown = json.dumps(value) if isinstance(value, (bool, int, float, str, type(None))) else type(value).__name__
    shown = {"list": "a list", "tuple": "a list", "dict": "an object"}.get(shown, shown)
    return ValueError(f"{place}: found {shown:.80}, expected {expected}")


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
