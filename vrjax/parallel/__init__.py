"""Meshes, logical axes and maps over seeds. Knows no model and no task."""

from vrjax.parallel.layout import Layout, as_rules, batch, place
from vrjax.parallel.mesh import AXES, cores, mesh
from vrjax.parallel.rules import DEFAULT_RULES, Rules, UnevenSharding, shardings, spec
from vrjax.parallel.seeds import over_seeds

__all__ = [
    "AXES",
    "DEFAULT_RULES",
    "Layout",
    "Rules",
    "UnevenSharding",
    "as_rules",
    "batch",
    "cores",
    "mesh",
    "over_seeds",
    "place",
    "shardings",
    "spec",
]
