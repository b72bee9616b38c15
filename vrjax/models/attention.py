"""Scaled dot-product attention of one example: one dispatch over the implementations.

    attend(q, k, v) -> softmax(q k^T / sqrt(d)) v      q (n, heads, d), k and v (m, heads, d)

`tiled` (CPU) works on one tile of queries x keys at a time, small enough for the caches, and stores only the output and
the log-sum-exp of each row for a backward pass of its own, which forms the weights again. XLA's default backward keeps
the full (heads, n, m) weights and walks them through main memory; on two cores at 225 tokens it costs about twice as
much. `xla` is the plain formula (any device; also differentiates forward and twice). `cudnn` is NVIDIA's fused kernel.
Softmax statistics are float32 in all of them.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float

IMPLEMENTATIONS = ("auto", "tiled", "xla", "cudnn")

# Elements of one tile of scores (float32). A group of heads x queries x keys of this size, its gradient and the
# operands stay within the second- and third-level caches of a CPU core.
TILE = 2**18


def attend(
    q: Float[Array | np.ndarray, "n heads d"],
    k: Float[Array | np.ndarray, "m heads d"],
    v: Float[Array | np.ndarray, "m heads d"],
    *,
    causal_groups: Any = None,
    impl: str = "auto",
) -> Float[Array, "n heads d"]:
    """Attention of one example; batches by vmap.

    Args:
        q, k, v: queries, keys, values.
        causal_groups: None, or static non-decreasing group numbers (n,) of the tokens of a self-attention (n == m):
            a query attends to keys of its own and of earlier groups.
        impl: "auto" (tiled on CPU, cudnn on NVIDIA GPUs for half-precision inputs without groups, else xla),
            "tiled", "xla" or "cudnn".

    Returns:
        (n, heads, d) in the dtype of v.

    Raises:
        ValueError: unknown impl, shapes that do not fit, or groups with cudnn.
    """
    if impl not in IMPLEMENTATIONS:
        raise ValueError(f"attend: unknown impl {impl!r}, expected one of {IMPLEMENTATIONS}")
    if k.shape != v.shape or q.shape[1:] != k.shape[1:]:
        raise ValueError(f"attend: q {q.shape}, k {k.shape}, v {v.shape} do not fit together")
    q, k, v = jnp.asarray(q), jnp.asarray(k), jnp.asarray(v)
    groups = None
    if causal_groups is not None:
        groups = np.asarray(causal_groups)
        if groups.shape != (len(q),) or len(q) != len(k) or (np.diff(groups) < 0).any():
            raise ValueError(f"attend: causal_groups must be ({len(q)},), non-decreasing, and q and k of one length")
    if impl == "auto":
        impl = _choose(q.dtype, groups)
    if impl == "cudnn":
        if groups is not None:
            raise ValueError("attend: cudnn knows no causal_groups, expected impl='xla'")
        return jax.nn.dot_product_attention(q, k, v, implementation="cudnn")
    if impl == "xla":
        return _plain(q, k, v, groups)
    ends = None if groups is None else tuple(np.searchsorted(groups, groups, side="right").tolist())
    heads_first = lambda x: jnp.swapaxes(x, 0, 1)
    return heads_first(_tiled(ends, heads_first(q), heads_first(k), heads_first(v)))


def _choose(dtype, groups) -> str:
    platform = jax.default_backend()
    if platform == "cpu":
        return "tiled"
    half = dtype in (jnp.bfloat16, jnp.float16)
    return "cudnn" if platform in ("gpu", "cuda") and half and groups is None else "xla"


def _plain(q: Array, k: Array, v: Array, groups: np.ndarray | None) -> Array:
    scores = jnp.einsum("nhd,mhd->hnm", q, k, preferred_element_type=jnp.float32) * (q.shape[-1] ** -0.5)
    if groups is not None:
        scores = jnp.where(groups[None, :] <= groups[:, None], scores, -jnp.inf)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    return jnp.einsum("hnm,mhd->nhd", weights, v, preferred_element_type=jnp.float32).astype(v.dtype)


# ------------------------------------------------------------------------------------------------------------ tiled
#
# Below, q is (z, n, d) and k, v are (z, m, d), z running over heads and over every vmapped axis. `ends[i]` is the
# number of keys that query i may see, or `ends` is None.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _tiled(ends, q, k, v):
    return _forward(ends, q, k, v)[0]


def _tiled_forward(ends, q, k, v):
    out, lse = _forward(ends, q, k, v)
    return out, (q, k, v, out, lse)


def _tiled_backward(ends, residuals, grad):
    q, k, v, out, lse = residuals
    delta = jnp.sum(grad.astype(jnp.float32) * out.astype(jnp.float32), -1, keepdims=True)
    return _backward(ends, q, k, v, grad, lse, delta)


_tiled.defvjp(_tiled_forward, _tiled_backward)


def _folds(core):
    """Turns vmap of `core` into a longer z axis, so that tiles keep their size however many examples there are."""

    @functools.lru_cache(maxsize=64)
    def of(ends):
        @custom_vmap
        def call(*args):
            return core(ends, *args)

        @call.def_vmap
        def rule(size, batched, *args):
            args = [a if b else jnp.broadcast_to(a, (size, *a.shape)) for a, b in zip(args, batched, strict=True)]
            out = call(*(a.reshape(-1, *a.shape[2:]) for a in args))
            return tuple(o.reshape(size, -1, *o.shape[1:]) for o in out), (True,) * len(out)

        return call

    return lambda ends, *args: of(ends)(*args)


def _groups(z: int, n: int, m: int) -> tuple[int, int]:
    """How many of z, and how many queries, go into one tile: (divisor of z, chunk of n)."""
    if n * m > TILE:
        return 1, max(1, min(n, TILE // m))
    most = max(1, TILE // (n * m))
    return max(g for g in range(1, min(z, most) + 1) if z % g == 0), n


def _over_groups(fn, size: int, args: tuple) -> tuple:
    """Maps `fn` over groups of `size` along the first axis, one after the other."""
    z = len(args[0])
    if size == z:
        return fn(*args)
    grouped = tuple(a.reshape(z // size, size, *a.shape[1:]) for a in args)
    out = lax.map(lambda a: fn(*a), grouped)
    return tuple(o.reshape(z, *o.shape[2:]) for o in out)


def _chunks(n: int, chunk: int) -> list[slice]:
    count = math.ceil(n / chunk)
    edges = [round(i * n / count) for i in range(count + 1)]
    return [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]


def _scores(ends, rows: slice, q: Array, k: Array) -> Array:
    """Scaled scores of some queries, float32, -inf where a key may not be seen."""
    scores = jnp.einsum("znd,zmd->znm", q, k, preferred_element_type=jnp.float32)
    if ends is None:
        return scores
    return jnp.where(np.arange(k.shape[1]) < np.asarray(ends[rows])[:, None], scores, -jnp.inf)


@_folds
def _forward(ends, q, k, v):
    z, n, d = q.shape
    group, chunk = _groups(z, n, k.shape[1])

    def tile(rows, q, k, v):
        scores = _scores(ends, rows, q * d**-0.5, k)
        top = scores.max(-1, keepdims=True)
        weights = jnp.exp(scores - top)
        total = weights.sum(-1, keepdims=True)
        out = jnp.einsum("znm,zmd->znd", weights.astype(v.dtype), v, preferred_element_type=jnp.float32) / total
        return out.astype(v.dtype), top + jnp.log(total)

    def one(q, k, v):
        parts = [tile(rows, q[:, rows], k, v) for rows in _chunks(n, chunk)]
        return tuple(parts[0] if len(parts) == 1 else (jnp.concatenate(p, 1) for p in zip(*parts, strict=True)))

    return _over_groups(one, group, (q, k, v))


@_folds
def _backward(ends, q, k, v, grad, lse, delta):
    z, n, d = q.shape
    group, chunk = _groups(z, n, k.shape[1])
    f32 = {"preferred_element_type": jnp.float32}

    def tile(rows, q, k, v, grad, lse, delta):
        scaled = q * d**-0.5
        weights = jnp.exp(_scores(ends, rows, scaled, k) - lse)
        d_weights = jnp.einsum("znd,zmd->znm", grad, v, **f32)
        d_scores = (weights * (d_weights - delta)).astype(q.dtype)
        d_q = jnp.einsum("znm,zmd->znd", d_scores, k, **f32) * d**-0.5
        d_k = jnp.einsum("znm,znd->zmd", d_scores, scaled, **f32)
        d_v = jnp.einsum("znm,znd->zmd", weights.astype(grad.dtype), grad, **f32)
        return d_q, d_k, d_v

    def one(q, k, v, *rest):
        parts = [tile(r, q[:, r], k, v, *(a[:, r] for a in rest)) for r in _chunks(n, chunk)]
        d_q, d_k, d_v = zip(*parts, strict=True)
        d_k, d_v = functools.reduce(jnp.add, d_k), functools.reduce(jnp.add, d_v)
        return jnp.concatenate(d_q, 1).astype(q.dtype), d_k.astype(k.dtype), d_v.astype(v.dtype)

    return _over_groups(one, group, (q, k, v, grad, lse, delta))
