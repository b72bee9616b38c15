"""Wan 2.1 / 2.2: the video diffusion transformer, its encoders and VAE, readers and writers of its public files.

| what | modules |
| --- | --- |
| the network | `dit` (`WanDiT`, `WanConfig`), `flops`; `family`, the protocol's answers |
| encoders and VAE | `umt5` from the prompt on, `clip`, `vae` with `vae_layers`: each with its names and reader |
| files | `readers` (of `WanDiT`), `lora_files`, `convert`, `convert_model` |
| a run's inputs | `folders`: what lies in one, and how it is sampled; `conditions` of pictures |
| to try | `tiny`: a random folder in the public layout |
"""

from vrjax.files import named
from vrjax.models.blocks.sites import indexed
from vrjax.models.family import shard
from vrjax.models.wan.clip import load_image_encoder
from vrjax.models.wan.dit import Context, Image, WanConfig, WanDiT, abstract
from vrjax.models.wan.family import logical_axes
from vrjax.models.wan.lora_files import load_lora
from vrjax.models.wan.readers import load_dit, save_dit
from vrjax.models.wan.tiny import tiny
from vrjax.models.wan.umt5 import load_text_encoder
from vrjax.models.wan.vae import load_vae

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
    "tiny",
]

__getattr__, __dir__ = named.lazy(__name__)
