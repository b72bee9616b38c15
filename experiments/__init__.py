"""One package a paper; `python -m experiments.<paper> --help` says what each measures.

Importing any of them sets the host allocator up for XLA, before JAX computes anything. `VRJAX_HOST_MEMORY=system`
leaves it alone: the bench's PyTorch processes run as PyTorch users run them.
"""

import os

from vrjax.parallel.mesh import reuse_host_memory

if os.environ.get("VRJAX_HOST_MEMORY") != "system":
    reuse_host_memory()
