"""What is in files and folders, as one number: a SHA-256 in which every byte counts.

fingerprint("Wan2.1-T2V-1.3B/vae")                       # a folder: names and contents
key(video=fingerprint("clip.mp4"), frames=81)            # of named parts
"""

import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import time
from typing import Any

_SETTLED = 2_000_000_000  # ns after which a file's clock would show another write


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
