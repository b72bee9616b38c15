"""What lies in a folder of public Wan weights: its layout, its networks, and which of Wan's models it is.

diffusers' layout has `model_index.json` and a subfolder per part; Wan's own has `diffusion_pytorch_model*` in the root
(or `high_noise_model/` and `low_noise_model/`), `Wan2.*_VAE.pth`, `models_t5_*.pth`, `google/umt5-xxl/`. Only JSON and
headers are read here. And what each public model is sampled with, as its authors publish it: numbers are those of Wan's
own `generate.py`, `wan/configs` and README (for the 1.3 B model, whose README asks for more shift and guidance than the
script's default).
"""

import contextlib
import dataclasses
import fnmatch
import os
import pathlib
from collections.abc import Iterable
from typing import Any

from vrjax.files import given, hub, tensors
from vrjax.flow import grids
from vrjax.models.settings import SCHEDULER, Settings
from vrjax.models.wan import clip, readers, umt5, vae
from vrjax.models.wan.dit import WanConfig

FILES = {"vae": vae.FILES, "text_encoder": umt5.FILES, "image_encoder": clip.FILES}  # beside the transformers
INDEX = "model_index.json"  # of diffusers' layout
EXPERTS = ("high_noise_model", "low_noise_model")  # of Wan's own
TOKENIZERS = ("tokenizer", "google/umt5-xxl")  # folders, of diffusers' layout and of Wan's own
_STEM = "diffusion_pytorch_model"
_SINGLE = f"{_STEM}.safetensors"

NEGATIVE = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"
    "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，"
    "杂乱的背景，三条腿，背景人很多，倒着走"
)
# "The camera shakes", "the shot cuts": put first for single-expert image models.
_SHAKE, _CUT = "镜头晃动，", "镜头切换，"
_SMALL = (480, 832)
_WAN = Settings(50, 5.0, (5.0,), (720, 1280), 81, 16, NEGATIVE, "unipc", "wan_unipc")
PUBLISHED = {  # kind, experts
    ("t2v", 1): _WAN,
    ("i2v", 1): dataclasses.replace(_WAN, steps=40, shift=3.0, size=_SMALL, negative=_SHAKE + NEGATIVE),
    ("flf2v", 1): dataclasses.replace(_WAN, shift=16.0, negative=_CUT + _SHAKE + NEGATIVE),
    ("ti2v", 1): dataclasses.replace(_WAN, frames=121, fps=24, size=(704, 1280)),
    ("t2v", 2): dataclasses.replace(_WAN, steps=40, shift=12.0, guidance=(4.0, 3.0), boundary=0.875),
    ("i2v", 2): dataclasses.replace(_WAN, steps=40, shift=5.0, guidance=(3.5, 3.5), boundary=0.9),
}
SMALL = {("t2v", 1): dataclasses.replace(_WAN, shift=8.0, guidance=(6.0,), size=_SMALL)}  # instead, up to 1.3 B
LARGER = {("i2v", 1): 5.0}  # shift of videos with more pixels than the published size has
PIPELINES = {  # of diffusers: kinds of model that they sample
    "WanPipeline": ("t2v", "ti2v"),
    "WanImageToVideoPipeline": ("i2v", "flf2v", "ti2v"),
    "WanVideoToVideoPipeline": ("t2v",),
}
TAKES = {"t2v": ("no", "no"), "i2v": ("must", "may"), "flf2v": ("must", "must"), "ti2v": ("may", "no")}

# Step lists of distilled models that see the whole clip at once, as Wan does. Self-Forcing, CausVid and their kin are
# not among them: they were trained to make a clip block by block from a cache of finished blocks, and run so only.
PRESETS = {"lightx2v": grids.LIGHTX2V}


class Parts(dict[str, pathlib.Path]):
    """Paths by the names of `FILES`; one that is not there is a FileNotFoundError that says what was looked for."""

    root: pathlib.Path

    def __missing__(self, kind: str) -> pathlib.Path:
        what, expected = "VAE" if kind == "vae" else kind.replace("_", " "), " or ".join(FILES[kind])
        raise FileNotFoundError(f"{self.root}: no {what}, expected {kind}/ or {expected}")


