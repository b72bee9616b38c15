"""Public Wan models, from a folder in diffusers' or Wan's own layout: VAE, UMT5 and CLIP beside the transformers."""

import functools
import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from vrjax.models import wan
from vrjax.models.pipeline.base import Pipeline, picture
from vrjax.models.wan import clip, conditions, folders, text, vae_readers
from vrjax.models.wan.conditions import Conditions
from vrjax.models.wan.vae import VAEConfig, WanVAE

DTYPES = ("float32", "bfloat16", "float16")


class WanPipeline(Pipeline):
    """A folder of public Wan weights, see `Pipeline`.

    Args:
        folder: its path.
        dtype: of matrix products and stored matrices of the transformers, and of the text encoder's products. By
            default bfloat16, and float32 on CPU. The VAE always works in float32.
        **options: `loras`, `mesh`, `rules`, and `cache`, the folder of text rows, see `vrjax.models.wan.text.encode`.
    """

    def __init__(self, folder: str | os.PathLike, *, dtype: str | None = None, **options: Any):
        dtype = dtype or ("float32" if jax.default_backend() == "cpu" else "bfloat16")
        found = folders.find(folder)
        if dtype not in DTYPES:
            raise ValueError(f"dtype: found {dtype!r}, expected one of {', '.join(DTYPES)}")
        super().__init__(found, dtype=dtype, **options)
        self._precision = dtype

    @functools.cached_property
    def vae(self) -> Any:
        """The VAE, in float32."""
        return wan.load_vae(self.folder.part("vae", vae_readers._FILES, "VAE"))

    @functools.cached_property
    def image_encoder(self) -> Any:
        """The CLIP encoder of Wan 2.1's image models."""
        path = self.folder.part("image_encoder", clip._FILES, "CLIP encoder")
        return clip.load_image_encoder(path, dtype=self.dtype)

    @functools.cached_property
    def vae_config(self) -> VAEConfig:
        """Of the VAE, without loading it."""
        found = vae_readers.read_config(self.folder.part("vae", vae_readers._FILES, "VAE"))
        if found.latent_channels != self.folder.cfg.out_channels:
            raise ValueError(
                f"{self.folder.root}: the VAE has latents of {found.latent_channels} channels, the transformer makes "
                f"{self.folder.cfg.out_channels}"
            )
        return found

    def text(self, prompts: Sequence[str]) -> Float[np.ndarray, "n l d"]:
        """Rows of each prompt, see `vrjax.models.wan.text.encode`; the encoder is loaded for new prompts only."""
        return text.encode(self.folder, prompts, dtype=self._precision, cache=self._cache)

    def check(self, image: bool, last: bool, frames: int) -> None:
        """See `vrjax.models.wan.conditions.check`."""
        conditions.check(self.folder, image, last, frames)

    def conditions(
        self, image: Any = None, last_image: Any = None, *, frames: int, size: tuple[int, int]
    ) -> Conditions:
        """See `Pipeline.conditions`; arrays are 8-bit, and brought to the size as the model's own code does it."""
        self.check(image is not None, last_image is not None, frames)
        if image is None:
            return Conditions()
        look = None if self.folder.cfg.image_dim is None else self.image_encoder
        first, last = picture(image), picture(last_image)
        return conditions.make(self.folder, self.vae, size=size, frames=frames, image=first, last_image=last, clip=look)

    def decode(self, latents: Float[Array | np.ndarray, "*lead t h w c"]) -> Float[np.ndarray, "*lead t_x h_x w_x 3"]:
        """Videos in [-1, 1] of latents, one after another, on the host; large ones a latent frame at a time."""
        latents = np.asarray(latents)
        shape = latents.shape[-4:]
        videos = [np.asarray(_decode(self.vae, z, conditions.chunk_of(shape))) for z in latents.reshape(-1, *shape)]
        return np.stack(videos).reshape(*latents.shape[:-4], *videos[0].shape)


@functools.partial(jax.jit, static_argnames="chunk")
def _decode(vae: WanVAE, latent: Any, chunk: int | None) -> Array:
    return vae.decode(latent, chunk=chunk)
