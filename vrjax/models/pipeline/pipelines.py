"""What every pipeline is: a model's folder, networks loaded on demand, and one compiled run for all who sample.

`sample` is made of four calls that one may make oneself: `ask` (resolves and checks options and pictures), `prepare`
(text rows and picture conditions), `program` (the compiled function), and its call on noise.
"""

import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from vrjax import files, flow, tasks
from vrjax.files import fingerprint
from vrjax.flow import draws
from vrjax.models import settings as settings_of
from vrjax.models import wan
from vrjax.models.embedded import conditions as embedded_conditions
from vrjax.models.embedded import folders as embedded_folders
from vrjax.models.embedded.conditions import Codec
from vrjax.models.pipeline import denoise
from vrjax.models.pipeline import loras as loras_of
from vrjax.models.pipeline.denoise import NONE, Inputs
from vrjax.models.settings import Settings
from vrjax.models.wan import conditions, folders, lora_files, umt5, vae
from vrjax.models.wan.conditions import Conditions
from vrjax.models.wan.vae import VAEConfig, WanVAE

DTYPES = ("float32", "bfloat16", "float16")
PROGRAMS = 8  # compiled runs that a pipeline remembers


class Pipeline(ABC):
    """A model's folder and how it is sampled, see `vrjax.models.pipeline.open`. Nothing is loaded before it is used.

    Attributes:
        folder: what was found: `name`, `root`, `networks` (files, the high-noise expert's first), `cfg`, and what
            `vrjax.models.settings` asks of it.
        dtype: of the networks' products and stored matrices; None: the file's own.
        mesh: over which the networks are divided, or None.
    """

    def __init__(
        self,
        folder: Any,
        *,
        dtype: str | None,
        loras: Any = (),
        mesh: Mesh | None = None,
        rules: Mapping[str, Any] = NONE,
        cache: str | os.PathLike | bool | None = None,
    ):
        self.folder, self.dtype, self.mesh, self._rules, self._cache = folder, dtype, mesh, rules, cache
        self._assigned = loras_of.all_of(loras, folder)
        self._programs: dict[Any, Callable] = {}

    def __repr__(self) -> str:
        loras = "" if not self.loras else f", {len(self.loras)} LoRA{'s' if len(self.loras) > 1 else ''}"
        networks = f"{len(self.folder.networks)} networks" if len(self.folder.networks) > 1 else "1 network"
        return f"{type(self).__name__}({self.name}: {networks}{loras}, {self.folder.root})"

    # ------------------------------------------------------------------------------------- what a kind of model is

    @property
    @abstractmethod
    def vae_config(self) -> Any:
        """Of the video codec, without loading it: `time_factor` and `space_factor`, pixels to a latent's position."""

    @abstractmethod
    def text(self, prompts: Sequence[str]) -> Float[np.ndarray, "n l d"]:
        """Rows of each prompt."""

    @abstractmethod
    def _conditions(self, first: np.ndarray, last: np.ndarray | None, frames: int, size: tuple[int, int]) -> Conditions:
        """Conditions of pictures that the model takes."""

    @abstractmethod
    def decode(self, latents: Float[Array | np.ndarray, "*lead t h w c"]) -> Float[np.ndarray, "*lead t_x h_x w_x 3"]:
        """Videos in [-1, 1] of latents, on the host."""

    # ------------------------------------------------------------------------------------------------------ networks

    @property
    def name(self) -> str:
        """Such as "Wan2.2-I2V-A14B"."""
        return self.folder.name

    @property
    def defaults(self) -> Any:
        """How the model is sampled unless one asks for something else."""
        return settings_of.defaults(self.folder)

    @property
    def loras(self) -> tuple[loras_of.Lora, ...]:
        """The LoRA files, each with its expert."""
        return tuple(found.given for found in self._assigned)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided of the LoRA files, for a person: which expert each changes and why, what is left out."""
        return tuple(found.said for found in self._assigned)

    @functools.cached_property
    def about(self) -> dict[str, Any]:
        """What decides a run's numbers beside its settings, as JSON.

        Name, weights and LoRAs by their bytes, dtype, and what its noise is drawn by.
        """
        weights = [fingerprint(path)[:16] for path in self.folder.networks]
        loras = [[str(x.path), x.weight, x.expert, fingerprint(x.path)[:16], x.without_image] for x in self.loras]
        about = {"model": self.folder.name, "weights": weights, "loras": loras, "dtype": self.dtype}
        return about | {"noise": draws.ABOUT}

    @functools.cached_property
    def dits(self) -> tuple[Any, ...]:
        """The network, or the high- and the low-noise expert, LoRA files merged."""
        return tuple(self._network(i) for i in range(len(self.folder.networks)))

    @property
    def dit(self) -> Any:
        """The network; of a pair, the high-noise expert."""
        return self.dits[0]

    def _network(self, i: int) -> Any:
        merged = [(part, found.given.weight) for found in self._assigned if (part := found.parts[i]) is not None]
        dtypes = {} if self.dtype is None else {"dtype": self.dtype, "param_dtype": self.dtype}
        dit = wan.load_dit(self.folder.networks[i], mesh=self.mesh, rules=self._rules, **dtypes)
        return lora_files.merge(dit, merged, donate=True) if merged else dit

    # ------------------------------------------------------------------------------------------------------- a run

    def settings(self, *, picture: tuple[int, int] | None = None, **options: Any) -> Settings:
        """The options of a run, see `settings.resolve`; `picture`: (height, width) of the first frame's.

        Raises:
            ValueError: an option that does not fit the model.
        """
        factors = self.vae_config.time_factor, self.vae_config.space_factor
        return settings_of.resolve(self.folder, factors, picture=picture, **options)

    def ask(
        self, image: Any = None, last_image: Any = None, **options: Any
    ) -> tuple[Settings, np.ndarray | None, np.ndarray | None]:
        """A run's settings, checked with its pictures, and these as arrays, or None. Arguments: see `sample`.

        Raises:
            FileNotFoundError, ValueError: options or pictures that do not fit the model.
        """
        first, last = picture(image), picture(last_image)
        given, sides = (first is not None, last is not None), None if first is None else first.shape[:2]
        return self.settings(picture=sides, given=given, **options), first, last

    def latent_shape(self, settings: Settings) -> tuple[int, int, int, int]:
        """(t, h, w, c) of a latent."""
        time, space = self.vae_config.time_factor, self.vae_config.space_factor
        h, w = settings.size
        return (settings.frames - 1) // time + 1, h // space, w // space, self.folder.cfg.out_channels

    def prepare(self, prompt: str, settings: Settings, image: Any = None, last_image: Any = None) -> Inputs:
        """Everything a run is given besides noise."""
        settings_of.check(self.folder, image is not None, last_image is not None, settings.frames)
        prompts = [prompt] if settings.negative is None else [prompt, settings.negative]
        rows = jnp.asarray(self.text(prompts))
        given = self.conditions(image, last_image, frames=settings.frames, size=settings.size)
        negative = {"text": rows[1]} if len(prompts) == 2 else None
        return Inputs({"text": rows[0], "image": given.image}, negative, given.first)

    def conditions(
        self, image: Any = None, last_image: Any = None, *, frames: int, size: tuple[int, int]
    ) -> Conditions:
        """Conditions of pictures: paths, or arrays (h, w, 3).

        Raises:
            FileNotFoundError, ValueError: pictures that cannot be read, or that the model does not take.
        """
        settings_of.check(self.folder, image is not None, last_image is not None, frames)
        first, last = picture(image), picture(last_image)
        return Conditions() if first is None else self._conditions(first, last, frames, size)

    def noise(self, settings: Settings, seeds: Sequence[int]) -> Float[Array, "n t h w c"]:
        """The starting noise of each seed; a seed's noise does not depend on the others."""
        shape = self.latent_shape(settings)
        return jnp.stack([draws.normal(draws.key(seed), shape) for seed in seeds])

    def program(
        self,
        settings: Settings,
        *,
        record: flow.Record | Callable[[Any], flow.Record] | None = None,
        edit: Callable | None = None,
        taps: Mapping[str, Callable] = NONE,
        edits: Mapping[str, Callable] = NONE,
    ) -> Callable:
        """The compiled run `(dits, inputs, noise (n, t, h, w, c), seeds (n,)) -> Trajectory` of n seeds at once.

        One program holds both experts.

        Args:
            settings: see `settings`.
            record, edit: see `vrjax.flow.sample`; the record may be a function of the seed (`Recorder.record`).
            taps, edits: see `denoise.phases`. Inside them the axis "seed" is the seeds of this call.
        """
        return jax.jit(denoise.run(settings.recipe, record=record, edit=edit, taps=taps, edits=edits))

    def sample(
        self,
        prompt: Any,
        *,
        image: Any = None,
        last_image: Any = None,
        seeds: Any = (0,),
        noise: Float[Array | np.ndarray, "n t h w c"] | None = None,
        dits: tuple[Any, ...] | None = None,
        record: flow.Record | None = None,
        edit: Callable | None = None,
        taps: Mapping[str, Callable] = NONE,
        edits: Mapping[str, Callable] = NONE,
        **options: Any,
    ) -> flow.Trajectory:
        """Trajectories of one prompt from several seeds, which are the leading axis of every field.

        The same run on another prompt, from as many seeds, is compiled once.

        Args:
            prompt: the text.
            image, last_image: pictures, as paths or arrays (h, w, 3), for the models that take them.
            seeds: how many, or which of the starting noise; all run at once.
            noise: the starting noise itself, instead of the seeds'.
            dits: other networks of the same shape, instead of the folder's.
            record, edit, taps, edits: see `program`. By default x, v and x0 of every step are kept.
            **options: see `settings`.

        Raises:
            ValueError: options or pictures that do not fit the model.
        """
        if not isinstance(prompt, str):
            raise ValueError(f"prompt: found a {type(prompt).__name__}, expected one text; each prompt is a call")
        numbers = settings_of.seeds(seeds)
        settings, first, last = self.ask(image, last_image, **options)
        inputs = self.prepare(prompt, settings, first, last)
        start = self.noise(settings, numbers) if noise is None else jnp.asarray(noise, jnp.float32)
        if start.shape[1:] != self.latent_shape(settings):
            raise ValueError(
                f"noise: shape {start.shape}, expected (n, {', '.join(map(str, self.latent_shape(settings)))})"
            )
        numbers = np.arange(len(start)) if noise is not None else np.array(numbers)
        what = (settings, record, edit, *taps.items(), None, *edits.items())
        if what not in self._programs:
            self._programs = dict(list(self._programs.items())[1 - PROGRAMS :])
            self._programs[what] = self.program(settings, record=record, edit=edit, taps=taps, edits=edits)
        with draws.settled(True):
            return self._programs[what](self.dits if dits is None else dits, inputs, start, numbers.astype(np.uint32))


