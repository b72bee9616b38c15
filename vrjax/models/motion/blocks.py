"""What ViMoGen has beside Wan's blocks: two cross-attentions in one, added positions, and a modulated head."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from vrjax.models.blocks.layers import Attention, Block, LayerNorm, Linear, layer_norm
from vrjax.models.motion.config import MotionConfig
from vrjax.parallel.layout import Layout

FRAMES = 5000  # that the public table of positions has


class Attended(NamedTuple):
    """What the blocks' cross-attentions read: keys and values of the text, or None; the encoded reference (t, dim), or
    None; how many of its rows count; and, where there are both, whether this example attends to the text.
    """

    text: tuple | None
    reference: Any
    rows: Any
    attend_to_text: Any


class MotionBlock(Block):
    """A block that attends to the text or to the reference motion."""

    def __init__(self, cfg: MotionConfig, key: jax.Array):
        keys, branch = jax.random.split(key), cfg.reference_channels is not None
        super().__init__(cfg, keys[0])
        self.reference_attn = Attention(cfg, keys[1], image=False) if branch else None
        self.norm4 = LayerNorm(cfg.dim, cfg.eps) if branch and cfg.cross_norm else None

    def attended(self, cfg: MotionConfig, h: Array, context: Attended, layout: Layout | None) -> Array:
        """What cross-attention adds to h, by the branch that the example takes."""
        told = None if context.text is None else super().attended(cfg, h, context.text, layout)
        if context.reference is None:
            assert told is not None
            return told
        assert self.reference_attn is not None
        x = h if self.norm4 is None else self.norm4(h).astype(h.dtype)
        pairs = self.reference_attn.keys_values(cfg, context.reference, None)
        shown = self.reference_attn.across(cfg, x, pairs, layout, context.rows)
        return shown if told is None else jnp.where(context.attend_to_text, told, shown)


class Head(nnx.Module):
    """From the stream to channels: a norm modulated by the time, and a linear layer. Not zero at the start."""

    def __init__(self, cfg: MotionConfig, key: jax.Array, channels: int):
        keys = jax.random.split(key)
        self.modulation = nnx.Param(jax.random.normal(keys[0], (2, cfg.dim)) / np.sqrt(cfg.dim))
        self.head = Linear(nnx.initializers.xavier_uniform(), keys[1], cfg.dim, channels, cfg.param_dtype)

    def __call__(self, cfg: MotionConfig, h: Array, e: Array) -> Array:
        m = self.modulation[...].astype(jnp.float32) + e[:, None]
        return self.head((layer_norm(h, cfg.eps) * (1 + m[:, 1]) + m[:, 0]).astype(h.dtype), cfg.dtype)


@functools.lru_cache(maxsize=16)
def positions(frames: int, dim: int) -> np.ndarray:
    """What is added to embedded frames, (frames, dim) float32: sines in even channels, cosines in odd ones.

    ValueError: more frames than the public table has.
    """
    if frames > FRAMES:
        raise ValueError(f"x: {frames} frames, expected at most {FRAMES}, the table of positions")
    angle = np.arange(frames)[:, None] / 10000.0 ** (np.arange(0, dim, 2) / dim)
    return np.stack([np.sin(angle), np.cos(angle)], -1).reshape(frames, dim).astype(np.float32)
