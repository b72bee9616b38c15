"""Models by their ids on the Hugging Face hub: found in its cache on this machine, downloaded only when allowed.

hub.find("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", reader)                    # an id: the cache's whole copy, or a refusal
hub.find("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", reader, allow=True)        # or a download of what is read, nothing more
hub.find("/data/hub/models--Wan-AI--Wan2.1-T2V-1.3B-Diffusers", reader)      # one model's folder in a cache
hub.find("/data/hub/Wan-AI/Wan2.1-T2V-1.3B-Diffusers", reader)               # a cache and an id: that cache alone

A folder that exists wins over an id. A whole copy in the cache is used as it is, and nothing is asked of the hub; which
files make it whole, and which of a model's are read at all, is the `Reader`'s to say.

The cache's layout (`models--OWNER--NAME/refs/main` names a commit, `snapshots/COMMIT/` holds its files) and its place
(HF_HUB_CACHE, else HF_HOME/hub) are those of huggingface_hub, which is needed for downloading alone: the extra `hub`.
"""

import glob
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

GIB = 2**30
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_YES = ("1", "ON", "YES", "TRUE")
_SHOWN = 6  # files that an error names


class Reader(NamedTuple):
    """What a kind of model reads of a folder.

    Attributes:
        reads: of the names of a model's files, those that are read.
        lacks: what a folder on disk lacks of them, by name; nothing where it is whole.
    """

    reads: Callable[[Iterable[str]], list[str]]
    lacks: Callable[[pathlib.Path], list[str]]


class Offer(NamedTuple):
    """What would be downloaded: the model's id, its files and their bytes, and the cache that they would lie in."""

    name: str
    files: tuple[tuple[str, int], ...]
    cache: pathlib.Path

    @property
    def bytes(self) -> int:
        """All together."""
        return sum(size for _, size in self.files)

    @property
    def words(self) -> str:
        """In one line."""
        return f"{len(self.files)} files, {self.bytes / GIB:.2f} GiB, into {self.cache}"

    def table(self) -> str:
        """File by file."""
        rows = [f"  {size / GIB:9.3f} GiB  {name}" for name, size in self.files]
        return "\n".join([f"{self.name}: to download: {self.words}", *rows])


def is_id(given: str | os.PathLike) -> bool:
    """Whether a name has the form of an id, OWNER/NAME."""
    return bool(_ID.fullmatch(os.fspath(given)))


def is_asked(given: str | os.PathLike) -> bool:
    """Whether a name means the hub: it is an id, and neither a path nor a model of a cache that are here."""
    return is_id(given) and not pathlib.Path(given).exists() and not _below(given).is_dir()


def find(given: str | os.PathLike, reader: Reader, *, allow: bool | Callable[[Offer], bool] = False) -> pathlib.Path:
    """The folder of a model, see the module's docstring.

    Args:
        given: a folder or file, which is returned as it is; a folder of the cache's layout; an id.
        reader: of the kind of model.
        allow: whether what the cache lacks of an id is downloaded, or a function that says so of the `Offer`.

    Returns:
        A folder. A name that is neither there nor an id comes back as it is.

    Raises:
        FileNotFoundError: neither a folder nor a model of the hub's, or there is no way to ask; a cached copy that is
            not whole: names the files that it lacks.
        ValueError: several models or copies, of which one must be named; a download that was not allowed: says how
            much it would be. OSError: no room for it.
    """
    path = pathlib.Path(given)
    if path.is_dir():
        return _local(path, reader)
    if not path.exists() and _below(path).is_dir():
        return _local(_below(path), reader)
    return _of_id(os.fspath(given), reader, allow) if is_asked(given) else path


def cache() -> pathlib.Path:
    """Where huggingface_hub keeps what it downloads."""
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return pathlib.Path(os.path.expanduser(os.path.expandvars(os.environ.get("HF_HUB_CACHE") or f"{home}/hub")))


def _folder(owner: str, name: str) -> str:
    return f"models--{owner}--{name}"


def _below(given: str | os.PathLike) -> pathlib.Path:
    """Of a cache and an id, CACHE/OWNER/NAME: the model's folder in that cache."""
    path = pathlib.Path(given)
    return path.parent.parent / _folder(path.parent.name, path.name)


