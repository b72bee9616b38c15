"""Reads Wan's VAE in diffusers' and Wan's original key names, from safetensors or `.pth`."""

import math
import os
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from vrjax.files import tensors, weights
from vrjax.files.weights import Slot
from vrjax.models.wan.vae import WAN_21, WAN_22, VAEConfig, WanVAE, abstract

_FILES = ("Wan*_VAE.pth", "*[vV][aA][eE]*.safetensors")
_RES = {  # ours -> original, diffusers
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
}
_MIDDLE = {
    "first": ("middle.0", "mid_block.resnets.0"),
    "attention": ("middle.1", "mid_block.attentions.0"),
    "second": ("middle.2", "mid_block.resnets.1"),
}
_TOP = {"quant": ("conv1", "quant_conv"), "post_quant": ("conv2", "post_quant_conv")}
_LAYOUTS = ("original", "diffusers")
_LEAF = {"kernel": "weight", "bias": "bias", "gamma": "gamma"}
ANCHORS = {"original": "encoder.middle.0.residual.0.gamma", "diffusers": "encoder.mid_block.resnets.0.norm1.gamma"}
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


def key_of(path: tuple, cfg: VAEConfig, layout: str) -> str:
    """File key of a parameter: `key_of(("encoder", "stages", 0, "blocks", 1, "conv1", "kernel"), cfg, "original")`."""
    n, leaf = _LAYOUTS.index(layout), _LEAF[path[-1]]
    if path[0] in _TOP:
        return f"{_TOP[path[0]][n]}.{leaf}"
    side, part, *rest = path
    if part in _CODER:
        return f"{side}.{_CODER[part][n]}.{leaf}"
    if part == "middle":
        inside = rest[1] if rest[0] == "attention" else _RES[rest[1]][n]
        return f"{side}.{_MIDDLE[rest[0]][n]}.{inside}.{leaf}"
    stage, kind, *rest = rest
    per_stage = cfg.blocks + (side == "decoder")  # residual blocks; resampling comes after them
    j = rest[0] if kind == "blocks" else per_stage
    down = side == "encoder"
    if layout == "original":
        group = "downsamples" if down else "upsamples"
        start = f"{group}.{stage}.{group}.{j}" if cfg.shortcuts else f"{group}.{stage * (per_stage + 1) + j}"
    elif cfg.shortcuts:
        resample = "downsampler" if down else "upsampler"
        start = f"{'down' if down else 'up'}_blocks.{stage}." + (f"resnets.{j}" if kind == "blocks" else resample)
    elif down:
        start = f"down_blocks.{stage * (per_stage + 1) + j}"
    else:
        start = f"up_blocks.{stage}." + (f"resnets.{j}" if kind == "blocks" else "upsamplers.0")
    inside = _RES[rest[1]][n] if kind == "blocks" else {"conv": "resample.1", "time_conv": "time_conv"}[rest[0]]
    return f"{side}.{start}.{inside}.{leaf}"


def slots(cfg: VAEConfig, layout: str) -> Iterator[Slot]:
    """Every parameter's key, shape and order of axes in a file."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(abstract(cfg)):
        name = weights.names(path)
        take, shape = np.asarray, leaf.shape
        flat = "attention" in name or (name[-3:-1] == ("resample", "conv"))  # of images in the file: no time axis
        if name[-1] == "gamma":
            take, shape = _flat, (*leaf.shape, 1, 1) if flat else (*leaf.shape, 1, 1, 1)
        elif name[-1] == "kernel":
            *size, n_in, n_out = leaf.shape
            take, shape = (_image_kernel, (n_out, n_in, *size[1:])) if flat else (_kernel, (n_out, n_in, *size))
        yield Slot((key_of(name, cfg, layout),), shape, take)


def _flat(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1)


def _kernel(array: np.ndarray) -> np.ndarray:
    return array.transpose(2, 3, 4, 1, 0)


def _image_kernel(array: np.ndarray) -> np.ndarray:
    return array.transpose(2, 3, 1, 0)[None]


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
    found = opened(path, **options)
    return found.module(abstract(found.cfg))


def opened(path: str | os.PathLike, **options: Any) -> weights.Opened:
    """A VAE's file and its config. Arguments and errors are those of `load_vae`; shapes are not checked yet."""
    source = tensors.read(tensors.locate(path, "vae", _FILES))
    layout, prefix = weights.layout(source, ANCHORS, "a Wan VAE")
    cfg = _config(source, layout, prefix, options)
    if cfg.blocks * len(cfg.multipliers) > len(source.shapes):  # before a module of that size is made
        blocks = f"{len(cfg.multipliers)} stages of {cfg.blocks} blocks"
        raise ValueError(f"{source.path}: the config says {blocks}, the file has {len(source.shapes)} tensors")
    return weights.Opened(source, cfg, layout, prefix, list(slots(cfg, layout)))


def read_config(path: str | os.PathLike, **options: Any) -> VAEConfig:
    """The config of a VAE that `load_vae` would load, from JSON and headers alone. Arguments and errors as there."""
    source = tensors.read(tensors.locate(path, "vae", _FILES))
    return _config(source, *weights.layout(source, ANCHORS, "a Wan VAE"), options)


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


def _config(source: tensors.Source, layout: str, prefix: str, options: dict) -> VAEConfig:
    origin, public = weights.beside(source)
    if public.get("_class_name") == "AutoencoderKLWan":
        found = weights.fields(public, _DIFFUSERS_CONFIG)
        found["decoder_dim"] = found.get("decoder_dim") or found.get("dim", WAN_21.dim)
        found["patch"] = found.get("patch") or 1
    else:
        found, origin = _inferred(source, layout, prefix, options), f"{source.path} (shapes)"
    return weights.config(VAEConfig, found | options, origin, "VAE")


def _inferred(source: tensors.Source, layout: str, prefix: str, options: dict) -> dict:
    """What the tensors' shapes say; stages and blocks are those of the public models unless `options` say otherwise."""
    n = _LAYOUTS.index(layout)

    def shape(part: str, axis: int, conv: str = "conv_in") -> int:
        key = f"{prefix}{part}.{_CODER[conv][n]}.weight" if part in ("encoder", "decoder") else f"{prefix}{part}.weight"
        if len(source.shapes.get(key, ())) != 5:
            raise ValueError(f"{source.path}: {key} has shape {source.shapes.get(key)}, expected 5 axes")
        return source.shapes[key][axis]

    nested = ("encoder.downsamples.0.downsamples.0.", "encoder.down_blocks.0.resnets.0.")[n]
    shortcuts = any(key.startswith(prefix + nested) for key in source.shapes)
    multipliers = options.get("multipliers", WAN_21.multipliers)
    channels, latent = options.get("channels", 3), shape(_TOP["post_quant"][n], 0)
    found = {
        "dim": shape("encoder", 0),
        "decoder_dim": shape("decoder", 0) // multipliers[-1],
        "latent_channels": latent,
        "patch": math.isqrt(shape("encoder", 1) // channels),
        "shortcuts": shortcuts,
    }
    for public in (WAN_21, WAN_22):
        if public.latent_channels == latent:
            found |= {"mean": public.mean, "std": public.std}
    if "mean" not in (found | options) or "std" not in (found | options):
        raise ValueError(
            f"{source.path}: no config.json, and {latent} latent channels are neither 16 nor 48: pass mean=, std="
        )
    return found
