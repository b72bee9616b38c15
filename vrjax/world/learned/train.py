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
from collections.abc import Callable, Mapping, Sequence
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
from vrjax.world.learned import files, library, measure, odometry, practice, reader, strays
from vrjax.world.learned import patches as squares
from vrjax.world.learned.world import Learned, Spec, fits

FILMS, SQUARES, READING, MEASURED, KEPT = 10, 11, 12, 13, 14
"""Streams of randomness folded into the run's seed, beside those of `vrjax.train.state`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorldConfig(TrainConfig):
    """A training run of a world. Of `data` only the batch is read, of `objective` only what levels are drawn."""

    spec: Spec = Spec()
    """The exact world, and how the learned one will be asked."""
    frames: int = 8
    """Of a film."""
    forcing: Literal["teacher", "diffusion", "self"] = "teacher"
    """Beside clean frames; every frame at a level of its own, for half as many tokens; or as the world will be asked,
    behind frames that the network made itself, for a training that goes on from one of the others (`start`). Those are
    compared with the film's after a number of denoising steps that is drawn (noise joins anew between steps, whatever
    `spec.solver` is), so the film must follow from what is known: of what is left to chance the mean is learned."""
    context: float = 0.0
    """teacher: clean frames are shown with noise, at a level up to this, one a film."""
    counts: Literal["velocity", "frame"] = "velocity"
    """What errors are measured of: velocities, in which a frame's error counts 1 / sigma² times; or frames, at all
    levels alike, so that what is easy at low levels does not drown what must be known at high ones."""
    films: library.Library | None = None
    """Films that are drawn once, beside all runs, of a world whose actions are a pedal and a wheel; None: films are
    drawn in the update. What is read is then how far the car has come, and the world is measured by films held back."""
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
        if self.forcing == "self" and self.counts != "frame":
            raise ValueError(f"{where}: self-forcing compares frames, found counts={self.counts!r}, expected 'frame'")
        if self.spec.context > self.context:
            raise ValueError(
                f"{where}: spec.context={self.spec.context}, but frames are shown with noise up to {self.context}"
            )
        lowest = float(objectives.shift_sigma(self.objective.low, self.objective.shift))
        asked = self.spec.grid.sigmas[-2]
        if self.forcing != "self" and asked < lowest - 1e-6:
            raise ValueError(f"{where}: is to be asked at level {asked:.3f}, but none below {lowest:.3f} is trained")
        if self.spec.regression and (self.forcing != "teacher" or self.context):
            raise ValueError(f"{where}: a regression is taught beside clean frames, found forcing={self.forcing!r}")
        if min(self.reading, self.measured) < 0 or (self.measured and not self.reading):
            raise ValueError(
                f"{where}: reading={self.reading}, measured={self.measured}: what is measured must be read"
            )
        if self.films is not None and (self.spec.names or self.films.frames < self.frames):
            raise ValueError(f"{where}: films={self.films}, expected them as long as a stretch, and no places in spec")
        if self.reading and not self.spec.names and self.films is None:
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

    Called again after a kill it goes on from the last checkpoint; called when it is done it reads the world. Where
    `config.start` is the network of a learned world, what that one knows of pixels is kept: its squares, which are what
    the network's latents mean, and what reads places or the way.

    Args and raises as `vrjax.train.loop.run`; also ValueError for a start in a world of other things or squares.
    """
    films, begun = drawn(config.films, config.spec, config.seed, root), _begun(config)
    patches, share = fitted(config, films) if begun is None else (begun.patches, None)
    learned_from = taught(films, config.films, patches)
    loop.run(
        config,
        root=root,
        fresh=fresh,
        prepare=functools.partial(prepare, patches=patches, films=learned_from),
        wanting=ready.start,
        log=log,
    )
    told: dict[str, Any] = {"variance": share}

    def made(network: Any) -> Learned:
        read, odometer = None, None
        if begun is not None and (begun.reader, begun.odometer) != (None, None):
            read, odometer = begun.reader, begun.odometer
        elif learned_from is not None and config.reading:
            odometer = odometry.fit(states.run_key(config, READING), *learned_from[::2], updates=config.reading)
        elif config.reading:
            draw = functools.partial(_still, config.spec)
            count = len(jax.eval_shape(lambda: draw(draws.key(0)))[1])
            read, error = reader.fit(states.run_key(config, READING), draw, count, updates=config.reading)
            told["reading"] = float(error)
        return files.assembled(network, patches, read, config.spec, odometer)

    return finished(config, root, films, made, told)


