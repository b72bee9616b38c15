"""What plans read off shapes: parameters, bytes on a device, and how a config's rules divide a mesh."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vrjax import parallel
from vrjax.models import family

STREAMS = 9  # arrays of the stream's size around self-attention: stream, its copy in the loop, normed, q, k, v, rotated
# q and k, output
AROUND_MLP = 4  # around the feed-forward: stream, its copy in the loop, normed, output; beside two of its inner width


@functools.lru_cache(maxsize=32)
def weights(model: Any) -> tuple[int, int]:
    """Parameters of a network, and their bytes."""
    leaves = jax.tree.leaves(family.of(model).abstract(model))
    counts = [math.prod(leaf.shape) for leaf in leaves]
    return sum(counts), sum(n * leaf.dtype.itemsize for n, leaf in zip(counts, leaves, strict=True))


def block(needs: family.Needs, tokens: float | int, width: int) -> float | int:
    """Bytes that are alive at the widest place of one block, with attention as a fused kernel (no scores)."""
    stream, inner = tokens * needs.dim * width, tokens * needs.inner * width
    return max(STREAMS * stream, AROUND_MLP * stream + 2 * inner)


def local_bytes(tree: Any) -> int:
    """Bytes of a tree of shapes with shardings on one device."""
    total = 0
    for leaf in jax.tree.leaves(tree):
        shape = leaf.sharding.shard_shape(leaf.shape)
        size = 8 if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf.dtype.itemsize
        total += int(np.prod(shape)) * size
    return total


def axes(config: Any, name: str) -> tuple[str, ...]:
    """Mesh axes of a logical axis."""
    rule = parallel.as_rules(config.rules).get(name)
    return () if rule is None else (rule,) if isinstance(rule, str) else tuple(rule)


def ways(config: Any, mesh: Mapping[str, int], *names: str) -> int:
    """Chips over which logical axes are divided together."""
    return math.prod(mesh.get(axis, 1) for name in names for axis in axes(config, name))
