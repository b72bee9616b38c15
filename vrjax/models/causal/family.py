"""The block-causal network as a family: see `vrjax.models.family.Family` and `vrjax.models.cached.Cached`.

Conditions are `text` (l, d), of a network that reads text, and `actions` (frames, size), of one that knows actions.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from vrjax.flow import Level, Prediction, Velocity, words
from vrjax.models.blocks import axes
from vrjax.models.blocks import sites as blocks_sites
from vrjax.models.causal import cache, network, readers
from vrjax.models.causal import chunks as frames_of
from vrjax.models.causal.dit import CausalConfig, CausalDiT, abstract
from vrjax.models.causal.network import NONE
from vrjax.models.causal.readers import load, save
from vrjax.models.family import Needs
from vrjax.models.wan import family as wan
from vrjax.models.wan import flops as counts
from vrjax.models.wan.dit import Context

__all__ = ["Config", "abstract", "load", "save"]

Config = CausalConfig
AXES: axes.Rows = (
    (("action_in", "kernel"), (None, "embed")),
    (("previous_in", "kernel"), ("patch", "embed")),
    *wan.AXES,
)
save_adapters, training, sampling, channels, tokens = (
    wan.save_adapters,
    wan.training,
    wan.sampling,
    wan.channels,
    wan.tokens,
)


class Remembered(NamedTuple):
    """The state of a video: what its text is to every block, and what is remembered of its frames; and the last of
    them (h, w, c), of a network that is told it."""

    context: tuple
    cache: cache.State
    last: Any

    __repr__ = words.line


def logical_axes(cfg: CausalConfig) -> dict:
    """Logical axis names of every parameter, see `vrjax.models.blocks.axes.named`."""
    return axes.named(abstract(cfg), AXES)


def init(cfg: CausalConfig, key: jax.Array) -> CausalDiT:
    """Random weights from a key."""
    return CausalDiT(cfg, rngs=nnx.Rngs(params=key))


def read_config(path: str | os.PathLike) -> CausalConfig:
    """See `readers.read_config`."""
    return readers.read_config(path)


def conditions(cfg: CausalConfig, latent: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """`text` (text_len, text_dim) and `actions` (frames, size), those of them that the network reads."""
    text = {"text": (cfg.text_len, cfg.text_dim)} if cfg.text_len else {}
    return text | ({"actions": (latent[0], cfg.action)} if cfg.action else {})


def predict(model: CausalDiT, x: Any, level: Level, conditions: Mapping[str, Any]) -> Prediction:
    """The module itself; the level's time may be one for each frame."""
    return model(x, level.time, conditions.get("text"), actions=conditions.get("actions"))


def velocity(
    model: CausalDiT, conditions: Mapping[str, Any], *, taps: Mapping = NONE, edits: Mapping = NONE
) -> Velocity:
    """See `CausalDiT.velocity`."""
    return model.velocity(conditions.get("text"), conditions.get("actions"), taps, edits)


def guided(
    model: CausalDiT,
    conditions: Mapping[str, Any],
    negative: Mapping[str, Any],
    scale: Any,
    *,
    renorm: Callable | None = None,
    taps: Mapping = NONE,
    edits: Mapping = NONE,
) -> Velocity:
    """See `CausalDiT.guided`; `negative` holds the other branch's `text` or `actions`, or both. ValueError: others."""
    if not negative or set(negative) - {"text", "actions"}:
        raise ValueError(f"guided: the branches may differ in text and actions, found {sorted(negative)}")
    other = {**conditions, **negative}
    how: dict[str, Any] = {"renorm": renorm, "taps": taps, "edits": edits}
    how["actions"] = conditions.get("actions"), other.get("actions")
    return model.guided(conditions.get("text"), other.get("text"), scale, **how)


