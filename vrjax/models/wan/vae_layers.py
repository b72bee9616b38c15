"""The pieces of Wan's video VAE: causal convolutions over a stream of frames, residual blocks, resampling, tiles.

Everything works on a piece of a clip, frames first and channels last, (t, h, w, c). A `Stream` gives each causal
operation the frames to its left. A whole clip is one piece without a past; a long clip is cut into pieces whose
contexts are handed on, and the sums are the same ones.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

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


class Stage(nnx.Module):
    """Residual blocks, then resampling, of one resolution of the encoder or the decoder."""

    def __init__(self, key: jax.Array, widths: list[int], resample: Any):
        keys = jax.random.split(key, len(widths))
        pairs = zip(keys, widths, widths[1:], strict=False)
        self.blocks = nnx.List([ResBlock(k, n_in, n_out) for k, n_in, n_out in pairs])
        self.resample = resample(keys[-1]) if resample else None

    def run(self, x: Array, stream: Stream) -> Array:
        for block in self.blocks:
            x = block.run(x, stream)
        return x if self.resample is None else self.resample.run(x, stream)


class Coder(nnx.Module):
    """What encoder and decoder share: an input convolution, stages, a middle, and an output head."""

    def __init__(self, cfg: Any, key: jax.Array, encoder: bool):
        keys = jax.random.split(key, 4 + len(cfg.multipliers))
        stages, pixels = len(cfg.multipliers), cfg.channels * cfg.patch**2
        self.stages = nnx.List([])
        if encoder:
            dims = [cfg.dim, *(cfg.dim * m for m in cfg.multipliers)]
            n_in, n_out = pixels, 2 * cfg.latent_channels
        else:
            dims = [cfg.decoder_dim * m for m in (*cfg.multipliers[-1:], *cfg.multipliers[::-1])]
            n_in, n_out = cfg.latent_channels, pixels
        for i, (a, b) in enumerate(zip(dims, dims[1:], strict=False)):
            last = i == stages - 1
            if encoder:
                widths = [a] + [b] * cfg.blocks
                make = None if last else (lambda k, b=b, time=cfg.temporal[i]: Down(k, b, time))
            else:
                halved = not cfg.shortcuts
                widths = [a // 2 if halved and i else a] + [b] * (cfg.blocks + 1)
                time = False if last else cfg.temporal[::-1][i]
                make = None if last else (lambda k, b=b, o=b // 2 if halved else b, time=time: Up(k, b, o, time))
            self.stages.append(Stage(keys[4 + i], widths, make))
        self.conv_in = CausalConv(keys[0], (3, 3, 3), n_in, dims[0])
        self.middle = Middle(keys[1], dims[-1] if encoder else dims[0])
        self.norm_out, self.conv_out = Norm(dims[-1]), CausalConv(keys[2], (3, 3, 3), dims[-1], n_out)

    def head(self, x: Array, stream: Stream) -> Array:
        return self.conv_out.run(jax.nn.silu(self.norm_out(x)), stream)


# ------------------------------------------------------------ pieces of a clip and tiles of its frames


class Tile(NamedTuple):
    """Spatial tiles, in latent positions: neighbours overlap by at least `overlap` and are blended linearly there."""

    height: int = 32
    width: int = 32
    overlap: int = 8


def in_pieces(run: Callable, x: Array, step: int, chunk: int | None) -> Array:
    """Runs `run(piece, contexts) -> (out, contexts)` over x: its first frame, then pieces of `chunk * step` frames."""
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk: found {chunk}, expected at least 1 latent frame, or None")
    if chunk is None or len(x) == 1:
        return run(x, None)[0]
    head, contexts = run(x[:1], None)
    size, out = chunk * step, [head]
    pieces, left = divmod(len(x) - 1, size)
    if pieces:
        rows = x[1 : 1 + pieces * size].reshape(pieces, size, *x.shape[1:])
        contexts, rows = lax.scan(lambda c, piece: run(piece, c)[::-1], contexts, rows)
        out.append(rows.reshape(-1, *rows.shape[2:]))
    if left:
        out.append(run(x[-left:], contexts)[0])
    return jnp.concatenate(out)


def in_tiles(run: Callable, x: Array, tile: Tile, down: int, up: int) -> Array:
    """Runs `run` on equal tiles of x (t, h, w, c), one after another, and blends them.

    A tile is given in latent positions: `down` input pixels each (encoding), or `up` output pixels each (decoding).
    """
    if tile.overlap < 0 or min(tile.height, tile.width) < max(1, 2 * tile.overlap):
        raise ValueError(f"tile: {tile}, expected sizes of at least 1 and at least twice the overlap")
    full = x.shape[1] // down, x.shape[2] // down
    size = min(tile.height, full[0]), min(tile.width, full[1])
    starts = [_starts(s, n, tile.overlap) for s, n in zip(size, full, strict=True)]
    weights = [_weights(a, s, n, tile.overlap, up) for a, s, n in zip(starts, size, full, strict=True)]
    i, j = (grid.ravel() for grid in np.meshgrid(*(np.arange(len(a)) for a in starts), indexing="ij"))
    tiles = (starts[0][i], starts[1][j], weights[0][i], weights[1][j])

    piece = jax.ShapeDtypeStruct((len(x), *(s * down for s in size), x.shape[-1]), x.dtype)

    def one(total, row):
        top, left, down_weight, across_weight = row
        part = run(lax.dynamic_slice(x, (0, top * down, left * down, 0), piece.shape))
        part = part * down_weight[None, :, None, None] * across_weight[None, None, :, None]
        at = (0, top * up, left * up, 0)
        return lax.dynamic_update_slice(total, lax.dynamic_slice(total, at, part.shape) + part, at), None

    out = jax.eval_shape(run, piece)
    total = jnp.zeros((out.shape[0], full[0] * up, full[1] * up, out.shape[-1]), out.dtype)
    return lax.scan(one, total, tiles)[0]


def _starts(size: int, length: int, overlap: int) -> np.ndarray:
    """First positions of equal tiles that cover `length`, neighbours sharing at least `overlap`."""
    count = 1 if size >= length else 1 + math.ceil((length - size) / (size - overlap))
    return np.round(np.linspace(0, length - size, count)).astype(np.int32)


def _weights(starts: np.ndarray, size: int, length: int, overlap: int, up: int) -> np.ndarray:
    """Weights (tiles, size * up) of each tile's outputs: ramps of the overlap's width inside, none at the border.

    At each output position the weights of the tiles that cover it sum to one.
    """
    inside, ramp = np.arange(size * up), overlap * up + 1
    rows, total = [], np.zeros(length * up)
    for start in starts:
        before = inside + 1 if start else np.full(size * up, ramp)
        after = size * up - inside if start + size < length else np.full(size * up, ramp)
        rows.append(np.minimum(np.minimum(before, after), ramp))
        total[start * up : (start + size) * up] += rows[-1]
    return np.stack([row / total[s * up : (s + size) * up] for s, row in zip(starts, rows, strict=True)]).astype("f4")
