"""Extension points: a folder whose files are found by name, so that nothing is registered.

named.names("vrjax.flow.solvers")                       # ("ab2", "dpmpp_2m", "euler", ...)
named.module("vrjax.flow.solvers", "euler", "solver")   # the file itself, imported when it is asked for
__getattr__, __dir__ = named.lazy(__name__)             # in a room: `room.file` imports the file
"""

import difflib
import importlib
import pkgutil
import types
from collections.abc import Callable, Iterable


def names(package: str) -> tuple[str, ...]:
    """The files and folders of a package, but those whose names begin with an underscore."""
    path = importlib.import_module(package).__path__
    return tuple(sorted(m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_")))


def module(package: str, name: str, what: str) -> types.ModuleType:
    """The file called `name`; ValueError that calls it a `what` and lists those there are, where there is none."""
    if name not in names(package):
        raise ValueError(unknown(what, name, names(package)))
    return importlib.import_module(f"{package}.{name}")


def unknown(what: str, name: object, known: Iterable[str]) -> str:
    """The one line that says a name is not there: the nearest that is, where one is near, and all there are."""
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.7)
    hint = f", did you mean {near[0]!r}?" if near else ","
    return f"unknown {what} {name!r}{hint} expected one of {', '.join(known)}"


def lazy(package: str) -> tuple[Callable[[str], types.ModuleType], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose files are imported when they are first named, and whose other
    names are its own."""

    def find(name: str) -> types.ModuleType:
        if name.startswith("_") or name not in names(package):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return importlib.import_module(f"{package}.{name}")

    def listed() -> list[str]:
        return sorted({*vars(importlib.import_module(package)), *names(package)})

    return find, listed
