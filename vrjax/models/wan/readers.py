"""Reads and writes WanDiT weights in the two public layouts, diffusers' and Wan's original (safetensors only)."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.sharding import Mesh

from vrjax.files import tensors, weights, writing
from vrjax.files.weights import Form
from vrjax.models.family import shard
from vrjax.models.wan.dit import WanConfig, abstract

# Ours (attribute path), original, diffusers. Note the swap: the affine norm before cross-attention is norm3 in the
# original and norm2 in diffusers (whose norm1 and norm3 have no parameters).
_TOP = {
    "patch_embedding": ("patch_embedding", "patch_embedding"),
    "text_in": ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
    "text_out": ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
    "time_in": ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
    "time_out": ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
    "time_projection": ("time_projection.1", "condition_embedder.time_proj"),
    "image_embedding.norm_in": ("img_emb.proj.0", "condition_embedder.image_embedder.norm1"),
    "image_embedding.linear_in": ("img_emb.proj.1", "condition_embedder.image_embedder.ff.net.0.proj"),
    "image_embedding.linear_out": ("img_emb.proj.3", "condition_embedder.image_embedder.ff.net.2"),
    "image_embedding.norm_out": ("img_emb.proj.4", "condition_embedder.image_embedder.norm2"),
    "image_embedding.positions": ("img_emb.emb_pos", "condition_embedder.image_embedder.pos_embed"),
    "head": ("head.head", "proj_out"),
    "head_modulation": ("head.modulation", "scale_shift_table"),
}
_ATTENTION = {
    f"{ours}.{a}": (f"{ours}.{a}{w}", f"{theirs}.{b}{w}")
    for ours, theirs in (("self_attn", "attn1"), ("cross_attn", "attn2"))
    for a, b, w in (
        ("q", "to_q", ""),
        ("k", "to_k", ""),
        ("v", "to_v", ""),
        ("o", "to_out.0", ""),
        ("norm_q", "norm_q", ".weight"),
        ("norm_k", "norm_k", ".weight"),
        ("k_img", "add_k_proj", ""),
        ("v_img", "add_v_proj", ""),
        ("norm_k_img", "norm_added_k", ".weight"),
    )
}
_BLOCK = {
    **_ATTENTION,
    "norm3": ("norm3", "norm2"),
    "ffn_in": ("ffn.0", "ffn.net.0.proj"),
    "ffn_out": ("ffn.2", "ffn.net.2"),
    "modulation": ("modulation", "scale_shift_table"),
}
CLASSES = ("WanTransformer3DModel", "WanModel")  # that a config.json may name
NAMES = weights.Names(("original", "diffusers"), _TOP, _BLOCK)
key_of = NAMES.key

_DIFFUSERS_CONFIG = {
    "num_attention_heads": "heads",
    "patch_size": "patch",
    "in_channels": "in_channels",
    "out_channels": "out_channels",
    "text_dim": "text_dim",
    "freq_dim": "freq_dim",
    "ffn_dim": "ffn_dim",
    "num_layers": "layers",
    "cross_attn_norm": "cross_norm",
    "eps": "eps",
    "image_dim": "image_dim",
    "pos_embed_seq_len": "image_positions",
}
_ORIGINAL_CONFIG = {
    "dim": "dim",
    "ffn_dim": "ffn_dim",
    "freq_dim": "freq_dim",
    "in_dim": "in_channels",
    "out_dim": "out_channels",
    "num_heads": "heads",
    "num_layers": "layers",
    "text_len": "text_len",
    "eps": "eps",
}


def fields(file: weights.Header, classes: tuple[str, ...] = CLASSES) -> tuple[dict[str, Any], str]:
    """The config as the tensors' shapes have it, heads being 128 wide, or as `config.json` states it."""
    sizes, options = file.sizes, file.options
    dim, channels, *patch = sizes["patch_embedding.kernel"].shape
    patch = tuple(options.get("patch", patch or (1, 2, 2)))
    embedded, size = len(sizes["patch_embedding.kernel"].shape) == 5, int(np.prod(patch))
    image, positions = sizes.get("image_embedding.norm_in.scale"), sizes.get("image_embedding.positions")
    found: dict[str, Any] = {
        "dim": dim,
        "ffn_dim": sizes["blocks.ffn_in.kernel"].shape[0],
        "heads": dim // 128 if dim % 128 == 0 else None,
        "layers": file.blocks,
        "in_channels": channels if embedded else channels // size,
        "out_channels": sizes["head.kernel"].shape[0] // size,
        "patch": patch,
        "freq_dim": sizes["time_in.kernel"].shape[1],
        "text_dim": sizes["text_in.kernel"].shape[1],
        "image_dim": image.shape[0] if image else None,
        "image_positions": positions.shape[1] if positions else None,
        "qk_norm": "blocks.self_attn.norm_q" in sizes,
        "cross_norm": "blocks.norm3.scale" in sizes,
    }
    origin = f"{file.source.path} (shapes)"
    if file.named("_class_name", classes):
        said, origin = file.said(WanConfig, _ORIGINAL_CONFIG | _DIFFUSERS_CONFIG), file.stated
        found |= said
        wide = file.said(WanConfig, {"attention_head_dim": "dim"})
        if wide and "heads" in said:
            found["dim"] = wide["dim"] * said["heads"]
    if not (found | options).get("heads"):
        raise ValueError(
            f"{file.source.path}: no config.json states its heads, and dim {dim} is not a multiple of 128: pass heads="
        )
    return found, origin


