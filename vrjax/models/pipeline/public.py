"""From a folder of public Wan weights and a prompt to a trajectory and a video.

    pipe = pipeline.open("Wan2.2-I2V-A14B")            # nothing is loaded yet; pipe.name, pipe.defaults
    traj = pipe.sample("the red ball reaches the exit", image="maze.png", frames=81, size=(480, 832), seeds=[0, 1])
    videos = pipe.decode(traj.final)                   # (2, 81, 480, 832, 3) in [-1, 1]

`sample` is made of four calls that one may make oneself: `settings` (resolves and checks the options), `prepare` (text
rows and picture conditions), `program` (the compiled function), and its call on noise. The pure functions are in
`vrjax.models.pipeline.denoise`. Networks are loaded when they are first needed.
"""

import functools
import os
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vrjax import flow, parallel
from vrjax.flow import solvers
from vrjax.models import wan
from vrjax.models.pipeline import denoise
from vrjax.models.pipeline import settings as settings_of
from vrjax.models.pipeline.denoise import NONE
from vrjax.models.pipeline.recorder import Recorder
from vrjax.models.pipeline.settings import Settings
from vrjax.models.wan import clip, conditions, defaults, folders, lora_files, text, vae_readers
from vrjax.models.wan.conditions import Conditions
from vrjax.models.wan.vae import VAEConfig, WanVAE

BOTH, HIGH, LOW = "both", "high", "low"
_EXPERT = re.compile(r"(?<![a-z])(high|low)(?=[ _-]?noise|[_.-]|$)", re.IGNORECASE)  # in a LoRA file's name


class Lora(NamedTuple):
    """A LoRA file to merge, its weight, and which expert of a pair it changes: "high", "low" or "both".

    None leaves it to the file's name ("..._high_noise.safetensors"). A name that speaks of the other expert is refused:
    the two experts' files fit each other, and swapping them would only be seen in the videos.
    """

    path: str | os.PathLike
    weight: float = 1.0
    expert: str | None = None


class Inputs(NamedTuple):
    """What a run is given besides noise: rows of text (l, d), of the negative prompt (or None), and of the pictures."""

    text: Any
    negative: Any
    given: Conditions


def open(  # noqa: A001 (pipeline.open, like PIL.Image.open)
    folder: str | os.PathLike,
    *,
    dtype: str | None = None,
    loras: Sequence[Lora | tuple[Any, ...]] = (),
    cache: str | os.PathLike | bool | None = None,
    load: Callable[..., Any] = wan.load_dit,
    **options: Any,
) -> "Pipeline":
    """A model folder, in diffusers' or Wan's own layout; its JSON and headers are read, its weights are not.

    Args:
        folder: the whole model: transformer(s), VAE, text encoder, tokenizer, and CLIP where the model has it.
        dtype: of matrix products and stored matrices of the transformers, and of the text encoder's products. By
            default bfloat16, and float32 on CPU. The VAE always works in float32.
        loras: merged into the transformers when these are loaded; `Lora`s, or tuples of their fields.
        cache: folder of cached text rows, see `vrjax.models.wan.text.encode`.
        load: reads a transformer, `load(path, dtype=, param_dtype=, **options)`.
        **options: for `load`.

    Raises:
        FileNotFoundError, ValueError: see `folders.find`; a LoRA for an expert that the model does not have.
    """
    found = folders.find(folder)
    dtype = dtype or ("float32" if jax.default_backend() == "cpu" else "bfloat16")
    if dtype not in ("float32", "bfloat16", "float16"):
        raise ValueError(f"dtype: found {dtype!r}, expected float32, bfloat16 or float16")
    loras = tuple(_assigned(lora if isinstance(lora, Lora) else Lora(*lora), found) for lora in loras)
    return Pipeline(found, dtype=dtype, loras=loras, cache=cache, load=functools.partial(load, **options))


