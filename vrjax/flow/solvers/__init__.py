"""One file per solver, named as the factory it holds. `get` finds a solver by that name, so nothing is registered."""

import importlib
import pkgutil

from vrjax.flow.core import Solver


def names() -> tuple[str, ...]:
    """The solvers that exist."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__)))


def get(name: str, **options) -> Solver:
    """The solver called `name` with its options, e.g. `get("unipc", order=3)`. Raises ValueError for an unknown
    name.
    """
    if name not in names():
        raise ValueError(f"unknown solver {name!r}, expected one of {', '.join(names())}")
    return getattr(importlib.import_module(f"{__name__}.{name}"), name)(**options)
