"""Which pipeline a model's folder is opened as."""

import os
from typing import Any

from vrjax.files import named
from vrjax.models.embedded import folders as embedded_folders
from vrjax.models.pipeline.pipelines import EmbeddedPipeline, Pipeline, WanPipeline
from vrjax.models.pipeline.streams import CausalPipeline
from vrjax.models.wan import folders

OPTIONS = ("cache", "causal", "dtype", "like", "loras", "mesh", "rules")


def open(folder: str | os.PathLike, *, download: Any = False, **options: Any) -> Pipeline:  # noqa: A001
    """A model's folder; its JSON and headers are read, its weights are not.

    Args:
        folder: the whole model, in diffusers' or Wan's own layout (transformers, VAE, text encoder, tokenizer, and CLIP
            where it has one); or an embedded model, with `training.json` beside its weights. Or its id on the hub, or a
            folder of the hub's cache: `download` says whether what is lacking is fetched (`vrjax.files.hub.find`).
        **options:
            loras: merged into the networks when these are loaded; files, `Lora`s, or tuples of their fields.
            mesh: over which the networks are divided while they are loaded, and then seeds, tokens and weights in a
                run; `rules`: see `vrjax.models.wan.shard`.
            dtype, cache: see `WanPipeline`.
            causal, like: weights of a causal network, which samples chunk by chunk with what else is in the folder, and
                how it was trained to be sampled: see `CausalPipeline`.

    Raises:
        FileNotFoundError, ValueError: see `vrjax.models.wan.folders.find`; a LoRA for an expert that is not there.
        TypeError: an unknown option.
    """
    for name in options.keys() - set(OPTIONS):
        raise TypeError(f"pipeline.open: {named.unknown('option', name, OPTIONS)}")
    folder = folders.resolve(folder, allow=download)
    embedded = (folder / embedded_folders.TRAINING).is_file()
    if (weights := options.pop("causal", None)) is not None:
        if embedded:
            raise ValueError(f"{folder}: an embedded model; causal networks go with a public text-to-video folder")
        return CausalPipeline(folder, weights, **options)
    if "like" in options:
        raise ValueError("like: there is no causal network that it could be of")
    return EmbeddedPipeline(folder, **options) if embedded else WanPipeline(folder, **options)
