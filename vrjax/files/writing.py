"""Writing files so that a reader never meets half of one."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Yields a scratch path beside `path`; moves it onto `path` if the block ends well, removes it otherwise.

    The scratch file has the same suffix (encoders look at it) and lies in the same folder (a rename is atomic only
    within one file system). Missing parent folders are made. A full disk therefore leaves the old file as it was.
    """
    target = pathlib.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.stem[:40]}-", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    scratch = pathlib.Path(name)
    try:
        yield scratch
        with open(scratch, "rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        scratch.chmod(0o666 & ~umask)  # mkstemp makes files that only the owner may read
        os.replace(scratch, target)
    finally:
        scratch.unlink(missing_ok=True)
