"""Weights from one public layout to another, tensor by tensor: names and shapes change, bits do not.

    convert.part("Wan2.1-T2V-1.3B", "out", layout="diffusers")          # one network: transformer, VAE or an encoder
    convert_model.model("Wan2.2-I2V-A14B", "out", layout="diffusers")   # a whole model, see there

Layouts: "diffusers" (folders with `config.json`, large files in shards with an index), "wan" (Wan's own names; `.pth`
for everything but the transformer) and "comfy" (single safetensors files, the transformer's keys behind
`model.diffusion_model.`). What is read at a time is one tensor of a memory-mapped file, of any layout that vrjax reads.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from vrjax.files import pth_writer, tensors, weights, writing
from vrjax.models.wan import clip, readers, umt5, vae

LAYOUTS = ("diffusers", "wan", "comfy")
KINDS = ("transformer", "vae", "text_encoder", "image_encoder")
SHARD = 5 * 10**9  # bytes of a file, in diffusers' layout and of Wan's transformers
COMFY = "model.diffusion_model."
_MODULES: Any = dict(zip(KINDS, (readers, vae, umt5, clip), strict=True))
_STEMS = {
    "transformer": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "image_encoder": "model",
}


class Piece(NamedTuple):
    """One tensor of the result: its key, shape and dtype, the keys it is made of, and how."""

    key: str
    shape: tuple[int, ...]
    dtype: np.dtype
    sources: tuple[str, ...]
    make: Callable[..., np.ndarray]


class Part(NamedTuple):
    """One network, ready to be written.

    Attributes:
        kind: one of `KINDS`.
        layout: it will be written in.
        source: the open file.
        pieces: the tensors of the result.
        config: `config.json` of the result, or None where the layout has none.
        wan_name: name of the file in Wan's layout, without folder.
        left: keys of the source that the layout has no place for.
    """

    kind: str
    layout: str
    source: tensors.Source
    pieces: list[Piece]
    config: dict | None
    wan_name: str
    left: tuple[str, ...]

    @property
    def bytes(self) -> int:
        return sum(_size(piece) for piece in self.pieces)


def part(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    layout: str,
    shard: int = SHARD,
    say: Callable[[str], None] = print,
    **options: Any,
) -> list[pathlib.Path]:
    """Converts one network.

    Args:
        source: a file, an index, or a folder that holds one network; which one is told by its keys.
        target: a folder that is not there yet, or is empty; or a name ending in `.safetensors` or `.pth` for one file
            without a config. In Wan's layout a folder gets the names of Wan's repositories.
        layout: one of `LAYOUTS`.
        shard: bytes of one file of a network in several files; a single tensor may be larger.
        say: told what was left out, and what was written.
        **options: of the reader, where the file does not say enough (`heads=`).

    Returns:
        The files written.

    Raises:
        FileNotFoundError, ValueError: as the readers do; a network that the layout cannot hold.
        FileExistsError: the target is there already.
    """
    found = open_part(source, layout, **options)
    files = write(found, target, shard=shard)
    say(described(found, target))
    return files


def described(found: Part, target: Any) -> str:
    """What was converted, and what was left out, in one line."""
    text = f"{found.kind}: {len(found.pieces)} tensors, {found.bytes / 1e9:.2f} GB, {found.layout} layout: {target}"
    if found.left:
        text += f"; left out: {len(found.left)} tensors ({weights.some(sorted(found.left))})"
    return text


def open_part(source: str | os.PathLike, layout: str, **options: Any) -> Part:
    """Reads the names and shapes of one network and plans its conversion; raises as `part`."""
    if layout not in LAYOUTS:
        raise ValueError(f"layout {layout!r}: expected one of {', '.join(LAYOUTS)}")
    opened = tensors.read(source)
    kind = kind_of(opened)
    network = _MODULES[kind].NETWORK
    found, whole = network.open(opened, **options), kind == "image_encoder"
    cfg = dataclasses.replace(found.cfg, layers=found.cfg.layers + 1) if whole else found.cfg
    if whole:  # the last block too, which vrjax does not run
        found = found._replace(slots=network.slots(cfg, found.file.layout), unused=".*")
    found.check()
    # ComfyUI reads transformers and VAEs under Wan's names, encoders under those of transformers.
    mine = layout == "wan" or (layout == "comfy" and kind in ("transformer", "vae"))
    names = "original" if mine else next(name for name in network.names.layouts if name != "original")
    if (kind, names) == ("transformer", "diffusers") and not found.cfg.qk_norm:
        raise ValueError(f"{found.file.source.path}: no norm of queries and keys, which diffusers' Wan always has")
    after = _CLIP[names] if whole else COMFY if (kind, layout) == ("transformer", "comfy") else ""
    pieces = _pieces(found, network.slots(cfg, names), after)
    if whole:
        pieces += _behind_clip(found, names)
    config = _MODULES[kind].public_config(found.cfg) if layout == "diffusers" else None
    if (kind, layout) == ("transformer", "wan"):
        config = readers.public_config(found.cfg, names)
    used = {key for piece in pieces for key in piece.sources}
    left = tuple(key for key in found.file.source.shapes if key not in used)
    return Part(kind, layout, found.file.source, pieces, config, _wan_name(kind, found.cfg, pieces[-1].dtype), left)


def _wan_name(kind: str, cfg: Any, dtype: Any) -> str:
    """Name of the file in Wan's layout."""
    if kind == "vae":
        return f"Wan{'2.2' if cfg.shortcuts else '2.1'}_VAE.pth"
    if kind == "text_encoder":
        short = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
        return f"models_t5_umt5-xxl-enc-{short.get(str(dtype), str(dtype))}.pth"
    return {"image_encoder": "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"}.get(kind, _STEMS[kind])


