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
import itertools
import math
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx
from jaxtyping import Array, Float

from vrjax.files import tensors, weights
from vrjax.files.weights import Form
from vrjax.flow import words
from vrjax.models.wan.vae_layers import (
    CausalConv,
    Coder,
    Contexts,
    Stream,
    Tile,
    in_pieces,
    in_tiles,
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


class WanVAE(nnx.Module):
    """Wan's video VAE. See the module docstring; `VAEConfig` states every option."""

    __repr__ = words.module

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
        run = lambda x: in_pieces(self._encode, x, f, chunk)
        latent = in_tiles(run, video, tile, s, 1) if tile else run(video)
        return (latent - np.asarray(cfg.mean, np.float32)) / np.asarray(cfg.std, np.float32)

    def decode(
        self, latent: Float[Array | np.ndarray, "t h w z"], *, chunk: int | None = None, tile: Tile | None = None
    ) -> Float[Array, "t_x h_x w_x c"]:
        """Pixels in [-1, 1] of a normalised latent (t, h, w, z): (1 + 4 (t - 1), 8 h, 8 w, 3) float32; 2.2: 16 h, 16 w.

        Args and errors as in `encode`.
        """
        cfg, z = self.cfg, self._scaled(latent)
        run = lambda z: in_pieces(self._decode, z, 1, chunk)
        video = in_tiles(run, z, tile, 1, cfg.space_factor) if tile else run(z)
        return jnp.clip(video, -1, 1)

    def decode_next(
        self, latent: Float[Array | np.ndarray, "t h w z"], contexts: Contexts | None = None
    ) -> tuple[Float[Array, "t_x h_x w_x c"], Contexts]:
        """As `decode`, of the next latent frames of a video that comes piece by piece.

        Args:
            latent: (t, h, w, z) of a piece, normalised.
            contexts: what the piece before returned; None: this one begins the video.

        Returns:
            4 t frames of pixels, 4 t - 3 of the first piece, and the contexts for the next one. Pieces one behind the
            other are what `decode` makes of the whole.
        """
        video, contexts = self._decode(self._scaled(latent), contexts)
        return jnp.clip(video, -1, 1), contexts

    def _scaled(self, latent: Any) -> Array:
        """A latent as `_decode` takes it. ValueError: its shape does not fit."""
        cfg, latent = self.cfg, jnp.asarray(latent)
        if latent.ndim != 4 or latent.shape[-1] != cfg.latent_channels or not latent.size:
            raise ValueError(f"latent: shape {latent.shape}, expected (t, h, w, {cfg.latent_channels})")
        return latent.astype(jnp.float32) * np.asarray(cfg.std, np.float32) + np.asarray(cfg.mean, np.float32)

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


# ---------------------------------------------------------------------------------------------------------- reading

FILES = ("Wan*_VAE.pth", "*[vV][aA][eE]*.safetensors")
_SIDES = {"encoder": "down", "decoder": "up"}
_BLOCK = {  # ours -> original, diffusers
    "norm1": ("residual.0", "norm1"),
    "conv1": ("residual.2", "conv1"),
    "norm2": ("residual.3", "norm2"),
    "conv2": ("residual.6", "conv2"),
    "shortcut": ("shortcut", "conv_shortcut"),
}
_CODER = {
    "conv_in": ("conv1", "conv_in"),
    "norm_out": ("head.0", "norm_out"),
    "conv_out": ("head.2", "conv_out"),
    **{
        f"middle.{ours}.{name}": (f"middle.{2 * i}.{a}", f"mid_block.resnets.{i}.{b}")
        for i, ours in enumerate(("first", "second"))
        for name, (a, b) in _BLOCK.items()
    },
    **{
        f"middle.attention.{name}": (f"middle.1.{name}", f"mid_block.attentions.0.{name}")
        for name in ("norm", "to_qkv", "proj")
    },
}
NAMES = weights.Names(
    ("original", "diffusers"),
    {
        "quant": ("conv1", "quant_conv"),
        "post_quant": ("conv2", "post_quant_conv"),
        **{f"{side}.{ours}": (f"{side}.{a}", f"{side}.{b}") for side in _SIDES for ours, (a, b) in _CODER.items()},
    },
    {},
)
_DIFFUSERS_CONFIG = {
    "base_dim": "dim",
    "decoder_base_dim": "decoder_dim",
    "z_dim": "latent_channels",
    "dim_mult": "multipliers",
    "num_res_blocks": "blocks",
    "temperal_downsample": "temporal",
    "is_residual": "shortcuts",
    "patch_size": "patch",
    "latents_mean": "mean",
    "latents_std": "std",
}


def names(cfg: VAEConfig) -> weights.Names:
    """Keys of all parameters: with those of the stages, each some residual blocks and, after them, a resampling."""
    stages: dict[str, tuple[str, str]] = {}
    for side, way in _SIDES.items():
        last = cfg.blocks + (side == "decoder")
        for stage, j in itertools.product(range(len(cfg.multipliers)), range(last + 1)):
            inside = _BLOCK if j < last else {"conv": ("resample.1",) * 2, "time_conv": ("time_conv",) * 2}
            ours = f"{side}.stages.{stage}." + (f"blocks.{j}" if j < last else "resample")
            number = stage * (last + 1) + j  # counts the parts of all stages
            original = f"{way}samples.{stage}.{way}samples.{j}" if cfg.shortcuts else f"{way}samples.{number}"
            within = f"resnets.{j}" if j < last else f"{way}sampler" if cfg.shortcuts else "upsamplers.0"
            flat = side == "encoder" and not cfg.shortcuts
            theirs = f"{way}_blocks.{number}" if flat else f"{way}_blocks.{stage}.{within}"
            stages |= {
                f"{ours}.{name}": (f"{side}.{original}.{a}", f"{side}.{theirs}.{b}") for name, (a, b) in inside.items()
            }
    return NAMES._replace(top={**NAMES.top, **stages})


def _fields(file: weights.Header) -> tuple[dict[str, Any], str]:
    """The config as diffusers' `config.json` states it, else as the tensors' shapes have it.

    Stages and blocks are those of the public models then, unless the options say otherwise.
    """
    public, path, options = file.public, file.source.path, file.options
    if file.named("_class_name", ("AutoencoderKLWan",)):
        empty = [name for name in ("decoder_base_dim", "patch_size") if public.get(name, 0) is None]  # as diffusers has
        table = {theirs: ours for theirs, ours in _DIFFUSERS_CONFIG.items() if theirs not in empty}
        found = file.said(VAEConfig, table)
        decoder = found.get("decoder_dim", found.get("dim", WAN_21.dim))
        return {**found, "decoder_dim": decoder, "patch": found.get("patch", 1)}, file.stated
    (dim, pixels, *_), (widest, *_), (latent, *_) = (
        file.sizes[name].shape for name in ("encoder.conv_in.kernel", "decoder.conv_in.kernel", "post_quant.kernel")
    )
    nested = ("encoder.downsamples.0.downsamples.0.", "encoder.down_blocks.0.resnets.0.")
    found = {
        "dim": dim,
        "decoder_dim": widest // options.get("multipliers", WAN_21.multipliers)[-1],
        "latent_channels": latent,
        "patch": math.isqrt(pixels // options.get("channels", 3)),
        "shortcuts": any(key.startswith(nested) for key in file.shapes),
    }
    for known in (WAN_21, WAN_22):
        if known.latent_channels == latent:
            found |= {"mean": known.mean, "std": known.std}
    if not {"mean", "std"} <= (found | options).keys():
        raise ValueError(
            f"{path}: no config.json, and {latent} latent channels are neither 16 nor 48: pass mean=, std="
        )
    return found, f"{path} (shapes)"


NETWORK = weights.Network(
    name="VAE",
    what="a Wan VAE",
    config=VAEConfig,
    abstract=abstract,
    names=NAMES,
    all_names=names,
    anchors={
        "original": "encoder.middle.0.residual.0.gamma",
        "diffusers": "encoder.mid_block.resnets.0.norm1.gamma",
    },
    sizes=dict.fromkeys(("encoder.conv_in.kernel", "decoder.conv_in.kernel", "post_quant.kernel"), (5,)),
    fields=_fields,
    forms=(  # those of images have no time axis in the file
        (r".*\.(attention\..*|resample\.conv)\.kernel", Form(turned=True, image=True)),
        (r".*\.attention\..*\.gamma", Form(behind=2)),
        (r".*\.kernel", Form(turned=True)),
        (r".*\.gamma", Form(behind=3)),
    ),
    depth=("multipliers", "blocks"),
)


def load_vae(path: str | os.PathLike, **options: Any) -> WanVAE:
    """Loads Wan's VAE, 2.1 or 2.2, in diffusers' or the original layout; parameters in float32.

    Args:
        path: a `.pth` or `.safetensors` file, a `vae` folder, or a model's root folder in either layout. The config
            comes from `config.json` where there is one, else from the tensors' shapes.
        **options: fields of VAEConfig that override what was found, such as dtype.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: a torn or hostile file; missing, unexpected or misshapen tensors (names the file and the first of
            them); a config that cannot be read.
    """
    return NETWORK.open(tensors.read(tensors.locate(path, "vae", FILES)), **options).module()


def read_config(path: str | os.PathLike, **options: Any) -> VAEConfig:
    """The config of a VAE that `load_vae` would load, from JSON and headers alone. Arguments and errors as there."""
    return NETWORK.open(tensors.read(tensors.locate(path, "vae", FILES)), **options).cfg


def public_config(cfg: VAEConfig) -> dict:
    """`config.json` of diffusers' AutoencoderKLWan."""
    found = {theirs: getattr(cfg, ours) for theirs, ours in _DIFFUSERS_CONFIG.items()}
    found = {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}
    pixels = cfg.channels * cfg.patch**2
    return {
        "_class_name": "AutoencoderKLWan",
        **found,
        "patch_size": cfg.patch if cfg.patch > 1 else None,
        "attn_scales": [],
        "dropout": 0.0,
        "in_channels": pixels,
        "out_channels": pixels,
        "scale_factor_temporal": cfg.time_factor,
        "scale_factor_spatial": cfg.space_factor,
    }
