"""Weights from one public layout to another, tensor by tensor: names and shapes change, bits do not.

    convert.part("Wan2.1-T2V-1.3B", "out", layout="diffusers")          # one network: transformer, VAE or an encoder
    convert_model.model("Wan2.2-I2V-A14B", "out", layout="diffusers")   # a whole model, see there

Layouts: "diffusers" (folders with `config.json`, large files in shards with an index), "wan" (Wan's own names; `.pth`
for everything but the transformer) and "comfy" (single safetensors files, the transformer's keys behind
`model.diffusion_model.`). What is read at a time is one tensor of a memory-mapped file, of any layout that vrjax reads.
"""

import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from vrjax.files import fill, pth_writer, tensors, writing
from vrjax.models.wan import clip, readers, umt5, vae_readers

LAYOUTS = ("diffusers", "wan", "comfy")
KINDS = ("transformer", "vae", "text_encoder", "image_encoder")
SHARD = 5 * 10**9  # bytes of a file, in diffusers' layout and of Wan's transformers
COMFY = "model.diffusion_model."
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
        text += f"; left out: {len(found.left)} tensors ({fill.some(sorted(found.left))})"
    return text


def open_part(source: str | os.PathLike, layout: str, **options: Any) -> Part:
    """Reads the names and shapes of one network and plans its conversion; raises as `part`."""
    if layout not in LAYOUTS:
        raise ValueError(f"layout {layout!r}: expected one of {', '.join(LAYOUTS)}")
    kind = kind_of(tensors.read(source))
    makers = {"transformer": _dit, "vae": _vae, "text_encoder": _umt5, "image_encoder": _clip}
    found, pieces, config, name = makers[kind](source, layout, options)
    used = {key for piece in pieces for key in piece.sources}
    left = tuple(key for key in found.shapes if key not in used)
    return Part(kind, layout, found, pieces, config if layout != "comfy" else None, name, left)


def kind_of(source: tensors.Source) -> str:
    """Which network a file holds. ValueError: none that is known."""
    anchors = dict(
        zip(KINDS, (readers.ANCHORS, vae_readers.ANCHORS, umt5.ANCHORS, clip.ANCHORS), strict=True),
    )
    for kind, keys in anchors.items():
        if any(key == end or key.endswith("." + end) for key in source.shapes for end in keys.values()):
            return kind
    keys = fill.some(list(source.shapes))
    raise ValueError(f"{source.path}: none of {', '.join(KINDS)} by its {len(source.shapes)} tensors ({keys})")


# ---------------------------------------------------------------------------------------------------------- networks

_Plan = tuple[tensors.Source, list[Piece], dict | None, str]


def _renamed(source: tensors.Source, start: str, rows: Iterable[tuple[str, str, tuple[int, ...]]]) -> list[Piece]:
    """Pieces of which each is one tensor under another name: rows of (key there, key here, shape)."""
    out = []
    for there, here, shape in rows:
        dtype = source[start + there].dtype
        out.append(Piece(here, shape, dtype, (start + there,), lambda a, shape=shape: a.reshape(shape)))
    return out


def _dit(path: Any, layout: str, options: dict) -> _Plan:
    source, cfg, found, start, parameters = readers.opened(path, **options)
    names = "diffusers" if layout == "diffusers" else "original"
    if names == "diffusers" and not cfg.qk_norm:
        raise ValueError(f"{source.path}: this transformer has no norm of queries and keys, diffusers' Wan always has")
    after = COMFY if layout == "comfy" else ""
    there = [(key, shape) for _, _, keys, shape in parameters for key in keys]
    here = [after + key for _, _, keys, _ in readers.every_parameter(cfg, names) for key in keys]
    pieces = _renamed(source, start, [(a, b, shape) for (a, shape), b in zip(there, here, strict=True)])
    return source, pieces, readers.public_config(cfg, names), _STEMS["transformer"]


def _vae(path: Any, layout: str, options: dict) -> _Plan:
    source, cfg, found, start = vae_readers.opened(path, **options)
    names = "diffusers" if layout == "diffusers" else "original"
    rows = _paired(vae_readers.slots(cfg, found), vae_readers.slots(cfg, names))
    fill.check(source.path, _inside(source, start), {a: shape for a, _, shape in rows})
    config = vae_readers.public_config(cfg) if layout == "diffusers" else None
    return source, _renamed(source, start, rows), config, f"Wan{'2.2' if cfg.shortcuts else '2.1'}_VAE.pth"


def _umt5(path: Any, layout: str, options: dict) -> _Plan:
    source, cfg, found, start, token_key = umt5.opened(path, **options)
    names = "original" if layout == "wan" else "transformers"
    rows = _paired(umt5.slots(cfg, found, token_key), umt5.slots(cfg, names))
    unused = umt5.UNUSED if found == "transformers" else ""
    fill.check(source.path, _inside(source, start), {a: shape for a, _, shape in rows}, unused)
    pieces = _renamed(source, start, rows)
    kind = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}.get(str(pieces[-1].dtype), str(pieces[-1].dtype))
    config = umt5.public_config(cfg) if layout == "diffusers" else None
    return source, pieces, config, f"models_t5_umt5-xxl-enc-{kind}.pth"


