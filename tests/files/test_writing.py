"""Files appear whole or not at all; fingerprints in which every byte counts."""

import errno
import os
import stat

import numpy as np
import pytest

from vrjax import files
from vrjax.files import kept, writing


class Kill(BaseException):
    pass


def test_a_kill_before_the_rename_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a" / "file.txt"
    writing.text(path, "old")

    def die(*args):
        raise Kill

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die)
        with pytest.raises(Kill):
            writing.text(path, "new")
    assert path.read_text() == "old" and os.listdir(path.parent) == ["file.txt"]
    with pytest.raises(Kill), writing.atomic(path) as scratch:
        scratch.write_text("half")
        raise Kill
    assert path.read_text() == "old" and os.listdir(path.parent) == ["file.txt"]


@pytest.mark.parametrize("write", [
    lambda path: writing.text(path, "x"),
    lambda path: writing.json(path, {"x": 1}),
    lambda path: writing.chunks(path, [b"x"]),
])  # fmt: skip
def test_a_full_disk_is_said_plainly(tmp_path, monkeypatch, write):
    path = tmp_path / "file.bin"
    path.write_text("old")

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="file.bin not written: no space left on the disk") as caught:
        write(path)
    assert caught.value.errno == errno.ENOSPC and path.read_text() == "old" and os.listdir(tmp_path) == ["file.bin"]


def test_errors_name_the_file_they_are_about(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.txt") as caught, writing.atomic(tmp_path / "a.txt"):
        open(tmp_path / "none.txt")
    assert "not written" not in str(caught.value)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file/b.txt not written"):
        writing.text(tmp_path / "file" / "b.txt", "x")


def test_permissions_are_those_of_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        writing.text(tmp_path / "a", "x")
        with writing.folder(tmp_path / "b") as scratch:
            (scratch / "c").write_text("x")
    finally:
        os.umask(old)
    mode = lambda name: stat.S_IMODE(os.stat(tmp_path / name).st_mode)
    assert mode("a") == 0o640 and mode("b") == 0o750


def test_folders_are_whole_or_not_there(tmp_path):
    path = tmp_path / "model"
    with pytest.raises(Kill), writing.folder(path) as scratch:
        (scratch / "half").write_text("x")
        raise Kill
    assert not os.listdir(tmp_path)
    with writing.folder(path) as scratch:
        (scratch / "one").write_text("x")
    with pytest.raises(FileExistsError, match="model: exists already"), writing.folder(path) as scratch:
        (scratch / "two").write_text("x")
    assert os.listdir(path) == ["one"] and os.listdir(tmp_path) == ["model"]
    with writing.folder(path, replace=True) as scratch:
        (scratch / "two").write_text("x")
    assert os.listdir(path) == ["two"] and os.listdir(tmp_path) == ["model"]


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError):
        writing.json(tmp_path / "a.json", {"x": float("nan")})
    assert not os.listdir(tmp_path)


def test_every_byte_counts(tmp_path):
    """The hash that sampled 64 x 4 KiB of a file would miss most of these."""
    path = tmp_path / "w.safetensors"
    data = bytearray(np.random.default_rng(0).bytes(1 << 20))
    path.write_bytes(data)
    first = files.fingerprint(path)
    for at in (0, 5000, len(data) // 2 + 77, len(data) - 1):
        changed = bytearray(data)
        changed[at] ^= 1
        path.write_bytes(changed)
        assert files.fingerprint(path) != first, at
    path.write_bytes(data)
    assert files.fingerprint(path) == first
    with pytest.raises(FileNotFoundError, match="none"):
        files.fingerprint(tmp_path / "none")


def test_fingerprints_of_folders(tmp_path):
    for name in ("a/x", "a/b/y"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    found = [files.fingerprint(tmp_path / "a")]
    (tmp_path / "a" / "b" / "y").rename(tmp_path / "a" / "b" / "z")
    found.append(files.fingerprint(tmp_path / "a"))
    (tmp_path / "a" / "b" / "z").write_text("a/b/z")
    found.append(files.fingerprint(tmp_path / "a"))
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "b" / "x")
    found.append(files.fingerprint(tmp_path / "a"))
    assert len(set(found)) == 4


def test_an_old_file_is_hashed_once(tmp_path, monkeypatch):
    path = tmp_path / "w"
    path.write_text("x")
    monkeypatch.setattr(kept, "_SETTLED", -1)
    before = kept._read.cache_info()
    assert files.fingerprint(path) == files.fingerprint(path)
    after = kept._read.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 1)
