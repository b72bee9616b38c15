"""Reads and writes MotionDiT weights under ViMoGen's names."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from vrjax.files import given, tensors, weights, writing
from vrjax.files.weights import Form
from vrjax.models.family import shard
from vrjax.models.motion.config import MotionConfig
from vrjax.models.motion.dit import MotionDiT, abstract, init
from vrjax.models.motion.report import Report

FILE = "model.safetensors"
CLASSES = ("WanModelTM2M", "WanModelT2M")  # that a config.json may name: with the reference branch, and without
LAYOUT = "vimogen"
TEXT_MOST = 512  # rows of text that Wan's config states, which ViMoGen's code does not read
_TOP = {
    "motion_embedding": "motion_embedding",
    "text_in": "text_embedding.0",
    "text_out": "text_embedding.2",
    "time_in": "time_embedding.0",
    "time_out": "time_embedding.2",
    "time_projection": "time_projection.1",
    "reference_embedding": "ref_motion_embedding",
    "fusion": "fusion",
    **{f"{head}.{part}": f"{head}.{part}" for head in ("motion_head", "local_motion_head", "global_motion_head")
       for part in ("modulation", "head")},
}  # fmt: skip
_ATTENTION = {"self_attn": "self_attn", "cross_attn": "cross_attn", "reference_attn": "ref_motion_cross_attn"}
_BLOCK = {
    **{f"{a}.{leaf}": f"{b}.{leaf}" for a, b in _ATTENTION.items() for leaf in "qkvo"},
    **{f"{a}.{leaf}": f"{b}.{leaf}.weight" for a, b in _ATTENTION.items() for leaf in ("norm_q", "norm_k")},
    "norm3": "norm3",
    "norm4": "norm4",
    "ffn_in": "ffn.0",
    "ffn_out": "ffn.2",
    "modulation": "modulation",
}
_one = lambda table: {ours: (theirs,) for ours, theirs in table.items()}
NAMES = weights.Names(
    (LAYOUT,), _one(_TOP), _one(_BLOCK), blocks=("blocks",), others=_one({"reference_encoder": "ref_motion_encoder"})
)
_CONFIG = {
    "dim": "dim",
    "ffn_dim": "ffn_dim",
    "freq_dim": "freq_dim",
    "in_dim": "channels",
    "num_heads": "heads",
    "num_layers": "layers",
    "text_dim": "text_dim",
    "cross_attn_norm": "cross_norm",
    "qk_norm": "qk_norm",
    "eps": "eps",
    "predicts": "predicts",  # ours, and written where it is not ViMoGen's
}


def _fields(file: weights.Header) -> tuple[dict[str, Any], str]:
    """The config as the tensors' shapes have it, heads being 128 wide, or as `config.json` states it."""
    sizes = file.sizes
    dim, channels = sizes["motion_embedding.kernel"].shape
    reference, local = sizes.get("reference_embedding.kernel"), sizes.get("local_motion_head.head.kernel")
    encoder = {key.split(".")[1] for key in file.shapes if key.startswith("ref_motion_encoder.")}
    found: dict[str, Any] = {
        "dim": dim,
        "ffn_dim": sizes["blocks.ffn_in.kernel"].shape[0],
        "heads": dim // 128 if dim % 128 == 0 else None,
        "layers": file.blocks,
        "channels": channels,
        "reference_channels": reference.shape[1] if reference else None,
        "reference_layers": len(encoder) if reference else None,
        "local_channels": local.shape[0] if local else None,
        "freq_dim": sizes["time_in.kernel"].shape[1],
        "text_dim": sizes["text_in.kernel"].shape[1],
        "qk_norm": "blocks.self_attn.norm_q" in sizes,
        "cross_norm": "blocks.norm3.scale" in sizes,
    }
    origin = f"{file.source.path} (shapes)"
    if file.named("_class_name", CLASSES):
        found |= file.said(MotionConfig, _CONFIG)
        origin = file.stated
    if not (found | file.options).get("heads"):
        raise ValueError(
            f"{file.source.path}: no config.json states its heads, and dim {dim} is not a multiple of 128: pass heads="
        )
    return found, origin