@dataclasses.dataclass(frozen=True)
class Folder:
    """The parts of a model.

    Attributes:
        root: the folder.
        layout: "diffusers" or "original".
        networks: transformer folders or files, the high-noise expert's first.
        kind: "t2v", "i2v", "flf2v" (first and last frame) or "ti2v" (Wan 2.2's 5 B: text, and a first frame or none).
        name: what its authors call it where the sizes agree ("Wan2.2-I2V-A14B"), else its kind and width.
        cfg: of the (first) transformer.
        published: how it is sampled, see `vrjax.models.settings.defaults`; `larger`: the shift of larger videos, or
            None. Its boundary is the folder's.
        takes: of pictures of the first and of the last frame: "must" be given, "may" be, or "no".
        scheduler: the scheduler's config of a diffusers folder, or None.
        parts: where the weights beside the transformers are, by the names of `FILES`.
    """

    root: pathlib.Path
    layout: str
    networks: tuple[pathlib.Path, ...]
    kind: str
    name: str
    cfg: WanConfig
    published: Settings
    larger: float | None
    takes: tuple[str, str]
    scheduler: dict[str, Any] | None
    parts: Parts

    @property
    def boundary(self) -> float | None:
        """Time / 1000 from which on the high-noise expert is asked; None for one network."""
        return self.published.boundary


def find(root: str | os.PathLike) -> Folder:
    """Looks into a folder of weights.

    Raises:
        FileNotFoundError: no such folder, or a network that its index names is missing.
        ValueError: not a folder of Wan weights, or of a model that cannot be sampled here; says which and why.
    """
    root = pathlib.Path(root)
    if not root.exists():
        raise FileNotFoundError(f"{root}: no such folder")
    if not root.is_dir():
        raise ValueError(f"{root}: a file; expected the folder of a whole model, with text encoder and VAE")
    diffusers = (root / INDEX).is_file()
    networks, index = _diffusers(root) if diffusers else (_original(root), {})
    scheduler = tensors.read_json(root / SCHEDULER) if diffusers and (root / SCHEDULER).is_file() else None
    located = {kind: tensors.locate(root, kind, patterns) for kind, patterns in FILES.items()}
    parts = Parts({kind: path for kind, path in located.items() if path != root})
    parts.root = root
    (cfg, *others), count = [readers.NETWORK.open(tensors.read(x)).check().cfg for x in networks], len(networks)

    kind = readers.kind_of(cfg)
    if diffusers and kind in ("t2v", "ti2v"):
        kind = "ti2v" if index.get("expand_timesteps") else "t2v"
    if not kind or index.get("expand_timesteps") and kind != "ti2v":
        raise ValueError(
            f"{root}: a transformer of {cfg.in_channels} channels in and {cfg.out_channels} out is no text-to-video or "
            "image-to-video model of Wan's (VACE, control and speech models cannot be sampled here)"
        )
    _agree(root, networks, kind, index)
    if count == 2 and (kind not in ("t2v", "i2v") or cfg.image_dim is not None):
        raise ValueError(f"{root}: two experts of kind {kind!r}, expected 't2v' or 'i2v' without CLIP")
    published = (PUBLISHED | SMALL if cfg.dim <= 1536 else PUBLISHED)[kind, count]
    if diffusers:
        published = dataclasses.replace(published, boundary=index.get("boundary_ratio"))
    if count == 2:
        boundary = published.boundary
        if not isinstance(boundary, (int, float)) or not 0 < boundary < 1:
            raise ValueError(f"{root}: the boundary is {boundary!r}, expected a number between 0 and 1")
        if others != [cfg]:
            fields = [f.name for f in dataclasses.fields(cfg) if getattr(others[0], f.name) != getattr(cfg, f.name)]
            raise ValueError(f"{root}: its two experts differ in {', '.join(fields)}")
    size = {1536: "1.3B", 3072: "5B", 5120: "A14B" if count == 2 else "14B"}.get(cfg.dim, f"dim{cfg.dim}")
    name = f"Wan2.{2 if count == 2 or kind == 'ti2v' else 1}-{kind.upper()}-{size}"
    takes = ("must", "no") if kind == "i2v" and cfg.image_dim is not None else TAKES[kind]
    layout, larger = "diffusers" if diffusers else "original", LARGER.get((kind, count))
    return Folder(root, layout, networks, kind, name, cfg, published, larger, takes, scheduler, parts)


