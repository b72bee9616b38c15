"""Results that are kept, and reused only when everything they came from is the same.

    about = {
        "options": writing.to_dict(options),                       # steps, size, seed, ...
        "model": kept.fingerprint(folder),                         # every byte counts; LoRAs and inputs likewise
        "code": kept.source("experiments.vchain.arms"),            # the instrument, and what it imports
    }
    tables = kept.arrays("runs/a/tables/none.npz", about, lambda: {"solved": measure()})
    kept.file("runs/a/film.mp4", about, lambda scratch: mp4.write(scratch, video))

Where a result of something else stands, it is said what differs, and it is measured again. A file that is torn, or that
was not made here, is never overwritten: it is an error that names it.
"""

import ast
import concurrent.futures
import functools
import hashlib
import importlib.util
import json
import os
import pathlib
import sys
import time
import types
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from vrjax.files import writing

_SETTLED = 2_000_000_000  # ns after which a file's clock would show another write
OURS = ("vrjax", "experiments")
_ABOUT = "made_of"  # entry of an archive, beside the arrays
_LOADED: dict[tuple[str, int], bytes] = {}  # source of loaded modules, by name and identity, see `as_loaded`


def arrays(
    path: str | os.PathLike[str],
    about: Mapping[str, Any],
    make: Callable[[], Mapping[str, Any]],
    *,
    say: Callable[[str], None] = print,
) -> dict[str, np.ndarray]:
    """`make()`, or what an earlier call made of the same and left in `path` (.npz).

    Args:
        path: of the archive; it holds `about` too.
        about: what the arrays depend on; anything JSON can hold.
        make: measures; gives named arrays.
        say: told what differs where an archive is there that was made of something else.

    Raises:
        ValueError: the file is torn or not one of these; `about` that JSON cannot hold, or arrays of objects.
    """
    path = pathlib.Path(path)
    wanted = _plain(about, path)
    if path.exists():
        found, then = read(path)
        if not _differs(path, then, wanted, say):
            return found
    made = {name: np.asarray(value) for name, value in make().items()}
    if odd := [name for name, value in made.items() if value.dtype.kind in "OV" or name == _ABOUT]:
        raise ValueError(f"{path}: {odd[0]!r} is {made[odd[0]].dtype}, which an archive cannot hold")
    with writing.atomic(path) as scratch, open(scratch, "wb") as file:
        np.savez_compressed(file, **made, **{_ABOUT: np.asarray(json.dumps(wanted))})  # type: ignore[arg-type]
    return made


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of an archive and what they were made of, whatever that is.

    Raises:
        FileNotFoundError: none there. ValueError: the file is torn, or not one of `arrays`.
    """
    try:
        with np.load(path) as stored:
            found = {name: stored[name] for name in stored.files}
        then = json.loads(str(found.pop(_ABOUT)))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: torn, or not a result kept here ({error}); delete it to measure again") from None
    return found, then


def file(
    path: str | os.PathLike[str],
    about: Mapping[str, Any],
    make: Callable[[pathlib.Path], object],
    *,
    say: Callable[[str], None] = print,
) -> bool:
    """Has `make(scratch)` write a file, unless one is there that was made of the same.

    What it was made of stands beside it in a hidden file, with the fingerprint of its bytes.

    Returns:
        Whether it was made now.

    Raises:
        ValueError: a file that is torn, changed or was not made here.
    """
    path = pathlib.Path(path)
    wanted, note = _plain(about, path), path.with_name(f".{path.name}.made")
    if path.exists():
        try:
            then = json.loads(note.read_text("utf-8"))
            whole = then["content"] == fingerprint(path)
        except (OSError, ValueError, KeyError, TypeError):
            raise ValueError(f"{path}: not made here ({note.name} is missing or torn); move it away") from None
        if not whole:
            raise ValueError(f"{path}: changed since it was made; move it away or delete it")
        if not _differs(path, then[_ABOUT], wanted, say):
            return False
    with writing.atomic(path) as scratch:
        make(scratch)
        # A kill may come between any two lines: the old file goes before its note does, the new one comes after.
        path.unlink(missing_ok=True)
        writing.json(note, {_ABOUT: wanted, "content": fingerprint(scratch)})
    return True


def _plain(about: Mapping[str, Any], path: pathlib.Path) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(dict(about), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: what it is made of cannot be written as JSON ({error})") from None


def _differs(path: pathlib.Path, then: Any, now: dict[str, Any], say: Callable[[str], None]) -> bool:
    changed = writing.differences(then if isinstance(then, dict) else {}, now)
    if changed:
        say(f"{path}: made again, since it was made with another {', '.join(c.split(' ')[0] for c in changed)}")
    return bool(changed)


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


def source(*modules: str | types.ModuleType) -> str:
    """A hash of modules' source code and, transitively, of the modules of ours that they import: see `reached`.

    Args:
        *modules: dotted names, or the modules.

    Raises:
        ValueError: a module without source.
    """
    found = reached(*modules)
    return hashlib.sha256("".join(f"{name} {found[name]}\n" for name in sorted(found)).encode()).hexdigest()


def reached(*modules: str | types.ModuleType) -> dict[str, str]:
    """The modules that `source` looks at, each with a hash of its code.

    Comments, docstrings and layout do not count. Imports inside functions do. A module that finds others by name
    (`importlib`, `pkgutil`) brings all that lie in its folder. What the package `vrjax` itself hands out is followed
    by the names that are imported from it.

    Args:
        *modules: dotted names, or the modules.

    Raises:
        ValueError: a module without source.
    """
    todo = [(m if isinstance(m, str) else m.__spec__.name if m.__spec__ else m.__name__, True) for m in modules]
    named = {name for name, _ in todo}
    ours = {*OURS, *(name.partition(".")[0] for name in named)}
    seen: dict[str, bool] = {}
    found: dict[str, str] = {}
    while todo:
        name, deep = todo.pop()
        deep = deep and ("." in name or name in named)
        if name.partition(".")[0] not in ours or seen.get(name, -1) >= deep:
            continue
        seen[name] = deep
        path = _place(name)
        if path is None:
            if name in named:
                raise ValueError(f"{name}: no source of such a module")
            continue
        if path.suffix == ".py":
            found[name], top, inside, by_name = _parsed(_code(name, path), str(path))
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            wanted = top | inside if deep else top
            todo += [(other, True) for other in _absolute(wanted, package)]
            if by_name and deep:
                todo += [(other, True) for other in _beside(path.parent, package)]
        parent = name.rpartition(".")[0]
        if parent:
            todo.append((parent, False))
    return found


def as_loaded() -> None:
    """Remembers the source of all modules of ours that this process has loaded, as it is now: a run of hours computes
    with that, whatever becomes of the files meanwhile, and says so of its results."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in OURS and (path := _place(name)) and path.suffix == ".py":
            _LOADED.setdefault((name, id(module)), path.read_bytes())


