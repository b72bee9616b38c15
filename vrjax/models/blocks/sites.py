"""Named sites inside a stack of blocks: which taps read and which edits rewrite the residual stream, and where.

A `Sites` is static: it is built while a model is traced, and where it is empty it adds nothing to the program. In a
scanned stack the single-block sites (`block.3.ffn`) are gated by `lax.cond` on the block index, so the program holds
one block however many of them are named. In an unrolled stack they are plain Python branches.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vrjax.flow import mistakes, words
from vrjax.flow.varying import vary_as


def indexed(fn: Callable) -> Callable:
    """Marks an edit or tap that wants the block index: it is called `fn(h, block)` instead of `fn(h)`.

    For sites inside blocks only. `block` is an int32 scalar, traced where the blocks are scanned.
    """

    def call(h, block):
        return fn(h, block)

    call.__name__ = getattr(fn, "__name__", "indexed")
    call.wants_block = True
    return call


def names(layers: int, parts: tuple[str, ...], stem: str = "block") -> list[str]:
    """Every site of a stack of `layers` blocks, the wildcard sites first.

    Args:
        layers: number of blocks.
        parts: the sites inside a block, such as ".ffn"; "" is the residual stream behind it.
        stem: what a block is called. The main stack's are "block", and `embed` stands before them.
    """
    inside = [f"{stem}.{i}{part}" for i in ["*", *range(layers)] for part in parts]
    return ["embed", *inside] if stem == "block" else inside


def _apply(fn, h, block):
    with mistakes.axes():
        return fn(h, block) if getattr(fn, "wants_block", False) else fn(h)


class Sites:
    """The taps and edits of one call, sorted by site.

    Args:
        taps: site name -> `fn(h) -> pytree` (`fn(h, block)` where marked by `indexed`).
        edits: site name -> `fn(h) -> h`, same shape.
        layers, parts, stem: see `names`.

    Raises:
        ValueError: a name is not a site, or an `indexed` function is put on `embed`.
    """

    def __init__(
        self,
        taps: Mapping[str, Callable],
        edits: Mapping[str, Callable],
        layers: int,
        parts: tuple[str, ...],
        stem: str = "block",
    ):
        self.layers = layers
        valid = set(names(layers, parts, stem))
        for kind, table in (("taps", taps), ("edits", edits)):
            if not isinstance(table, Mapping):
                raise ValueError(f"{kind}: expected a dict of functions by site, found {words.value(table)}")
            for name, fn in table.items():
                if name not in valid:
                    first, inside = (
                        "embed, " * (stem == "block"),
                        ", ".join(f"{stem}.I{part}" for part in parts if part),
                    )
                    raise ValueError(
                        f"{kind}: unknown site {name!r}; valid sites: {first}{stem}.I and {stem}.*, {inside} "
                        f"and the same with *, where I is 0 .. {layers - 1}"
                    )
                wants = ("h", "block") if getattr(fn, "wants_block", False) else ("h",)
                mistakes.call(f"{kind}: {name}", fn, *wants)
                if name == "embed" and getattr(fn, "wants_block", False):
                    raise ValueError(f"{kind}: 'embed' lies before the blocks, an indexed function cannot stand there")
        self._embed = taps.get("embed"), edits.get("embed")
        self._edits: dict[str, list[tuple[Callable, np.ndarray | None, list[str]]]] = {part: [] for part in parts}
        self._taps: dict[str, list[tuple[str, Callable, int | None]]] = {part: [] for part in parts}
        for name, fn in edits.items():
            if name == "embed":
                continue
            block, part = self._split(name)
            if block is None:
                self._edits[part].append((fn, None, [name]))
                continue
            # The same function at several single blocks is one branch with a mask, not one branch each.
            last = self._edits[part][-1] if self._edits[part] else (None, None, [])
            if last[0] is fn and last[1] is not None:
                last[1][block] = True
                last[2].append(name)
            else:
                mask = np.zeros(layers, bool)
                mask[block] = True
                self._edits[part].append((fn, mask, [name]))
        for name, fn in taps.items():
            if name != "embed":
                block, part = self._split(name)
                self._taps[part].append((name, fn, block))

    @staticmethod
    def _split(name: str) -> tuple[int | None, str]:
        _, block, *part = name.split(".")
        return (None if block == "*" else int(block)), ("." + part[0] if part else "")

    @property
    def inside(self) -> bool:
        """Whether any tap or edit lies inside the blocks."""
        return any(self._edits.values()) or any(self._taps.values())

    def embed(self, h: jax.Array, out: dict) -> jax.Array:
        """Applies the `embed` edit and tap, which stand before the blocks."""
        tap, edit = self._embed
        if edit is not None:
            h = self._checked(edit, h, None, "embed")
        if tap is not None:
            out["embed"] = _apply(tap, h, None)
        return h

    @property
    def single(self) -> bool:
        """Whether any tap reads one block only."""
        return any(block is not None for taps in self._taps.values() for _, _, block in taps)

    def slots(self, at: Mapping[str, Any], like: jax.Array) -> dict[str, Any]:
        """Zeros in the shape of every single-block tap's result: the carry that a scan fills in.

        Args:
            at: shape of the array at each part of a block.
            like: varies over the same manual mesh axes.
        """
        slots = {}
        for part, taps in self._taps.items():
            for name, fn, block in taps:
                if block is not None:
                    shapes = jax.eval_shape(lambda h, fn=fn: _apply(fn, h, jnp.int32(0)), at[part])
                    slots[name] = jax.tree.map(lambda s: vary_as(jnp.zeros(s.shape, s.dtype), like), shapes)
        return slots

    def visit(self, part: str, h: jax.Array, block, slots: dict, rows: dict) -> jax.Array:
        """Applies the edits and then the taps of one site of one block.

        Args:
            part: one of the parts that a block has.
            h: the array at the site.
            block: the block's index; a Python int in an unrolled stack.
            slots: results of single-block taps, updated in place.
            rows: results of wildcard taps for this block, updated in place.

        Returns:
            the edited h.
        """
        for fn, mask, where in self._edits[part]:
            edit = lambda h, fn=fn, where=where: self._checked(fn, h, block, ", ".join(where))
            if mask is None:
                h = edit(h)
            elif isinstance(block, int):
                h = edit(h) if mask[block] else h
            else:
                h = lax.cond(jnp.asarray(mask)[block], edit, lambda h: h, h)
        for name, fn, only in self._taps[part]:
            if only is None:
                rows[name] = _apply(fn, h, block)
            elif isinstance(block, int):
                if only == block:
                    slots[name] = _apply(fn, h, jnp.int32(block))
            else:

                def take(h, old, fn=fn):
                    return jax.tree.map(lambda new: vary_as(new, h), _apply(fn, h, block))

                slots[name] = lax.cond(block == only, take, lambda h, old: old, h, slots[name])
        return h

    @staticmethod
    def _checked(fn, h, block, site):
        new = _apply(fn, h, block)
        mistakes.shape(f"edits: the one at {site}", new, h)
        return vary_as(jnp.asarray(new, h.dtype), h)