NETWORK = weights.Network(
    name="MotionDiT",
    what="a ViMoGen transformer",
    config=MotionConfig,
    abstract=abstract,
    names=NAMES,
    anchors={LAYOUT: "motion_embedding.weight"},
    sizes={
        "motion_embedding.kernel": (2,),
        "blocks.ffn_in.kernel": (2,),
        "time_in.kernel": (2,),
        "text_in.kernel": (2,),
        "reference_embedding.kernel": (0, 2),
        "local_motion_head.head.kernel": (0, 2),
        "blocks.self_attn.norm_q": (0, 1),
        "blocks.norm3.scale": (0, 1),
    },
    fields=_fields,
    forms=((r".*\.kernel", Form(turned=True)), (r".*[.:]modulation", Form(before=1))),
    # Tables of positions, which are computed.
    unused={LAYOUT: r"(ref_)?motion_pos_embedding\.pe"},
)


def find(path: str | os.PathLike) -> pathlib.Path:
    """The weights at a path: itself, or what a folder holds: safetensors, else the one file that torch.save wrote.

    Raises:
        FileNotFoundError: none. ValueError: several; names them.
    """
    path = pathlib.Path(path)
    if not path.is_dir():
        return path
    pickled = sorted(file for file in path.iterdir() if file.suffix in tensors.PICKLED and not given.hidden(file))
    if any(path.glob("*.safetensors")) or any(path.glob("*.safetensors.index.json")) or not pickled:
        return path
    if len(pickled) > 1:
        raise ValueError(f"{path}: {len(pickled)} candidates, expected one: {', '.join(f.name for f in pickled[:4])}")
    return pickled[0]


def load_dit(
    path: str | os.PathLike,
    *,
    strict: bool = True,
    mesh: Mesh | None = None,
    rules: Mapping[str, Any] = {},  # noqa: B006
    uneven: str = "warn",
    **options: Any,
) -> MotionDiT:
    """Loads a MotionDiT: ViMoGen's `model.pt`, or safetensors with the same names; no pickle code is run.

    The config comes from the file's own metadata if vrjax wrote it, else from `config.json` beside it, else from the
    tensors' shapes with Wan's head size of 128. Which of the public classes it is (with the reference branch or
    without, with a split head) is told by the tensors. Weights are cast to `param_dtype`, norms, time embedding and
    modulation to float32; see `vrjax.files.weights` for how they are read.

    Args:
        path: a file, or a folder with one: safetensors, an index of shards, else the only `.pt`.
        strict: whether missing and unexpected tensors are an error. If not, missing parameters keep a random start
            (seed 0), as the public code does it, and `report` names both.
        mesh, rules, uneven: see `vrjax.models.family.shard`: the module is placed on a mesh while it is read.
        **options: fields of MotionConfig that override what was found, such as mode, dtype, remat, heads.

    Returns:
        The network; its `report` lists the keys of the file that were ignored (the tables of positions), and what was
        missing or unexpected.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a torn file, or one that would run code; missing, unexpected or misshapen tensors (names the first
            of them and the file); a config that cannot be read.
    """
    found = NETWORK.open(tensors.read(find(path)), **options)
    missing, unexpected, unused = found.differences
    start = None if strict or not (missing or unexpected) else init(found.cfg, jax.random.key(0))
    model = found.module(None if mesh is None else shard(found.abstract, mesh, rules, uneven=uneven), start=start)
    model.report = Report(tuple(unused), tuple(missing), tuple(unexpected))
    return model


def save_dit(dit: MotionDiT, folder: str | os.PathLike) -> None:
    """Saves a MotionDiT under ViMoGen's names: `model.safetensors` and `config.json`.

    Args:
        dit: the model.
        folder: made where it is missing; or a name ending in `.safetensors` for one file without a config. Every file
            appears whole or not at all.
    """
    cfg, path = dit.cfg, pathlib.Path(folder)
    single = path.suffix == ".safetensors"
    NETWORK.save(path if single else path / FILE, dit, LAYOUT)
    if not single:
        writing.json(path / "config.json", public_config(cfg))


def public_config(cfg: MotionConfig) -> dict[str, Any]:
    """The `config.json` that ViMoGen's code reads: Wan's, with the channels of a frame."""
    fields = {theirs: getattr(cfg, ours) for theirs, ours in _CONFIG.items()}
    if cfg.predicts == MotionConfig.predicts:
        del fields["predicts"]
    fields |= {"out_dim": cfg.channels, "text_len": TEXT_MOST, "model_type": "t2v", "patch_size": [1, 2, 2]}
    if cfg.reference_channels is not None:
        fields["ref_motion_dim"] = cfg.reference_channels
    return {"_class_name": CLASSES[cfg.reference_channels is None], **fields}
