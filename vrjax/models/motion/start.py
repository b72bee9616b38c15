"""A motion network that starts from a video network's weights."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax

from vrjax.files import weights
from vrjax.models import wan
from vrjax.models.motion import readers
from vrjax.models.motion.config import MotionConfig
from vrjax.models.motion.dit import MotionDiT, init
from vrjax.models.motion.report import Report
from vrjax.models.wan import readers as of_wan

SAME = ("dim", "ffn_dim", "heads", "layers", "freq_dim", "text_dim", "eps", "qk_norm", "cross_norm")


def from_wan(source: Any, key: jax.Array, cfg: MotionConfig | None = None, **options: Any) -> MotionDiT:
    """A MotionDiT that starts from Wan's weights, as ViMoGen's training does (from Wan2.1-T2V-1.3B).

    Taken over are the embeddings of time and text and, of every block, self-attention, cross-attention with its norm,
    feed-forward and modulation. What frames and reference motions go through is random.

    Args:
        source: a `WanDiT`, or what `vrjax.models.wan.load_dit` reads.
        key: of the random part.
        cfg: by default ViMoGen's network over the sizes of the source.
        **options: fields of MotionConfig that override those of `cfg`.

    Returns:
        The network; its `report` lists by ViMoGen's keys what was `transferred` and what was `missing` there (random),
        and by Wan's what was `ignored`.

    Raises:
        FileNotFoundError, ValueError: as `wan.load_dit`; parameters whose shapes differ, with the first of them.
    """
    theirs = source if isinstance(source, wan.WanDiT) else wan.load_dit(source)
    given = {name: getattr(theirs.cfg, name) for name in SAME}
    cfg = MotionConfig(**given | options) if cfg is None else dataclasses.replace(cfg, **options)
    there, fresh = _parameters(theirs), init(cfg, key)
    here = _parameters(fresh)
    taken = [name for name in here if name in there]
    wrong = [name for name in taken if here[name].shape != there[name].shape]
    if wrong:
        found = f"{'.'.join(wrong[0])} has shape {there[wrong[0]].shape}, expected {here[wrong[0]].shape}"
        raise ValueError(f"from_wan: {found}" + (f", and {len(wrong) - 1} more" if wrong[1:] else ""))
    both = [there[name].astype(leaf.dtype) if name in there else leaf for name, leaf in here.items()]
    model = jax.tree.unflatten(jax.tree.structure(fresh), both)
    mine = functools.partial(_keys, readers.NAMES, readers.LAYOUT, here)
    model.report = Report(
        ignored=_keys(of_wan.NAMES, "original", there, [name for name in there if name not in here]),
        missing=mine([name for name in here if name not in there]),
        transferred=mine(taken),
    )
    return model


def _parameters(module: Any) -> dict[tuple, jax.Array]:
    """Parameters by their attributes, in the module's order."""
    return {weights.attributes(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(module)}


def _keys(names: weights.Names, layout: str, arrays: Mapping[tuple, Any], which: list[tuple]) -> tuple[str, ...]:
    """Keys of parameters in a file, those of a stack for each block."""
    blocks = lambda name: range(len(arrays[name])) if names.stack(name) else (None,)
    return tuple(names.key(name, layout, block) for name in which for block in blocks(name))
