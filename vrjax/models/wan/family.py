"""Wan as a family: see `vrjax.models.family.Family`. Conditions are `text` (l, d) and, of image models, `image`."""

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import nnx

from vrjax.files import tensors
from vrjax.flow import Level, Prediction, Velocity
from vrjax.models.blocks import axes
from vrjax.models.blocks import sites as blocks_sites
from vrjax.models.blocks.layers import PARTS
from vrjax.models.family import Needs
from vrjax.models.wan import flops as counts
from vrjax.models.wan import lora_files, readers, vae
from vrjax.models.wan.dit import WanConfig, WanDiT, abstract
from vrjax.models.wan.readers import load_dit as load

__all__ = ["Config", "abstract", "load"]

Config = WanConfig
NONE: Mapping[str, Any] = {}
UMT5 = 5_680_910_336  # parameters of UMT5-XXL's encoder
VAE_ARRAYS = 5  # alive in the VAE's widest stage: input, normed with context, convolved twice, shortcut
# Logical axes of the parameters around the blocks, see `vrjax.models.blocks.axes`. "modulation" are the six chunks.
AXES: axes.Rows = (
    (("patch_embedding", "kernel"), ("patch", "embed")),
    (("text_in", "kernel"), ("text", "embed")),
    (("time_in", "kernel"), ("time", "embed")),
    (("text_out", "kernel"), ("embed_in", "embed")),
    (("time_out", "kernel"), ("embed_in", "embed")),
    (("time_projection", "kernel"), ("embed", "modulation")),
    (("time_projection", "bias"), ("modulation",)),
    (("linear_in", "kernel"), ("image", "image_mlp")),
    (("linear_in", "bias"), ("image_mlp",)),
    (("linear_out", "kernel"), ("image_mlp", "embed")),
    (("norm_in", "scale"), ("image",)),
    (("norm_in", "bias"), ("image",)),
    (("positions",), (None, "image")),
    (("head_modulation",), (None, "embed")),
    (("head", "kernel"), ("embed", "patch")),
    (("head", "bias"), ("patch",)),
)


def logical_axes(cfg: WanConfig) -> dict:
    """Logical axis names of every parameter, see `vrjax.models.blocks.axes.named`."""
    return axes.named(abstract(cfg), AXES)


def init(cfg: WanConfig, key: jax.Array) -> WanDiT:
    """Random weights from a key."""
    return WanDiT(cfg, rngs=nnx.Rngs(params=key))


def read_config(path: str | os.PathLike) -> WanConfig:
    """Of a network's folder or file, without reading its weights."""
    return readers.NETWORK.open(tensors.read(path)).check().cfg


def save(model: WanDiT, folder: str | os.PathLike) -> None:
    """In diffusers' layout, see `readers.save_dit`."""
    readers.save_dit(model, folder, layout="diffusers")


def save_adapters(adapters: Mapping[str, Any], path: str | os.PathLike, *, alpha: float | None) -> None:
    """See `lora_files.save_lora`."""
    lora_files.save_lora(adapters, path, alpha=alpha)


def training(cfg: WanConfig, dtype: str) -> WanConfig:
    """Products in `dtype`."""
    return dataclasses.replace(cfg, dtype=dtype)


def sampling(cfg: WanConfig) -> WanConfig:
    """Scanned blocks compile faster, and there is nothing to recompute."""
    return dataclasses.replace(cfg, unroll=False, remat="none")


def channels(cfg: WanConfig) -> int:
    """Those of the VAE."""
    return cfg.out_channels


def conditions(cfg: WanConfig, latent: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """`text` (text_len, text_dim) and `image`, the input channels that the latent does not fill (maybe none)."""
    return {"text": (cfg.text_len, cfg.text_dim), "image": (*latent[:-1], cfg.in_channels - latent[-1])}


def predict(model: WanDiT, x: Any, level: Level, conditions: Mapping[str, Any]) -> Prediction:
    """The module itself: asked once, keys of the conditions belong inside the blocks (remat, FSDP)."""
    return model(x, level.time, conditions["text"], image=conditions.get("image"))


def velocity(model: WanDiT, conditions: Mapping[str, Any], *, taps: Mapping = NONE, edits: Mapping = NONE) -> Velocity:
    """See `WanDiT.velocity`."""
    return model.velocity(conditions["text"], conditions.get("image"), taps, edits)


def guided(
    model: WanDiT,
    conditions: Mapping[str, Any],
    negative: Mapping[str, Any],
    scale: Any,
    *,
    renorm: Callable | None = None,
    taps: Mapping = NONE,
    edits: Mapping = NONE,
) -> Velocity:
    """See `WanDiT.guided`; `negative` holds the other branch's `text`. ValueError: it holds something else."""
    if set(negative) != {"text"}:
        raise ValueError(f"guided: the branches of Wan differ in text alone, found {sorted(negative)}")
    text, image = conditions["text"], conditions.get("image")
    return model.guided(text, negative["text"], scale, image, renorm=renorm, taps=taps, edits=edits)


def tokens(cfg: WanConfig, latent: tuple[int, ...]) -> int:
    """Patches of the latent."""
    (t, h, w, _), (p, q, r) = latent, cfg.patch
    return (t // p) * (h // q) * (w // r)


def flops(cfg: WanConfig, latent: tuple[int, ...]) -> int:
    """See `flops.forward`."""
    return counts.forward(cfg, tokens(cfg, latent), cfg.text_len, _pictures(cfg))


def _pictures(cfg: WanConfig) -> int:
    """Rows of CLIP that the network is given."""
    return 0 if cfg.image_dim is None else cfg.image_positions or 257


def needs(cfg: WanConfig, latent: tuple[int, ...]) -> Needs:
    """With the VAE of the latent's channels in float32, UMT5-XXL in bfloat16, and CLIP where the model has it."""
    coder = vae.WAN_22 if latent[-1] == vae.WAN_22.latent_channels else vae.WAN_21
    weights = sum(4 * math.prod(leaf.shape) for leaf in jax.tree.leaves(vae.abstract(coder)))
    pixels = math.prod(latent[1:3]) * coder.space_factor**2 / coder.patch**2
    widest = int(4 * coder.time_factor * pixels * coder.decoder_dim * coder.multipliers[0])
    pictures = _pictures(cfg)
    return Needs(
        layers=cfg.layers,
        dim=cfg.dim,
        inner=cfg.ffn_dim,
        heads=cfg.heads,
        context=2 * cfg.layers * (cfg.text_len + pictures) * cfg.dim,
        beside={"VAE": weights},
        before={"encoding text (before the rest is loaded)": 2 * UMT5},
        after={"decoding, a latent frame at a time": weights + VAE_ARRAYS * widest},
        notes=("the CLIP encoder (1.2 GiB) runs before the transformers are loaded",) if pictures else (),
    )


def sites(cfg: WanConfig) -> list[str]:
    """See `vrjax.models.blocks.sites`."""
    return blocks_sites.names(cfg.layers, PARTS)
