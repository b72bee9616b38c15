"""A pipeline's run as a pure function: a picture, rows of text and a key to the frames of a clip.

The run is `vrjax.models.pipeline.denoise.run`, which all who sample compile. What differs from `Pipeline.sample` is
that the picture is made inside the compiled program (it is the last frame of the clip before), so that conditions of
pictures are written here for arrays. The picture has the clip's size, and is brought to 8 bits where the pipeline takes
8 bits.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vrjax.flow import Record, Trajectory, words
from vrjax.models import wan
from vrjax.models.embedded import conditions as blocks
from vrjax.models.pipeline import CausalPipeline, EmbeddedPipeline, Pipeline, WanPipeline, denoise
from vrjax.models.settings import Settings
from vrjax.models.wan import conditions


class Parts(NamedTuple):
    """What is made of weights: networks, the VAE (None: blocks of pixels), and rows of the negative prompt or None."""

    dits: tuple[Any, ...]
    vae: Any
    negative: Any

    __repr__ = words.line


@dataclasses.dataclass(frozen=True)
class Sampler:
    """How a pipeline is asked; static. A call of it is one clip.

    Attributes:
        settings: of the run.
        latent: shape of its latent.
        picture: how the first frame is given: "no", "blocks" (beside the latent, as the embedded models take it),
            "channels" (beside it, encoded with the frames that are not given) or "first" (imposed at every step).
        factors: frames and pixels along a side to a position of a latent.
        rows: shape of a prompt.
    """

    settings: Settings
    latent: tuple[int, int, int, int]
    picture: str
    factors: tuple[int, int]
    rows: tuple[int, int]

    @property
    def frame(self) -> tuple[int, int, int]:
        """Shape of a frame."""
        return (*self.settings.size, 3)

    @property
    def frames(self) -> int:
        """New frames of a clip: the first one is the picture, where one is given."""
        return self.settings.frames - (self.picture != "no")

    def __call__(self, parts: Parts, picture: Array, rows: Array, key: Key[Array, ""]) -> Float[Array, "f h w 3"]:
        """The new frames of the clip that goes on from a picture."""
        made = self.denoise(parts, picture, rows, key, Record(steps=())).final
        return self._decoded(parts, made)[-self.frames :]

    def denoise(
        self, parts: Parts, picture: Array, rows: Array, key: Key[Array, ""], record: Record | None = None
    ) -> Trajectory:
        """How the clip comes about; latents."""
        noise, join = jax.random.split(key)
        image, first = self._given(parts, picture)
        given = denoise.Inputs(
            {"text": rows, "image": image}, None if parts.negative is None else {"text": parts.negative}, first
        )
        start = jax.random.normal(noise, (1, *self.latent))
        seeds = jax.random.bits(join, (1,), jnp.uint32)
        found = denoise.run(self.settings.recipe, record=record)(parts.dits, given, start, seeds)
        return jax.tree.map(lambda a: a[0], found)

    def _given(self, parts, picture):
        """The image condition, and the clean first latent frame or None."""
        if self.picture == "no":
            return wan.Image(), None
        if self.picture == "blocks":
            latent = blocks.blocks(self.factors[1]).encode(picture)
            shown = jnp.broadcast_to(latent, self.latent)
            first = (jnp.arange(len(shown)) == 0).astype(jnp.float32)[:, None, None, None]
            return wan.Image(jnp.concatenate([jnp.broadcast_to(first, (*shown.shape[:3], 1)), shown], -1)), None
        picture = jnp.round((picture + 1) * 127.5) / 127.5 - 1
        if self.picture == "first":
            return wan.Image(), parts.vae.encode(picture[None])[0]
        video = jnp.zeros((self.settings.frames, *self.frame)).at[0].set(picture)
        latent = parts.vae.encode(video, chunk=conditions.chunk_of(self.latent, parts.vae.cfg))
        shown = conditions.mask(self.settings.frames, self.latent[1:3], self.factors[0], last=False)
        return wan.Image(jnp.concatenate([jnp.asarray(shown), latent], -1)), None

    def _decoded(self, parts, latent):
        if parts.vae is None:
            return blocks.blocks(self.factors[1]).decode(latent)
        return parts.vae.decode(latent, chunk=conditions.chunk_of(self.latent, parts.vae.cfg))


@dataclasses.dataclass(frozen=True)
class Called:
    """A function in the place of a pipeline, see `adapted.wrap_function`."""

    call: Callable[..., Any]
    frame: tuple[int, int, int]
    frames: int
    rows: tuple[int, ...]

    def __call__(self, parts: Any, picture: Array, rows: Array, key: Key[Array, ""]) -> Float[Array, "f h w 3"]:
        """The new frames of the clip that goes on from a picture."""
        return self.call(parts, picture, rows, key)


def of_pipeline(pipe: Pipeline, **options: Any) -> tuple[Sampler, Parts]:
    """How a pipeline is asked, and its weights, which are loaded here.

    Args:
        pipe: of an embedded model, or of public Wan weights without CLIP.
        **options: of `Pipeline.settings`.

    Raises:
        ValueError: a pipeline whose pictures or chunks cannot be made inside a compiled program; options that do not
            fit the model.
    """
    if isinstance(pipe, CausalPipeline) or not isinstance(pipe, (EmbeddedPipeline, WanPipeline)):
        found = type(pipe).__name__
        raise ValueError(
            f"adapter: found a {found}, expected a pipeline of whole clips; wrap_function takes any function"
        )
    folder = pipe.folder
    first, last = folder.takes
    if folder.cfg.image_dim is not None:
        raise ValueError(f"adapter: {pipe.name} looks at its picture through CLIP too, expected a model without it")
    if last == "must":
        raise ValueError(f"adapter: {pipe.name} needs a picture to end on, which no world knows beforehand")
    settings = pipe.settings(**options)
    kind = "no" if first == "no" else "blocks" if isinstance(pipe, EmbeddedPipeline) else "channels"
    kind = "first" if getattr(folder, "kind", "") == "ti2v" else kind
    if kind != "no" and settings.frames < 2:
        raise ValueError(f"adapter: frames={settings.frames}, expected at least 2: the first one is the picture")
    prompts = pipe.text([""] if settings.negative is None else [settings.negative])
    negative = None if settings.negative is None else jnp.asarray(prompts[0])
    factors = pipe.vae_config.time_factor, pipe.vae_config.space_factor
    sampler = Sampler(settings, pipe.latent_shape(settings), kind, factors, prompts[0].shape)
    return sampler, Parts(pipe.dits, pipe.vae if isinstance(pipe, WanPipeline) else None, negative)
