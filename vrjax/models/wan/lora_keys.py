"""Keys of LoRA files of others: which parameter of a WanDiT each of them changes, how, and of which expert.

`diffusion_model.blocks.3.self_attn.q.lora_A.weight`, `lora_unet_blocks_3_self_attn_q.alpha`,
`transformer_2.blocks.3.attn1.to_q.lora_B.default.weight`, `lora_unet_blocks_3.ffn.0.lora_up.weight`: a prefix, a module
in Wan's names or diffusers', dots or underscores between its words, and an ending that says what the tensor is.
"""

import functools
import pathlib
import re
from typing import NamedTuple

import jax

from vrjax.files import tensors, weights
from vrjax.models.wan.dit import WanConfig, abstract
from vrjax.models.wan.readers import key_of

Place = tuple[str, int | None]  # dotted parameter of a WanDiT, and block
HIGH, LOW = "high", "low"

KINDS = {  # what a tensor is -> ending of its key; a name may stand where an adapter has one ("default")
    "down": r"\.(lora_A(\.\w+)?|lora_down|lora\.down)\.weight",
    "up": r"\.(lora_B(\.\w+)?|lora_up|lora\.up)\.weight",
    "alpha": r"\.alpha",
    "diff": r"\.diff",
    "bias": r"\.(diff_b|lora_B(\.\w+)?\.bias)",
    "modulation": r"\.diff_m",
}
_OTHERS = {  # adapters that are no LoRA -> a part of their keys
    "DoRA": r"\.dora_scale|\.lora_magnitude_vector",
    "LoKr": r"\.lokr_",
    "LoHa": r"\.hada_",
    "OFT": r"\.b?oft_",
    "LoCon with a middle factor": r"\.lora_mid\.",
}
# Words before a module, with the expert of a pair that they name, if they do; `transformer` and `dit` are the
# high-noise one's in files that hold both.
_WORDS = {
    r"transformer_2|dit_?2|low_noise(_model)?": LOW,
    r"high_noise(_model)?": HIGH,
    r"base_model|model|diffusion_model|pipe|transformer|dit|lora_unet|lora": None,
}
_PREFIX = re.compile(rf"(?:(?:{'|'.join(_WORDS)})_+)*")
_BLOCK = re.compile(r"blocks_(\d{1,5})(?=_|$)")
_LEAVES = {"bias": ("bias",), "modulation": ("modulation", "scale_shift_table"), "diff": ("weight", "")}
_IMAGE = re.compile(r"image_embedding\.|(^|\.)(norm_)?[kv]_img(\.|$)")


class Key(NamedTuple):
    """What a key says: kind of the tensor (`KINDS`), the parameter that it changes, and its expert, if it names one."""

    kind: str
    place: Place
    expert: str | None


def read(key: str, path: pathlib.Path) -> Key:
    """What a key says. ValueError that names the file and the key: of no part of the transformer, or of no LoRA."""
    for kind, pattern in KINDS.items():
        end = re.search(f"(?:{pattern})$", key)
        if end is None:
            continue
        flat = re.sub(r"[._]+", "_", key[: end.start()])
        prefix = _PREFIX.match(flat)
        assert prefix is not None
        module = flat[prefix.end() :]
        match = _BLOCK.match(module)
        block = int(match[1]) if match else None
        module = f"blocks_#{module[match.end() :]}" if match else module
        for leaf in _LEAVES.get(kind, ("weight",)):
            attributes = _known().get("_".join(filter(None, (module, leaf))))
            if attributes is not None and (kind not in ("down", "up") or attributes[-1] == "kernel"):
                return Key(kind, (".".join(attributes), block), _expert(prefix[0]))
        raise ValueError(f"{path}: {key:.199} belongs to no part of a Wan transformer")
    for name, pattern in _OTHERS.items():
        if re.search(pattern, key):
            raise ValueError(f"{path}: a file of {name} ({key:.199}), which is not read; expected LoRA")
    raise ValueError(f"{path}: {key:.199} is no LoRA tensor, expected an ending such as .lora_A.weight or .alpha")


def experts(path: str | pathlib.Path) -> tuple[str, ...]:
    """The experts of a pair whose parts a file's keys name: (), one, or both, the high-noise one first.

    Raises:
        FileNotFoundError, ValueError: as `vrjax.models.wan.load_lora`, for what names alone can show.
    """
    source = tensors.read(path)
    return named({read(key, source.path).expert for key in source.shapes})


def named(found: set[str | None]) -> tuple[str, ...]:
    """The experts of a file whose keys name these; keys that name none are the high-noise one's beside the other's."""
    if found >= {None, LOW}:
        found = found - {None} | {HIGH}
    return tuple(name for name in (HIGH, LOW) if name in found)


def of_image(name: str) -> bool:
    """Whether a dotted parameter belongs to the attention to CLIP's rows, which text models and Wan 2.2 lack."""
    return _IMAGE.search(name) is not None


def _expert(prefix: str) -> str | None:
    for words, expert in _WORDS.items():
        if expert is not None and re.search(rf"(^|_)({words})_", prefix):
            return expert
    return None


@functools.cache
def _known() -> dict[str, tuple[str, ...]]:
    """Every weight's key in either layout, underscores between its words, its block written as `#` -> attributes."""
    known: dict[str, tuple[str, ...]] = {}
    full = WanConfig(dim=12, ffn_dim=12, heads=1, layers=1, text_dim=1, freq_dim=2, image_dim=1, image_positions=1)
    for path, _ in jax.tree_util.tree_leaves_with_path(abstract(full)):
        attributes = weights.attributes(path)
        for layout in ("original", "diffusers"):
            key = re.sub(r"^blocks\.0\.", "blocks.#.", key_of(attributes, layout, 0))
            known[key.replace(".", "_")] = attributes
    return known
