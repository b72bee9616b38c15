"""ViMoGen as a family: see `vrjax.models.family.Family`.

Conditions are `text` (l, d) and, in modes "motion" and "mixed" of the config, `reference` (t, r). In mode "mixed" an
example whose reference is all zero takes its text: condition dropout of the reference (`objective.drop_others`) is how
the public training chooses branches. `attend_to_text`, `length` and `reference_length`, scalars, may be given besides.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

from vrjax.files import adapters as files
from vrjax.files import tensors
from vrjax.flow import Level, Prediction, Velocity
from vrjax.models.blocks import axes
from vrjax.models.blocks import sites as blocks_sites
from vrjax.models.blocks.layers import PARTS
from vrjax.models.family import Needs
from vrjax.models.motion import readers
from vrjax.models.motion.config import MotionConfig
from vrjax.models.motion.dit import REFERENCE, REFERENCE_PARTS, MotionDiT, abstract, init
from vrjax.models.motion.readers import load_dit as load
from vrjax.models.motion.readers import save_dit as save
from vrjax.models.wan.family import UMT5

__all__ = ["Config", "abstract", "init", "load", "save"]

Config = MotionConfig
NONE: Mapping[str, Any] = {}
KNOWN = ("text", "reference", "attend_to_text", "length", "reference_length")
# Logical axes of the parameters around the blocks, see `vrjax.models.blocks.axes`.
AXES: axes.Rows = (
    (("motion_embedding", "kernel"), ("patch", "embed")),
    (("reference_embedding", "kernel"), ("patch", "embed")),
    (("text_in", "kernel"), ("text", "embed")),
    (("time_in", "kernel"), ("time", "embed")),
    (("text_out", "kernel"), ("embed_in", "embed")),
    (("time_out", "kernel"), ("embed_in", "embed")),
    (("time_projection", "kernel"), ("embed", "modulation")),
    (("time_projection", "bias"), ("modulation",)),
    (("fusion", "kernel"), (None, "embed")),
    (("head", "kernel"), ("embed", "patch")),
    (("head", "bias"), ("patch",)),
)


def logical_axes(cfg: MotionConfig) -> dict:
    """Logical axis names of every parameter, see `vrjax.models.blocks.axes.named`."""
    return axes.named(abstract(cfg), AXES, stacked=("blocks", "reference_encoder"))


def read_config(path: str | os.PathLike) -> MotionConfig:
    """Of a network's folder or file, without reading its weights."""
    return readers.NETWORK.open(tensors.read(readers.find(path))).check().cfg


def save_adapters(adapters: Mapping[str, Any], path: str | os.PathLike, *, alpha: float | int | None) -> None:
    """As PEFT names them, over ViMoGen's keys."""
    files.write(adapters, path, readers.NAMES, readers.LAYOUT, alpha=alpha)


def training(cfg: MotionConfig, dtype: str) -> MotionConfig:
    """Products in `dtype`."""
    return dataclasses.replace(cfg, dtype=dtype)


def sampling(cfg: MotionConfig) -> MotionConfig:
    """Scanned blocks compile faster, and there is nothing to recompute."""
    return dataclasses.replace(cfg, unroll=False, remat="none")


def channels(cfg: MotionConfig) -> int:
    """Of a frame."""
    return cfg.channels


