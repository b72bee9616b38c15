"""From many denoising steps to few: a learned world is trained on its own rollouts, by distribution matching.

    w = learned.distill.run(config)                         # runs/<name>/world, asked in `steps` steps a frame

The student rolls films out as it will be used, from its own cache (self-forcing); a teacher and a critic look at them
made noisy, and the difference of what they see moves the student (DMD). The first frame is given in all three. The
teacher is any network with cached calls: the world's own, whose frames see those before them, or one of two chunks, one
frame and all others (`first=1`), which sees a film as a whole.

An update makes one batch of films. The critic first takes a few steps on them with fresh noise each, then the student
takes one. (The public code makes new films for each of the critic's steps.)
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from vrjax import parallel
from vrjax.data import batches, motions
from vrjax.models import cached, family
from vrjax.train import loop, objectives, optim, ready, update
from vrjax.train import state as states
from vrjax.train import step as steps
from vrjax.train.config import Objective, Optim, TrainConfig, Validate
from vrjax.world.learned import files, library, train
from vrjax.world.learned import patches as squares
from vrjax.world.learned.world import CLEAN, Learned, Spec


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillConfig(TrainConfig):
    """A run that distils a world. Of `data` only the batch is read, of `objective` only what levels are drawn."""

    world: str
    """Folder of the learned world: where the student starts unless `start` says where, what is a latent, how places are
    read."""
    teacher: str | None = None
    """Folder of the teacher's network; by default the world's own."""
    few: int = 2
    """Denoising steps of the student."""
    shift: float = 1.0
    """Of their levels."""
    frames: int = 6
    """Of a film."""
    critic_steps: int = 3
    """Steps of the critic in one update."""
    critic_lr: float = 1e-3
    """Its learning rate (Adam, constant behind the warm-up)."""
    films: library.Library | None = None
    """Films that are drawn once, as in the world's own training: with its seed, the same ones."""
    measured: int = 64
    """Episodes by which the world is measured in the end; 0: none."""
    optim: Optim = Optim(kind="adamw", lr=3e-4, b1=0.0, b2=0.99, warmup=10)
    objective: Objective = Objective(shift=1.0, drop=0.0, low=0.02, high=0.98)
    validate: Validate = Validate(every=0, final_clips=0)

    def __post_init__(self):
        super().__post_init__()
        where = f"config {self.name!r}"
        if min(self.few, self.critic_steps) < 1 or self.frames < 2 or self.measured < 0 or not self.critic_lr > 0:
            raise ValueError(
                f"{where}: few={self.few}, critic_steps={self.critic_steps}, frames={self.frames}, measured="
                f"{self.measured}, critic_lr={self.critic_lr}, expected 1 or more of the first two, 2 or more frames"
            )
        if self.lora is not None or self.accumulate != 1:
            raise ValueError(f"{where}: a world is distilled as a whole, found lora or accumulate set")
        train.plain(self)

    def asked(self, spec: Spec) -> Spec:
        """How the student is asked, where the world was asked as `spec` says."""
        return dataclasses.replace(
            spec, steps=self.few, shift=self.shift, solver="renoise", regression=False, context=0.0
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State(states.State):
    """The state of a training, and the critic's weights and optimiser."""

    critic: Any
    critic_optimizer: Any


def run(
    config: DistillConfig, *, root: str | pathlib.Path = "runs", fresh: bool = False, log: Sequence[str] = ()
) -> Learned:
    """Distils a world in `root/<name>` to its end, and keeps it in `root/<name>/world`; goes on where it stopped.

    Args and raises as `vrjax.train.loop.run`; also FileNotFoundError and ValueError for a world or teacher that cannot
    be read, is not of this model, or whose chunks do not begin with the given frame.
    """
    if config.start is None:
        config = dataclasses.replace(config, start=str(pathlib.Path(config.world) / files.NETWORK))
    world = files.load(config.world)
    teacher = world.network if config.teacher is None else family.of(config.model).load(config.teacher)
    if (chunks := cached.of(teacher.cfg).chunks(teacher.cfg, config.frames))[0] != 1:
        raise ValueError(f"config {config.name!r}: a teacher of chunks {chunks}, expected the first to be one frame")
    films = train.drawn(config.films, world.spec, config.seed, root)
    if (films is None) != (world.odometer is None):
        raise ValueError(
            f"config {config.name!r}: films={config.films}, expected what the world was trained on: films "
            "of a world with an odometer, none of one that reads places"
        )
    learned_from = train.taught(films, config.films, world.patches)
    beside = functools.partial(prepare, world=world, teacher=teacher, films=learned_from)
    loop.run(config, root=root, fresh=fresh, prepare=beside, wanting=ready.start, log=log)
    made = lambda network: files.assembled(
        network, world.patches, world.reader, config.asked(world.spec), world.odometer
    )
    return train.finished(config, root, films, made, {})


def critic_of(config: DistillConfig) -> optax.GradientTransformation:
    """The critic's optimiser."""
    rate = optax.linear_schedule(0.0, config.critic_lr, max(config.optim.warmup * config.critic_steps, 1))
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, b1=0.0, b2=0.99))


