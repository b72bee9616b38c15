"""What lies in a folder of public Wan weights: its layout, its networks, and which of Wan's models it is.

diffusers' layout has `model_index.json` and a subfolder per part; Wan's own has `diffusion_pytorch_model*` in the root
(or `high_noise_model/` and `low_noise_model/`), `Wan2.*_VAE.pth`, `models_t5_*.pth`, `google/umt5-xxl/`. Only JSON and
headers are read here. And what each public model is sampled with, as its authors publish it: numbers are those of Wan's
own `generate.py`, `wan/configs` and README (for the 1.3 B model, whose README asks for more shift and guidance than the
script's default).
"""

import dataclasses
import os
import pathlib
from typing import Any

from vrjax.files import tensors
from vrjax.flow import grids
from vrjax.models.settings import Settings
from vrjax.models.wan import clip, readers, umt5, vae
from vrjax.models.wan.dit import WanConfig

_DIFFUSERS_SCHEDULER = "scheduler/scheduler_config.json"
FILES = {"vae": vae.FILES, "text_encoder": umt5.FILES, "image_encoder": clip.FILES}  # beside the transformers

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
    ("i2v", 1): dataclasses.replace(_WAN, steps=40, size=_SMALL, negative=_SHAKE + NEGATIVE),
    ("flf2v", 1): dataclasses.replace(_WAN, shift=16.0, negative=_CUT + _SHAKE + NEGATIVE),
    ("ti2v", 1): dataclasses.replace(_WAN, frames=121, fps=24, size=(704, 1280)),
    ("t2v", 2): dataclasses.replace(_WAN, steps=40, shift=12.0, guidance=(4.0, 3.0), boundary=0.875),
    ("i2v", 2): dataclasses.replace(_WAN, steps=40, shift=5.0, guidance=(3.5, 3.5), boundary=0.9),
}


# Step lists of distilled models that see the whole clip at once, as Wan does. Self-Forcing, CausVid and their kin are
# not among them: they were trained to make a clip block by block from a cache of finished blocks, and run so only.
PRESETS = {"lightx2v": grids.LIGHTX2V}


