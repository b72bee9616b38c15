"""Folders of whole tiny Wan models with random weights, without torch: for the light tests of pipelines and commands.

The VAE, the text encoder and the CLIP tower are the fixtures of their own tests.
"""

import json
import pathlib

import jax
import numpy as np
from flax import nnx
from safetensors.numpy import save_file

from tests.models.test_tokenizer import written
from vrjax.models import wan
from vrjax.models.wan import umt5, vae

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
Z, TEXT = 2, 12  # the fixtures' latent channels and text width
SHIFT = 5.0


def config(kind: str, **options) -> wan.WanConfig:
    """A transformer of the fixtures' sizes."""
    channels = Z + (Z + 4 if kind in ("i2v", "flf2v") else 0)
    options = {
        "in_channels": channels,
        "out_channels": Z,
        "dim": 24,
        "ffn_dim": 32,
        "heads": 2,
        "layers": 2,
        "freq_dim": 8,
        "text_dim": TEXT,
        "text_len": 16,
    } | options
    if kind == "flf2v":
        options |= {"image_positions": 2 * 10}
    return wan.WanConfig(gate_init=1.0, **options)


def network(kind: str, seed: int = 0, **options) -> wan.WanDiT:
    """A transformer with a head that is not zero."""
    dit = wan.WanDiT(config(kind, **options), rngs=nnx.Rngs(seed))
    head = 0.3 * jax.random.normal(jax.random.key(seed), dit.head.kernel.shape)
    dit.head.kernel = nnx.Param(head)
    return dit


def build(root: pathlib.Path, kind: str = "t2v", *, experts: int = 1, clip: bool = False) -> pathlib.Path:
    """A model in diffusers' layout.

    Args:
        root: made.
        kind: "t2v", "i2v", "flf2v" or "ti2v".
        experts: networks.
        clip: with the CLIP branch of Wan 2.1's image models.
    """
    options = {"image_dim": clip_width()} if clip else {}
    for i, name in enumerate(("transformer", "transformer_2")[:experts]):
        wan.save_dit(network(kind, seed=i, **options), root / name)
    unpack(FIXTURES / ("vae_22.npz" if kind == "ti2v" else "vae_21.npz"), root / "vae")
    unpack(FIXTURES / "umt5.npz", root / "text_encoder")
    written(root / "tokenizer")
    if clip:
        unpack(FIXTURES / "clip.npz", root / "image_encoder")
        heads = {"hidden_size": 16, "num_attention_heads": 2, "hidden_act": "gelu"}
        (root / "image_encoder" / "config.json").write_text(json.dumps(heads))
    scheduler = {"_class_name": "UniPCMultistepScheduler", "flow_shift": SHIFT, "prediction_type": "flow_prediction"}
    (root / "scheduler").mkdir()
    (root / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler | {"use_flow_sigmas": True}))
    pipeline = "WanImageToVideoPipeline" if kind in ("i2v", "flf2v") else "WanPipeline"
    index = {"_class_name": pipeline, "transformer": ["diffusers", "WanTransformer3DModel"]}
    index |= {"transformer_2": ["diffusers", "WanTransformer3DModel"] if experts == 2 else [None, None]}
    index |= {"boundary_ratio": 0.9 if experts == 2 else None, "expand_timesteps": kind == "ti2v"}
    (root / "model_index.json").write_text(json.dumps(index))
    return root


def build_original(root: pathlib.Path, *, experts: int = 1) -> pathlib.Path:
    """A text-to-video model in Wan's own layout. Its VAE is of zeros: only its shapes are Wan 2.1's."""
    for i, name in enumerate(("high_noise_model", "low_noise_model") if experts == 2 else ("",)):
        dit = network("t2v", seed=i, in_channels=16, out_channels=16)
        wan.save_dit(dit, root / name, layout="original")
    cfg = vae.VAEConfig(dim=4, decoder_dim=4)
    zeros = {slot.keys[0]: np.zeros(slot.shape, np.float32) for slot in vae.NETWORK.slots(cfg, "original")}
    save_file(zeros, root / "Wan2.1_VAE.safetensors")
    text = umt5.UMT5Config(40, TEXT, 20, 3, 5, 2)
    rng = np.random.default_rng(0)
    arrays = {
        key: rng.standard_normal(slot.shape).astype(np.float32)
        for slot in umt5.NETWORK.slots(text, "original")
        for key in slot.keys
    }
    save_file(arrays, root / "models_umt5-xxl-enc.safetensors")
    written(root / "google" / "umt5-xxl")
    return root


def clip_width() -> int:
    return int(np.load(FIXTURES / "clip.npz")["w.embeddings.class_embedding"].shape[0])


def unpack(fixture: pathlib.Path, folder: pathlib.Path) -> None:
    """A fixture's weights as a part's folder."""
    arrays = np.load(fixture)
    folder.mkdir(parents=True)
    weights = {key[2:]: arrays[key].astype(np.float32) for key in arrays.files if key.startswith("w.")}
    save_file(weights, folder / "model.safetensors")
    if "config" in arrays.files:
        (folder / "config.json").write_text(str(arrays["config"]))
