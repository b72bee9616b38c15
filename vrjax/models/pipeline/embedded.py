"""The embedded models, shipped or trained here: block codec and hashed words in the place of VAE and UMT5."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from vrjax import flow, tasks
from vrjax.models.embedded import conditions as conditions_of
from vrjax.models.embedded import folders
from vrjax.models.embedded.codec import Codec
from vrjax.models.pipeline.base import Pipeline, picture
from vrjax.models.settings import Settings
from vrjax.models.wan.conditions import Conditions
from vrjax.models.wan.dit import Image


class EmbeddedPipeline(Pipeline):
    """A trained embedded model's folder, see `Pipeline`. Pictures have the video's size; NumPy ones may be in [-1, 1].

    Args:
        folder: its path.
        dtype: of the network; None: as it was trained.
        **options: `loras`, `mesh`, `rules`.
    """

    def __init__(self, folder: str | os.PathLike, *, dtype: str | None = None, **options: Any):
        super().__init__(folders.find(folder), dtype=dtype, **options)

    @property
    def vae_config(self) -> Codec:
        """The codec has no weights."""
        return self.folder.codec

    def text(self, prompts: Sequence[str]) -> Float[np.ndarray, "n l d"]:
        """Hashed words, see `vrjax.models.embedded.words`; guidance's other branch has none."""
        cfg = self.folder.cfg
        return np.stack([conditions_of.text(prompt, cfg.text_len, cfg.text_dim) for prompt in prompts])

    def conditions(
        self, image: Any = None, last_image: Any = None, *, frames: int, size: tuple[int, int]
    ) -> Conditions:
        """See `Pipeline.conditions`."""
        self.folder.check(image is not None, last_image is not None, frames)
        if image is None:
            return Conditions()
        frame = picture(image)
        assert frame is not None
        if frame.shape != (*size, 3):
            raise ValueError(f"image: shape {frame.shape}, expected {(*size, 3)} as the video")
        frame = frame / np.float32(127.5) - 1 if frame.dtype == np.uint8 else np.asarray(frame, np.float32)
        return Conditions(Image(conditions_of.first_frame(self.folder.codec.encode(frame), frames)))

    def settings(self, *, picture: tuple[int, int] | None = None, **options: Any) -> Settings:
        """See `Pipeline.settings`; the size is the picture's."""
        size = options.pop("size", None)
        return super().settings(size=size or picture, **options)

    def sample(self, prompt: str | tasks.Clip, **options: Any) -> flow.Trajectory:
        """See `Pipeline.sample`; a clip of a task stands for its prompt, first frame and length."""
        if isinstance(prompt, tasks.Clip):
            options = {"image": prompt.first_frame, "frames": len(prompt.video)} | options
            prompt = prompt.prompt
        return super().sample(prompt, **options)

    def decode(self, latents: Float[Array | np.ndarray, "*lead t h w c"]) -> Float[np.ndarray, "*lead t_x h_x w_x 3"]:
        """Videos of latents, on the host."""
        return self.folder.codec.decode(np.asarray(latents))