@dataclasses.dataclass(frozen=True)
class Folder:
    """The parts of a model.

    Attributes:
        root: the folder.
        layout: "diffusers" or "original".
        networks: transformer folders or files, the high-noise expert's first.
        kind: "t2v", "i2v", "flf2v" (first and last frame) or "ti2v" (Wan 2.2's 5 B: text, and a first frame or none).
        cfg: of the (first) transformer.
        boundary: time / 1000 from which on the high-noise expert is asked; None for one network.
        scheduler: the scheduler's config of a diffusers folder, or None.
        parts: where the weights beside the transformers are, by the names of `FILES`; those that are there.
    """

    root: pathlib.Path
    layout: str
    networks: tuple[pathlib.Path, ...]
    kind: str
    cfg: WanConfig
    boundary: float | None
    scheduler: dict[str, Any] | None
    parts: dict[str, pathlib.Path]

    @property
    def name(self) -> str:
        """What its authors call it where the sizes agree ("Wan2.2-I2V-A14B"), else its kind and width."""
        pair = len(self.networks) == 2
        sizes = {1536: "1.3B", 3072: "5B", 5120: "A14B" if pair else "14B"}
        new = pair or self.kind == "ti2v"
        return f"Wan2.{2 if new else 1}-{self.kind.upper()}-{sizes.get(self.cfg.dim, f'dim{self.cfg.dim}')}"

    def published(self, size: tuple[int, int] | None = None, *, scheduled: bool = True) -> Settings:
        """How the model is sampled unless one asks for something else.

        Args:
            size: (height, width), on which the shift of Wan 2.1's image-to-video model depends. None: the model's.
            scheduled: with the solver, grid and shift of a diffusers folder's scheduler; else as published.

        Raises:
            ValueError: a scheduler that has no counterpart here.
        """
        found = PUBLISHED[self.kind, len(self.networks)]
        if self.kind == "t2v" and len(self.networks) == 1 and self.cfg.dim <= 1536:  # the 1.3 B model
            found = dataclasses.replace(found, shift=8.0, guidance=(6.0,), size=_SMALL)
        h, w = found.size if size is None else size
        if self.kind == "i2v" and len(self.networks) == 1 and h * w <= _SMALL[0] * _SMALL[1]:
            found = dataclasses.replace(found, shift=3.0)
        found = dataclasses.replace(found, size=(h, w), boundary=self.boundary)
        if self.scheduler is None or not scheduled:
            return found
        return dataclasses.replace(found, **_schedule(self.scheduler, self.root / _DIFFUSERS_SCHEDULER))

    def check(self, image: bool, last: bool, frames: int) -> None:
        """ValueError where the pictures given, a first and a last one, are not those the model takes."""
        name = self.name
        if self.kind == "t2v" and (image or last):
            raise ValueError(f"{name} takes no picture: it makes videos from text alone")
        if self.kind in ("i2v", "flf2v") and not image:
            raise ValueError(f"{name} needs a picture to start from (image)")
        if self.kind == "flf2v" and not last:
            raise ValueError(f"{name} needs a picture to end on as well (last_image)")
        if last and (self.kind == "ti2v" or (self.kind == "i2v" and self.cfg.image_dim is not None)):
            raise ValueError(f"{name} takes no last picture: Wan2.1-FLF2V and Wan2.2-I2V do")
        if last and frames < 2:
            raise ValueError(f"a first and a last picture need at least 2 frames, found {frames}")

    def part(self, kind: str) -> pathlib.Path:
        """Where the weights of a part are, one of `FILES`.

        Raises:
            FileNotFoundError: the folder has none; says what was looked for.
        """
        if kind not in self.parts:
            what, expected = "VAE" if kind == "vae" else kind.replace("_", " "), " or ".join(FILES[kind])
            raise FileNotFoundError(f"{self.root}: no {what}, expected {kind}/ or {expected}")
        return self.parts[kind]


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
    file = root / "model_index.json"
    index = tensors.read_json(file) if file.is_file() else None
    parts = {kind: tensors.locate(root, kind, patterns) for kind, patterns in FILES.items()}
    parts = {kind: path for kind, path in parts.items() if path != root}
    found = _original(root, parts) if index is None else _diffusers(root, index, parts)
    if len(found.networks) == 2:
        if found.kind not in ("t2v", "i2v") or found.cfg.image_dim is not None:
            raise ValueError(f"{root}: two experts of kind {found.kind!r}, expected 't2v' or 'i2v' without CLIP")
        if not isinstance(found.boundary, (int, float)) or not 0 < found.boundary < 1:
            raise ValueError(f"{root}: the boundary is {found.boundary!r}, expected a number between 0 and 1")
        other = readers.read_config(found.networks[1])
        if other != found.cfg:
            fields = [f.name for f in dataclasses.fields(other) if getattr(other, f.name) != getattr(found.cfg, f.name)]
            raise ValueError(f"{root}: its two experts differ in {', '.join(fields)}")
    return found


def _diffusers(root: pathlib.Path, index: dict[str, Any], parts: dict[str, pathlib.Path]) -> Folder:
    there = lambda part: isinstance(index.get(part), list) and index[part][:1] not in ([], [None])
    names = [part for part in ("transformer", "transformer_2") if there(part)]
    if "transformer" not in names:
        raise ValueError(f"{root / 'model_index.json'}: names no transformer ({index.get('_class_name')!r})")
    for name in names:
        if not (root / name).is_dir():
            raise FileNotFoundError(f"{root / name}: named in model_index.json, but missing")
    boundary = index.get("boundary_ratio")
    if (boundary is None) == (len(names) == 2):
        raise ValueError(f"{root / 'model_index.json'}: {len(names)} transformers and boundary_ratio {boundary!r}")
    scheduler = root / _DIFFUSERS_SCHEDULER
    cfg = readers.read_config(root / "transformer")
    kind = _kind(cfg, root, expand=bool(index.get("expand_timesteps")))
    found = tensors.read_json(scheduler) if scheduler.is_file() else None
    return Folder(root, "diffusers", tuple(root / n for n in names), kind, cfg, boundary, found, parts)


