"""The block-causal network on a whole video at once, without a cache: what training asks, and what a cache must equal.

Instead of a mask every chunk's queries are given the keys that they see and no others, so that any kernel of attention
serves, and nothing is computed to be hidden. Short videos of a network whose attention is "xla" do have a mask: so many
small products, and what is cut and padded around them, cost more than what is hidden (on one core, six frames of four
tokens beside their clean ones: a third of the update).
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vrjax.flow import Prediction
from vrjax.models.causal import chunks as frames_of
from vrjax.models.causal import network
from vrjax.models.causal.network import NONE
from vrjax.models.wan.dit import Context, WanDiT

SHORT = 96
"""Tokens up to which a mask is cheaper."""


def forward(
    dit: WanDiT,
    x: Float[Array | np.ndarray, "F h w c"],
    time: Any,
    text: Float[Array | np.ndarray, "l d"] | None = None,
    *,
    chunks: Sequence[int],
    window: int | None = None,
    sink: int = 0,
    clean: Float[Array | np.ndarray, "F2 h2 w2 c2"] | None = None,
    clean_time: Any = 0.0,
    actions: Float[Array | np.ndarray, "F3 a"] | None = None,
) -> Float[Array, "F h w c"]:
    """Velocity of a video of which each chunk sees itself and what was before it.

    Args:
        dit: the network.
        x: noisy latent; each frame may have a noise level of its own.
        time: 0 ... 1000, () or (F,).
        text: (l, text_dim), not masked: pad it with zero rows as in training. None of a network without text.
        chunks: lengths of the chunks, see `partition`.
        window: frames that a chunk sees, its own included, counted back from its end. None: all.
        sink: the first of them are the first frames of the video, see `chunks.seen`. Public training has none.
        clean: a clean video beside the noisy one (teacher forcing): chunks of x then see their own noisy frames and
            the clean ones before these; clean chunks see clean ones, as far as the window reaches in both cases.
        clean_time: of `clean`, () or (F,).
        actions: (F, size) of a `CausalDiT`, each of the frame that it leads to, noisy and clean.

    Returns:
        velocity of x, float32.

    Raises:
        ValueError: shapes that do not fit; chunks that are not the frames of x; a window that is shorter than a chunk.
    """
    beside = {"clean": clean, "clean_time": clean_time, "actions": actions}
    return predict(dit, x, time, text, chunks=chunks, window=window, sink=sink, **beside).v


def predict(
    dit: WanDiT,
    x: Any,
    time: Any,
    text: Any,
    *,
    chunks: Sequence[int],
    window: int | None = None,
    sink: int = 0,
    clean: Any = None,
    clean_time: Any = 0.0,
    actions: Any = None,
    taps: Any = NONE,
    edits: Any = NONE,
) -> Prediction:
    """As `forward`, with taps and edits of `WanDiT`'s sites; beside a clean video they see its tokens first.

    `text` may be a `Context` that was made of it.
    """
    frames, rows, columns = network.grid_of(dit, x)
    chunks = tuple(int(n) for n in chunks)
    if sum(chunks) != frames or min(chunks, default=0) < 1:
        raise ValueError(f"chunks: found {chunks} for {frames} frames, expected lengths of 1 or more that add up")
    frames_of.check_window(window, sink, chunks)
    if frames > network.TABLE:
        raise ValueError(f"causal: {frames} frames, expected at most {network.TABLE}, which have rotary positions")
    if clean is not None and jnp.shape(clean) != jnp.shape(x):
        raise ValueError(f"clean: shape {jnp.shape(clean)}, expected that of x, {jnp.shape(x)}")
    ends = np.cumsum(chunks).tolist()
    before = [frames_of.seen(end - n, end, window, sink) for n, end in zip(chunks, ends, strict=True)]
    own = [list(range(end - n, end)) for n, end in zip(chunks, ends, strict=True)]
    plan = [(mine, [*seen, *mine]) for mine, seen in zip(own, before, strict=True)]
    streams = [(x, time)]
    if clean is not None:
        behind = [[frame + frames for frame in mine] for mine in own]
        plan += [(mine, [*seen, *mine]) for mine, seen in zip(behind, before, strict=True)]
        streams = [(clean, clean_time), *streams]
    size, each = rows * columns, network.across(dit)

    def attend(q, k, v, _):
        """Chunk by chunk; frames that are seen lie in at most three runs."""
        out = []
        for mine, seen in plan:
            keys, values = (jnp.concatenate([a[start:end] for start, end in _runs(seen, size)]) for a in (k, v))
            out.append(each(q[mine[0] * size : (mine[-1] + 1) * size], keys, values))
        return jnp.concatenate(out)

    n = size * frames * len(streams)
    if dit.cfg.attention == "xla" and dit.layout is None and n <= SHORT:
        mask = np.zeros((n, n), bool)
        for mine, seen in plan:
            of = lambda frames: (np.array(frames)[:, None] * size + np.arange(size)).ravel()
            mask[np.ix_(of(mine), of(seen))] = True
        attend = lambda q, k, v, _: jax.nn.dot_product_attention(q, k, v, mask=mask[None], implementation="xla")

    rope = network.angles(np.tile(np.arange(frames), len(streams)), rows, columns, dit.cfg.head_dim)
    context = text if isinstance(text, Context) else dit.context(text)
    told = network.actions_of(dit, actions, frames)
    told = None if told is None else jnp.concatenate([told] * len(streams))
    before = network.shifted(dit, x if clean is None else clean)
    before = None if before is None else jnp.concatenate([before] * len(streams))
    how = {"rope": rope, "actions": told, "previous": before, "taps": taps, "edits": edits}
    return network.run(dit, streams, context, attend, **how)[0]


def _runs(frames: list[int], size: int) -> list[tuple[int, int]]:
    """Slices of tokens, `size` a frame, of frames in rising order."""
    cuts = [0, *[i for i in range(1, len(frames)) if frames[i] != frames[i - 1] + 1], len(frames)]
    return [(frames[a] * size, (frames[b - 1] + 1) * size) for a, b in zip(cuts, cuts[1:], strict=False)]
