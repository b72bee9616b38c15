"""Wan 2.1 / 2.2: the video diffusion transformer, its encoders and VAE, readers and writers of its public files.

| what | modules |
| --- | --- |
| the network | `dit` (`WanDiT`), `config` (`WanConfig`), `flops`; `family`, the protocol's answers |
| encoders and VAE | `umt5` with `tokenizer` and `text`, `clip`, `vae` with `vae_layers` |
| files | `readers`, `vae_readers`, `lora_files`, `convert`, `convert_model`, `folders` |
| a run's inputs | `conditions`, `defaults` |
"""

from vrjax.models.blocks.sites import indexed
from vrjax.models.family import shard
from vrjax.models.wan.clip import load_image_encoder
from vrjax.models.wan.config import WanConfig
from vrjax.models.wan.dit import Context, Image, WanDiT, abstract, logical_axes
from vrjax.models.wan.lora_files import load_lora
from vrjax.models.wan.readers import load_dit, save_dit
from vrjax.models.wan.umt5 import load_text_encoder
from vrjax.models.wan.vae_readers import load_vae

__all__ = [
    "Context",
    "Image",
    "WanConfig",
    "WanDiT",
    "abstract",
    "indexed",
    "load_dit",
    "load_image_encoder",
    "load_lora",
    "load_text_encoder",
    "load_vae",
    "logical_axes",
    "save_dit",
    "shard",
]