def kind_of(source: tensors.Source) -> str:
    """Which network a file holds. ValueError: none that is known."""
    for kind, module in _MODULES.items():
        ends = module.NETWORK.anchors.values()
        if any(key == end or key.endswith("." + end) for key in source.shapes for end in ends):
            return kind
    keys = weights.some(list(source.shapes))
    raise ValueError(f"{source.path}: none of {', '.join(KINDS)} by its {len(source.shapes)} tensors ({keys})")


# ---------------------------------------------------------------------------------------------------------- networks

_CLIP = {"transformers": "vision_model.", "original": "visual."}


def _pieces(found: weights.Opened, here: Iterable[weights.Slot], after: str) -> list[Piece]:
    """Every tensor of another layout, made of those of an open file: renamed, cut, or joined."""
    made: dict[str, tuple[tuple[int, ...], list[tuple[int, str, slice]]]] = {}
    for a, b in zip(found.slots, here, strict=True):
        for there, key in zip(a.keys, b.keys, strict=True):
            row = (b.part.start or 0, found.file.prefix + there, a.part)
            made.setdefault(after + key, (b.shape, []))[1].append(row)
    out = []
    for key, (shape, rows) in made.items():
        _, sources, cuts = zip(*sorted(rows, key=lambda row: row[0]), strict=True)  # joined in their order there
        make = functools.partial(_joined, shape, cuts)
        out.append(Piece(key, shape, found.file.source[sources[0]].dtype, sources, make))
    return out


def _joined(shape: tuple[int, ...], cuts: tuple[slice, ...], *arrays: np.ndarray) -> np.ndarray:
    rows = [array[cut] for array, cut in zip(arrays, cuts, strict=True)]
    return (rows[0] if len(rows) == 1 else np.concatenate(rows)).reshape(shape)


def _behind_clip(found: weights.Opened, names: str) -> Iterator[Piece]:
    """The norm and projection behind CLIP's last block, which Wan does not use, where the file has them."""
    file, source, same = found.file, found.file.source, names == found.file.layout
    norm = {"original": "post_norm.", "transformers": "post_layernorm."}
    for leaf in ("weight", "bias"):
        there, here = file.prefix + norm[file.layout] + leaf, _CLIP[names] + norm[names] + leaf
        if there in source.shapes:
            yield Piece(here, source.shapes[there], source[there].dtype, (there,), np.asarray)
    outside = file.prefix.removesuffix(_CLIP["transformers"])
    head = {"original": file.prefix + "head", "transformers": outside + "visual_projection.weight"}[file.layout]
    if head in source.shapes:
        shape, here = source.shapes[head], _CLIP[names] + "head" if names == "original" else "visual_projection.weight"
        turn = np.asarray if same else np.transpose
        yield Piece(here, shape if same else shape[::-1], source[head].dtype, (head,), turn)


# ----------------------------------------------------------------------------------------------------------- writing


def write(found: Part, target: str | os.PathLike, *, shard: int = SHARD) -> list[pathlib.Path]:
    """Writes a part; see `part`. A folder appears complete or not at all."""
    target = pathlib.Path(target)
    if target.suffix in (".safetensors", ".pth"):
        if target.exists():
            raise FileExistsError(f"{target}: exists already")
        target.parent.mkdir(parents=True, exist_ok=True)
        _file(found, target, found.pieces)
        return [target]
    with writing.folder(target) as scratch:
        names = fill_folder(found, scratch, shard=shard)
    return [target / name for name in names]


def fill_folder(found: Part, folder: pathlib.Path, *, shard: int = SHARD) -> list[str]:
    """Writes a part under its usual names into a folder that is there; returns the names."""
    if found.layout == "wan" and found.kind != "transformer":
        _file(found, folder / found.wan_name, found.pieces)
        return [found.wan_name]
    stem = _STEMS[found.kind]
    groups = _groups(found.pieces, shard) if found.layout != "comfy" else [found.pieces]
    names = [f"{stem}.safetensors"]
    if len(groups) > 1:
        names = [f"{stem}-{i + 1:05d}-of-{len(groups):05d}.safetensors" for i in range(len(groups))]
    for name, group in zip(names, groups, strict=True):
        _file(found, folder / name, group)
    if len(groups) > 1:
        table = {piece.key: name for name, group in zip(names, groups, strict=True) for piece in group}
        index = {"metadata": {"total_size": found.bytes}, "weight_map": table}
        names.append(f"{stem}.safetensors.index.json")
        writing.json(folder / names[-1], index)
    if found.config is not None:
        names.append("config.json")
        writing.json(folder / "config.json", found.config)
    return names


def _file(found: Part, file: pathlib.Path, pieces: list[Piece]) -> None:
    shapes = {piece.key: (tuple(piece.shape), np.dtype(piece.dtype)) for piece in pieces}
    arrays = (piece.make(*(found.source[key] for key in piece.sources)) for piece in pieces)
    if file.suffix == ".pth":
        pth_writer.write(file, shapes, arrays)
    else:
        tensors.write(file, shapes, arrays, {**found.source.metadata, "format": "pt"})


def _size(piece: Piece) -> int:
    return int(np.prod(piece.shape, dtype=np.int64)) * np.dtype(piece.dtype).itemsize


def _groups(pieces: list[Piece], shard: int) -> list[list[Piece]]:
    """Pieces in the order they have, in files of at most `shard` bytes, or of one tensor."""
    groups: list[list[Piece]] = [[]]
    size = 0
    for piece in pieces:
        if groups[-1] and size + _size(piece) > shard:
            groups.append([])
            size = 0
        groups[-1].append(piece)
        size += _size(piece)
    return groups
