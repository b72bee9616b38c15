"""Low-rank adapters as a transform of pytrees: `init` makes a small tree, `merge` adds it to the base weights.

The adapter tree is a flat dict `{path: {"a": (..., in, rank), "b": (..., rank, out)}}` keyed by the dotted path of the
kernel it adapts, so it can be saved, averaged, stacked over seeds or differentiated like any other pytree. The merged
weight is `W + (alpha / rank) * a @ b`; leading axes (stacked blocks) are carried along. The model never knows.
"""

import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from vrjax.train.optim import BLOCK_MATRICES, path_name

Adapter = dict[str, dict[str, Any]]  # arrays of either kind: an export merges on the host


def targets(params: Any, patterns: Sequence[str] = BLOCK_MATRICES) -> list[str]:
    """Dotted paths of the matrices (or stacks of matrices) whose path matches one of `patterns` (`re.search`)."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    names = [(path_name(path), leaf) for path, leaf in leaves]
    return [n for n, leaf in names if leaf.ndim >= 2 and any(re.search(p, n) for p in patterns)]


def init(params: Any, key: jax.Array, *, rank: int, patterns: Sequence[str] = BLOCK_MATRICES) -> Adapter:
    """Fresh adapters: `a` Gaussian with variance 1 / in, `b` zero, so that merging changes nothing.

    Args:
        params: the base weights, any pytree of arrays.
        key: PRNG key; each adapter folds in its index among the sorted paths.
        rank: inner size, at least 1 and at most the smaller side of every adapted matrix.
        patterns: which matrices, see `targets`.

    Raises:
        ValueError: no parameter matches, or the rank does not fit.
    """
    names = sorted(targets(params, patterns))
    if not names:
        known = ", ".join(path_name(p) for p, _ in jax.tree_util.tree_leaves_with_path(params)[:8])
        raise ValueError(f"no matrix matches the LoRA patterns {list(patterns)}; parameters are {known}, ...")
    leaves = {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    adapter: Adapter = {}
    for index, name in enumerate(names):
        *lead, fan_in, fan_out = leaves[name].shape
        if not 1 <= rank <= min(fan_in, fan_out):
            raise ValueError(f"LoRA rank {rank} does not fit {name} of shape {leaves[name].shape}")
        a = jax.random.normal(jax.random.fold_in(key, index), (*lead, fan_in, rank), jnp.float32) / fan_in**0.5
        adapter[name] = {"a": a, "b": jnp.zeros((*lead, rank, fan_out), jnp.float32)}
    return adapter


def merge(params: Any, adapter: Adapter, *, alpha: float | None = None) -> Any:
    """The base weights with the adapters added: `W + (alpha / rank) * a @ b`, in the base weight's dtype.

    Args:
        params: the base weights.
        adapter: what `init` made (or what was trained from it).
        alpha: strength; the rank itself by default, which makes the factor 1.

    Raises:
        ValueError: an adapter's path is not in `params`, or its shapes do not fit.
    """
    left = set(adapter)

    def add(path, w):
        name = path_name(path)
        if name not in adapter:
            return w
        left.discard(name)
        a, b = adapter[name]["a"], adapter[name]["b"]
        expected = (*a.shape[:-1], b.shape[-1])
        if w.shape != expected or a.shape[-1] != b.shape[-2]:
            raise ValueError(f"LoRA for {name}: a {a.shape} and b {b.shape} do not fit the weight {w.shape}")
        factor = 1.0 if alpha is None else alpha / a.shape[-1]
        return (w.astype(jnp.float32) + factor * (a @ b)).astype(w.dtype)

    merged = jax.tree_util.tree_map_with_path(add, params)
    if left:
        raise ValueError(f"LoRA paths not among the parameters: {sorted(left)}")
    return merged