def _original(root: pathlib.Path, parts: dict[str, pathlib.Path]) -> Folder:
    pair = (root / "high_noise_model", root / "low_noise_model")
    if any(part.is_dir() for part in pair):
        missing = [part for part in pair if not part.is_dir()]
        if missing:
            raise FileNotFoundError(f"{missing[0]}: missing, while its fellow expert is there")
        networks = pair
    else:
        names = ("diffusion_pytorch_model.safetensors.index.json", "diffusion_pytorch_model.safetensors")
        networks = tuple(root / name for name in names if (root / name).is_file())[:1]
        if not networks:
            raise ValueError(
                f"{root}: not a folder of Wan weights: no model_index.json, no high_noise_model/, no {names[1]}"
            )
    cfg = readers.read_config(networks[0])
    # Wan's 5 B model is told by its latents of 48 channels; its config.json says so too.
    kind = _kind(cfg, root, expand=cfg.in_channels == cfg.out_channels == 48)
    boundary = getattr(PUBLISHED.get((kind, len(networks))), "boundary", None)
    return Folder(root, "original", networks, kind, cfg, boundary, None, parts)


def _kind(cfg: WanConfig, root: pathlib.Path, expand: bool) -> str:
    extra = cfg.in_channels - cfg.out_channels
    if expand and not extra:
        return "ti2v"
    if not extra and cfg.image_dim is None:
        return "t2v"
    if extra - cfg.out_channels == 4 and not expand:  # four channels of mask beside the latent of the picture
        return "flf2v" if cfg.image_positions is not None else "i2v"
    raise ValueError(
        f"{root}: a transformer of {cfg.in_channels} channels in and {cfg.out_channels} out is no text-to-video or "
        "image-to-video model of Wan's (VACE, control and speech models cannot be sampled here)"
    )


def _schedule(scheduler: dict[str, Any], where: pathlib.Path) -> dict[str, Any]:
    """Solver, grid and shift that a diffusers folder's scheduler names, as its pipelines take them.

    Raises:
        ValueError: a scheduler that no grid here stands for; names it and the file.
    """
    name = scheduler.get("_class_name")
    plain = {"use_dynamic_shifting": False, "num_train_timesteps": 1000, "shift_terminal": None}
    plain |= dict.fromkeys(("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"), False)
    if name == "UniPCMultistepScheduler":
        expected = {
            "prediction_type": "flow_prediction",
            "use_flow_sigmas": True,
            "solver_order": 2,
            "solver_type": "bh2",
            "predict_x0": True,
            "lower_order_final": True,
            "disable_corrector": [],
            "final_sigmas_type": "zero",
            "thresholding": False,
            **plain,
        }
        choice = {"solver": "unipc", "grid": "diffusers_unipc"}
        shift = scheduler.get("flow_shift", 1.0)
    elif name == "FlowMatchEulerDiscreteScheduler":
        expected = {"stochastic_sampling": False, "invert_sigmas": False, **plain}
        choice = {"solver": "euler", "grid": "diffusers_euler"}
        shift = scheduler.get("shift", 1.0)
    else:
        raise ValueError(
            f"{where}: scheduler {name!r} has no counterpart here, expected UniPCMultistepScheduler or "
            "FlowMatchEulerDiscreteScheduler; choose a solver yourself (solver=, shift=)"
        )
    other = {key: scheduler[key] for key, value in expected.items() if scheduler.get(key, value) != value}
    if other:
        key, value = next(iter(other.items()))
        raise ValueError(f"{where}: {key} is {value!r}, expected {expected[key]!r}; choose a solver yourself (solver=)")
    if isinstance(shift, bool) or not isinstance(shift, (int, float)) or not shift > 0:
        raise ValueError(f"{where}: the shift is {shift!r}, expected a positive number")
    return {"shift": float(shift), **choice}