class Pipeline:
    """A model folder with its networks loaded on demand; see the module docstring and `open`.

    Attributes:
        folder: what was found, see `vrjax.models.wan.folders.Folder`.
        dtype: see `open`.
    """

    def __init__(self, folder: folders.Folder, *, dtype: str, loras: tuple[Lora, ...], cache: Any, load: Callable):
        self.folder, self.dtype, self.loras = folder, dtype, loras
        self._cache, self._load = cache, load
        self._programs: dict[Any, Callable] = {}

    @property
    def name(self) -> str:
        """Such as "Wan2.2-I2V-A14B"."""
        return self.folder.name

    @property
    def defaults(self) -> defaults.Defaults:
        """How the model is sampled unless one asks for something else."""
        return self.folder.defaults()

    @functools.cached_property
    def dits(self) -> tuple[Any, ...]:
        """The transformer, or the high- and the low-noise expert, LoRA files merged."""
        return tuple(self._network(i) for i in range(len(self.folder.networks)))

    @property
    def dit(self) -> Any:
        """The transformer; of a pair, the high-noise expert."""
        return self.dits[0]

    @functools.cached_property
    def vae(self) -> Any:
        """The VAE, in float32."""
        return wan.load_vae(self.folder.part("vae", vae_readers._FILES, "VAE"))

    @functools.cached_property
    def image_encoder(self) -> Any:
        """The CLIP encoder of Wan 2.1's image models."""
        path = self.folder.part("image_encoder", clip._FILES, "CLIP encoder")
        return clip.load_image_encoder(path, dtype=self.dtype)

    def _network(self, i: int) -> Any:
        merged = [
            (lora_files.load_lora(lora.path), lora.weight)
            for lora in self.loras
            if lora.expert in (BOTH, (HIGH, LOW)[i])
        ]
        dit = self._load(self.folder.networks[i], dtype=self.dtype, param_dtype=self.dtype)
        return lora_files.merge(dit, merged, donate=True) if merged else dit

    # ------------------------------------------------------------------------------------------------------- options

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

    def settings(self, *, picture: tuple[int, int] | None = None, **options: Any) -> Settings:
        """The options of a run, see `settings.resolve`; `picture`: (height, width) of the first frame's.

        Raises:
            ValueError: an option that does not fit the model.
        """
        return settings_of.resolve(self.folder, self.vae_config, picture=picture, **options)

    def latent_shape(self, settings: Settings) -> tuple[int, int, int, int]:
        """(t, h, w, c) of a latent."""
        time, space = self.vae_config.time_factor, self.vae_config.space_factor
        h, w = settings.size
        return (settings.frames - 1) // time + 1, h // space, w // space, self.folder.cfg.out_channels

    # --------------------------------------------------------------------------------------------------------- inputs

    def text(self, prompts: Sequence[str]) -> Float[np.ndarray, "n l d"]:
        """Rows of each prompt, see `vrjax.models.wan.text.encode`; the encoder is loaded for new prompts only."""
        return text.encode(self.folder, prompts, dtype=self.dtype, cache=self._cache)

    def conditions(
        self, image: Any = None, last_image: Any = None, *, frames: int, size: tuple[int, int]
    ) -> Conditions:
        """Conditions of pictures: paths, or 8-bit arrays (h, w, 3).

        Raises:
            FileNotFoundError, ValueError: pictures that cannot be read, or that the model does not take.
        """
        conditions.check(self.folder, image is not None, last_image is not None, frames)
        if image is None:
            return Conditions()
        look = None if self.folder.cfg.image_dim is None else self.image_encoder
        first, last = _picture(image), None if last_image is None else _picture(last_image)
        return conditions.make(self.folder, self.vae, size=size, frames=frames, image=first, last_image=last, clip=look)

    def prepare(self, prompt: str, settings: Settings, image: Any = None, last_image: Any = None) -> Inputs:
        """Everything a run is given besides noise."""
        conditions.check(self.folder, image is not None, last_image is not None, settings.frames)
        prompts = [prompt] if settings.negative is None else [prompt, settings.negative]
        rows = jnp.asarray(self.text(prompts))
        given = self.conditions(image, last_image, frames=settings.frames, size=settings.size)
        return Inputs(rows[0], rows[1] if len(prompts) == 2 else None, given)

    def noise(self, settings: Settings, seeds: Sequence[int]) -> Float[Array, "n t h w c"]:
        """The starting noise of each seed; a seed's noise does not depend on the others."""
        shape = self.latent_shape(settings)
        return jnp.stack([jax.random.normal(jax.random.key(seed), shape) for seed in seeds])

    # ------------------------------------------------------------------------------------------------------------ run

    def program(
        self,
        settings: Settings,
        *,
        record: flow.Record | None = None,
        recorder: Recorder | None = None,
        edit: Callable | None = None,
        taps: Mapping[str, Callable] = NONE,
        edits: Mapping[str, Callable] = NONE,
    ) -> Callable:
        """The compiled run `(dits, inputs, noise (n, t, h, w, c), seeds (n,)) -> Trajectory` of n seeds at once.

        One program holds both experts. `record` keeps steps in memory; a `recorder` writes them to disk instead, and
        then the function returns the final latents alone.

        Args:
            settings: see `settings`.
            record, edit: see `vrjax.flow.sample`.
            taps, edits: see `denoise.phases`. Inside them the axis "seed" is the seeds of this call.
        """
        plan = settings.plan
        stochastic = solvers.get(plan.solver).stochastic

        def run(dits, inputs, noise, seeds):
            text, negative, given = inputs

            def one(noise, seed):
                key = jax.random.fold_in(jax.random.key(seed), 1) if stochastic or edit is not None else None
                keep = record if recorder is None else recorder.record(seed)
                options = {"plan": plan, "key": key, "edit": edit, "taps": taps, "edits": edits}
                found = denoise.trajectory(dits, text, negative, given, noise, record=keep, **options)
                return found if recorder is None else found.final

            layout = dits[0].layout
            if layout is None:
                return jax.vmap(one, axis_name="seed")(noise, seeds)
            return parallel.batch(layout, one)(noise, seeds)

        return jax.jit(run)

    def sample(
        self,
        prompt: str,
        *,
        image: Any = None,
        last_image: Any = None,
        seeds: Sequence[int] = (0,),
        noise: Float[Array | np.ndarray, "n t h w c"] | None = None,
        record: flow.Record | None = None,
        edit: Callable | None = None,
        taps: Mapping[str, Callable] = NONE,
        edits: Mapping[str, Callable] = NONE,
        **options: Any,
    ) -> flow.Trajectory:
        """Trajectories of one prompt from several seeds, which are the leading axis of every field.

        Args:
            prompt: the text.
            image, last_image: pictures, as paths or 8-bit arrays (h, w, 3), for the models that take them.
            seeds: of the starting noise; all run at once.
            noise: the starting noise itself, instead of the seeds'.
            record, edit, taps, edits: see `program`. By default x, v and x0 of every step are kept.
            **options: see `settings`.

        Raises:
            ValueError: options or pictures that do not fit the model.
        """
        first = None if image is None else _picture(image)
        last = None if last_image is None else _picture(last_image)
        settings = self.settings(picture=None if first is None else first.shape[:2], **options)
        inputs = self.prepare(prompt, settings, first, last)
        start = self.noise(settings, seeds) if noise is None else jnp.asarray(noise)
        if start.shape[1:] != self.latent_shape(settings):
            raise ValueError(
                f"noise: shape {start.shape}, expected (n, {', '.join(map(str, self.latent_shape(settings)))})"
            )
        numbers = jnp.arange(len(start)) if noise is not None else jnp.asarray(list(seeds))
        key = (settings, record, edit, *taps.items(), None, *edits.items())
        if key not in self._programs:  # the same run on another prompt is compiled once
            self._programs = dict(list(self._programs.items())[-7:])
            self._programs[key] = self.program(settings, record=record, edit=edit, taps=taps, edits=edits)
        run = self._programs[key]
        return run(self.dits, inputs, start, numbers)

    def decode(self, latents: Float[Array | np.ndarray, "*lead t h w c"]) -> Float[np.ndarray, "*lead t_x h_x w_x 3"]:
        """Videos in [-1, 1] of latents, one after another, on the host; large ones a latent frame at a time."""
        latents = np.asarray(latents)
        shape = latents.shape[-4:]
        videos = [np.asarray(_decode(self.vae, z, conditions.chunk_of(shape))) for z in latents.reshape(-1, *shape)]
        return np.stack(videos).reshape(*latents.shape[:-4], *videos[0].shape)


