"""Scaled dot-product attention of one example: one dispatch over the implementations.

    attend(q, k, v) -> softmax(q k^T / sqrt(d)) v      q (n, heads, d), k and v (m, heads, d)

`tiled` (any device) works on one tile of queries x keys at a time and stores only the output and the log-sum-exp of
each row for a backward pass of its own, which forms the weights again. On CPU a tile fits the caches: XLA's default
backward keeps the full (heads, n, m) weights and walks them through main memory, which costs about twice as much on two
cores at 225 tokens. On an accelerator tiles are larger, and long sequences never have all their scores at once. `xla`
is the plain formula (any device; also differentiates forward and twice). `cudnn` is NVIDIA's fused kernel. `splash` is
the TPU kernel that comes with JAX (`jax.experimental.pallas.ops.tpu.splash_attention`); elsewhere it is interpreted,
which is for tests. Softmax statistics are float32 in all of them.

`choice` says which one "auto" takes; `target` makes it choose for another platform than the process runs on, as
ahead-of-time compilation for a pod does.
"""

import contextlib
import contextvars
import functools
import logging
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float

IMPLEMENTATIONS = ("auto", "tiled", "xla", "cudnn", "splash")

# Elements of one tile of scores (float32). On CPU a group of heads x queries x keys of this size, its gradient and the
# operands stay within the third-level cache; on an accelerator 64 MiB keep its matrix units busy. More than LONG scores
# per head (4096 x 4096) are never formed at once on an accelerator.
TILE = 2**20
ACCELERATOR_TILE = 2**24
LONG = 2**24
# Chunks of queries up to this many are unrolled; more of them become a scan, so that compile time stays bounded.
UNROLLED = 16
# Queries, and keys, of one block of the TPU kernels, at most; they unroll a block, and compile time grows with it.
# Sequences are padded to whole blocks; lanes are 128 wide.
SPLASH_BLOCK, LANES = 512, 128

# The name, for remat policies, of what the fused kernels keep for their backward pass: output and log-sum-exp.
SAVED = "attention"

log = logging.getLogger(__name__)
"""Says, at INFO, which implementation each kind of attention of a program takes (`vrjax --verbose`)."""

_told: set[str] = set()
_target: contextvars.ContextVar[str | None] = contextvars.ContextVar("target", default=None)


@contextlib.contextmanager
def target(platform: str) -> Iterator[None]:
    """Within it, what is traced is meant for `platform` ("cpu", "gpu" or "tpu"), whatever the default backend is."""
    token = _target.set(platform)
    try:
        yield
    finally:
        _target.reset(token)


def choice(
    n: int, m: int, head_dim: int, dtype: Any = jnp.float32, *, causal: bool = False, platform: str | None = None
) -> str:
    """The implementation that `attend(impl="auto")` takes.

    Args:
        n, m: queries and keys of one example.
        head_dim: size of a head.
        dtype: of q.
        causal: whether there are `causal_groups`.
        platform: "cpu", "gpu" or "tpu"; by default that of `target`, else the default backend's.

    Returns:
        CPU: "tiled". GPU: "cudnn" for half precision, heads of a multiple of 8 up to 128 and no groups. TPU: "splash"
        for more than LONG scores per head, heads of a multiple of 128 and no groups. What is left: "tiled" for more
        than LONG scores per head, else "xla".
    """
    platform = platform or _target.get() or jax.default_backend()
    platform = {"cuda": "gpu", "rocm": "gpu"}.get(platform, platform)
    if platform == "cpu":
        return "tiled"
    half = jnp.dtype(dtype) in (jnp.bfloat16, jnp.float16)
    if platform == "gpu" and half and not causal and head_dim % 8 == 0 and head_dim <= 128:
        return "cudnn"
    if n * m <= LONG:
        return "xla"
    return "splash" if platform == "tpu" and not causal and head_dim % LANES == 0 else "tiled"


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
        impl: "auto" (see `choice`), "tiled", "xla", "cudnn" or "splash".

    Returns:
        (n, heads, d) in the dtype of v.

    Raises:
        ValueError: unknown impl, shapes that do not fit, or groups with cudnn or splash.
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
        impl = choice(len(q), len(k), q.shape[-1], q.dtype, causal=groups is not None)
    if log.isEnabledFor(logging.INFO):
        causal = ", causal groups" if groups is not None else ""
        _tell(f"attention of {len(q)} x {len(k)} tokens, {q.shape[1]} heads of {q.shape[2]}, {q.dtype}{causal}: {impl}")
    if impl in ("cudnn", "splash") and groups is not None:
        raise ValueError(f"attend: {impl} knows no causal_groups, expected impl='tiled' or 'xla'")
    if impl == "cudnn":
        return jax.nn.dot_product_attention(*_alike(q, k, v), implementation="cudnn")
    if impl == "xla":
        return _plain(q, k, v, groups)
    heads_first = lambda x: jnp.swapaxes(x, 0, 1)
    if impl == "splash":
        return heads_first(_splash(heads_first(q), heads_first(k), heads_first(v)))
    ends = None if groups is None else tuple(np.searchsorted(groups, groups, side="right").tolist())
    tile = TILE if (_target.get() or jax.default_backend()) == "cpu" else ACCELERATOR_TILE
    return heads_first(_tiled((ends, tile), heads_first(q), heads_first(k), heads_first(v)))


