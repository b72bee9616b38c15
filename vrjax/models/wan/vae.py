"""Wan's video VAE, 2.1 (z = 16) and 2.2 (z = 48): pixels in [-1, 1] to normalised latents and back.

    vae = wan.load_vae(path)
    latent = vae.encode(video)                         # (1 + 4n, h, w, 3) -> (1 + n, h / 8, w / 8, 16)
    video = vae.decode(latent, chunk=1)                # a scan over latent frames: the same sums in less memory

The public code runs as a machine with mutable caches. It equals one causal function of the whole clip: every
convolution sees frames to its left only, and the first frame passes by the temporal resampling. That function is
written once (`vae_layers`), for a piece of a clip with contexts from the piece before; `chunk` sets a piece's size.
Tiles in space (`tile`) are an approximation, as the middle blocks attend within a tile only.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from vrjax.models.wan.vae_layers import (
    CausalConv,
    Contexts,
    Down,
    Middle,
    Norm,
    ResBlock,
    Stream,
    Up,
    mean_down,
    repeat_up,
)

# Mean and standard deviation of each latent channel, from Wan's public code.
MEAN_21, STD_21 = np.array(
    """-.7571 -.7089 -.9113 .1075 -.1745 .9653 -.1517 1.5508 .4134 -.0715 .5517 -.3632 -.1922 -.9497 .2503 -.2921
    2.8184 1.4541 2.3275 2.6558 1.2196 1.7708 2.6052 2.0743 3.2687 2.1526 2.8652 1.5579 1.6382 1.1253 2.8251 1.9160
    """.split(),
    float,
).reshape(2, 16)
MEAN_22, STD_22 = np.array(
    """-.2289 -.0052 -.1323 -.2339 -.2799 .0174 .1838 .1557 -.1382 .0542 .2813 .0891 .1570 -.0098 .0375 -.1825
    -.2246 -.1207 -.0698 .5109 .2665 -.2108 -.2158 .2502 -.2055 -.0322 .1109 .1567 -.0729 .0899 -.2799 -.1230
    -.0313 -.1649 .0117 .0723 -.2839 -.2083 -.0520 .3748 .0152 .1957 .1433 -.2944 .3573 -.0548 -.1681 -.0667
    .4765 1.0364 .4514 1.1677 .5313 .4990 .4818 .5013 .8158 1.0344 .5894 1.0901 .6885 .6165 .8454 .4978
    .5759 .3523 .7135 .6804 .5833 1.4146 .8986 .5659 .7069 .5338 .4889 .4917 .4069 .4999 .6866 .4093
    .5709 .6065 .6415 .4944 .5726 1.2042 .5458 1.6887 .3971 1.0600 .3943 .5537 .5444 .4089 .7468 .7744""".split(),
    float,
).reshape(2, 48)


@dataclasses.dataclass(frozen=True)
class VAEConfig:
    """Shape of a Wan VAE; the default is 2.1.

    Attributes:
        dim: channels of the encoder's first stage.
        decoder_dim: channels of the decoder's last stage.
        latent_channels: channels of a latent.
        multipliers: channels of each stage over `dim`.
        blocks: residual blocks of an encoder stage; a decoder stage has one more.
        temporal: whether the downsampling after each encoder stage but the last halves time too.
        shortcuts: 2.2's shortcuts around each stage; without them the decoder's upsampling halves the channels.
        patch: side of the pixel blocks folded into channels before the encoder (2.2: 2).
        channels: of a pixel.
        mean, std: of each latent channel.
        dtype: of activations. Parameters, norms and attention are float32.
    """

    dim: int = 96
    decoder_dim: int = 96
    latent_channels: int = 16
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    blocks: int = 2
    temporal: tuple[bool, ...] = (False, True, True)
    shortcuts: bool = False
    patch: int = 1
    channels: int = 3
    mean: tuple[float, ...] = tuple(MEAN_21.tolist())
    std: tuple[float, ...] = tuple(STD_21.tolist())
    dtype: str = "float32"

    def __post_init__(self):
        if len(self.temporal) != len(self.multipliers) - 1:
            raise ValueError(
                f"VAEConfig: temporal has {len(self.temporal)} entries, expected one less than the "
                f"{len(self.multipliers)} multipliers"
            )
        for name in ("mean", "std"):
            if len(getattr(self, name)) != self.latent_channels:
                raise ValueError(
                    f"VAEConfig: {name} has {len(getattr(self, name))} entries, expected latent_channels="
                    f"{self.latent_channels}"
                )
        if not self.shortcuts and any((self.decoder_dim * m) % 2 for m in self.multipliers[1:]):
            raise ValueError(f"VAEConfig: decoder_dim={self.decoder_dim} must be even, as upsampling halves it")

    @property
    def time_factor(self) -> int:
        """Frames per latent frame, after the first."""
        return 2 ** sum(self.temporal)

    @property
    def space_factor(self) -> int:
        """Pixels per latent position, along height and width."""
        return self.patch * 2 ** (len(self.multipliers) - 1)


WAN_21 = VAEConfig()
WAN_22 = VAEConfig(
    dim=160,
    decoder_dim=256,
    latent_channels=48,
    shortcuts=True,
    patch=2,
    mean=tuple(MEAN_22.tolist()),
    std=tuple(STD_22.tolist()),
)


class Tile(NamedTuple):
    """Spatial tiles, in latent positions: neighbours overlap by at least `overlap` and are blended linearly there."""

    height: int = 32
    width: int = 32
    overlap: int = 8


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

    def __init__(self, cfg: VAEConfig, key: jax.Array, encoder: bool):
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


class WanVAE(nnx.Module):
    """Wan's video VAE. See the module docstring; `VAEConfig` states every option."""

    def __init__(self, cfg: VAEConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        keys = jax.random.split(rngs.params(), 4)
        z = cfg.latent_channels
        self.encoder, self.decoder = Coder(cfg, keys[0], encoder=True), Coder(cfg, keys[1], encoder=False)
        self.quant = CausalConv(keys[2], (1, 1, 1), 2 * z, 2 * z)
        self.post_quant = CausalConv(keys[3], (1, 1, 1), z, z)

    def encode(
        self, video: Float[Array | np.ndarray, "t h w c"], *, chunk: int | None = None, tile: Tile | None = None
    ) -> Float[Array, "t_z h_z w_z z"]:
        """Mean of the latent distribution, normalised; float32.

        Args:
            video: pixels in [-1, 1]; t = 1 + 4n frames, height and width multiples of 8 (2.2: 16).
            chunk: latent frames computed at a time after the first, or None for all at once. The result is the same.
            tile: spatial tiles, or None for whole frames.

        Raises:
            ValueError: a shape that does not fit, chunk < 1, or tiles that overlap by more than half.
        """
        cfg, video = self.cfg, jnp.asarray(video)
        f, s = cfg.time_factor, cfg.space_factor
        if video.ndim != 4 or video.shape[-1] != cfg.channels:
            raise ValueError(f"video: shape {video.shape}, expected (t, h, w, {cfg.channels}); batches go through vmap")
        t, h, w = video.shape[:3]
        if t % f != 1 % f or h % s or w % s or not video.size:
            raise ValueError(f"video: (t, h, w) = {(t, h, w)}, expected t = 1 + {f}n, h and w multiples of {s}")
        run = lambda x: _stream(self._encode, x, f, chunk)
        latent = _tiled(run, video, tile, s, 1) if tile else run(video)
        return (latent - np.asarray(cfg.mean, np.float32)) / np.asarray(cfg.std, np.float32)

    def decode(
        self, latent: Float[Array | np.ndarray, "t h w z"], *, chunk: int | None = None, tile: Tile | None = None
    ) -> Float[Array, "t_x h_x w_x c"]:
        """Pixels in [-1, 1] of a normalised latent (t, h, w, z): (1 + 4 (t - 1), 8 h, 8 w, 3) float32; 2.2: 16 h, 16 w.

        Args and errors as in `encode`.
        """
        cfg, latent = self.cfg, jnp.asarray(latent)
        if latent.ndim != 4 or latent.shape[-1] != cfg.latent_channels or not latent.size:
            raise ValueError(f"latent: shape {latent.shape}, expected (t, h, w, {cfg.latent_channels})")
        z = latent.astype(jnp.float32) * np.asarray(cfg.std, np.float32) + np.asarray(cfg.mean, np.float32)
        run = lambda z: _stream(self._decode, z, 1, chunk)
        video = _tiled(run, z, tile, 1, cfg.space_factor) if tile else run(z)
        return jnp.clip(video, -1, 1)

    def _encode(self, x: Array, contexts: Contexts | None) -> tuple[Array, Contexts]:
        """One piece of pixels to latents that are not normalised, and the contexts for the next piece."""
        cfg, stream, p = self.cfg, Stream(contexts), self.cfg.patch
        x = rearrange(x, "t (h q) (w r) c -> t h w (c r q)", q=p, r=p).astype(cfg.dtype)
        x = self.encoder.conv_in.run(x, stream)
        for i, stage in enumerate(self.encoder.stages):
            y = stage.run(x, stream)
            if cfg.shortcuts:
                down = stage.resample is not None
                time = 2 if down and cfg.temporal[i] else 1
                y = y + mean_down(x, y.shape[-1], time, 2 if down else 1)
            x = y
        x = self.encoder.head(self.encoder.middle.run(x, stream), stream)
        mean = self.quant(x)[..., : cfg.latent_channels]
        return mean.astype(jnp.float32), tuple(stream.new)

    def _decode(self, z: Array, contexts: Contexts | None) -> tuple[Array, Contexts]:
        """One piece of latents (as `_encode` makes them) to pixels, and the contexts for the next piece."""
        cfg, stream, p = self.cfg, Stream(contexts), self.cfg.patch
        x = self.decoder.conv_in.run(self.post_quant(z.astype(cfg.dtype)), stream)
        x = self.decoder.middle.run(x, stream)
        for i, stage in enumerate(self.decoder.stages):
            y = stage.run(x, stream)
            if cfg.shortcuts and stage.resample is not None:
                y = y + repeat_up(x, y.shape[-1], 2 if cfg.temporal[::-1][i] else 1, 2, stream.start)
            x = y
        x = self.decoder.head(x, stream).astype(jnp.float32)
        return rearrange(x, "t h w (c r q) -> t (h q) (w r) c", q=p, r=p), tuple(stream.new)


@functools.lru_cache(maxsize=16)
def abstract(cfg: VAEConfig) -> WanVAE:
    """A WanVAE whose parameters are shapes only: no memory is allocated."""
    return jax.eval_shape(lambda: WanVAE(cfg, rngs=nnx.Rngs(0)))


def _stream(run: Callable, x: Array, step: int, chunk: int | None) -> Array:
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


def _tiled(run: Callable, x: Array, tile: Tile, down: int, up: int) -> Array:
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