def _agree(root: pathlib.Path, networks: tuple[pathlib.Path, ...], kind: str, index: dict[str, Any]) -> None:
    """ValueError where the folder's own words say that it is another model than its weights are."""
    if index and kind not in PIPELINES[name := index["_class_name"]]:
        raise ValueError(f"{root / INDEX}: _class_name is {name!r}, but the transformer is a {kind} model")
    for network in networks if not index else ():
        stated = (network if network.is_dir() else network.parent) / "config.json"
        said = tensors.read_json(stated) if stated.exists() else {}
        if said.get("_class_name", readers.CLASSES[0]) not in readers.CLASSES:
            raise ValueError(f"{stated}: _class_name is {said['_class_name']!r:.80}, expected {readers.CLASSES[-1]}")
        if said.get("model_type", kind) != kind:
            raise ValueError(f"{stated}: model_type is {said['model_type']!r:.80}, the transformer is a {kind} model")


def _diffusers(root: pathlib.Path) -> tuple[tuple[pathlib.Path, ...], dict[str, Any]]:
    """The networks that a folder's index names, and the index."""
    index = tensors.read_json(root / INDEX)
    if (name := index.get("_class_name")) not in PIPELINES:
        raise ValueError(f"{root / INDEX}: _class_name is {name!r:.80}, expected one of {', '.join(PIPELINES)}")
    if not isinstance(expand := index.get("expand_timesteps"), bool | None):
        raise ValueError(f"{root / INDEX}: expand_timesteps is {expand!r:.80}, expected true or false")
    names = []
    for part in ("transformer", "transformer_2"):
        found = index.get(part, [None, None])
        if found is not None and not (isinstance(found, list) and len(found) == 2):
            raise ValueError(f"{root / INDEX}: {part} is {found!r:.80}, expected a library and a class")
        names += [part] if found and found[0] is not None else []
    if "transformer" not in names:
        raise ValueError(f"{root / INDEX}: names no transformer ({index.get('_class_name')!r})")
    for name in names:
        if not (root / name).is_dir():
            raise FileNotFoundError(f"{root / name}: named in model_index.json, but missing")
    boundary = index.get("boundary_ratio")
    if (boundary is None) == (len(names) == 2):
        raise ValueError(f"{root / INDEX}: {len(names)} transformers and boundary_ratio {boundary!r}")
    return tuple(root / name for name in names), index