def finished(
    config: Any,
    root: str | pathlib.Path,
    films: library.Films | None,
    make: Callable[[Any], Learned],
    told: Mapping[str, Any],
) -> Learned:
    """The world of a run whose updates are done: read where it is kept already; otherwise made, measured and saved.

    Args:
        config, root: of the run. films: those of its library, by which it is measured.
        make: the world of the trained network.
        told: what its file says beside the config, once it is made.
    """
    folder = pathlib.Path(root) / config.name
    there, model = folder / "world", kept.fingerprint(folder / "model")
    if (there / files.ABOUT).exists() and files.about(there)["about"].get("model") == model:
        return files.load(there)
    w = make(family.of(config.model).load(folder / "model"))
    about = {"model": model, **told, "config": writing.to_dict(config)}
    if config.measured:
        about |= measured(config, w, films)
    files.save(w, there, about, replace=True)
    return files.load(there)


def _begun(config: WorldConfig) -> Learned | None:
    """The learned world whose network the run starts from, if it does."""
    if config.start is None or not (pathlib.Path(config.start).parent / files.ABOUT).is_file():
        return None
    begun = files.load(pathlib.Path(config.start).parent)
    told = lambda spec, side: f"{spec.world}: {spec.moving}, {spec.still}, scale {spec.scale}, squares of {side}"
    found, wanted = told(begun.spec, squares.side(begun.patches)), told(config.spec, config.patch)
    if found != wanted:
        raise ValueError(f"config {config.name!r}: starts from a world of {found}, expected {wanted}")
    return begun


def drawn(given: library.Library | None, spec: Spec, seed: int, root: str | pathlib.Path) -> library.Films | None:
    """The films that runs of a seed in `root` share, drawn or read; None where none are kept."""
    return None if given is None else library.drawn(spec, given, seed, pathlib.Path(root) / "films", KEPT)


def taught(
    films: library.Films | None, given: library.Library | None, patches: squares.Patches
) -> library.Taught | None:
    """What a network is trained on of kept films; None where none are kept."""
    return None if films is None or given is None else library.taught(films, given, patches)


def measured(config: Any, w: Learned, films: library.Films | None) -> dict[str, dict[str, list]]:
    """How far a world strays at the end of its run, for its file: over films that were held back, or fresh ones."""
    key = states.run_key(config, MEASURED)
    if films is not None:
        name, found = "strays", strays.measured(w, library.held(films, config.films), key)
    else:
        name, found = "drift", measure.drift(w, key, episodes=config.measured, steps=2 * config.frames)
    return {name: {part: np.round(np.asarray(value), 4).tolist() for part, value in found._asdict().items()}}


