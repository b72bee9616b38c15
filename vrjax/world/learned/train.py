"""The training of a learned world: `run(config)` starts it, or goes on with it, bit for bit.

    w = learned.train.run(config)                           # runs/<name>/world; learned.load reads it again

The loop is that of all training (`vrjax.train.loop`): checkpoints, the line on screen, rows, page. What is its own is
the update, one compiled program: films of the exact world are drawn in it, from numbers, and each is denoised beside
its own clean frames (teacher forcing) or at a level a frame (diffusion forcing). Behind the last update the reader of
places is trained, and the world is measured against the exact one.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from vrjax import parallel
from vrjax.data import batches, motions
from vrjax.files import kept, writing
from vrjax.flow import draws
from vrjax.models import cached, family
from vrjax.train import loop, objectives, optim, ready, update
from vrjax.train import state as states
from vrjax.train.config import Objective, TrainConfig, Validate
from vrjax.world.learned import files, measure, practice, reader
from vrjax.world.learned import patches as squares
from vrjax.world.learned.world import Learned, Spec, fits

FILMS, SQUARES, READING, MEASURED = 10, 11, 12, 13
"""Streams of randomness folded into the run's seed, beside those of `vrjax.train.state`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorldConfig(TrainConfig):
    """A training run of a world. Of `data` only the batch is read, of `objective` only what levels are drawn."""

    spec: Spec = Spec()
    """The exact world, and how the learned one will be asked."""
    frames: int = 8
    """Of a film."""
    forcing: Literal["teacher", "diffusion"] = "teacher"
    """Beside clean frames; or every frame at a level of its own, for half as many tokens."""
    context: float = 0.0
    """teacher: clean frames are shown with noise, at a level up to this, one a film."""
    counts: Literal["velocity", "frame"] = "velocity"
    """What errors are measured of: velocities, in which a frame's error counts 1 / sigma² times; or frames, at all
    levels alike, so that what is easy at low levels does not drown what must be known at high ones."""
    patch: int = 4
    """Side of the squares of pixels that are tokens; the model's channels are their components."""
    reading: int = 2000
    """Updates of the reader; 0: nothing is read."""
    measured: int = 64
    """Episodes by which the world is measured in the end, as long as two films; 0: none."""
    objective: Objective = Objective(shift=1.0, drop=0.0)
    validate: Validate = Validate(every=0, final_clips=0)

    def __post_init__(self):
        super().__post_init__()
        where = f"config {self.name!r}"
        plain(self)
        if self.frames < 2 or self.frames < (self.model.window or 0):
            raise ValueError(f"{where}: frames={self.frames}, expected 2 or more and at least the model's window")
        if not 0.0 <= self.context < 1.0 or (self.context and self.forcing == "diffusion"):
            raise ValueError(f"{where}: context={self.context}, expected a level in [0, 1), 0 with diffusion forcing")
        if self.spec.regression and (self.forcing != "teacher" or self.context):
            raise ValueError(f"{where}: a regression is taught beside clean frames, found forcing={self.forcing!r}")
        if min(self.reading, self.measured) < 0 or (self.measured and not self.reading):
            raise ValueError(
                f"{where}: reading={self.reading}, measured={self.measured}: what is measured must be read"
            )
        if self.reading and not self.spec.names:
            raise ValueError(f"{where}: reading={self.reading}, but spec names nothing that moves or stands")
        fits(self.spec, self.model)


def plain(config: TrainConfig) -> None:
    """Raises ValueError where fields are set that the training of a world does not read."""
    spec, where = config.objective, f"config {config.name!r}"
    levels = {name: getattr(spec, name) for name in ("times", "shift", "mean", "std", "low", "high")}
    if Objective(**levels, drop=0.0) != spec or config.data.cache is not None or config.data.motions is not None:
        raise ValueError(f"{where}: a world's films are drawn, and nothing is dropped or weighted; found other data")
    if config.validate.every or config.validate.final_clips:
        raise ValueError(f"{where}: a world has no clips to solve: set validate.every, validate.final_clips to 0")


def run(
    config: WorldConfig, *, root: str | pathlib.Path = "runs", fresh: bool = False, log: Sequence[str] = ()
) -> Learned:
    """Trains a world in `root/<name>` to its end, and keeps it in `root/<name>/world`.

    Called again after a kill it goes on from the last checkpoint; called when it is done it reads the world.

    Args and raises as `vrjax.train.loop.run`.
    """
    folder = pathlib.Path(root) / config.name
    patches, share = fitted(config)
    loop.run(
        config,
        root=root,
        fresh=fresh,
        prepare=functools.partial(prepare, patches=patches),
        wanting=ready.start,
        log=log,
    )
    there, model = folder / "world", kept.fingerprint(folder / "model")
    if (there / files.ABOUT).exists() and files.about(there)["about"].get("model") == model:
        return files.load(there)
    network = family.of(config.model).load(folder / "model")
    read, told = None, {"model": model, "variance": share, "config": writing.to_dict(config)}
    if config.reading:
        draw = functools.partial(_still, config.spec)
        count = len(jax.eval_shape(lambda: draw(draws.key(0)))[1])
        read, error = reader.fit(states.run_key(config, READING), draw, count, updates=config.reading)
        told["reading"] = float(error)
    w = files.assembled(network, patches, read, config.spec)
    if config.measured:
        key = states.run_key(config, MEASURED)
        found = measure.drift(w, key, episodes=config.measured, steps=2 * config.frames)
        told["drift"] = {name: np.round(np.asarray(value), 4).tolist() for name, value in found._asdict().items()}
    files.save(w, there, told, replace=True)
    return files.load(there)


