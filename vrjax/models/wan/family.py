"""Wan as a family: see `vrjax.models.family.Family`. Conditions are `text` (l, d) and, of image models, `image`."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import nnx

from vrjax.flow import Level, Prediction, Velocity
from vrjax.models.blocks import sites as blocks_sites
from vrjax.models.blocks.layers import PARTS
from vrjax.models.wan import flops as counts
from vrjax.models.wan import lora_files, readers
from vrjax.models.wan.config import WanConfig
from vrjax.models.wan.dit import WanDiT, abstract, logical_axes

__all__ = ["MUON", "TARGETS", "Config", "abstract", "logical_axes"]

Config = WanConfig
NONE: Mapping[str, Any] = {}
TARGETS = (r"(^|\.)blocks\..*kernel$",)
# The modulation of all blocks comes out of one shared matrix: Muon updates it as well.
MUON = (*TARGETS, r"(^|\.)time_projection\.kernel$")


def init(cfg: WanConfig, key: jax.Array) -> WanDiT:
    """Random weights from a key."""
    return WanDiT(cfg, rngs=nnx.Rngs(params=key))


def load(path: str | os.PathLike) -> WanDiT:
    """See `readers.load_dit`."""
    return readers.load_dit(path)


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
    """See `WanDiT.guided`; `negative` holds the other branch's `text`."""
    text, image = conditions["text"], conditions.get("image")
    return model.guided(text, negative["text"], scale, image, renorm=renorm, taps=taps, edits=edits)


def tokens(cfg: WanConfig, latent: tuple[int, ...]) -> int:
    """Patches of the latent."""
    (t, h, w, _), (p, q, r) = latent, cfg.patch
    return (t // p) * (h // q) * (w // r)


def flops(cfg: WanConfig, latent: tuple[int, ...]) -> int:
    """See `flops.forward`."""
    return counts.forward(cfg, tokens(cfg, latent), cfg.text_len)


def sites(cfg: WanConfig) -> list[str]:
    """See `vrjax.models.blocks.sites`."""
    return blocks_sites.names(cfg.layers, PARTS)