def _tell(line: str) -> None:
    """Logs a line once: blocks and retraces repeat it."""
    if line not in _told:
        _told.add(line)
        log.info(line)


@custom_vmap
def _batched(q: Array, k: Array, v: Array) -> tuple[Array, Array, Array]:
    return q, k, v


@_batched.def_vmap
def _batched_rule(size: int, batched: list[bool], *args: Array) -> tuple[tuple[Array, ...], tuple[bool, ...]]:
    all_of = (a if b else jnp.broadcast_to(a, (size, *a.shape)) for a, b in zip(args, batched, strict=True))
    return _batched(*all_of), (True,) * len(args)


@jax.custom_vjp
def _alike(q: Array, k: Array, v: Array) -> tuple[Array, Array, Array]:
    """The same arrays; under vmap all of them have the axis as soon as one has. JAX's rule for its cuDNN kernel takes
    the batch of the queries for that of the keys, which seeds that share a prompt do not have."""
    return _batched(q, k, v)


_alike.defvjp(lambda *args: (_batched(*args), None), lambda _, grads: grads)


def _plain(q: Array, k: Array, v: Array, groups: np.ndarray | None) -> Array:
    scores = jnp.einsum("nhd,mhd->hnm", q, k, preferred_element_type=jnp.float32) * (q.shape[-1] ** -0.5)
    if groups is not None:
        scores = jnp.where(groups[None, :] <= groups[:, None], scores, -jnp.inf)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    return jnp.einsum("hnm,mhd->nhd", weights, v, preferred_element_type=jnp.float32).astype(v.dtype)


def _splash(q: Array, k: Array, v: Array) -> Array:
    """(heads, n, d): JAX's TPU kernel on sequences padded to whole blocks; padded keys are another segment."""
    from jax.experimental.pallas.ops.tpu import splash_attention as splash

    (heads, n, d), m = q.shape, k.shape[1]
    block = lambda size: min(SPLASH_BLOCK, LANES * math.ceil(size / LANES))
    rows, keys = block(n), block(m)
    fill_n, fill_m = -n % rows, -m % keys
    pad = lambda x, fill: jnp.pad(x, ((0, 0), (0, fill), (0, 0))) if fill else x
    full = splash.MultiHeadMask([splash.FullMask((n + fill_n, m + fill_m))] * heads)
    sizes = splash.BlockSizes(
        block_q=rows,
        block_kv=keys,
        block_q_dkv=rows,
        block_kv_dkv=keys,
        block_q_dq=rows,
        block_kv_dq=keys,
    )
    interpret = (_target.get() or jax.default_backend()) != "tpu"
    kernel = splash.make_splash_mha(
        mask=full,
        block_sizes=sizes,
        head_shards=1,
        q_seq_shards=1,
        residual_checkpoint_name=SAVED,
        interpret=interpret,
    )
    segments = None
    if fill_m:
        segments = splash.SegmentIds(
            jnp.zeros(n + fill_n, jnp.int32), jnp.asarray(np.arange(m + fill_m) >= m, jnp.int32)
        )
    scaled = (q.astype(jnp.float32) * d**-0.5).astype(q.dtype)
    out: Any = kernel(pad(scaled, fill_n), pad(k, fill_m), pad(v, fill_m), segments)
    return out[:, :n].astype(v.dtype)