def fitted(config: WorldConfig, films: library.Films | None = None) -> tuple[squares.Patches, float]:
    """The map between pixels and latents of a run, and the share of variance that it keeps; of the seed alone."""
    home, channels = config.spec.home, family.of(config.model).channels(config.model)
    if films is not None:
        frames = library.pixels(films.frames[:, :: max(films.frames.shape[1] // 4, 1)]).reshape(-1, *home.frame)
        return squares.fit(frames, config.patch, channels)
    look = jax.jit(jax.vmap(lambda key: practice.film(home, config.spec.names, key, 2).frames))
    frames = look(jax.random.split(states.run_key(config, SQUARES), 256))
    return squares.fit(np.asarray(frames, np.float64).reshape(-1, *home.frame), config.patch, channels)


def _still(spec: Spec, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    return practice.still(spec.home, spec.names, key, spec.scale)


def prepare(made: loop.Made, *, patches: squares.Patches, films: library.Taught | None = None) -> loop.Parts:
    """The parts of a world's training: see `vrjax.train.loop.Parts`. `films`: what stretches are cut from."""
    config: Any = made.network.config
    whole = made.shardings.step
    sharding = states.batch_sharding(config, made.mesh)
    base = made.network.base
    moved = jax.jit(
        body(made.network),
        donate_argnums=0,
        in_shardings=(made.shardings, jax.tree.map(lambda x: x.sharding, base), whole, sharding, whole, whole),
        out_shardings=(made.shardings, whole),
    )
    data = batches.pipeline(motions.Numbers(config.seed), batch=config.data.batch, rows=made.rows)
    films = jax.device_put(films, whole)
    return loop.Parts(made.state, lambda state, base, batch, key: moved(state, base, patches, batch, key, films), data)


def seen(
    spec: Spec, frames: int, patches: squares.Patches, films: library.Taught | None, seed: Any, number: Any
) -> tuple[Any, Any]:
    """Latents (frames, h, w, c) and actions of a number in a run of a seed: of a film of its own, or of a stretch of
    those that are kept. All but `spec` and `frames` may be traced."""
    key = jax.random.fold_in(jax.random.fold_in(draws.key(seed), FILMS), number)
    if films is not None:
        return library.stretch(films, frames, key)
    film = practice.film(spec.home, spec.names, key, frames, shoved=spec.moving[1:])
    return squares.encode(patches, film.frames), film.actions


def body(network: states.Network) -> Callable[..., tuple[Any, dict[str, jax.Array]]]:
    """The update as a pure function `(state, base, patches, batch, key, films=None) -> (state, metrics)`.

    The batch holds `seed` and `number` of each film, or of what is cut from `films`. Metrics are those of
    `vrjax.train.step.body`.
    """
    config: Any = network.config
    spec = config.spec

    def rolled(at: Any, model: Any, x0: Any, actions: Any, noise: Any, key: Any) -> jax.Array:
        calls = cached.calls(model, {"actions": actions}, x0.shape)
        how: dict[str, Any] = {"given": x0[:1], "step": at, "context_sigma": spec.context}
        made = objectives.self_forcing(calls, noise[1:], spec.grid, key, **how).latents
        return jnp.mean(jnp.square(made[1:] - x0[1:]))

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

    def step(state: Any, base: Any, patches: squares.Patches, batch: Any, key: Any, films: Any = None):
        tx, rate = optim.of(config.optim, config.steps)
        look = functools.partial(seen, spec, config.frames, patches, films)
        x0, actions = parallel.batch(network.layout, look)(batch["seed"], batch["number"])
        keys = jax.random.split(jax.random.fold_in(key, state.step), 4)
        noise = jax.random.normal(keys[0], x0.shape) * (not spec.regression)
        if config.forcing == "self":
            turn, chance = keys[1:3]
            of = functools.partial(rolled, jax.random.randint(turn, (), 0, spec.steps))
            rows = (x0, actions, noise, jax.random.split(chance, len(x0)))
            zero = jnp.sum(x0[:, 1:] ** 2)
        else:
            sigma = _levels(config, keys[3], len(x0))
            level = config.context * jax.random.uniform(keys[2], (len(x0),))
            of, rows = error, (x0, actions, noise, sigma, jax.random.normal(keys[1], x0.shape), level)
            zero = jnp.sum(_weights(config, sigma)[..., None, None, None] * (noise - x0) ** 2)

        def loss(params: Any, *rows: Any) -> tuple[jax.Array, None]:
            one = functools.partial(of, network.build(params, base))
            return jnp.mean(parallel.batch(network.layout, one)(*rows)), None

        given = {"parts": config.accumulate, "decay": config.ema.decay, "ramp": config.ema.ramp}
        after, moved = update.move(loss, tx, state, rows, **given)
        unit = zero / x0[:, 1:].size  # the loss of answering zero
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
