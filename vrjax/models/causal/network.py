"""Wan's network on chunks of frames: what its tokens attend to is handed in, all else is `WanDiT`'s own.

Weights, blocks, sites, text and head are those of `vrjax.models.wan`. New are one time for each latent frame (which
`WanDiT` takes too), attention to what a chunk sees, and positions that go on from chunk to chunk; and one action for
each frame of a `CausalDiT`.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vrjax.flow import Prediction
from vrjax.models.blocks import parameterization, sequence, stack
from vrjax.models.blocks.layers import PARTS, rotary_angles
from vrjax.models.blocks.sites import Sites
from vrjax.models.wan.dit import Context, WanDiT

TABLE = 1024
"""Frames of the public table of rotary positions. A later frame has none: its angles are NaN here."""
NONE: Mapping[str, Callable] = {}


def grid_of(dit: WanDiT, x: Any) -> tuple[int, int, int]:
    """Frames, rows and columns of tokens of a latent (f, h, w, c).

    Raises:
        ValueError: a shape that does not fit the network; a network that is not text-to-video, or whose tokens have
            several frames.
    """
    cfg, shape = dit.cfg, jnp.shape(x)
    if cfg.patch[0] != 1 or cfg.in_channels != cfg.out_channels or cfg.image_dim is not None:
        raise ValueError(
            f"causal: found patch {cfg.patch}, {cfg.in_channels} channels in and {cfg.out_channels} out"
            f"{'' if cfg.image_dim is None else ' and an image branch'}, expected a text-to-video network of one frame "
            "a token"
        )
    if len(shape) != 4 or shape[3] != cfg.in_channels or not all(shape) or shape[1] % cfg.patch[1]:
        raise ValueError(
            f"causal: latent of shape {shape}, expected (frames, h, w, {cfg.in_channels}), patch {cfg.patch}"
        )
    if shape[2] % cfg.patch[2]:
        raise ValueError(f"causal: latent of shape {shape}, expected w to be a multiple of {cfg.patch[2]}")
    return shape[0], shape[1] // cfg.patch[1], shape[2] // cfg.patch[2]


def angles(frames: Int[Array, " n"] | np.ndarray, rows: int, columns: int, head_dim: int) -> tuple[Array, Array]:
    """cos and sin (n * rows * columns, head_dim / 2) of the tokens of frames, whose numbers may be traced.

    They are looked up in tables that were made in float64. Of frames outside 0 ... TABLE - 1 they are NaN.
    """
    temporal = (head_dim - 4 * (head_dim // 6)) // 2  # columns of the table that belong to time
    frames, out = jnp.asarray(frames), []
    for along, place in zip(
        rotary_angles((TABLE, 1, 1), head_dim), rotary_angles((1, rows, columns), head_dim), strict=True
    ):
        at = jnp.where(frames < 0, TABLE, frames)  # a negative index would count from the end
        time = jnp.take(jnp.asarray(along[:, :temporal]), at, axis=0, mode="fill", fill_value=jnp.nan)
        time = jnp.broadcast_to(time[:, None], (len(time), rows * columns, temporal))
        space = jnp.broadcast_to(jnp.asarray(place[:, temporal:]), (len(time), *place[:, temporal:].shape))
        out.append(jnp.concatenate([time, space], -1).reshape(-1, head_dim // 2))
    return out[0], out[1]


def parts_of(text: bool) -> tuple[str, ...]:
    """The sites of a block, see `blocks.layers.PARTS`: without text there is no cross-attention."""
    return PARTS if text else tuple(part for part in PARTS if part != ".cross_attn")


def actions_of(dit: WanDiT, actions: Any, frames: int) -> Array | None:
    """Actions as the network takes them: (frames, size), row f being what leads to frame f; None where it knows none.

    Raises:
        ValueError: none where the network needs them, some where it knows none, or another shape.
    """
    size = getattr(dit.cfg, "action", 0)
    if actions is None and not size:
        return None
    shape = None if actions is None else jnp.shape(actions)
    if not size:
        raise ValueError(f"actions: found shape {shape}, expected None: this network knows no actions")
    if shape != (frames, size):
        raise ValueError(f"actions: found {shape or 'none'}, expected shape ({frames}, {size}), a row for every frame")
    return jnp.asarray(actions, jnp.float32)


def shifted(dit: WanDiT, frames: Any) -> Array | None:
    """The frame before each of `frames`, zeros before the first; None of a network that is not told it."""
    if not getattr(dit.cfg, "previous", False):
        return None
    frames = jnp.asarray(frames)
    return jnp.concatenate([jnp.zeros_like(frames[:1]), frames[:-1]])


def run(
    dit: WanDiT,
    streams: Sequence[tuple[Float[Array | np.ndarray, "f h w c"], Any]],
    context: Context,
    attend: Callable[..., Array],
    *,
    rope: tuple | None,
    actions: Array | None = None,
    previous: Array | None = None,
    memory: Any = None,
    taps: Mapping[str, Callable] = NONE,
    edits: Mapping[str, Callable] = NONE,
    keeps: bool = False,
) -> tuple[Prediction, Any]:
    """One pass of the network.

    Args:
        dit: its weights.
        streams: latents with their times, () or (f,) each; their tokens lie one behind the other. The velocity is that
            of the last one.
        context: of the text, `dit.context(text)`; with `ahead=True` where more than one pass reads it.
        attend: `attend(q, k, v, remembered) -> (n, heads, head_dim)` in place of self-attention, see
            `blocks.layers.Attention.within`; `remembered` is the block's part of `memory`.
        rope: of all tokens; None: `attend` turns them.
        actions: of the frames of all streams, see `actions_of`.
        previous: the frame before each, of a network that is told it.
        memory: what blocks remember, a pytree whose leaves are stacked over blocks.
        taps, edits: as of `WanDiT`; they see the tokens of all streams.
        keeps: whether keys and values of all tokens are returned.

    Returns:
        the prediction, and keys and values (blocks, n, heads, head_dim) as `attend` was given them, or None.
    """
    cfg = dit.cfg
    grids = [grid_of(dit, x) for x, _ in streams]
    sites = Sites(taps, edits, cfg.layers, parts_of(dit.blocks.cross_attn is not None))
    out: dict[str, Any] = {}
    tokens = jnp.concatenate([dit.patches(jnp.asarray(x)) for x, _ in streams])
    if (previous is None) == getattr(cfg, "previous", False):
        raise ValueError("causal: this network is told the frame before each, as cached calls and whole videos have it")
    if previous is not None:
        tokens = tokens + dit.behind(previous)  # type: ignore[attr-defined]
    times = [
        jnp.broadcast_to(jnp.asarray(time, jnp.float32), (frames,))
        for (_, time), (frames, _, _) in zip(streams, grids, strict=True)
    ]
    h = sites.embed(tokens, out)
    frames = sum(grid[0] for grid in grids)
    more = None if actions is None else dit.action_in(actions, jnp.float32)  # type: ignore[attr-defined]
    e, time6 = dit.embed_time(jnp.concatenate(times), len(h), frames, more)

    def block(h, row, visit):
        (weights, pairs), remembered = row
        if pairs is None and weights.cross_attn is not None:
            pairs = weights.cross_attn.keys_values(cfg, *context.rows)
        own: list[Any] = []

        def attended(q, k, v):
            own.append((k, v))
            return attend(q, k, v, remembered)

        h = weights(cfg, h, time6, pairs, rope, None, dit.layout, visit, attend=attended)
        return (h, own[0]) if keeps else h

    rows: Any = ((dit.blocks, context.pairs), memory)
    if context.blocks is not None:
        each = lambda tree: [None] * cfg.layers if tree is None else stack.unstacked(tree)
        rows = list(zip(zip(context.blocks, each(context.pairs), strict=True), each(memory), strict=True))
    h, inside, *kept = stack.run(block, h, rows, sites, unroll=cfg.unroll, remat=cfg.remat, keeps=keeps)
    last = grids[-1]
    start = len(h) - last[0] * last[1] * last[2]
    e = e[-last[0] :] if len(e) == frames else e[start:]
    v = dit.read_out(h[start:], e, last)
    sigma, before = (times[-1] / 1000.0)[:, None, None, None], None if previous is None else previous[-last[0] :]
    v = parameterization.velocity(cfg.predicts, v, streams[-1][0], sigma, before)
    return Prediction(v, {**out, **inside}), kept[0] if keeps else None


def across(dit: WanDiT) -> Callable[..., Array]:
    """Attention of some queries to given keys, all of which every device has; `length` hides those behind it."""
    return functools.partial(sequence.across, impl=dit.cfg.attention, layout=dit.layout)
