"""Meshes, logical axes and maps over seeds. Knows no model and no task.

| module | what is in it |
| --- | --- |
| `mesh` | the one mesh: five named axes, any of which may be 1; a CPU's cores as devices, its memory kept |
| `rules` | logical axes of parameters to mesh axes |
| `layout` | where activations live; batches divided over examples |
| `context` | attention over tokens that are divided over devices |
| `seeds` | `over_seeds`: one function over many keys, with equal results in turn, batched, by pmap and on a mesh |
| `processes` | several processes: how they start, agree and end |
"""

from vrjax.files import named
from vrjax.parallel.layout import Layout, as_rules, batch, place
from vrjax.parallel.mesh import AXES, cores, mesh, run_mesh
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
    "run_mesh",
    "shardings",
    "spec",
]

__getattr__, __dir__ = named.lazy(__name__)