def prepare(made: loop.Made, *, world: Learned, teacher: Any, films: library.Taught | None = None) -> loop.Parts:
    """The parts of a run: see `vrjax.train.loop.Parts`. The critic starts as the teacher; `films`: what stretches are
    cut from."""
    config: Any = made.network.config
    whole, rows = made.shardings.step, states.batch_sharding(config, made.mesh)
    tx, like = critic_of(config), {f.name: getattr(made.state, f.name) for f in dataclasses.fields(states.State)}
    begun = jax.jit(lambda teacher: (jax.tree.map(jnp.copy, teacher), tx.init(teacher)), out_shardings=whole)(teacher)
    state = State(**like, critic=begun[0], critic_optimizer=begun[1])
    places = {f.name: getattr(made.shardings, f.name) for f in dataclasses.fields(states.State)}
    everywhere = jax.tree.map(lambda _: whole, begun)
    shardings = State(**places, critic=everywhere[0], critic_optimizer=everywhere[1])
    moved = jax.jit(
        body(made.network, world.spec),
        donate_argnums=0,
        in_shardings=(shardings, whole, whole, rows, whole, whole),
        out_shardings=(shardings, whole),
    )
    data = batches.pipeline(motions.Numbers(config.seed), batch=config.data.batch, rows=made.rows)
    films, given = jax.device_put(films, whole), (world.patches, teacher)
    return loop.Parts(state, lambda state, _, batch, key: moved(state, *given, batch, key, films), data)


def scored(network: Any, actions: Any, film: Any) -> Callable[[Any, Any], Any]:
    """The velocity `(x (f - 1, h, w, c), level) -> v` of what follows a film's first frame, beside the film itself."""
    calls = cached.calls(network, {"actions": actions}, film.shape)

    def velocity(x: Any, level: Any) -> Any:
        return calls.forced(jnp.concatenate([film[:1], x]), level, film, CLEAN).v[1:]

    return velocity


def body(network: states.Network, spec: Spec) -> Callable[..., tuple[Any, dict[str, jax.Array]]]:
    """The update as a pure function `(state, patches, teacher, batch, key, films=None) -> (state, metrics)`.

    Metrics are those of any training, of the student; `relative` is the critic's error over that of answering zero, and
    `away` the mean distance of the student's films from the teacher's estimates of them.
    """
    config: Any = network.config
    grid, tx_critic = config.asked(spec).grid, critic_of(config)
    each = functools.partial(parallel.batch, network.layout)

    def roll(params: Any, x0: Any, actions: Any, noise: Any, key: Any, step: Any) -> Any:
        calls = cached.calls(network.build(params, {}), {"actions": actions}, x0.shape)
        return objectives.self_forcing(calls, noise, grid, key, given=x0[:1], step=step).latents

    def criticised(critic: Any, film: Any, actions: Any, noise: Any, sigma: Any) -> Any:
        level = objectives.level_of(sigma)
        return objectives.fake_error(scored(critic, actions, film), film[1:], noise, level)

    def step(state: State, patches: squares.Patches, teacher: Any, batch: Any, key: Any, films: Any = None):
        tx, rate = optim.of(config.optim, config.steps)
        look = functools.partial(train.seen, spec, config.frames, patches, films)
        x0, actions = each(look)(batch["seed"], batch["number"])
        count = len(x0)
        keys = jax.random.split(jax.random.fold_in(key, state.step), 4)
        noise = jax.random.normal(keys[0], x0[:, 1:].shape)
        at = jax.random.randint(keys[1], (), 0, config.few)
        chance = jax.random.split(keys[2], count)
        level = lambda key: steps.levels(config.objective, key, count)

        def made(params: Any) -> Any:
            return each(functools.partial(roll, params), (0, 0, 0, 0, None))(x0, actions, noise, chance, at)

        shown = lax.stop_gradient(made(state.params))

        def learn(carry: Any, key: Any) -> tuple[Any, Any]:
            critic, moments = carry
            fresh, of_level = jax.random.split(key)
            rows = shown, actions, jax.random.normal(fresh, noise.shape), level(of_level)
            loss = lambda critic: jnp.mean(each(functools.partial(criticised, critic))(*rows))
            value, slope = jax.value_and_grad(loss)(critic)
            change, moments = tx_critic.update(slope, moments)
            return (optax.apply_updates(critic, change), moments), value

        *for_critic, last = jax.random.split(keys[3], config.critic_steps + 1)
        (critic, moments), errors = lax.scan(learn, (state.critic, state.critic_optimizer), jnp.stack(for_critic))
        joins, of_level = jax.random.split(last)
        fresh, sigma = jax.random.normal(joins, noise.shape), level(of_level)

        def moved_by(film: Any, seen: Any, actions: Any, noise: Any, sigma: Any) -> Any:
            real, fake = (scored(judge, actions, seen) for judge in (teacher, critic))
            return objectives.dmd(real, fake, film[1:], noise, objectives.level_of(sigma))

        def loss(params: Any) -> tuple[jax.Array, None]:
            return jnp.mean(each(moved_by)(made(params), shown, actions, fresh, sigma)), None

        given = {"decay": config.ema.decay, "ramp": config.ema.ramp}
        after, moved = update.move(loss, tx, state, (), **given)
        metrics = moved.metrics | {"lr": jnp.asarray(rate(state.step), jnp.float32), "critic": errors[-1]}
        metrics["relative"] = errors[-1] / objectives.zero_velocity_error(shown[:, 1:])
        return dataclasses.replace(after, critic=critic, critic_optimizer=moments), metrics

    return step