class WanPipeline(Pipeline):
    """A folder of public Wan weights, see `Pipeline`.

    Args:
        folder: its path.
        dtype: of matrix products and stored matrices of the transformers, and of the text encoder's products. By
            default bfloat16, and float32 on CPU. The VAE always works in float32.
        **options: `loras`, `mesh`, `rules`, and `cache`, the folder of text rows, see `vrjax.models.wan.umt5.encode`.
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
        return wan.load_vae(self.folder.parts["vae"])

    @functools.cached_property
    def image_encoder(self) -> Any:
        """The CLIP encoder of Wan 2.1's image models."""
        return wan.load_image_encoder(self.folder.parts["image_encoder"], dtype=self.dtype)

    @functools.cached_property
    def vae_config(self) -> VAEConfig:
        """Of the VAE, without loading it."""
        found = vae.read_config(self.folder.parts["vae"])
        if found.latent_channels != self.folder.cfg.out_channels:
            raise ValueError(
                f"{self.folder.root}: the VAE has latents of {found.latent_channels} channels, the transformer makes "
                f"{self.folder.cfg.out_channels}"
            )
        return found

    def text(self, prompts: Sequence[str]) -> Float[np.ndarray, "n l d"]:
        """Rows of each prompt, see `vrjax.models.wan.umt5.encode`; the encoder is loaded for new prompts only."""
        return umt5.encode(self.folder, prompts, dtype=self._precision, cache=self._cache)

    def _conditions(self, first: np.ndarray, last: np.ndarray | None, frames: int, size: tuple[int, int]) -> Conditions:
        """Of 8-bit pictures, brought to the size as the model's own code does it."""
        look = None if self.folder.cfg.image_dim is None else self.image_encoder
        return conditions.make(self.folder, self.vae, size=size, frames=frames, image=first, last_image=last, clip=look)

    def decode(self, latents: Float[Array | np.ndarray, "*lead t h w c"]) -> Float[np.ndarray, "*lead t_x h_x w_x 3"]:
        """Videos in [-1, 1] of latents, one after another, on the host; large ones a latent frame at a time."""
        latents = np.asarray(latents)
        shape = latents.shape[-4:]
        chunk = conditions.chunk_of(shape, self.vae.cfg)
        videos = [np.asarray(_decode(self.vae, z, chunk)) for z in latents.reshape(-1, *shape)]
        return np.stack(videos).reshape(*latents.shape[:-4], *videos[0].shape)


