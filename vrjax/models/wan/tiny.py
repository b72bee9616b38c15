"""A folder in the layout of Wan's public weights, with random numbers in it: to try everything before downloading.

    pipe = pipeline.open(wan.tiny("tiny-wan"))
    pipe.sample("a red ball", frames=9, size=(48, 64), steps=4)        # noise that a network has looked at: no ball

About a megabyte, made in seconds. Its latents have 8 x 8 pixels and 4 frames each, as Wan 2.1's.
"""

import os
import pathlib
from typing import Any

import jax
import numpy as np
import tokenizers
from flax import nnx

from vrjax.files import tensors, writing
from vrjax.files.weights import Network
from vrjax.models.settings import SCHEDULER
from vrjax.models.wan import umt5, vae
from vrjax.models.wan.dit import WanConfig, WanDiT
from vrjax.models.wan.readers import save_dit

CHANNELS, TEXT = 4, 16
SHIFT, BOUNDARY = 5.0, 0.9
DIT = {"dim": 48, "ffn_dim": 96, "heads": 4, "layers": 3, "freq_dim": 32, "text_dim": TEXT, "text_len": 32}
VAE = vae.VAEConfig(8, 8, CHANNELS, (1, 1, 2, 2), 1, mean=(0.0,) * CHANNELS, std=(1.0,) * CHANNELS)
WORDS = "▁a ▁the ▁maze ▁ball ▁red ▁green ▁blue ▁path ▁from ▁to ▁and ▁of ▁in ▁on ▁one ▁two ▁seen ▁above".split()
LETTERS = ["▁", *"abcdefghijklmnopqrstuvwxyz,.-'"]


def tiny(folder: str | os.PathLike[str], *, pictures: bool = False, experts: int = 1, seed: int = 0) -> pathlib.Path:
    """Writes a small random model in diffusers' layout, and returns the folder.

    Args:
        folder: made; it must not exist, or be empty.
        pictures: whether the model takes a first frame, as Wan's image models do.
        experts: 1, or 2 for a high- and a low-noise network as in Wan 2.2.
        seed: of the weights.

    Raises:
        ValueError: a folder with something in it, or another number of experts.
    """
    root = pathlib.Path(folder)
    if experts not in (1, 2):
        raise ValueError(f"experts: found {experts}, expected 1 or 2")
    if root.exists() and any(root.iterdir()):
        raise ValueError(f"{root}: is there and not empty; expected a new folder")
    rng = np.random.default_rng(seed)
    cfg = WanConfig(in_channels=(2 * CHANNELS + 4) if pictures else CHANNELS, out_channels=CHANNELS, **DIT)  # type: ignore[arg-type]
    names = ("transformer", "transformer_2")[:experts]
    for number, name in enumerate(names):
        dit = WanDiT(cfg, rngs=nnx.Rngs(seed + number))
        # A head of zeros, as before training, would leave the noise as it is.
        dit.head.kernel[...] = 0.3 * jax.random.normal(jax.random.key(seed + number), dit.head.kernel.shape)
        save_dit(dit, root / name)
    text = umt5.UMT5Config(3 + len(WORDS + LETTERS), TEXT, 32, 2, 8, 2)
    _save(root / "vae" / "diffusion_pytorch_model.safetensors", vae.NETWORK, VAE, "diffusers", rng)
    writing.json(root / "vae" / "config.json", vae.public_config(VAE))
    _save(root / "text_encoder" / "model.safetensors", umt5.NETWORK, text, "transformers", rng)
    writing.json(root / "text_encoder" / "config.json", umt5.public_config(text))
    (root / "tokenizer").mkdir()
    _tokenizer().save(str(root / "tokenizer" / "tokenizer.json"))
    scheduler = {"_class_name": "UniPCMultistepScheduler", "flow_shift": SHIFT, "prediction_type": "flow_prediction"}
    (root / SCHEDULER).parent.mkdir()
    writing.json(root / SCHEDULER, scheduler | {"use_flow_sigmas": True})
    kind = "WanImageToVideoPipeline" if pictures else "WanPipeline"
    index: dict[str, Any] = {"_class_name": kind, "boundary_ratio": BOUNDARY if experts == 2 else None}
    index |= {name: ["diffusers", "WanTransformer3DModel"] for name in names}
    writing.json(root / "model_index.json", index | {"expand_timesteps": False})
    return root


def _save(path: pathlib.Path, network: Network, cfg: Any, layout: str, rng: np.random.Generator) -> None:
    """Random weights under a layout's names: matrices that keep sizes as they are, scales of one, biases of zero."""
    shapes = {key: slot.shape for slot in network.slots(cfg, layout) for key in slot.keys}

    def drawn(key: str, shape: tuple[int, ...]) -> np.ndarray:
        if key.endswith("bias"):
            return np.zeros(shape, np.float32)
        if len([side for side in shape if side > 1]) < 2:
            return np.ones(shape, np.float32)
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    arrays = (drawn(key, shape) for key, shape in shapes.items())
    tensors.write(path, {key: (shape, np.dtype(np.float32)) for key, shape in shapes.items()}, arrays, {"format": "pt"})


def _tokenizer() -> tokenizers.Tokenizer:
    """Of UMT5's kind: unigrams over a metaspace, an end token behind, padding id 0."""
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -99.0)]
    vocab += [(word, -1.0) for word in WORDS] + [(letter, -5.0) for letter in LETTERS]
    made = tokenizers.Tokenizer(tokenizers.models.Unigram(vocab, unk_id=2))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    made.post_processor = tokenizers.processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return made