def conditions(cfg: MotionConfig, latent: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """`text` (text_len, text_dim), and `reference` (t, reference_channels) in a mode that reads it."""
    text = {"text": (cfg.text_len, cfg.text_dim)}
    if cfg.mode == "text" or cfg.reference_channels is None:
        return text
    return text | {"reference": (latent[0], cfg.reference_channels)}


def _given(cfg: MotionConfig, conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Conditions besides the text, as a call takes them. ValueError: one that there is none of, or is not read."""
    expected = KNOWN if cfg.mode == "mixed" else tuple(name for name in KNOWN if name != "attend_to_text")
    expected = ("text", "length") if cfg.mode == "text" else expected
    if others := sorted(set(conditions) - set(expected)):
        raise ValueError(f"conditions: found {', '.join(others)}, but mode {cfg.mode!r} reads {', '.join(expected)}")
    return {name: value for name, value in conditions.items() if name != "text"}


def predict(model: MotionDiT, x: Any, level: Level, conditions: Mapping[str, Any]) -> Prediction:
    """The module itself: asked once, keys of the text belong inside the blocks (remat, FSDP)."""
    return model(x, level.time, conditions.get("text"), **_given(model.cfg, conditions))


def velocity(
    model: MotionDiT, conditions: Mapping[str, Any], *, taps: Mapping = NONE, edits: Mapping = NONE
) -> Velocity:
    """See `MotionDiT.velocity`."""
    return model.velocity(conditions.get("text"), taps=taps, edits=edits, **_given(model.cfg, conditions))


def guided(
    model: MotionDiT,
    conditions: Mapping[str, Any],
    negative: Mapping[str, Any],
    scale: Any,
    *,
    renorm: Callable | None = None,
    taps: Mapping = NONE,
    edits: Mapping = NONE,
) -> Velocity:
    """See `MotionDiT.guided`; `negative` holds the other branch's `text`. ValueError: it holds something else."""
    if set(negative) != {"text"}:
        raise ValueError(f"guided: the branches of ViMoGen differ in text alone, found {sorted(negative)}")
    given = _given(model.cfg, conditions)
    how: dict[str, Any] = {"renorm": renorm, "taps": taps, "edits": edits}
    return model.guided(conditions.get("text"), negative["text"], scale, **how, **given)


def tokens(cfg: MotionConfig, latent: tuple[int, ...]) -> int:
    """Frames."""
    return latent[0]


def flops(cfg: MotionConfig, latent: tuple[int, ...]) -> int:
    """Operations of the matrix products of one forward pass in the config's mode, counted as `wan.flops.forward` does.

    In mode "mixed" both cross-attentions are computed.
    """
    n, d = latent[0], cfg.dim
    own = 8 * n * d * d + 4 * n * n * d + 4 * n * d * cfg.ffn_dim  # q, k, v, o; scores and products; feed-forward
    across = lambda rows: 4 * n * d * d + 4 * rows * d * d + 4 * n * rows * d  # q, o; k, v; scores and products
    total = cfg.layers * own + 2 * (cfg.freq_dim * d + d * d + 6 * d * d) + 2 * n * d * 2 * cfg.channels
    if cfg.mode != "motion":
        total += cfg.layers * across(cfg.text_len) + 2 * cfg.text_len * (cfg.text_dim * d + d * d)
    if cfg.mode != "text" and cfg.reference_channels is not None:
        total += cfg.layers * across(n) + cfg.encoder_layers * own + 2 * n * d * cfg.reference_channels
    if cfg.local_channels is not None:
        total += 2 * n * d * (d + cfg.local_channels)
    return total


def needs(cfg: MotionConfig, latent: tuple[int, ...]) -> Needs:
    """With UMT5-XXL in bfloat16 before the run where text is read; nothing stands beside the network."""
    read = cfg.mode != "motion"
    return Needs(
        layers=cfg.layers + (cfg.encoder_layers if cfg.mode != "text" else 0),
        dim=cfg.dim,
        inner=cfg.ffn_dim,
        heads=cfg.heads,
        context=2 * cfg.layers * cfg.text_len * cfg.dim if read else 0,
        before={"encoding text (before the rest is loaded)": 2 * UMT5} if read else {},
        after={"smoothing over time, float32": 2 * 4 * math.prod(latent)},
    )


def sites(cfg: MotionConfig) -> list[str]:
    """See `vrjax.models.blocks.sites`; those of the reference's encoder in a mode that reads it."""
    main = blocks_sites.names(cfg.layers, PARTS)
    return main if cfg.mode == "text" else main + blocks_sites.names(cfg.encoder_layers, REFERENCE_PARTS, REFERENCE)
