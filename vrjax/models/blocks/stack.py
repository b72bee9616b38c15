"""A stack of equal blocks: scanned or unrolled, recomputed by policy in a backward pass, tapped and edited at sites.

    sites = Sites(taps, edits, cfg.layers, PARTS)
    h, taps = stack.run(block, h, self.blocks, sites, unroll=cfg.unroll, remat=cfg.remat)

`block(h, row, visit) -> h` is what a family writes; blocks' parameters are stacked on a leading axis.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from vrjax.models.blocks.sites import Sites

REMAT = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    "attention": jax.checkpoint_policies.save_only_these_names("attention"),
    "dots": jax.checkpoint_policies.dots_saveable,
    "dots_no_batch": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}
"""What a backward pass recomputes of a block, dearest first, by name: nothing; everything; everything but attention
itself, whose output is kept; all but matrix products; all but matrix products with weights."""


def run(
    block: Callable[[Any, Any, Callable], Any],
    h: Any,
    rows: Any,
    sites: Sites,
    *,
    unroll: bool,
    remat: str,
    keeps: bool = False,
) -> tuple[Any, ...]:
    """Runs every block and gathers the taps inside them.

    Args:
        block: `block(h, row, visit) -> h`, where `visit(part, x) -> x` applies the edits and taps of one of its sites.
        h: what goes from block to block: the residual stream, or a pytree of several.
        rows: what each block has of its own (parameters, keys and values of conditions), as a pytree whose leaves are
            stacked over blocks. For unrolled blocks also a list with one pytree a block, cut up beforehand.
        sites: the taps and edits.
        unroll: run a Python loop instead of `lax.scan`: faster training on CPU, longer compilation.
        remat: one of `REMAT`.
        keeps: `block` returns a pair, h and a pytree that is kept of every block.

    Returns:
        h behind the last block, and the taps by site name, those of `block.*` stacked over blocks; with `keeps` a third
        value, what was kept, stacked over blocks.
    """

    def step(index, carry, row):
        h, slots = carry
        slots, found = dict(slots), {}
        out = block(h, row, lambda part, x: sites.visit(part, x, index, slots, found))
        h, kept = out if keeps else (out, None)
        return (h, slots), (found, kept)

    def recomputed(step):
        if remat == "none":
            return step
        # A scan body is compiled on its own: nothing outside it could be merged with the recomputation.
        return jax.checkpoint(step, policy=REMAT[remat], prevent_cse=unroll)

    if not unroll:
        index = jnp.arange(sites.layers) if sites.inside else None
        body = recomputed(lambda carry, x: step(x[0], carry, x[1]))
        (h, slots), (found, kept) = lax.scan(body, (h, _slots(block, h, rows, sites)), (index, rows))
    else:
        carry, every = (h, {}), []
        for i, row in enumerate(rows if isinstance(rows, list) else unstacked(rows)):
            carry, out = recomputed(functools.partial(step, i))(carry, row)
            every.append(out)
        h, slots = carry
        found, kept = jax.tree.map(lambda *r: jnp.stack(r), *every)
    return (h, {**slots, **found}, kept) if keeps else (h, {**slots, **found})


def unstacked(rows: Any) -> list[Any]:
    """The pytrees of single blocks of a pytree whose leaves stack them."""
    leaves, structure = jax.tree.flatten(rows)
    return [jax.tree.unflatten(structure, row) for row in zip(*(jnp.unstack(leaf) for leaf in leaves), strict=True)]


def _slots(block: Callable, h: Any, rows: Any, sites: Sites) -> dict[str, Any]:
    """The carry that single-block taps fill in: sites may have shapes of their own, so one block is traced for them."""
    if not sites.single:
        return {}

    def look(h, rows):
        seen = {}
        block(h, jax.tree.map(lambda x: x[0], rows), lambda part, x: seen.setdefault(part, x))
        return seen

    return sites.slots(jax.eval_shape(look, h, rows), jax.tree.leaves(h)[0])