def _local(path: pathlib.Path, reader: Reader) -> pathlib.Path:
    """A folder as it is, or the one copy in a folder of the cache's layout."""
    if not (path / "snapshots").is_dir():
        models = sorted(found.name for found in path.glob(_folder("*", "*")))
        if models:
            names = ", ".join("/".join(name.split("--")[1:]) for name in models[:_SHOWN])
            raise ValueError(f"{path}: a cache of {len(models)} models; add the id of one to it: {names}")
        return path
    found, name = _copy(path), "/".join(path.name.split("--")[1:]) or path.name
    lacking = ["refs/main"] if found is None else reader.lacks(found)
    if found is None or lacking:
        raise FileNotFoundError(f"{found or path}: an unfinished download of {name}, without {_listed(lacking)}")
    return found


def _copy(path: pathlib.Path) -> pathlib.Path | None:
    """The copy that `refs/main` of a model's folder names, else the only one; None where there is none."""
    ref, copies = path / "refs" / "main", sorted(p for p in path.glob("snapshots/*") if p.is_dir())
    if ref.is_file():
        named = path / "snapshots" / ref.read_text("utf-8").strip()
        return named if named.is_dir() else None
    if len(copies) > 1:
        raise ValueError(f"{path}: {len(copies)} copies and no refs/main; name one, such as {copies[0]}")
    return copies[0] if copies else None


def _of_id(name: str, reader: Reader, allow: bool | Callable[[Offer], bool]) -> pathlib.Path:
    """The cached copy of an id, downloaded where it is not whole and may be."""
    where = cache()
    there = _copy(where / _folder(*name.split("/")))
    lacking = None if there is None else reader.lacks(there)
    if there is not None and not lacking:
        return there
    state = f"{where} has nothing of it" if lacking is None else f"{there} lacks {_listed(lacking)}"
    refused = f"{name}: no such folder, and no whole copy of a model of this id in the hub's cache ({state})"
    if any(os.environ.get(flag, "").upper() in _YES for flag in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")):
        raise FileNotFoundError(f"{refused}; the hub is not asked: HF_HUB_OFFLINE is set")
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError:
        raise FileNotFoundError(f"{refused}; to ask the hub: pip install 'vrjax[hub]'") from None
    try:
        about = huggingface_hub.HfApi().model_info(name, files_metadata=True)
    except errors.RepositoryNotFoundError:
        raise FileNotFoundError(
            f"{refused}; nor has the hub one that you may read (a licence to accept? hf auth login)"
        ) from None
    except Exception as error:  # of httpx's kinds, whose module changes with huggingface_hub's version
        why = " ".join(str(error).split())[:160]
        raise FileNotFoundError(f"{refused}; the hub cannot be asked ({type(error).__name__}: {why})") from None
    sizes = {file.rfilename: int(file.size or 0) for file in about.siblings or ()}
    if not (wanted := reader.reads(sizes)):
        raise ValueError(f"{name}: the hub's model of this id holds no weights that are read here")
    return _download(name, about.sha, wanted, sizes, where, reader, allow)


def _download(
    name: str, commit: Any, wanted: list[str], sizes: dict[str, int], where: pathlib.Path, reader: Reader, allow: Any
) -> pathlib.Path:
    """One commit's files that are read, after they were offered."""
    import huggingface_hub

    here = where / _folder(*name.split("/")) / "snapshots" / str(commit)
    offer = Offer(name, tuple((file, sizes[file]) for file in wanted if not (here / file).exists()), where)
    if not (allow(offer) if callable(allow) else allow):
        raise ValueError(f"{name}: nothing downloaded ({offer.words}); allow it by --download, in Python download=True")
    where.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(where).free) < offer.bytes:
        raise OSError(f"{name}: {offer.words}, but {free / GIB:.2f} GiB are free; set HF_HUB_CACHE to another disk")
    patterns = [glob.escape(file) for file in wanted]
    got = huggingface_hub.snapshot_download(name, revision=commit, cache_dir=where, allow_patterns=patterns)
    if lacking := reader.lacks(pathlib.Path(got)):
        raise FileNotFoundError(f"{name}: the hub's model of this id has no {_listed(lacking)}")
    return pathlib.Path(got)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
