"""A whole model folder from diffusers' layout to Wan's own, or back, or to ComfyUI's single files.

    convert_model.model("Wan2.2-I2V-A14B", "out", layout="diffusers")

Every network by `vrjax.models.wan.convert`, bit for bit; the tokenizer's files are copied; what is said by JSON
(`model_index.json`, scheduler, image processor) is written from what the model is. The folder appears complete or not
at all.
"""

import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

from vrjax.files import tensors, writing
from vrjax.models import settings
from vrjax.models.wan import clip, convert, folders

_FILE = 2**26  # bytes of the largest file of a tokenizer that is copied
_COMFY = {
    "transformer": "diffusion_models",
    "vae": "vae",
    "text_encoder": "text_encoders",
    "image_encoder": "clip_vision",
}


def model(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    layout: str,
    shard: int = convert.SHARD,
    say: Callable[[str], None] = print,
) -> None:
    """Converts a whole model.

    Args:
        source: a folder in diffusers' or Wan's own layout, see `vrjax.models.wan.folders`.
        target: a folder that is not there yet, or is empty.
        layout, shard, say: see `convert.part`.

    Raises:
        FileNotFoundError, ValueError: a part that is missing or damaged, or that the layout cannot hold.
        FileExistsError: the target is there already.
    """
    found = folders.find(source)
    networks = [convert.open_part(path, layout) for path in found.networks]
    others = {}
    for kind in [kind for kind in folders.FILES if kind != "image_encoder" or found.cfg.image_dim is not None]:
        path = found.parts[kind]
        heads = {"heads": _heads(path)} if kind == "image_encoder" and _heads(path) else {}
        others[kind] = convert.open_part(path, layout, **heads)
    tokenizer = next((found.root / name for name in folders.TOKENIZERS if (found.root / name).is_dir()), None)
    with writing.folder(target) as scratch:
        for name, part in zip(_network_folders(found, layout), networks, strict=True):
            _put(part, scratch, name, shard)
            say(convert.described(part, pathlib.Path(target) / name))
        for kind, part in others.items():
            _put(part, scratch, _place(kind, layout), shard)
            say(convert.described(part, pathlib.Path(target) / _place(kind, layout)))
        if layout != "comfy" and tokenizer is not None:
            _copy(tokenizer, scratch / folders.TOKENIZERS[0 if layout == "diffusers" else 1])
        if layout == "diffusers":
            _descriptions(found, scratch, tokenizer is not None)
    for line in _lost(found, layout, tokenizer is not None):
        say(line)


def is_model(path: str | os.PathLike) -> bool:
    """Whether a folder is a whole model rather than one network."""
    path = pathlib.Path(path)
    if not path.is_dir():
        return False
    whole = [*path.glob("Wan*_VAE.pth"), *path.glob("models_t5_*.pth"), *path.glob("model_index.json")]
    return bool(whole) or (path / "high_noise_model").is_dir()


def _heads(path: pathlib.Path) -> int | None:
    """The heads of ViT-H, whose head size the files of Wan's layout do not tell; None where a config does."""
    return None if path.is_dir() else 16


def _network_folders(found: folders.Folder, layout: str) -> list[str]:
    pair = len(found.networks) == 2
    names = {
        "diffusers": ["transformer", "transformer_2"],
        "wan": ["high_noise_model", "low_noise_model"] if pair else ["."],
        "comfy": [
            f"{_COMFY['transformer']}/{found.name}{end}" for end in (("_high_noise", "_low_noise") if pair else ("",))
        ],
    }[layout]
    return names[: len(found.networks)]


def _place(kind: str, layout: str) -> str:
    return {"diffusers": kind, "wan": ".", "comfy": f"{_COMFY[kind]}/{kind}"}[layout]


def _put(part: convert.Part, scratch: pathlib.Path, name: str, shard: int) -> None:
    if part.layout == "comfy":
        convert.write(part, scratch / f"{name}.safetensors")
    else:
        (scratch / name).mkdir(parents=True, exist_ok=True)
        convert.fill_folder(part, scratch / name, shard=shard)