_TRANSFORMERS, _ORIGINAL = "vision_model.", "visual."


def _clip(path: Any, layout: str, options: dict) -> _Plan:
    """All blocks, the last one too, and the norm and projection behind it, which Wan does not use."""
    source, cfg, found, start = clip.opened(path, **options)
    names = "original" if layout == "wan" else "transformers"
    shapes = _inside(source, start)
    listed = {key: slot.shape for slot in clip.slots(cfg, found) for key in slot.keys}
    last, first = f"{clip.BLOCKS[found]}.{cfg.layers - 1}.", f"{clip.BLOCKS[found]}.0."
    listed |= {last + key.removeprefix(first): shape for key, shape in listed.items() if key.startswith(first)}
    missing = [key for key in listed if key not in shapes]
    if missing:
        raise ValueError(f"{source.path}: {len(missing)} missing tensors ({fill.some(missing)})")
    fill.check(source.path, {key: shapes[key] for key in listed}, listed)
    name = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
    config = clip.public_config(cfg) if layout == "diffusers" else None
    return source, list(_clip_pieces(source, cfg, found, start, names)), config, name


def _clip_pieces(source: tensors.Source, cfg: Any, found: str, start: str, names: str) -> Iterator[Piece]:
    after = _ORIGINAL if names == "original" else _TRANSFORMERS
    same = names == found
    rows: list[tuple[str, str]] = []  # key there, key here

    def key(path: tuple, block: int | None = None) -> tuple[str, str]:
        return clip.key_of(path, found, block), clip.key_of(path, names, block)

    rows += [key(("patch_embedding",)), key(("class_token",)), key(("positions",))]
    rows += [key(("norm", leaf)) for leaf in ("scale", "bias")]
    joint: list[tuple[int, str]] = []
    for block in range(cfg.layers):
        leaves = {"norm1": "scale", "o": "kernel", "norm2": "scale", "fc1": "kernel", "fc2": "kernel"}
        rows += [key(("blocks", n, leaf), block) for n, kind in leaves.items() for leaf in (kind, "bias")]
        joint += [(block, leaf) for leaf in ("kernel", "bias")]
    for leaf in ("weight", "bias"):
        pair = {"original": f"post_norm.{leaf}", "transformers": f"post_layernorm.{leaf}"}
        if start + pair[found] in source.shapes:
            rows.append((pair[found], pair[names]))
    dim = cfg.dim
    lead = {"original": {"cls_embedding": (1, 1, dim)}, "transformers": {"embeddings.class_embedding": (dim,)}}
    for there, here in rows:
        shape = source.shapes[start + there]
        if here in lead[names]:
            shape = lead[names][here]
        elif (there, here) == key(("positions",)) and not same:
            shape = (1, *shape) if names == "original" else shape[1:]
        dtype = source[start + there].dtype
        yield Piece(after + here, shape, dtype, (start + there,), lambda a, shape=shape: a.reshape(shape))
    for block, leaf in joint:
        there = [start + clip.key_of(("blocks", part, leaf), found, block) for part in "qkv"]
        here = [after + clip.key_of(("blocks", part, leaf), names, block) for part in "qkv"]
        dtype, shape = source[there[0]].dtype, source.shapes[there[0]]
        if same:
            for a, b in dict(zip(there, here, strict=True)).items():
                yield Piece(b, shape, dtype, (a,), np.asarray)
        elif names == "original":
            join = lambda *parts: np.concatenate(parts)
            yield Piece(here[0], (3 * shape[0], *shape[1:]), dtype, tuple(there), join)
        else:
            for i, b in enumerate(here):
                cut = slice(i * dim, (i + 1) * dim)
                yield Piece(b, (dim, *shape[1:]), dtype, (there[0],), lambda a, cut=cut: a[cut])
    head = {"original": start + "head", "transformers": start.removesuffix(_TRANSFORMERS) + "visual_projection.weight"}
    if head[found] in source.shapes:
        shape = source.shapes[head[found]]
        here = _ORIGINAL + "head" if names == "original" else "visual_projection.weight"
        turn = (lambda a: a) if same else (lambda a: a.T)
        yield Piece(here, shape if same else shape[::-1], source[head[found]].dtype, (head[found],), turn)


def _paired(there: Iterable[fill.Slot], here: Iterable[fill.Slot]) -> list[tuple[str, str, tuple[int, ...]]]:
    """Keys of the same tensors in two layouts, whose shapes are the same."""
    rows = []
    for a, b in zip(there, here, strict=True):
        assert a.shape == b.shape, (a, b)
        rows += [(x, y, a.shape) for x, y in zip(a.keys, b.keys, strict=True)]
    return rows


def _inside(source: tensors.Source, start: str) -> dict[str, tuple[int, ...]]:
    return {key[len(start) :]: shape for key, shape in source.shapes.items() if key.startswith(start)}


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
