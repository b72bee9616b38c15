"""Writing files and folders so that a reader never meets half of one: whole under their final name, or not at all.

writing.json("runs/a/results.json", {"n": 3})
with writing.atomic("runs/a/film.mp4") as scratch:      # any writer that takes a path
    encode(scratch, frames)
with writing.folder("runs/a/model") as scratch:         # a whole folder
    save(scratch)
"""

import contextlib
import errno
import json as _json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any


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


def _sync(file: pathlib.Path) -> None:
    with open(file, "rb+") as opened:
        os.fsync(opened.fileno())


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
