"""From a model's folder and a prompt to a trajectory and a video.

    pipe = pipeline.open("Wan2.2-I2V-A14B")            # nothing is loaded yet; pipe.name, pipe.defaults
    traj = pipe.sample("the red ball reaches the exit", image="maze.png", frames=81, size=(480, 832), seeds=[0, 1])
    videos = pipe.decode(traj.final)                   # (2, 81, 480, 832, 3) in [-1, 1]

    pipe = pipeline.open(shipped.path("worlds"))       # an embedded model: a prompt and a picture, or a task's clip
    traj = pipe.sample(tasks.get("maze").make(7, "test"), seeds=range(4))

| file | what is in it |
| --- | --- |
| `base` | `Pipeline`: settings, inputs, the compiled run; `WanPipeline`, of the public models |
| `embedded` | `EmbeddedPipeline`: codec and words in the place of VAE and text encoder |
| `denoise` | the run as pure functions, for networks of any family: all who sample compile `denoise.run` |
| `recorder` | trajectories written to disk step by step, seed by seed |
"""

import os
import pathlib
from typing import Any

from vrjax import flow
from vrjax.models.embedded.folders import TRAINING
from vrjax.models.pipeline.base import Lora, Pipeline, WanPipeline
from vrjax.models.pipeline.denoise import Inputs
from vrjax.models.pipeline.embedded import EmbeddedPipeline
from vrjax.models.settings import Recipe

__all__ = ["EmbeddedPipeline", "Inputs", "Lora", "Pipeline", "Recipe", "WanPipeline", "open", "sample"]


def open(folder: str | os.PathLike, **options: Any) -> Pipeline:  # noqa: A001 (pipeline.open, like PIL.Image.open)
    """A model's folder; its JSON and headers are read, its weights are not.

    Args:
        folder: the whole model, in diffusers' or Wan's own layout (transformers, VAE, text encoder, tokenizer, and CLIP
            where it has one); or an embedded model, with `training.json` beside its weights.
        **options:
            loras: merged into the networks when these are loaded; `Lora`s, or tuples of their fields.
            mesh: over which the networks are divided while they are loaded, and then seeds, tokens and weights in a
                run; `rules`: see `vrjax.models.wan.shard`.
            dtype, cache: see `WanPipeline`.

    Raises:
        FileNotFoundError, ValueError: see `vrjax.models.wan.folders.find`; a LoRA for an expert that is not there.
    """
    if (pathlib.Path(folder) / TRAINING).is_file():
        return EmbeddedPipeline(folder, **options)
    return WanPipeline(folder, **options)


def sample(folder: str | os.PathLike, prompt: str, **options: Any) -> flow.Trajectory:
    """`open(folder).sample(prompt, **options)`."""
    return open(folder).sample(prompt, **options)
