"""Scaled dot-product attention of one example: one dispatch over the implementations.

    attend(q, k, v) -> softmax(q k^T / sqrt(d)) v      q (n, heads, d), k and v (m, heads, d)

`tiled` (any device) works on one tile of queries x keys at a time and stores only the output and the log-sum-exp of
each row for a backward pass of its own, which forms the weights again. On CPU a tile fits the caches: XLA's default
backward keeps the full (heads, n, m) weights and walks them through main memory, which costs about twice as much on two
cores at 225 tokens. On an accelerator tiles are larger, and long sequences never have all their scores at once. `xla`
is the plain formula (any device; also differentiates forward and twice). `cudnn` is NVIDIA's fused kernel. `splash` is
the TPU kernel that comes with JAX (`jax.experimental.pallas.ops.tpu.splash_attention`); elsewhere it is interpreted,
which is for tests. Softmax statistics are float32 in all of them.

Keys may be hidden: those of later groups, statically, and those from a length on, which may differ between examples.

`choice` says which one "auto" takes; `target` makes it choose for another platform than the process runs on, as
ahead-of-time compilation for a pod does.
"""

import contextlib
import contextvars
import logging
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float

from vrjax.models.blocks import tiled

IMPLEMENTATIONS = ("auto", "tiled", "xla", "cudnn", "splash")

# Elements of one tile of scores (float32). On CPU a group of heads x queries x keys of this size, its gradient and the
# operands stay within the third-level cache; on an accelerator 64 MiB keep its matrix units busy. More than LONG scores
# per head (4096 x 4096) are never formed at once on an accelerator.
TILE = 2**20
ACCELERATOR_TILE = 2**24
LONG = 2**24
# Queries, and keys, of one block of the TPU kernels, at most; they unroll a block, and compile time grows with it.
# Sequences are padded to whole blocks; lanes are 128 wide.
SPLASH_BLOCK, LANES = 512, 128

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
        causal: whether there are `causal_groups`, or a `length` that is traced: whether keys are hidden.
        platform: "cpu", "gpu" or "tpu"; by default that of `target`, else the default backend's.

    Returns:
        CPU: "tiled". GPU: "cudnn" for half precision, heads of a multiple of 8 up to 128, no key hidden. TPU:
        "splash" for more than LONG scores per head, heads of a multiple of 128, no key hidden. What is left: "tiled"
        for more than LONG scores per head, else "xla".
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
    length: Any = None,
    impl: str = "auto",
) -> Float[Array, "n heads d"]:
    """Attention of one example; batches by vmap.

    Args:
        q, k, v: queries, keys, values.
        causal_groups: None, or static non-decreasing group numbers (n,) of the tokens of a self-attention (n == m):
            a query attends to keys of its own and of earlier groups.
        length: keys from this number on are hidden: None, a whole number of at least 1, or a traced scalar. A query
            whose keys are all hidden (a traced 0) gets their plain mean.
        impl: "auto" (see `choice`), "tiled", "xla", "cudnn" or "splash".

    Returns:
        (n, heads, d) in the dtype of v.

    Raises:
        ValueError: unknown impl, shapes or a length that do not fit, hidden keys with cudnn or splash.
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
    if isinstance(length, int | np.integer):
        if not 1 <= length <= len(k):
            raise ValueError(f"attend: length {length}, expected 1 to {len(k)}, the keys")
        if groups is None:
            k, v, length = k[:length], v[:length], None
    hidden = groups is not None or length is not None
    if impl == "auto":
        impl = choice(len(q), len(k), q.shape[-1], q.dtype, causal=hidden)
    if log.isEnabledFor(logging.INFO):
        kind = (", causal groups" if groups is not None else "") + (", some keys" if length is not None else "")
        _tell(f"attention of {len(q)} x {len(k)} tokens, {q.shape[1]} heads of {q.shape[2]}, {q.dtype}{kind}: {impl}")
    if impl in ("cudnn", "splash") and hidden:
        raise ValueError(f"attend: {impl} knows no causal_groups and no length, expected impl='tiled' or 'xla'")
    if impl == "cudnn":
        return jax.nn.dot_product_attention(*_alike(q, k, v), implementation="cudnn")
    if impl == "xla":
        return _plain(q, k, v, groups, length)
    heads_first = lambda x: jnp.swapaxes(x, 0, 1)
    if impl == "splash":
        return heads_first(_splash(heads_first(q), heads_first(k), heads_first(v)))
    ends = None if groups is None else tuple(np.searchsorted(groups, groups, side="right").tolist())
    tile = TILE if (_target.get() or jax.default_backend()) == "cpu" else ACCELERATOR_TILE
    lengths = () if length is None else (jnp.broadcast_to(jnp.asarray(length, jnp.float32), q.shape[1]),)
    return heads_first(tiled.attend((ends, tile), heads_first(q), heads_first(k), heads_first(v), *lengths))


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


def _plain(q: Array, k: Array, v: Array, groups: np.ndarray | None, length: Any = None) -> Array:
    scores = jnp.einsum("nhd,mhd->hnm", q, k, preferred_element_type=jnp.float32) * (q.shape[-1] ** -0.5)
    if length is not None:
        scores = tiled.hide(scores, length, axis=-1)
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
        residual_checkpoint_name=tiled.SAVED,
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
