"""Extension points: a folder whose files are found by name, so that nothing is registered.

named.names("vrjax.flow.solvers")                       # ("ab2", "dpmpp_2m", "euler", ...)
named.module("vrjax.flow.solvers", "euler", "solver")   # the file itself, imported when it is asked for
"""

import importlib
import pkgutil
import types


def names(package: str) -> tuple[str, ...]:
    """The files and folders of a package, but those whose names begin with an underscore."""
    path = importlib.import_module(package).__path__
    return tuple(sorted(m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_")))


def module(package: str, name: str, what: str) -> types.ModuleType:
    """The file called `name`; ValueError that calls it a `what` and lists those there are, where there is none."""
    if name not in names(package):
        raise ValueError(f"unknown {what} {name!r}, expected one of {', '.join(names(package))}")
    return importlib.import_module(f"{package}.{name}")