def _copy(tokenizer: pathlib.Path, target: pathlib.Path) -> None:
    target.mkdir(parents=True)
    for file in sorted(tokenizer.iterdir()):
        if not file.is_file():
            continue
        if file.stat().st_size > _FILE:
            raise ValueError(f"{file}: {file.stat().st_size} bytes, expected a tokenizer's file of at most {_FILE}")
        shutil.copyfile(file, target / file.name)


def _descriptions(found: folders.Folder, scratch: pathlib.Path, tokenizer: bool) -> None:
    """The JSON of diffusers' layout."""
    how = found.published
    image = found.kind in ("i2v", "flf2v")
    here = lambda library, name, there=True: [library, name] if there else [None, None]
    index: dict[str, Any] = {
        "_class_name": "WanImageToVideoPipeline" if image else "WanPipeline",
        "boundary_ratio": found.boundary,
        "expand_timesteps": found.kind == "ti2v",
        "scheduler": here("diffusers", "UniPCMultistepScheduler"),
        "text_encoder": here("transformers", "UMT5EncoderModel"),
        "tokenizer": here("transformers", "T5TokenizerFast", tokenizer),
        "transformer": here("diffusers", "WanTransformer3DModel"),
        "transformer_2": here("diffusers", "WanTransformer3DModel", len(found.networks) == 2),
        "vae": here("diffusers", "AutoencoderKLWan"),
    }
    if image:
        has = found.cfg.image_dim is not None
        index |= {"image_encoder": here("transformers", "CLIPVisionModel", has)}
        index |= {"image_processor": here("transformers", "CLIPImageProcessor", has)}
        if has:
            side = clip.NETWORK.open(tensors.read(scratch / "image_encoder")).cfg.image_size
            processor = {
                "image_processor_type": "CLIPImageProcessor",
                "crop_size": {"height": side, "width": side},
                "size": {"shortest_edge": side},
                "image_mean": [round(float(value), 8) for value in clip.MEAN],
                "image_std": [round(float(value), 8) for value in clip.STD],
                "resample": 3,
                **{f"do_{what}": True for what in ("center_crop", "convert_rgb", "normalize", "rescale", "resize")},
                "rescale_factor": 1 / 255,
            }
            writing.json(scratch / "image_processor" / "preprocessor_config.json", processor)
    scheduler = found.scheduler or {
        "_class_name": "UniPCMultistepScheduler",
        "flow_shift": how.shift,
        "num_train_timesteps": 1000,
        **settings.UNIPC,
    }
    writing.json(scratch / "scheduler" / "scheduler_config.json", scheduler)
    index["scheduler"] = here("diffusers", scheduler.get("_class_name", "UniPCMultistepScheduler"))
    writing.json(scratch / "model_index.json", index)


def _lost(found: folders.Folder, layout: str, tokenizer: bool) -> list[str]:
    """What the layout cannot say, in words."""
    lines = []
    if not tokenizer:
        lines.append("note: the folder has no tokenizer; text must be encoded with another one's")
    own = folders.PUBLISHED[found.kind, len(found.networks)].boundary
    if layout != "diffusers" and found.boundary != own:
        lines.append(
            f"note: the boundary {found.boundary} is not Wan's own ({own}), and this layout has no place for it"
        )
    if layout != "diffusers" and found.scheduler is not None:
        how = found.published
        shift = found.scheduler.get("flow_shift", found.scheduler.get("shift"))
        lines.append(f"note: this layout has no place for the scheduler (shift {shift}; Wan's code takes {how.shift})")
    if layout == "wan" and found.cfg.image_dim is not None and found.layout == "diffusers":
        lines.append("note: CLIP's text tower is not in diffusers' folders; Wan's own code asks for it, vrjax does not")
    return lines