def flops(cfg: CausalConfig, latent: tuple[int, ...]) -> int:
    """Operations of one pass of the whole video, counted as `wan.flops.forward` does; hidden keys cost nothing."""
    n, frames = tokens(cfg, latent), latent[0]
    lengths, seen, end = chunks(cfg, frames), 0, 0
    for length in lengths:
        seen += length * (length + len(frames_of.seen(end, end + length, cfg.window, cfg.sink)))
        end += length
    hidden = 4 * (n * n - seen * (n // frames) ** 2) * cfg.dim
    total = counts.forward(cfg, n, cfg.text_len) - cfg.layers * hidden
    if not cfg.text_len:
        total -= cfg.layers * 4 * n * cfg.dim**2
    # One row of time, and of its six parts, for each frame.
    rows = 2 * (cfg.freq_dim * cfg.dim + 7 * cfg.dim**2) * (frames - 1) + 2 * frames * cfg.action * cfg.dim
    return total + rows + (2 * n * cfg.dim * cfg.in_channels * cfg.patch_size if cfg.previous else 0)


def needs(cfg: CausalConfig, latent: tuple[int, ...]) -> Needs:
    """Of a network that reads text alone, Wan's; one that knows actions has nothing beside it."""
    if cfg.text_len and not cfg.action:
        return wan.needs(cfg, latent)
    words = 2 * cfg.layers * cfg.text_len * cfg.dim
    return Needs(layers=cfg.layers, dim=cfg.dim, inner=cfg.ffn_dim, heads=cfg.heads, context=words)


def sites(cfg: CausalConfig) -> list[str]:
    """See `vrjax.models.blocks.sites`."""
    return blocks_sites.names(cfg.layers, network.parts_of(cfg.text_len > 0))


# ------------------------------------------------------------------------------------------------------- cached calls


def chunks(cfg: CausalConfig, frames: int) -> tuple[int, ...]:
    """See `chunks.partition`."""
    return frames_of.partition(frames, cfg.chunk, cfg.first)


def _memory(cfg: CausalConfig, slots: int) -> cache.Memory:
    return cache.Memory(slots, cfg.window, cfg.sink, cfg.positions)


def begin(model: CausalDiT, conditions: Mapping[str, Any], latent: tuple[int, ...]) -> Remembered:
    """Nothing seen yet. With a window the state has the same shapes however many frames there are."""
    cfg, (frames, height, width, channels) = model.cfg, latent
    options = {"window": cfg.window, "sink": cfg.sink, "positions": cfg.positions}
    memory = cache.memory(chunks(cfg, frames), **options)
    context = tuple(model.context(conditions.get("text"), ahead=True))
    last = jnp.zeros((height, width, channels)) if cfg.previous else None
    return Remembered(context, cache.empty(model, memory, height // cfg.patch[1], width // cfg.patch[2]), last)


def chunk(
    model: CausalDiT,
    state: Remembered,
    x: Any,
    level: Level,
    conditions: Mapping[str, Any] = NONE,
    *,
    taps: Mapping = NONE,
    edits: Mapping = NONE,
) -> Prediction:
    """See `cache.velocity`; of the conditions `actions` of the chunk's frames are read."""
    memory = _memory(model.cfg, state.cache.keys.shape[1])
    last = None if state.last is None else state.last[None]
    how = {"actions": conditions.get("actions"), "previous": last, "taps": taps, "edits": edits}
    return cache.velocity(model, state.cache, memory, Context(*state.context), **how)(x, level)


def after(
    model: CausalDiT,
    state: Remembered,
    x: Any,
    level: Level,
    conditions: Mapping[str, Any] = NONE,
    *,
    edits: Mapping = NONE,
) -> Remembered:
    """See `cache.after`."""
    memory, context = _memory(model.cfg, state.cache.keys.shape[1]), Context(*state.context)
    before = None if state.last is None else state.last[None]
    how = {"actions": conditions.get("actions"), "previous": before, "edits": edits}
    last = None if state.last is None else jnp.asarray(x, state.last.dtype)[-1]
    return Remembered(state.context, cache.after(model, state.cache, memory, x, level.time, context, **how), last)


def forced(
    model: CausalDiT,
    x: Any,
    level: Level,
    conditions: Mapping[str, Any],
    *,
    clean: Any,
    clean_level: Level,
    taps: Mapping = NONE,
    edits: Mapping = NONE,
) -> Prediction:
    """See `masked.forward`; taps and edits see the tokens of the clean video first."""
    beside = {"actions": conditions.get("actions"), "clean": clean, "clean_time": clean_level.time}
    return model(x, level.time, conditions.get("text"), **beside, taps=taps, edits=edits)