def _original(root: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """The networks of a folder in Wan's own layout."""
    pair = tuple(root / name for name in EXPERTS)
    if any(part.is_dir() for part in pair):
        missing = [part for part in pair if not part.is_dir()]
        if missing:
            raise FileNotFoundError(f"{missing[0]}: missing, while its fellow expert is there")
        return pair
    names = (f"{_SINGLE}.index.json", _SINGLE)
    networks = tuple(root / name for name in names if (root / name).is_file())[:1]
    if not networks:
        raise ValueError(
            f"{root}: not a folder of Wan weights: no model_index.json, no high_noise_model/, no {_SINGLE}"
        )
    return networks


# --------------------------------------------------------------------------------------------- from names to a folder


def resolve(model: str | os.PathLike, *, allow: Any = False) -> pathlib.Path:
    """The folder of a model: itself, one of the hub's cache, or an id of the hub, see `vrjax.files.hub.find`."""
    return hub.find(model, hub.Reader(reads, lacks), allow=allow)


def reads(names: Iterable[str]) -> list[str]:
    """Of the names of a repository's files, those that are read: JSON, and one form of each network's weights.

    Previews, variants (`.fp16`) and second copies in other formats are left out. Nothing, where there are no weights.
    """
    folders: dict[str, list[str]] = {}
    for name in names:
        folder, _, file = name.rpartition("/")
        folders.setdefault(folder, []).append(file)
    root, diffusers = folders.get("", []), INDEX in folders.get("", [])
    networks = ("transformer", "transformer_2", *FILES) if diffusers else EXPERTS if EXPERTS[0] in folders else ("",)
    out, scheduler = [], SCHEDULER.rpartition("/")[0]
    for folder in networks:
        files = folders.get(folder, [])
        with contextlib.suppress(FileNotFoundError):
            file = given.chosen([name for name in files if folder or name.startswith(_STEM)], folder)
            about = [name for name in ("config.json", "training.json") if name in files]
            out += [f"{folder}/{name}".lstrip("/") for name in (file, *given.parts(files, file), *about)]
    if not out:
        return []
    if diffusers:
        out += [INDEX, *(f"{scheduler}/{name}" for name in folders.get(scheduler, ()) if name.endswith(".json"))]
    else:
        out += [next(iter(found)) for patterns in FILES.values() if (found := _fitting(root, patterns))]
    out += [f"{folder}/{name}" for folder in TOKENIZERS for name in folders.get(folder, ())]
    return sorted(set(out))


def lacks(root: pathlib.Path) -> list[str]:
    """What a folder lacks of a whole model, by the names of files; a link that leads nowhere is a lacking file."""
    if (root / INDEX).is_file():
        index = tensors.read_json(root / INDEX)
        known = {"vae": ["vae"], "text_encoder": ["text_encoder"]} | index  # even where the index does not name them
        said = [part for part, what in known.items() if isinstance(what, list) and what and what[0] is not None]
        networks = [part for part in ("transformer", "transformer_2", *FILES) if part in said]
        others = [SCHEDULER] if "scheduler" in said else []
        others += [f"{part}/config.json" for part in networks if part != "text_encoder"]  # whose shapes tell all
        return [*_torn(root, networks), *_absent(root, [*others, f"{TOKENIZERS[0]}/tokenizer.json"])]
    if (root / "training.json").is_file():  # an embedded model
        return _torn(root, [""])
    pair = any((root / part).is_dir() for part in EXPERTS)
    lacking = _torn(root, EXPERTS if pair else [""], _STEM)
    names = [path.name for path in root.glob("*") if path.exists()]
    for kind in ("vae", "text_encoder"):
        lacking += [] if _fitting(names, FILES[kind]) else [FILES[kind][0]]
    return [*lacking, *_absent(root, [f"{TOKENIZERS[1]}/tokenizer.json"])]


def _fitting(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """The names that fit the first pattern that any fits."""
    return next((found for pattern in patterns if (found := sorted(fnmatch.filter(names, pattern)))), [])


def _absent(root: pathlib.Path, names: Iterable[str]) -> list[str]:
    return [name for name in names if not (root / name).exists()]


def _torn(root: pathlib.Path, folders: Iterable[str], stem: str = "") -> list[str]:
    """What the networks of these folders lack: a config, weights, parts that their index names."""
    out = []
    for folder in folders:
        files = [path.name for path in (root / folder).glob(f"{stem}*") if path.exists()]
        try:
            file = root / folder / given.chosen(files, root / folder)
        except FileNotFoundError:
            out.append(f"{folder}/{_SINGLE}".lstrip("/"))
            continue
        if file.suffix == ".json":
            table = tensors.read_json(file).get("weight_map")
            shards = sorted({str(name) for name in table.values()}) if isinstance(table, dict) else []
            out += _absent(root, [f"{folder}/{name}".lstrip("/") for name in shards])
    return out
