"""The pieces of Wan's video VAE: causal convolutions over a stream of frames, residual blocks, resampling.

Everything works on a piece of a clip, frames first and channels last, (t, h, w, c). A `Stream` gives each causal
operation the frames to its left. A whole clip is one piece without a past; a long clip is cut into pieces whose
contexts are handed on, and the sums are the same ones.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx
from jax import lax
from jaxtyping import Array

from vrjax.models.blocks.attention import attend

Contexts = tuple[Array, ...]


class Stream:
    """Frames to the left of each causal operation, in the order in which the operations run.

    Attributes:
        start: this piece begins the clip.
        new: contexts for the next piece, filled as the operations run.
    """

    def __init__(self, contexts: Contexts | None):
        self.start = contexts is None
        self._old = iter(contexts or ())
        self.new: list[Array] = []

    def join(self, x: Array, frames: int) -> Array:
        """x with the `frames` frames before it: zeros at the start of the clip."""
        old = jnp.zeros((frames, *x.shape[1:]), x.dtype) if self.start else next(self._old)
        x = jnp.concatenate([old, x])
        self.new.append(x[len(x) - frames :])
        return x

    def last(self, x: Array) -> Array:
        """x with the one frame before it: nothing at the start of the clip."""
        self.new.append(x[-1:])
        return x if self.start else jnp.concatenate([next(self._old), x])


class Conv(nnx.Module):
    """Convolution of (t, h, w, in), valid in time, zero-padded in space; kernel (kt, kh, kw, in, out)."""

    def __init__(self, key: jax.Array, size: tuple[int, int, int], n_in: int, n_out: int):
        scale = 1 / np.sqrt(np.prod(size) * n_in)
        self.kernel = nnx.Param(jax.random.uniform(key, (*size, n_in, n_out), minval=-scale, maxval=scale))
        self.bias = nnx.Param(jnp.zeros(n_out))

    def __call__(self, x: Array, stride: tuple[int, int, int] = (1, 1, 1), pad: Any = None) -> Array:
        kernel, bias = self.kernel[...].astype(x.dtype), self.bias[...].astype(x.dtype)
        if kernel.shape[:3] == (1, 1, 1):
            return x @ kernel[0, 0, 0] + bias
        _, kh, kw = kernel.shape[:3]
        padding = ((0, 0), *(pad or ((kh // 2, kh // 2), (kw // 2, kw // 2))))
        dims = ("NDHWC", "DHWIO", "NDHWC")
        return lax.conv_general_dilated(x[None], kernel, stride, padding, dimension_numbers=dims)[0] + bias


class CausalConv(Conv):
    """Convolution that sees the frames before, never after."""

    def run(self, x: Array, stream: Stream) -> Array:
        left = self.kernel.shape[0] - 1
        return self(stream.join(x, left) if left else x)


class Norm(nnx.Module):
    """x / |x| * sqrt(channels) * gamma, in float32; |x| is at least 1e-12."""

    def __init__(self, dim: int):
        self.gamma = nnx.Param(jnp.ones(dim))

    def __call__(self, x: Array) -> Array:
        x32 = x.astype(jnp.float32)
        inverse = lax.rsqrt(jnp.maximum(jnp.square(x32).sum(-1, keepdims=True), 1e-24))
        return (x32 * inverse * (np.sqrt(x.shape[-1]) * self.gamma[...].astype(jnp.float32))).astype(x.dtype)


class ResBlock(nnx.Module):
    """Twice norm, SiLU and a 3x3x3 causal convolution, beside the identity or a 1x1x1 convolution."""

    def __init__(self, key: jax.Array, n_in: int, n_out: int):
        keys = jax.random.split(key, 3)
        self.norm1, self.conv1 = Norm(n_in), CausalConv(keys[0], (3, 3, 3), n_in, n_out)
        self.norm2, self.conv2 = Norm(n_out), CausalConv(keys[1], (3, 3, 3), n_out, n_out)
        self.shortcut = None if n_in == n_out else CausalConv(keys[2], (1, 1, 1), n_in, n_out)

    def run(self, x: Array, stream: Stream) -> Array:
        skip = x if self.shortcut is None else self.shortcut.run(x, stream)
        x = self.conv1.run(jax.nn.silu(self.norm1(x)), stream)
        return skip + self.conv2.run(jax.nn.silu(self.norm2(x)), stream)


class FrameAttention(nnx.Module):
    """Single-head attention among the positions of each frame, one frame at a time; float32."""

    def __init__(self, key: jax.Array, dim: int):
        keys = jax.random.split(key)
        self.norm = Norm(dim)
        self.to_qkv, self.proj = Conv(keys[0], (1, 1, 1), dim, 3 * dim), Conv(keys[1], (1, 1, 1), dim, dim)

    def __call__(self, x: Array) -> Array:
        qkv = self.to_qkv(self.norm(x)).astype(jnp.float32)

        def frame(rows):
            q, k, v = jnp.split(rows.reshape(-1, 1, rows.shape[-1]), 3, -1)
            return attend(q, k, v).reshape(*rows.shape[:-1], -1)

        return x + self.proj(lax.map(frame, qkv).astype(x.dtype))


class Middle(nnx.Module):
    """Residual block, attention, residual block."""

    def __init__(self, key: jax.Array, dim: int):
        keys = jax.random.split(key, 3)
        self.first, self.attention, self.second = (
            ResBlock(keys[0], dim, dim),
            FrameAttention(keys[1], dim),
            ResBlock(keys[2], dim, dim),
        )

    def run(self, x: Array, stream: Stream) -> Array:
        return self.second.run(self.attention(self.first.run(x, stream)), stream)


class Down(nnx.Module):
    """Halves height and width, and with `time` the frames after the clip's first, which is kept as it is."""

    def __init__(self, key: jax.Array, dim: int, time: bool):
        keys = jax.random.split(key)
        self.conv = Conv(keys[0], (1, 3, 3), dim, dim)
        self.time_conv = CausalConv(keys[1], (3, 1, 1), dim, dim) if time else None

    def run(self, x: Array, stream: Stream) -> Array:
        x = self.conv(x, (1, 2, 2), ((0, 1), (0, 1)))
        if self.time_conv is None:
            return x
        y = stream.last(x)
        halved = [self.time_conv(y, (2, 1, 1))] if len(y) > 2 else []
        return jnp.concatenate([x[:1], *halved]) if stream.start else halved[0]


