"""Reads and writes WanDiT weights in the two public layouts, diffusers' and Wan's original (safetensors only)."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from vrjax.files import tensors, weights, writing
from vrjax.files.weights import Slot
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
NAMES = weights.Names(("original", "diffusers"), _TOP, _BLOCK)
key_of = NAMES.key
ANCHORS = {"diffusers": "condition_embedder.time_proj.weight", "original": "time_projection.1.weight"}
_UNUSED = r"blocks\.\d+\.attn2\.norm_added_q\.weight"  # in old image-to-video files, read by nobody

_DIFFUSERS_CONFIG = {
    "num_attention_heads": "heads",
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


def slots(cfg: WanConfig, layout: str, *, flat: bool = False) -> Iterator[Slot]:
    """Every parameter's keys, shape and order of axes in a file; `flat` where the patch embedding is a matrix there."""
    for name, shape, keys in NAMES.rows(abstract(cfg), layout):
        if name == ("patch_embedding", "kernel"):
            yield Slot(keys, shape[::-1] if flat else (shape[1], cfg.in_channels, *cfg.patch), weights.matrix)
        elif name[-1] == "kernel":
            yield Slot(keys, shape[::-1], np.transpose)
        elif name[-1] in ("modulation", "head_modulation", "positions"):
            yield Slot(keys, (1, *shape), lambda array: array[0])
        else:
            yield Slot(keys, shape)


def opened(path: str | os.PathLike, *, prefix: str | None = None, **options: Any) -> weights.Opened:
    """A transformer's file and its config. Arguments and errors are those of `load_dit`; shapes are not checked yet."""
    source = tensors.read(path)
    file = weights.header(source, ANCHORS, "a Wan transformer", prefix)
    cfg = _config(file, options)
    if cfg.layers > len(file.shapes):  # before a list of that length is made
        raise ValueError(f"{source.path}: the config says {cfg.layers} layers, the file has {len(file.shapes)} tensors")
    flat = file.shapes.get("patch_embedding.weight") == (cfg.dim, cfg.in_channels * cfg.patch_size)
    return weights.Opened(file, abstract(cfg), list(slots(cfg, file.layout, flat=flat)), _UNUSED)


def read_config(path: str | os.PathLike) -> WanConfig:
    """The config of a transformer's folder or file, from its JSON and headers alone, which are checked.

    Raises:
        FileNotFoundError, ValueError: as `load_dit`.
    """
    found = opened(path)
    found.check()
    return found.cfg


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
    found = opened(path, prefix=prefix, **options)
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
    found = list(slots(cfg, layout))
    pairs = zip(jax.tree.leaves(abstract(cfg)), found, strict=True)
    shapes = {key: (slot.shape, np.dtype(leaf.dtype)) for leaf, slot in pairs for key in slot.keys}

    def arrays():
        for (path, leaf), slot in zip(jax.tree_util.tree_leaves_with_path(dit), found, strict=True):
            name, value = weights.names(path), np.asarray(leaf)
            for row in value if name[0] == "blocks" else [value]:
                yield (row.T if name[-1] == "kernel" else row).reshape(slot.shape)

    single = path.suffix == ".safetensors"
    file = path if single else path / "diffusion_pytorch_model.safetensors"
    metadata = {"format": "pt", "vrjax": json.dumps(dataclasses.asdict(cfg))}
    tensors.write(file, shapes, arrays(), metadata)
    if not single:
        writing.json(path / "config.json", public_config(cfg, layout))


def public_config(cfg: WanConfig, layout: str = "diffusers") -> dict:
    """The `config.json` of a layout."""
    if layout == "original":
        kind = "i2v" if cfg.image_dim is not None else "t2v"
        fields = {theirs: getattr(cfg, ours) for theirs, ours in _ORIGINAL_CONFIG.items()}
        return {"_class_name": "WanModel", "model_type": kind, **fields}
    fields = {theirs: getattr(cfg, ours) for theirs, ours in _DIFFUSERS_CONFIG.items()}
    return {
        "_class_name": "WanTransformer3DModel",
        "patch_size": list(cfg.patch),
        "attention_head_dim": cfg.head_dim,
        "qk_norm": "rms_norm_across_heads",
        "added_kv_proj_dim": cfg.dim if cfg.image_dim is not None else None,
        "rope_max_seq_len": 1024,
        **fields,
    }


def _config(file: weights.Header, options: dict) -> WanConfig:
    source = file.source
    if "vrjax" in source.metadata:
        origin = f"{source.path} (metadata)"
        try:
            found = json.loads(source.metadata["vrjax"])
        except ValueError:
            raise ValueError(f"{origin}: not valid JSON") from None
    else:
        found, origin = _inferred(file, options), f"{source.path} (shapes)"
        stated, public, fields = weights.stated(source, _ORIGINAL_CONFIG | _DIFFUSERS_CONFIG | {"patch_size": "patch"})
        if str(public.get("_class_name", "")).startswith("Wan"):
            found, origin = found | fields, stated
            if "attention_head_dim" in public:
                found["dim"] = public["attention_head_dim"] * public["num_attention_heads"]
    found |= options
    if not found.get("heads"):
        raise ValueError(f"{source.path}: no config.json, and dim {found['dim']} is not a multiple of 128: pass heads=")
    return weights.config(WanConfig, found, origin, "WanDiT")


def _inferred(file: weights.Header, options: dict) -> dict:
    """What the tensors' shapes say about the config."""

    shapes, embedding = file.shapes, file.shapes.get("patch_embedding.weight", ())
    key = lambda *attributes: key_of(attributes, file.layout, 0)
    matrix = lambda *attributes: file.shape(key(*attributes, "kernel"), 2)  # (out, in)
    patch = tuple(options.get("patch", embedding[2:] or (1, 2, 2)))
    size = int(np.prod(patch))
    dim, channels = file.shape("patch_embedding.weight", 5 if len(embedding) == 5 else 2)[:2]
    image, positions = key("image_embedding", "norm_in", "scale"), key("image_embedding", "positions")
    return {
        "dim": dim,
        "ffn_dim": matrix("blocks", "ffn_in")[0],
        "heads": dim // 128 if dim % 128 == 0 else None,
        "layers": file.blocks("blocks."),
        "in_channels": channels if len(embedding) == 5 else channels // size,
        "out_channels": matrix("head")[0] // size,
        "patch": patch,
        "freq_dim": matrix("time_in")[1],
        "text_dim": matrix("text_in")[1],
        "image_dim": file.shape(image, 1)[0] if image in shapes else None,
        "image_positions": file.shape(positions, 3)[1] if positions in shapes else None,
        "qk_norm": key("blocks", "self_attn", "norm_q") in shapes,
        "cross_norm": key("blocks", "norm3", "scale") in shapes,
    }