@functools.partial(jax.jit, static_argnames="chunk")
def _decode(vae: WanVAE, latent: Any, chunk: int | None) -> Array:
    return vae.decode(latent, chunk=chunk)


def sample(folder: str | os.PathLike, prompt: str, **options: Any) -> flow.Trajectory:
    """`open(folder).sample(prompt, **options)`."""
    return open(folder).sample(prompt, **options)


def _assigned(lora: Lora, folder: folders.Folder) -> Lora:
    """The LoRA with its expert; ValueError where it has none, or its name speaks of the other."""
    named = {m[1].lower() for m in _EXPERT.finditer(pathlib.Path(lora.path).name)}
    if not pathlib.Path(lora.path).exists():
        raise FileNotFoundError(f"{lora.path}: no such LoRA file")
    if len(folder.networks) == 1:
        if lora.expert not in (None, BOTH):
            raise ValueError(f"{lora.path}: a LoRA for the {lora.expert} expert, {folder.name} has one network")
        return lora._replace(expert=BOTH)
    if lora.expert is None:
        if len(named) != 1:
            raise ValueError(f"{lora.path}: say which expert of {folder.name} it changes: high, low or both")
        return lora._replace(expert=named.pop())
    if lora.expert not in (BOTH, HIGH, LOW):
        raise ValueError(f"{lora.path}: expert {lora.expert!r}, expected high, low or both")
    if len(named) == 1 and lora.expert not in (BOTH, *named):
        raise ValueError(f"{lora.path}: given to the {lora.expert} expert, but its name speaks of the other")
    return lora


def _picture(given: Any) -> np.ndarray:
    return conditions.read_image(given) if isinstance(given, (str, os.PathLike)) else np.asarray(given)