class Up(nnx.Module):
    """Doubles height and width, and with `time` the frames after the clip's first, unseen by the time convolution."""

    def __init__(self, key: jax.Array, n_in: int, n_out: int, time: bool):
        keys = jax.random.split(key)
        self.time_conv = CausalConv(keys[0], (3, 1, 1), n_in, 2 * n_in) if time else None
        self.conv = Conv(keys[1], (1, 3, 3), n_in, n_out)

    def run(self, x: Array, stream: Stream) -> Array:
        if self.time_conv is not None:
            first, rest = (x[:1], x[1:]) if stream.start else (x[:0], x)
            joined = stream.join(rest, 2)
            if len(rest):
                doubled = rearrange(self.time_conv(joined), "t h w (p c) -> (t p) h w c", p=2)
                x = jnp.concatenate([first, doubled])
        return self.conv(jnp.repeat(jnp.repeat(x, 2, 1), 2, 2))


def mean_down(x: Array, channels: int, time: int, space: int) -> Array:
    """Shortcut of 2.2's encoder: pixel-unshuffle, then means over groups of channels. A clip's odd frame comes first,
    after a frame of zeros."""
    x = jnp.pad(x, ((-len(x) % time, 0), (0, 0), (0, 0), (0, 0)))
    x = rearrange(x, "(t p) (h q) (w r) c -> t h w (c p q r)", p=time, q=space, r=space)
    return x.reshape(*x.shape[:3], channels, -1).mean(-1)


def repeat_up(x: Array, channels: int, time: int, space: int, start: bool) -> Array:
    """Shortcut of 2.2's decoder: repeated channels, pixel-shuffled. The clip's first frame gives one frame."""
    x = jnp.repeat(x, channels * time * space**2 // x.shape[-1], -1)
    x = rearrange(x, "t h w (c p q r) -> (t p) (h q) (w r) c", p=time, q=space, r=space)
    return x[time - 1 :] if start else x
