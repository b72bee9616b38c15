"""What lies in a folder of public Wan weights: its layout, its networks, and which of Wan's models it is.

diffusers' layout has `model_index.json` and a subfolder per part; Wan's own has `diffusion_pytorch_model*` in the root
(or `high_noise_model/` and `low_noise_model/`), `Wan2.*_VAE.pth`, `models_t5_*.pth`, `google/umt5-xxl/`. Only JSON and
headers are read here.
"""

import dataclasses
import os
import pathlib
from typing import Any

from vrjax.files import tensors
from vrjax.models.wan import defaults, readers
from vrjax.models.wan.config import WanConfig

_DIFFUSERS_SCHEDULER = "scheduler/scheduler_config.json"


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
    """

    root: pathlib.Path
    layout: str
    networks: tuple[pathlib.Path, ...]
    kind: str
    cfg: WanConfig
    boundary: float | None
    scheduler: dict[str, Any] | None

    @property
    def name(self) -> str:
        """What its authors call it where the sizes agree ("Wan2.2-I2V-A14B"), else its kind and width."""
        pair = len(self.networks) == 2
        sizes = {1536: "1.3B", 3072: "5B", 5120: "A14B" if pair else "14B"}
        new = pair or self.kind == "ti2v"
        return f"Wan2.{2 if new else 1}-{self.kind.upper()}-{sizes.get(self.cfg.dim, f'dim{self.cfg.dim}')}"

    def published(self, size: tuple[int, int] | None = None) -> defaults.Defaults:
        """What the model's authors publish, for a size."""
        return defaults.of(self.kind, len(self.networks), small=self.cfg.dim <= 1536, size=size)

    def defaults(self, size: tuple[int, int] | None = None) -> defaults.Defaults:
        """Published defaults; for a diffusers folder with the solver, grid and shift of its scheduler.

        Raises:
            ValueError: a scheduler that has no counterpart here.
        """
        return defaults.with_scheduler(self.published(size), self.scheduler, self.root / _DIFFUSERS_SCHEDULER)

    def part(self, folder: str, patterns: tuple[str, ...], what: str) -> pathlib.Path:
        """Where a part's weights are.

        Raises:
            FileNotFoundError: the folder has none; says what was looked for.
        """
        found = tensors.locate(self.root, folder, patterns)
        if found == self.root:
            raise FileNotFoundError(f"{self.root}: no {what}, expected {folder}/ or {' or '.join(patterns)}")
        return found


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
    index = root / "model_index.json"
    return _diffusers(root, tensors.read_json(index)) if index.is_file() else _original(root)


def _diffusers(root: pathlib.Path, index: dict) -> Folder:
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
    cfg = network_config(root / "transformer")
    kind = _kind(cfg, root, expand=bool(index.get("expand_timesteps")))
    found = tensors.read_json(scheduler) if scheduler.is_file() else None
    return _checked(Folder(root, "diffusers", tuple(root / n for n in names), kind, cfg, boundary, found))


def _original(root: pathlib.Path) -> Folder:
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
    cfg = network_config(networks[0])
    # Wan's 5 B model is told by its latents of 48 channels; its config.json says so too.
    kind = _kind(cfg, root, expand=cfg.in_channels == cfg.out_channels == 48)
    boundary = defaults.BOUNDARIES.get(kind) if len(networks) == 2 else None
    return _checked(Folder(root, "original", networks, kind, cfg, boundary, None))


def network_config(path: pathlib.Path) -> WanConfig:
    """The config of a transformer's folder or file, from its JSON and headers alone, which are checked.

    Raises:
        FileNotFoundError, ValueError: as `wan.load_dit`.
    """
    found = readers.opened(path)
    found.check()
    return found.cfg


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


def _checked(found: Folder) -> Folder:
    if len(found.networks) == 2:
        if found.kind not in ("t2v", "i2v") or found.cfg.image_dim is not None:
            raise ValueError(f"{found.root}: two experts of kind {found.kind!r}, expected 't2v' or 'i2v' without CLIP")
        if not isinstance(found.boundary, (int, float)) or not 0 < found.boundary < 1:
            raise ValueError(f"{found.root}: the boundary is {found.boundary!r}, expected a number between 0 and 1")
        other = network_config(found.networks[1])
        if other != found.cfg:
            fields = [f.name for f in dataclasses.fields(other) if getattr(other, f.name) != getattr(found.cfg, f.name)]
            raise ValueError(f"{found.root}: its two experts differ in {', '.join(fields)}")
    return found