def fitted(config: WorldConfig) -> tuple[squares.Patches, float]:
    """The map between pixels and latents of a run, and the share of variance that it keeps; of the seed alone."""
    home, channels = config.spec.home, family.of(config.model).channels(config.model)
    look = jax.jit(jax.vmap(lambda key: practice.film(home, config.spec.names, key, 2).frames))
    frames = look(jax.random.split(states.run_key(config, SQUARES), 256))
    return squares.fit(np.asarray(frames, np.float64).reshape(-1, *home.frame), config.patch, channels)


def _still(spec: Spec, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    return practice.still(spec.home, spec.names, key, spec.scale)


def prepare(made: loop.Made, *, patches: squares.Patches) -> loop.Parts:
    """The parts of a world's training: see `vrjax.train.loop.Parts`."""
    config: Any = made.network.config
    whole = made.shardings.step
    sharding = states.batch_sharding(config, made.mesh)
    base = made.network.base
    moved = jax.jit(
        body(made.network),
        donate_argnums=0,
        in_shardings=(made.shardings, jax.tree.map(lambda x: x.sharding, base), whole, sharding, whole),
        out_shardings=(made.shardings, whole),
    )
    data = batches.pipeline(motions.Numbers(config.seed), batch=config.data.batch, rows=made.rows)
    return loop.Parts(made.state, lambda state, base, batch, key: moved(state, base, patches, batch, key), data)


def drawn(spec: Spec, frames: int, seed: Any, number: Any) -> practice.Film:
    """The film of a number in a run of a seed; both may be traced."""
    key = jax.random.fold_in(jax.random.fold_in(draws.key(seed), FILMS), number)
    return practice.film(spec.home, spec.names, key, frames)


def body(network: states.Network) -> Callable[..., tuple[Any, dict[str, jax.Array]]]:
    """The update as a pure function `(state, base, patches, batch, key) -> (state, metrics)`.

    The batch holds `seed` and `number` of each film. Metrics are those of `vrjax.train.step.body`.
    """
    config: Any = network.config
    spec = config.spec

    def error(model: Any, x0: Any, actions: Any, noise: Any, sigma: Any, beside: Any, level: Any) -> jax.Array:
        given = {"actions": actions}
        weight = _weights(config, sigma)[:, None, None, None]
        count = x0[1:].size
        if config.forcing == "diffusion":
            velocity = family.of(model.cfg).velocity(model, given)
            return objectives.diffusion_forcing(velocity, x0, noise, sigma, weight=weight, total=count)
        calls = cached.calls(model, given, x0.shape)
        shown = {"clean_noise": beside, "clean_sigma": level} if config.context else {}
        return objectives.teacher_forcing(calls, x0, noise, sigma, **shown, weight=weight, total=count)

    def step(state: Any, base: Any, patches: squares.Patches, batch: Any, key: Any):
        tx, rate = optim.of(config.optim, config.steps)
        draw = functools.partial(drawn, spec, config.frames)
        films = parallel.batch(network.layout, draw)(batch["seed"], batch["number"])
        x0 = squares.encode(patches, films.frames)
        keys = jax.random.split(jax.random.fold_in(key, state.step), 4)
        noise, beside = jax.random.normal(keys[0], x0.shape), jax.random.normal(keys[1], x0.shape)
        level = config.context * jax.random.uniform(keys[2], (len(x0),))
        sigma = _levels(config, keys[3], len(x0))
        if spec.regression:
            noise = jnp.zeros_like(noise)

        def loss(params: Any, *rows: Any) -> tuple[jax.Array, None]:
            model = network.build(params, base)
            one = functools.partial(error, model)
            return jnp.mean(parallel.batch(network.layout, one)(*rows)), None

        rows = (x0, films.actions, noise, sigma, beside, level)
        given = {"parts": config.accumulate, "decay": config.ema.decay, "ramp": config.ema.ramp}
        after, moved = update.move(loss, tx, state, rows, **given)
        # The loss of answering zero.
        unit = jnp.sum(_weights(config, sigma)[..., None, None, None] * (noise - x0) ** 2) / x0[:, 1:].size
        return after, moved.metrics | {"relative": moved.loss / unit, "lr": jnp.asarray(rate(state.step), jnp.float32)}

    return step


def _weights(config: WorldConfig, sigma: jax.Array) -> jax.Array:
    """How much the errors of frames count, (*n, frames) as their levels: nothing leads to the first one."""
    weights = jnp.square(sigma) if config.counts == "frame" else jnp.ones_like(sigma)
    return weights.at[..., 0].set(0.0)


def _levels(config: WorldConfig, key: jax.Array, count: int) -> jax.Array:
    """Levels (count, frames) of a batch: 1 throughout for a regression."""
    spec, chunks = config.objective, cached.of(config.model).chunks(config.model, config.frames)
    if config.spec.regression:
        return jnp.ones((count, config.frames))
    how: dict[str, Any] = {"kind": spec.times, "shift": spec.shift, "mean": spec.mean, "std": spec.std}
    return objectives.sample_chunk_sigmas(key, count, chunks, low=spec.low, high=spec.high, **how)
