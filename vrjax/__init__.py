"""vrjax: a laboratory for video reasoning. See README.md; start at `vrjax.load` or at `vrjax.flow.sample`.

    run = vrjax.load("worlds").sample("maze", clip=7, seeds=4)      # see `vrjax.study.lab`

Rooms are imported when they are first named (`vrjax.flow`), so that importing the package alone brings nothing else. In
a notebook, what the library returns shows itself, see `vrjax.report.notebook`.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vrjax import (
        align,
        bench,
        data,
        drive,
        files,
        flow,
        inverse,
        models,
        motion,
        parallel,
        plan,
        reasoning,
        report,
        study,
        tasks,
        train,
        world,
    )
    from vrjax.study.lab import load

__version__ = "0.1.0"
__all__ = [
    "align",
    "bench",
    "data",
    "drive",
    "files",
    "flow",
    "inverse",
    "load",
    "models",
    "motion",
    "parallel",
    "plan",
    "reasoning",
    "report",
    "study",
    "tasks",
    "train",
    "world",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'vrjax' has no attribute {name!r}")
    if name == "load":  # brings JAX and the models with it
        return importlib.import_module("vrjax.study.lab").load
    return importlib.import_module(f"vrjax.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if "IPython" in sys.modules:  # a notebook or its like: they show HTML
    importlib.import_module("vrjax.report.notebook").register()
