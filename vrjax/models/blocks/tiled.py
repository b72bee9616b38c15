"""Scaled dot products one tile of queries x keys at a time, with a backward pass that forms the weights again.

    attend(how, q, k, v, *length) -> (z, n, d)  q (z, n, d), k and v (z, m, d); z runs over heads and every vmapped axis

`how` is static: (ends, tile), where `ends[i]` is the number of keys that query i may see, or `ends` is None, and `tile`
the number of scores in one tile. `length` (z,), float32, may be given: keys from this number on are hidden. What is
kept for the backward pass are the output and the log-sum-exp of each row.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.custom_batching import custom_vmap
from jaxtyping import Array

# Chunks of queries up to this many are unrolled; more of them become a scan, so that compile time stays bounded.
UNROLLED = 16

# The name, for remat policies, of what the fused kernels keep for their backward pass: output and log-sum-exp.
SAVED = "attention"

# The score of a key behind the last one. Finite: a query that sees no key at all averages them, and nothing is NaN.
HIDDEN = -1e30


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def attend(how, q, k, v, *length):
    """Attention of every z by itself; see the module."""
    return _forward(how, q, k, v, *length)[0]


def _attend_forward(how, *operands):
    out, lse = (checkpoint_name(x, SAVED) for x in _forward(how, *operands))
    return out, (operands, out, lse)


def _attend_backward(how, residuals, grad):
    (q, k, v, *length), out, lse = residuals
    delta = jnp.sum(grad.astype(jnp.float32) * out.astype(jnp.float32), -1, keepdims=True)
    return (*_backward(how, q, k, v, grad, lse, delta, *length), *(jnp.zeros_like(x) for x in length))


attend.defvjp(_attend_forward, _attend_backward)


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


def hide(scores: Array, length: Any, axis: int) -> Array:
    """Scores with `HIDDEN` for keys from number `length` on.

    Args:
        scores: keys along `axis`.
        length: a scalar, or (z,) along the first axis.
        axis: of the keys.
    """
    number = lax.broadcasted_iota(jnp.float32, scores.shape, axis % scores.ndim)
    return jnp.where(number < jnp.reshape(length, (-1,) + (1,) * (scores.ndim - 1)), scores, HIDDEN)


def _scores(seen, q: Array, k: Array, *length: Array) -> Array:
    """Scores of some queries, float32, -inf where a key may not be seen."""
    scores = jnp.einsum("znd,zmd->znm", q, k, preferred_element_type=jnp.float32)
    scores = hide(scores, *length, axis=-1) if length else scores
    if seen is None:
        return scores
    return jnp.where(jnp.arange(k.shape[1]) < seen[:, None], scores, -jnp.inf)


@_folds
def _forward(how, q, k, v, *length):
    ends, size = how
    z, n, d = q.shape
    group, chunk = _groups(z, n, k.shape[1], size)

    def one(q, k, v, *length):
        def tile(seen, q):
            scores = _scores(seen, q * d**-0.5, k, *length)
            top = scores.max(-1, keepdims=True)
            weights = jnp.exp(scores - top)
            total = weights.sum(-1, keepdims=True)
            out = jnp.einsum("znm,zmd->znd", weights.astype(v.dtype), v, preferred_element_type=jnp.float32) / total
            return (out.astype(v.dtype), top + jnp.log(total)), ()

        return _over_chunks(tile, ends, chunk, (q,))[0]

    return _over_groups(one, group, (q, k, v, *length))


@_folds
def _backward(how, q, k, v, grad, lse, delta, *length):
    ends, size = how
    z, n, d = q.shape
    group, chunk = _groups(z, n, k.shape[1], size)
    f32 = {"preferred_element_type": jnp.float32}

    def one(q, k, v, grad, lse, delta, *length):
        # Keys are the rows of every tile: no product then has a transposed left side, which XLA:CPU multiplies at
        # little more than half the speed.
        k_across = jnp.swapaxes(k, 1, 2)

        def tile(seen, q, grad, lse, delta):
            scaled = q * d**-0.5
            across = lambda x: jnp.swapaxes(x, 1, 2)
            scores = jnp.einsum("zmd,znd->zmn", k, scaled, **f32)
            scores = hide(scores, *length, axis=1) if length else scores
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

    return _over_groups(one, group, (q, k, v, grad, lse, delta, *length))