def _code(name: str, path: pathlib.Path) -> bytes:
    return _LOADED.get((name, id(sys.modules.get(name)))) or path.read_bytes()


def _place(name: str) -> pathlib.Path | None:
    """The file of a module, or the folder of a package without one; None where there is no such module."""
    top, *rest = name.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        return None
    if not spec.submodule_search_locations:
        return pathlib.Path(spec.origin) if spec.origin and not rest else None
    for root in spec.submodule_search_locations:
        base = pathlib.Path(root, *rest)
        for path in (base / "__init__.py", base.with_suffix(".py") if rest else base, base):
            if path.is_file() or (path == base and path.is_dir()):
                return path
    return None


def _beside(folder: pathlib.Path, package: str) -> Iterator[str]:
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).with_suffix("").parts
        yield ".".join([package, *(parts[:-1] if parts[-1] == "__init__" else parts)])


def _absolute(imports: set[tuple[int, str, str]], package: str) -> Iterator[str]:
    """Names of what may be modules, from (dots, module, name) of import statements."""
    for dots, module, name in imports:
        up = package.split(".")[: len(package.split(".")) - dots + 1] if dots else []
        base = ".".join([*up, *([module] if module else [])])
        yield base
        if name and name != "*":
            yield f"{base}.{name}"


@functools.lru_cache(maxsize=2048)
def _parsed(code: bytes, path: str) -> tuple[str, set[tuple[int, str, str]], set[tuple[int, str, str]], bool]:
    """A module's code as a hash, its imports at the top and inside, and whether it finds modules by name."""
    tree = ast.parse(code, path)
    imports: list[set[tuple[int, str, str]]] = [set(), set()]
    top = {id(node) for node in tree.body}
    by_name = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports[id(node) not in top] |= {(0, alias.name, "") for alias in node.names}
            by_name |= any(alias.name in ("importlib", "pkgutil") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            imports[id(node) not in top] |= {(node.level, module, alias.name) for alias in node.names}
            by_name |= module == "pkgutil" or (module == "importlib" and node.names[0].name == "import_module")
        for name in ("body", "orelse", "finalbody"):
            if isinstance(lines := getattr(node, name, None), list):
                text = lambda line: isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
                setattr(node, name, [line for line in lines if not text(line)])
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imports[0], imports[1], by_name
