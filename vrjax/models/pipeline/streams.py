"""Videos of causal models, chunk by chunk, with the text encoder and VAE of a public folder.

pipe = pipeline.open("Wan2.1-T2V-1.3B", causal="self_forcing_dmd.pt")
for part in pipe.stream("a cat on the moon", seed=0):
    show(part.frames)                                # 9, then 12 frames of pixels, as soon as they are there
"""

import functools
import os
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from vrjax import flow
from vrjax.files import fingerprint
from vrjax.flow import draws, grids, words
from vrjax.models import causal
from vrjax.models.causal import cache, published
from vrjax.models.causal import chunks as frames_of
from vrjax.models.pipeline.pipelines import WanPipeline, picture
from vrjax.models.settings import Settings
from vrjax.models.wan import conditions


class Part(NamedTuple):
    """A finished chunk with its pixels.

    Attributes:
        start: number of its first frame of pixels in the video.
        frames: (n, h, w, 3) in [-1, 1], on the host; the first part has a given picture in front.
        chunk: see `vrjax.models.causal.Chunk`.
    """

    start: int
    frames: Any
    chunk: causal.Chunk

    __repr__ = words.line


class CausalPipeline(WanPipeline):
    """A folder of public Wan weights whose network is a causal one's, see `Pipeline`.

    Args:
        folder: of a text-to-video model, from which the network was trained (Wan2.1-T2V-1.3B).
        weights: of the causal network, see `causal.load_dit`.
        like: how it was trained to be sampled, a name of `vrjax.models.causal.published`.
        **options: as of `WanPipeline`, but no LoRA files and no mesh.

    Raises:
        ValueError: a folder of another kind; an unknown name; an option that is not for it.
    """

    def __init__(
        self, folder: str | os.PathLike, weights: str | os.PathLike, *, like: str = "self_forcing", **options: Any
    ):
        super().__init__(folder, **options)
        if self.folder.kind != "t2v" or len(self.folder.networks) != 1:
            raise ValueError(f"{self.folder.root}: {self.folder.name}, expected a text-to-video model of one network")
        if self.loras or self.mesh is not None:
            raise ValueError("causal: neither LoRA files nor a mesh go with a causal network")
        self.weights, self.like = pathlib.Path(weights), like
        self.published = published.get(like)

    @property
    def name(self) -> str:
        """The model's that the weights were trained from, and theirs."""
        return f"{self.folder.name}, {self.weights.name}"

    @functools.cached_property
    def about(self) -> dict[str, Any]:
        """See `Pipeline.about`; the weights are the causal ones."""
        about = super().about | {"weights": [fingerprint(self.weights)[:16]], "causal": self.weights.name}
        return about | {"like": self.like}

    @functools.cached_property
    def dits(self) -> tuple[Any, ...]:
        """The causal network. ValueError: it does not go with the folder's text encoder or VAE."""
        options = {"dtype": self.dtype, "param_dtype": self.dtype, "network": self.published.network}
        dit, folder = causal.load_dit(self.weights, **options), self.folder.cfg
        for what in ("text_dim", "out_channels", "patch"):
            own, there = getattr(dit.cfg, what), getattr(folder, what)
            if own != there:
                raise ValueError(f"{self.weights}: {what} is {own}, that of {self.folder.root} is {there}")
        return (dit,)

    def sampled(self, settings: Settings, *, pictures: int = 0, **options: Any) -> dict[str, Any]:
        """Options of `causal.stream` for a run, checked: the published ones with what one asks for in their place.

        Args:
            settings: see `Pipeline.settings`.
            pictures: latent frames that are given in front.
            **options: of `causal.stream`; None leaves one to the model.

        Raises:
            ValueError: frames that do not fall into chunks; lists and windows that do not fit.
        """
        asked = {name: value for name, value in options.items() if value is not None}
        if "steps" in asked:
            asked.setdefault("first_steps", None)
        out = self.published.options | asked
        if pictures and out.get("first", out["chunk"]) != pictures:
            raise ValueError(
                f"image: {self.like} works in chunks of {out['chunk']}, and a picture is a chunk of {pictures} that it "
                "has not seen; a frame-wise model takes one (causal_forcing_framewise), or pass first=1"
            )
        latent, chunk, time = self.latent_shape(settings)[0], out["chunk"], self.vae_config.time_factor
        begin = out.get("first") or chunk
        if latent < begin or (latent - begin) % chunk:
            below = begin + max(latent - begin, 0) // chunk * chunk
            near = " or ".join(str(1 + time * (many - 1)) for many in (below, below + chunk))
            raise ValueError(f"frames: found {settings.frames}, expected whole chunks, such as {near}")
        lengths = frames_of.partition(latent, chunk, out.get("first"))
        cache.memory(lengths, **{name: out[name] for name in ("window", "sink", "positions") if name in out})
        for name in ("steps", "first_steps"):
            if out[name] is not None:
                grids.self_forcing(out[name], out["shift"], warp=out["warp"])
        return out

    def stream(
        self,
        prompt: str,
        *,
        seed: int = 0,
        image: Any = None,
        frames: int | None = None,
        size: tuple[int, int] | None = None,
        done: Any = None,
        **options: Any,
    ) -> Iterator[Part]:
        """Parts of a video, each as soon as it is there.

        Args:
            prompt: the text.
            seed: of the noise, to begin with and between the steps.
            image: the first frame, a path or an array (h, w, 3): for networks that work frame by frame, or after an
                independent first frame. It is brought to the size as Wan's 5 B model does it: covered and cropped.
            frames, size: of the video in pixels; 81 and 480 x 832 unless one asks for something else.
            done: latents of chunks that the same call has made, see `causal.stream`; their pixels are not made again.
            **options: of `causal.stream`, in place of the published ones.

        Raises:
            ValueError: as `sampled`, `Pipeline.settings` and `causal.stream`.
        """
        settings = self.settings(frames=frames, size=size, guidance=1.0)
        given = self.picture(image, settings)
        shape, many = self.latent_shape(settings), 0 if given is None else len(given)
        how = self.sampled(settings, pictures=many, **options)
        rows = self.text([prompt])[0]
        noise = draws.normal(draws.key(seed), shape)[many:]
        key = jax.random.fold_in(draws.key(seed), 1)
        chunks = causal.stream(self.dit, rows, noise, given=given, done=done, key=key, **how)

        def parts() -> Iterator[Part]:
            contexts, start = None, 0
            before = [a for a in (given, done) if a is not None and len(a)]
            if before:
                video, contexts = _next(self.vae, jnp.concatenate(before), None)
                start = len(video)
            first = np.asarray(video) if given is not None and done is None else None
            while True:
                with draws.settled(True):
                    chunk = next(chunks, None)
                if chunk is None:
                    return
                video, contexts = _next(self.vae, chunk.latents, contexts)
                pixels = np.asarray(video)
                if first is not None:
                    pixels, first, start = np.concatenate([first, pixels]), None, 0
                yield Part(start, pixels, chunk)
                start += len(pixels)

        return parts()

    def picture(self, image: Any, settings: Settings) -> Float[np.ndarray, "1 h w c"] | None:
        """The latent frame of a picture."""
        found = picture(image)
        if found is None:
            return None
        return np.asarray(_encoded(self.vae, conditions.scaled(found, settings.size, "cover")[None]))

    def sample(self, prompt: Any, **options: Any) -> flow.Trajectory:
        """Not of a causal model: raises ValueError that says what to call."""
        del prompt, options
        raise ValueError("a causal model samples chunk by chunk: call stream(prompt, ...)")


@jax.jit
def _next(vae: Any, latent: Any, contexts: Any) -> tuple[Any, Any]:
    return vae.decode_next(latent, contexts)


@jax.jit
def _encoded(vae: Any, video: Any) -> Any:
    return vae.encode(video)
