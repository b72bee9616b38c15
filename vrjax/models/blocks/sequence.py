"""Attention under a layout: which device works on which tokens and heads. Without a layout it is `attend` alone.

Outside attention a sequence of tokens is divided over the mesh axes of "tokens" (usually `context`) and its heads over
those of "heads" (`tensor`). Inside, each device runs an ordinary kernel on whole arrays of its own, under
`jax.shard_map`, so any kernel may be used, also those that the compiler cannot divide.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from vrjax.models.blocks.attention import attend
from vrjax.parallel import context
from vrjax.parallel.layout import Layout, entry

KINDS = ("auto", "ulysses", "ring")


def within(
    q: Float[Array, "n heads d"],
    k: Float[Array, "n heads d"],
    v: Float[Array, "n heads d"],
    *,
    groups: Any = None,
    length: Any = None,
    impl: str = "auto",
    layout: Layout | None = None,
    kind: str = "auto",
) -> Float[Array, "n heads d"]:
    """Self-attention of one example.

    Args:
        q, k, v: all tokens, as seen without a mesh. Where the tokens do not divide evenly, they are filled up inside.
        groups: causal groups, see `attend`.
        length: tokens from this number on are no keys, see `attend`.
        impl: the kernel, see `attend`; the ring has its own.
        layout: where the tokens and heads live.
        kind: how tokens meet when they are divided over c devices. "ulysses": an all-to-all gives each device all
            tokens of 1 / c of its heads; needs c to divide them. "ring": keys and values travel; the kernel's memory
            does not grow with the whole sequence. "auto": ulysses where c divides the heads, else ring.

    Raises:
        ValueError: unknown kind, or heads that the mesh does not divide; the message says what does. A length with a
            ring.
    """
    if kind not in KINDS:
        raise ValueError(f"sequence: unknown kind {kind!r}, expected one of {KINDS}")
    if layout is None:
        return attend(q, k, v, causal_groups=groups, length=length, impl=impl)
    n, heads, _ = q.shape
    over, by = _axes(layout, heads)
    count, local_heads = layout.ways(*over), heads // layout.ways(*by)
    if kind == "auto":
        kind = "ulysses" if local_heads % count == 0 else "ring"
    if kind == "ulysses" and local_heads % count:
        raise ValueError(
            f"ulysses: each device has {local_heads} of {heads} heads, which {count} devices of {over} do not divide; "
            f"choose a size of {over} that divides {local_heads}, or sequence='ring'"
        )
    if kind == "ring" and length is not None:
        raise ValueError(f"ring: knows no length; choose a size of {over} that divides the {local_heads} heads")
    fill = -n % count
    if fill:
        q, k, v = (jnp.pad(x, ((0, fill), (0, 0), (0, 0))) for x in (q, k, v))

    fixed, traced = _lengths(length)

    def alone(q, k, v, *traced):
        return attend(q, k, v, causal_groups=groups, length=traced[0] if traced else fixed, impl=impl)

    def exchanged(q, k, v, *traced):
        q, k, v = (context.to_heads(x, over)[:n] for x in (q, k, v))
        return context.to_tokens(jnp.pad(alone(q, k, v, *traced), ((0, fill), (0, 0), (0, 0))), over)

    def around(q, k, v):
        return context.ring(q, k, v, axes=over, size=count, groups=_numbers(groups, n, fill))

    local = alone if not over else exchanged if kind == "ulysses" else around
    mine = PartitionSpec(entry(over), entry(by), None)
    whole = (PartitionSpec(),) * len(traced)
    return _on(layout, local, (mine, mine, mine, *whole), mine)(q, k, v, *traced)[:n]


def across(
    q: Float[Array, "n heads d"],
    k: Float[Array, "m heads d"],
    v: Float[Array, "m heads d"],
    *,
    length: Any = None,
    impl: str = "auto",
    layout: Layout | None = None,
) -> Float[Array, "n heads d"]:
    """Cross-attention of one example: its keys and values (text, image rows) are few, every device of `over` has all.

    Keys from number `length` on are hidden, see `attend`.

    Raises:
        ValueError: heads that the mesh does not divide.
    """
    if layout is None:
        return attend(q, k, v, length=length, impl=impl)
    n, heads, _ = q.shape
    over, by = _axes(layout, heads)
    fill = -n % layout.ways(*over)
    if fill:
        q = jnp.pad(q, ((0, fill), (0, 0), (0, 0)))
    mine, all_rows = PartitionSpec(entry(over), entry(by), None), PartitionSpec(None, entry(by), None)
    fixed, traced = _lengths(length)

    def local(q, k, v, *traced):
        return attend(q, k, v, length=traced[0] if traced else fixed, impl=impl)

    whole = (PartitionSpec(),) * len(traced)
    return _on(layout, local, (mine, all_rows, all_rows, *whole), mine)(q, k, v, *traced)[:n]


def _lengths(length: Any) -> tuple[int | None, tuple[jax.Array, ...]]:
    """A length that is known while tracing, or None; and one that is not, as an operand."""
    return (length, ()) if length is None or isinstance(length, int) else (None, (jnp.asarray(length),))


def _axes(layout: Layout, heads: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The mesh axes of the tokens and those of the heads."""
    over = layout.axes("tokens")
    by = layout.axes("heads", but=over)
    if heads % layout.ways(*by):
        raise ValueError(f"attention: {heads} heads cannot be divided over {layout.ways(*by)} devices of {by}")
    return over, by


def _on(layout: Layout, local: Any, in_specs: tuple, out_specs: PartitionSpec) -> Any:
    """`local` on every device's own part. All free axes are taken, so that inside nothing is left to the compiler."""
    # check_vma off: the kernels' own backward passes and loops do not declare what varies.
    return jax.shard_map(
        local,
        mesh=layout.here(),
        in_specs=in_specs,
        out_specs=out_specs,
        axis_names=set(layout.free()),
        check_vma=False,
    )


def _numbers(groups: Any, n: int, fill: int) -> np.ndarray | None:
    """Groups of the filled-up sequence: what was filled in is a group behind all others, which nobody attends to."""
    if groups is None and not fill:
        return None
    groups = np.zeros(n, np.int32) if groups is None else np.asarray(groups, np.int32)
    return np.concatenate([groups, np.full(fill, groups[-1] + 1, np.int32)])
