"""Attention of one sequence whose tokens are divided over devices: exchange by heads, and a ring.

Both are for the inside of `jax.shard_map`, where a device holds (n, heads, d) of its own tokens, in order:

* `to_heads` / `to_tokens` (DeepSpeed-Ulysses, Jacobs et al. 2023): an all-to-all gives every device all tokens of some
  heads, ordinary attention follows, and the reverse brings the result home. Needs heads for every device.
* `ring` (Ring Attention, Liu et al. 2023): keys and values travel around the ring while each device keeps its queries
  and a running log-sum-exp (Milakov & Gimelshein 2018). Any number of heads; no device ever sees all keys at once.

Plain JAX: the same code on CPU, GPU and TPU.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

Axes = str | tuple[str, ...]

TILE = 2**22
"""Elements of one tile of scores in the ring (16 MiB of float32): heads x some queries x the keys of one device."""


def to_heads(x: Float[Array, "n heads d"], axes: Axes) -> Float[Array, "all_tokens some_heads d"]:
    """From some tokens of all heads to all tokens of some heads; the size of `axes` divides the heads."""
    return lax.all_to_all(x, axes, split_axis=1, concat_axis=0, tiled=True)


def to_tokens(x: Float[Array, "all_tokens some_heads d"], axes: Axes) -> Float[Array, "n heads d"]:
    """The inverse of `to_heads`."""
    return lax.all_to_all(x, axes, split_axis=0, concat_axis=1, tiled=True)


def ring(
    q: Float[Array, "n heads d"],
    k: Float[Array, "n heads d"],
    v: Float[Array, "n heads d"],
    *,
    axes: Axes,
    size: int,
    groups: np.ndarray | None = None,
) -> Float[Array, "n heads d"]:
    """Softmax attention of this device's queries over the keys of all devices.

    Forward, keys and values make `size - 1` steps around the ring, each sent while the chunk in hand is worked on.
    Backward forms the weights again from the saved log-sum-exp, and the gradients of keys and values travel with them
    until they are home. Statistics and sums are float32. Not differentiable twice.

    Args:
        q, k, v: this device's tokens, equally many on every device.
        axes: mesh axes of the ring.
        size: devices in it.
        groups: static non-decreasing group number of each of the `size * n` tokens; a query attends to keys of its own
            and earlier groups. Padding is a last group of its own. None: all attend to all.

    Returns:
        (n, heads, d) in the dtype of v.
    """
    n, heads, d = q.shape
    scale = d**-0.5
    rows = max(1, min(n, TILE // max(1, heads * n)))
    passing = [(i, (i + 1) % size) for i in range(size)]
    send = lambda *xs: tuple(lax.ppermute(x, axes, passing) for x in xs)
    f32: dict[str, Any] = {"preferred_element_type": jnp.float32}

    def numbers(chunk: Any) -> Any:
        return None if groups is None else lax.dynamic_slice_in_dim(jnp.asarray(groups, jnp.int32), chunk * n, n)

    def scores(q: Array, mine: Any, k: Array, theirs: Any) -> Array:
        s = jnp.einsum("nhd,mhd->hnm", q, k, **f32) * scale
        return s if groups is None else jnp.where(theirs[None, :] <= mine[:, None], s, -jnp.inf)

    def forward(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
        here = lax.axis_index(axes)
        mine = numbers(here)

        def take(state: Any, k: Array, v: Array, chunk: Any) -> Any:
            theirs = numbers(chunk)

            def some(q, mine, top, total, out):
                s = scores(q, mine, k, theirs)
                new = jnp.maximum(top, s.max(-1).T)
                weights, shrink = jnp.exp(s - new.T[..., None]), jnp.exp(top - new)
                more = jnp.einsum("hnm,mhd->nhd", weights.astype(v.dtype), v, **f32)
                return new, total * shrink + weights.sum(-1).T, out * shrink[..., None] + more

            return _by_rows(some, rows, (q, mine, *state))

        def step(carry, turn):
            (k, v), state = carry
            # our neighbour's chunk after one turn: the sender's number is one less at each
            return (send(k, v), take(state, k, v, (here - turn) % size)), None

        # A query always sees itself, and its own chunk comes first: the running maximum is finite from then on.
        start = (jnp.full((n, heads), -jnp.inf), jnp.zeros((n, heads)), jnp.zeros((n, heads, d)))
        ((k, v), state), _ = lax.scan(step, ((k, v), start), jnp.arange(size - 1))
        top, total, out = take(state, k, v, (here - size + 1) % size)
        return (out / total[..., None]).astype(v.dtype), top + jnp.log(total)

    @jax.custom_vjp
    def attend(q, k, v):
        return forward(q, k, v)[0]

    def save(q, k, v):
        out, lse = forward(q, k, v)
        return out, (q, k, v, out, lse)

    def backward(saved, grad):
        q, k, v, out, lse = saved
        here = lax.axis_index(axes)
        mine = numbers(here)
        delta = jnp.sum(grad.astype(jnp.float32) * out.astype(jnp.float32), -1)

        def take(d_q, k, v, d_k, d_v, chunk):
            theirs = numbers(chunk)

            def some(sums, q, mine, grad, lse, delta, d_q):
                d_k, d_v = sums
                weights = jnp.exp(scores(q, mine, k, theirs) - lse.T[..., None])
                d_weights = jnp.einsum("nhd,mhd->hnm", grad, v, **f32)
                d_scores = (weights * (d_weights - delta.T[..., None]) * scale).astype(q.dtype)
                d_q = d_q + jnp.einsum("hnm,mhd->nhd", d_scores, k, **f32)
                d_k = d_k + jnp.einsum("hnm,nhd->mhd", d_scores, q, **f32)
                d_v = d_v + jnp.einsum("hnm,nhd->mhd", weights.astype(grad.dtype), grad, **f32)
                return (d_k, d_v), d_q

            (d_k, d_v), d_q = _sum_by_rows(some, rows, (d_k, d_v), (q, mine, grad, lse, delta, d_q))
            return d_q, d_k, d_v

        def step(carry, turn):
            d_q, k, v, d_k, d_v = carry
            d_q, d_k, d_v = take(d_q, k, v, d_k, d_v, (here - turn) % size)
            return (d_q, *send(k, v, d_k, d_v)), None

        zeros = jnp.zeros((n, heads, d))
        (d_q, k, v, d_k, d_v), _ = lax.scan(step, (zeros, k, v, zeros, zeros), jnp.arange(size - 1))
        d_q, d_k, d_v = take(d_q, k, v, d_k, d_v, (here - size + 1) % size)
        d_k, d_v = send(d_k, d_v)
        return d_q.astype(q.dtype), d_k.astype(k.dtype), d_v.astype(v.dtype)

    attend.defvjp(save, backward)
    return attend(q, k, v)


def _by_rows(fn: Callable, rows: int, args: tuple) -> Any:
    """`fn` of some rows of every argument at a time, one after the other; the results joined."""
    return _sum_by_rows(lambda _, *a: ((), fn(*a)), rows, (), args)[1]


def _sum_by_rows(fn: Callable, rows: int, sums: Any, args: tuple) -> tuple[Any, Any]:
    """`fn(sums, *some rows) -> (sums, results)` over all rows in turn. A last, smaller piece is filled with zeros.

    Rows of zeros are harmless here: the gradient that belongs to them is zero, and their results are cut off.
    """
    n = jax.tree.leaves(args)[0].shape[0]
    if rows >= n:
        return fn(sums, *args)
    pieces = math.ceil(n / rows)
    rows = math.ceil(n / pieces)
    fill = lambda x: jnp.pad(x, [(0, pieces * rows - n)] + [(0, 0)] * (x.ndim - 1))
    cut = jax.tree.map(lambda x: fill(x).reshape(pieces, rows, *x.shape[1:]), args)
    sums, out = lax.scan(lambda sums, piece: fn(sums, *piece), sums, cut)
    return sums, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:n], out)