NETWORK = weights.Network(
    name="WanDiT",
    what="a Wan transformer",
    config=WanConfig,
    abstract=abstract,
    names=NAMES,
    anchors={"diffusers": "condition_embedder.time_proj.weight", "original": "time_projection.1.weight"},
    sizes={
        "patch_embedding.kernel": (2, 5),
        "blocks.ffn_in.kernel": (2,),
        "head.kernel": (2,),
        "time_in.kernel": (2,),
        "text_in.kernel": (2,),
        "image_embedding.norm_in.scale": (0, 1),
        "image_embedding.positions": (0, 3),
        "blocks.self_attn.norm_q": (0, 1),
        "blocks.norm3.scale": (0, 1),
    },
    fields=fields,
    forms=(
        (r".*:patch_embedding\.kernel", Form(turned=True, patch=("in_channels", "patch"))),
        (r".*\.kernel", Form(turned=True)),
        (r".*[.:](modulation|head_modulation|positions)", Form(before=1)),
    ),
    # Of old image-to-video files, read by nobody.
    unused=dict.fromkeys(NAMES.layouts, r"blocks\.\d+\.attn2\.norm_added_q\.weight"),
)


def load_dit(
    path: str | os.PathLike,
    *,
    prefix: str | None = None,
    mesh: Mesh | None = None,
    rules: Mapping[str, Any] = {},  # noqa: B006
    uneven: str = "warn",
    **options: Any,
):
    """Loads a WanDiT from a transformer folder, a safetensors or torch file, or a sharded index.

    The layout (diffusers, original) and a prefix before it (ComfyUI's, a training checkpoint's) are told by the keys.
    The config comes from the file's own metadata if vrjax wrote it, else from `config.json` beside it, else from the
    tensors' shapes with Wan's head size of 128. Weights are cast to `param_dtype`, norms and modulation to float32.
    They are read and placed tensor by tensor (`vrjax.files.weights`): a mesh of accelerators may hold a model that the
    host could not.

    Args:
        path: folder, `.safetensors`, `.safetensors.index.json`, or a file that torch.save wrote (`.pth`, `.pt`).
        prefix: of the transformer's keys, where a file holds several ("generator.model.", "generator_ema.model.").
        mesh: places the module on a mesh while it is read; the result is that of `wan.shard`. None: one device.
        rules, uneven: see `wan.shard`.
        **options: fields of WanConfig that override what was found, such as dtype, remat, attention, heads.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a torn file; missing, unexpected or misshapen tensors (names the first of them and the file); a
            config that cannot be read.
    """
    found = NETWORK.open(tensors.read(path), prefix=prefix, **options)
    return found.module(None if mesh is None else shard(found.abstract, mesh, rules, uneven=uneven))


def save_dit(dit, path: str | os.PathLike, layout: str = "diffusers") -> None:
    """Saves a WanDiT so that diffusers, Wan's own code, or `load_dit` can read it.

    Args:
        dit: the model.
        path: a name ending in `.safetensors` gives one file; any other a folder with `config.json` and
            `diffusion_pytorch_model.safetensors`. Missing folders are made. Every file appears whole or not at all.
        layout: "diffusers" or "original".
    """
    if layout not in NAMES.layouts:
        raise ValueError(f"save_dit: unknown layout {layout!r}, expected one of {sorted(NAMES.layouts)}")
    cfg, path = dit.cfg, pathlib.Path(path)
    if layout == "diffusers" and not cfg.qk_norm:
        raise ValueError("save_dit: diffusers' Wan always has qk_norm; this model does not. Use layout='original'")
    single = path.suffix == ".safetensors"
    NETWORK.save(path if single else path / "diffusion_pytorch_model.safetensors", dit, layout)
    if not single:
        writing.json(path / "config.json", public_config(cfg, layout))


def kind_of(cfg: WanConfig) -> str:
    """ "t2v", "i2v", "flf2v" or "ti2v", as Wan's `model_type` calls it; "" where the channels are those of none."""
    extra = cfg.in_channels - cfg.out_channels
    if not extra and cfg.image_dim is None:
        return "ti2v" if cfg.in_channels == 48 else "t2v"
    if extra - cfg.out_channels == 4:  # four channels of mask beside the latent of the picture
        return "flf2v" if cfg.image_positions is not None else "i2v"
    return ""


def public_config(cfg: WanConfig, layout: str = "diffusers") -> dict:
    """The `config.json` of a layout."""
    if layout == "original":
        kind = kind_of(cfg)
        fields = {theirs: getattr(cfg, ours) for theirs, ours in _ORIGINAL_CONFIG.items()}
        return {"_class_name": "WanModel", "model_type": kind, **fields}
    fields = {theirs: getattr(cfg, ours) for theirs, ours in _DIFFUSERS_CONFIG.items()}
    return {
        "_class_name": "WanTransformer3DModel",
        "attention_head_dim": cfg.head_dim,
        "qk_norm": "rms_norm_across_heads",
        "added_kv_proj_dim": cfg.dim if cfg.image_dim is not None else None,
        "rope_max_seq_len": 1024,
        **fields,
        "patch_size": list(cfg.patch),
    }