@functools.partial(jax.jit, static_argnames="chunk")
def _decode(vae: WanVAE, latent: Any, chunk: int | None) -> Array:
    return vae.decode(latent, chunk=chunk)


def picture(given: Any) -> np.ndarray | None:
    """A picture as an array: a path is read."""
    if given is None:
        return None
    return files.read_image(given) if isinstance(given, (str, os.PathLike)) else np.asarray(given)


class EmbeddedPipeline(Pipeline):
    """A trained embedded model's folder, see `Pipeline`. Pictures have the video's size; NumPy ones may be in [-1, 1].

    Args:
        folder: its path.
        dtype: of the network; None: as it was trained.
        **options: `loras`, `mesh`, `rules`.
    """

    def __init__(self, folder: str | os.PathLike, *, dtype: str | None = None, **options: Any):
        super().__init__(embedded_folders.find(folder), dtype=dtype, **options)

    @property
    def vae_config(self) -> Codec:
        """The codec has no weights."""
        return self.folder.codec

    def text(self, prompts: Sequence[str]) -> Float[np.ndarray, "n l d"]:
        """Hashed words, see `vrjax.models.embedded.conditions`; guidance's other branch has none."""
        cfg = self.folder.cfg
        return np.stack([embedded_conditions.text(prompt, cfg.text_len, cfg.text_dim) for prompt in prompts])

    def _conditions(self, first: np.ndarray, last: np.ndarray | None, frames: int, size: tuple[int, int]) -> Conditions:
        if first.shape != (*size, 3):
            raise ValueError(f"image: shape {first.shape}, expected {(*size, 3)} as the video")
        frame = first / np.float32(127.5) - 1 if first.dtype == np.uint8 else np.asarray(first, np.float32)
        return Conditions(wan.Image(embedded_conditions.first_frame(self.folder.codec.encode(frame), frames)))

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