# ------------------------------------------------------------------------------------------------------------ tiled
#
# Below, q is (z, n, d) and k, v are (z, m, d), z running over heads and over every vmapped axis. `how` is static:
# (ends, tile), where `ends[i]` is the number of keys that query i may see, or `ends` is None, and `tile` the number of
# scores in one tile.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _tiled(how, q, k, v):
    return _forward(how, q, k, v)[0]


def _tiled_forward(how, q, k, v):
    out, lse = (checkpoint_name(x, SAVED) for x in _forward(how, q, k, v))
    return out, (q, k, v, out, lse)


def _tiled_backward(how, residuals, grad):
    q, k, v, out, lse = residuals
    delta = jnp.sum(grad.astype(jnp.float32) * out.astype(jnp.float32), -1, keepdims=True)
    return _backward(how, q, k, v, grad, lse, delta)


_tiled.defvjp(_tiled_forward, _tiled_backward)


def _folds(core):
    """Turns vmap of `core` into a longer z axis, so that tiles keep their size however many examples there are.

    `ends` are an argument and no constant: where vmap turns a branch into a selection, all that the branch holds gets
    the axis, which JAX's rule does not take of constants.
    """

    @functools.lru_cache(maxsize=64)
    def of(tile):
        @custom_vmap
        def call(ends, *args):
            return core((ends, tile), *args)

        @call.def_vmap
        def rule(size, batched, ends, *args):
            spread = zip(args, batched[1:], strict=True)
            args = [a if b else jnp.broadcast_to(a, (size, *a.shape)) for a, b in spread]
            out = call(ends[0] if batched[0] else ends, *(a.reshape(-1, *a.shape[2:]) for a in args))
            return tuple(o.reshape(size, -1, *o.shape[1:]) for o in out), (True,) * len(out)

        return call

    return lambda how, *args: of(how[1])(None if how[0] is None else np.asarray(how[0]), *args)


def _groups(z: int, n: int, m: int, tile: int) -> tuple[int, int]:
    """How many of z, and how many queries, go into one tile: (divisor of z, chunk of n).

    Chunks of more than 32 are multiples of it: a GEMM pads narrower ones to the width of its kernel.
    """
    if n * m > tile:
        rows = tile // m
        return 1, max(1, min(n, rows - rows % 32 if rows > 32 else rows))
    most = max(1, tile // (n * m))
    return max(g for g in range(1, min(z, most) + 1) if z % g == 0), n


def _over_groups(fn, size: int, args: tuple) -> tuple:
    """Maps `fn` over groups of `size` along the first axis, one after the other."""
    z = len(args[0])
    if size == z:
        return fn(*args)
    grouped = tuple(a.reshape(z // size, size, *a.shape[1:]) for a in args)
    out = lax.map(lambda a: fn(*a), grouped)
    return tuple(o.reshape(z, *o.shape[2:]) for o in out)


def _over_chunks(tile, ends, chunk: int, rows: tuple) -> tuple[tuple, tuple]:
    """Runs `tile(seen, *rows) -> (of rows, sums)` over chunks of queries, which are axis 1 of `rows`.

    `seen` is the chunk's part of `ends`. Results that belong to queries are joined, sums are added up. Many chunks are
    a scan over equal ones; zero queries fill the last, and their zero gradients add nothing to a sum.
    """
    n = rows[0].shape[1]
    count = math.ceil(n / chunk)
    if count <= UNROLLED:
        chunk = min(chunk, 32 * math.ceil(n / count / 32))  # as equal as whole vectors allow: cores run them at once
        edges = [*range(0, n, chunk), n]
        parts = []
        for a, b in zip(edges, edges[1:], strict=False):
            seen = None if ends is None else ends[a:b]
            parts.append(tile(seen, *(x[:, a:b] for x in rows)))
        if count == 1:
            return parts[0]
        of_rows, sums = zip(*parts, strict=True)
        joined = tuple(jnp.concatenate(p, 1) for p in zip(*of_rows, strict=True))
        return joined, tuple(functools.reduce(jnp.add, s) for s in zip(*sums, strict=True))

    chunk = math.ceil(n / count)
    fill = count * chunk - n

    def split(x):
        x = jnp.pad(x, ((0, 0), (0, fill)) + ((0, 0),) * (x.ndim - 2))
        return jnp.moveaxis(x.reshape(len(x), count, chunk, *x.shape[2:]), 1, 0)

    def join(x):
        x = jnp.moveaxis(x, 0, 1)
        return x.reshape(len(x), count * chunk, *x.shape[3:])[:, :n]

    seen = None if ends is None else jnp.pad(ends, (0, fill), mode="edge").reshape(count, chunk)
    xs = (seen, *(split(x) for x in rows))
    zero = jax.tree.map(
        lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(tile, *jax.tree.map(lambda x: x[0], xs))[1]
    )

    def body(sums, x):
        of_rows, more = tile(*x)
        return jax.tree.map(jnp.add, sums, more), of_rows

    sums, of_rows = lax.scan(body, zero, xs)
    return tuple(join(x) for x in of_rows), sums


def _scores(seen, q: Array, k: Array) -> Array:
    """Scores of some queries, float32, -inf where a key may not be seen."""
    scores = jnp.einsum("znd,zmd->znm", q, k, preferred_element_type=jnp.float32)
    if seen is None:
        return scores
    return jnp.where(jnp.arange(k.shape[1]) < seen[:, None], scores, -jnp.inf)


@_folds
def _forward(how, q, k, v):
    ends, size = how
    z, n, d = q.shape
    group, chunk = _groups(z, n, k.shape[1], size)

    def one(q, k, v):
        def tile(seen, q):
            scores = _scores(seen, q * d**-0.5, k)
            top = scores.max(-1, keepdims=True)
            weights = jnp.exp(scores - top)
            total = weights.sum(-1, keepdims=True)
            out = jnp.einsum("znm,zmd->znd", weights.astype(v.dtype), v, preferred_element_type=jnp.float32) / total
            return (out.astype(v.dtype), top + jnp.log(total)), ()

        return _over_chunks(tile, ends, chunk, (q,))[0]

    return _over_groups(one, group, (q, k, v))


@_folds
def _backward(how, q, k, v, grad, lse, delta):
    ends, size = how
    z, n, d = q.shape
    group, chunk = _groups(z, n, k.shape[1], size)
    f32 = {"preferred_element_type": jnp.float32}

    def one(q, k, v, grad, lse, delta):
        # Keys are the rows of every tile: no product then has a transposed left side, which XLA:CPU multiplies at
        # little more than half the speed.
        k_across = jnp.swapaxes(k, 1, 2)

        def tile(seen, q, grad, lse, delta):
            scaled = q * d**-0.5
            across = lambda x: jnp.swapaxes(x, 1, 2)
            scores = jnp.einsum("zmd,znd->zmn", k, scaled, **f32)
            if seen is not None:
                scores = jnp.where(jnp.arange(k.shape[1])[:, None] < seen, scores, -jnp.inf)
            weights = jnp.exp(scores - across(lse))
            d_weights = jnp.einsum("zmd,znd->zmn", v, grad, **f32)
            d_scores = (weights * (d_weights - across(delta))).astype(q.dtype)
            d_q = across(jnp.einsum("zdm,zmn->zdn", k_across, d_scores, **f32)) * d**-0.5
            d_k = jnp.einsum("zmn,znd->zmd", d_scores, scaled, **f32)
            d_v = jnp.einsum("zmn,znd->zmd", weights.astype(grad.dtype), grad, **f32)
            return (d_q.astype(q.dtype),), (d_k, d_v)

        (d_q,), (d_k, d_v) = _over_chunks(tile, ends, chunk, (q, grad, lse, delta))
        return d_q, d_k.astype(k.dtype), d_v.astype(v.dtype)

    return _over_groups(one, group, (q, k, v, grad, lse, delta))
