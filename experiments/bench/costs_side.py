"""vrjax beside itself: what the sampler's promises cost, and a preference step beside a training step.

Recording and compilation are measured on the shipped model and one maze (225 tokens, 20 Euler steps).

A training step costs 3 forwards a clip (the backward pass counts as two). A preference step with N losers and a live
reference costs (1 + N)(3 + 1), with stored reference errors (1 + N) 3 (`jobs.preference.forwards`). Its row is
time(preference) / time(training) over the ratio of those counts: 1 is what the count says. The model is that of
`configs/chain_of_steps/worlds.py`, random batches of 8, all weights trained, by AdamW: Muon has a fixed cost of its
own, which would flatter the larger step.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench import driving, timing
from vrjax import parallel, tasks
from vrjax.align import step as preference
from vrjax.align.config import AlignConfig, Preference, Reference
from vrjax.flow import Record, Trajectory, grids, sample
from vrjax.models.embedded import conditions, shipped
from vrjax.motion import program, to_276
from vrjax.plan.jobs import preference as plan
from vrjax.train import step as training
from vrjax.train.config import Optim, TrainConfig, load

LATENT = (9, 10, 10, 3)
BATCH = 8  # clips, or pairs, in a step
STEPS = 20
CLIP = 60  # frames of 3 s
PREFERENCES = {
    "preference_1": (1, Reference(kind="frozen")),
    "preference_3": (3, Reference(kind="frozen")),
    "preference_stored": (1, Reference(kind="precomputed", draws=4)),
}


def start(cores: int, devices: int) -> None:
    """Nothing to set: the work stays on one device."""


def cost(name: str, count: int) -> np.ndarray:
    """The ratios of a row (see `cases.COSTS`), of `count` pairs of calls where times are taken."""
    if name in PREFERENCES:
        return _preference(*PREFERENCES[name], count)
    rows = {
        "recording": _recording,
        "recorded_bytes": _recorded_bytes,
        "compiling": _compiling,
        "motions": _motions,
        "drive_16": functools.partial(driving.frame, 16),
        "drive_28": functools.partial(driving.frame, 28),
        "drive_worlds": driving.together,
        "learned_drive": functools.partial(driving.learned_frame, 50),
        "learned_drive_p95": functools.partial(driving.learned_frame, 95),
    }
    return rows[name](count)


@functools.cache
def _sampler(steps: int, record: Record) -> tuple[Callable, tuple]:
    """A sampling function of the shipped model, and its arguments."""
    dit = shipped.load("worlds")
    clip = tasks.get("maze").make(0, "test")
    given = conditions.example(clip, text_len=dit.cfg.text_len, text_dim=dit.cfg.text_dim)
    noise = jax.random.normal(jax.random.key(0), given["latent"].shape)
    grid = grids.shifted(steps, shift=3.0)

    def run(dit: Any, noise: Any) -> Trajectory:
        return sample(dit.velocity(given["text"], given["image"]), noise, grid, record=record)

    return run, (dit, noise)


def _compiled(record: Record) -> tuple[Any, tuple]:
    run, arguments = _sampler(STEPS, record)
    return jax.jit(run).lower(*arguments).compile(), arguments


def _recording(count: int) -> np.ndarray:
    (full, arguments), (bare, _) = _compiled(Record()), _compiled(Record(steps=()))
    wait = jax.block_until_ready
    return timing.ratios(lambda: wait(full(*arguments)), lambda: wait(bare(*arguments)), count)


def _recorded_bytes(count: int) -> np.ndarray:
    del count
    (full, (_, noise)), (bare, _) = _compiled(Record()), _compiled(Record(steps=()))
    stats = [compiled.memory_analysis() for compiled in (full, bare)]
    kept = stats[0].output_size_in_bytes - stats[1].output_size_in_bytes
    return np.array([kept / ((STEPS + 1 + STEPS + STEPS) * noise.size * 4)])


def _compiling(count: int) -> np.ndarray:
    def of(steps: int) -> Callable[[], object]:
        run, arguments = _sampler(steps, Record())

        def fresh() -> object:
            jax.clear_caches()
            return jax.jit(run).lower(*arguments).compile()

        return fresh

    return timing.ratios(of(200), of(10), max(3, count // 3))


def _motions(count: int) -> np.ndarray:
    """Seconds for 1,000 motions, each with its text's tokens, its contacts and its 276 channels."""

    def one(key: jax.Array) -> Any:
        drawn, performed = jax.random.split(key)
        script = program.draw(drawn, "S")
        clip = program.perform(performed, script, CLIP + 1)
        return program.tokens(script, 0), clip.contacts, to_276(*clip.motion)

    run = jax.jit(lambda key: jax.lax.map(lambda keys: jax.vmap(one)(keys), jax.random.split(key, (10, 100))))
    make = lambda: jax.block_until_ready(run(jax.random.key(0)))
    make()
    return np.array([timing.timer(make)()[0] for _ in range(count)])


@functools.cache
def _training() -> tuple[TrainConfig, Any, Callable[[], Any]]:
    """The plain training step: its config, its mesh and a call of it."""
    plain = load(pathlib.Path(__file__).parents[2] / "configs" / "chain_of_steps" / "worlds.py")
    data = dataclasses.replace(plain.data, batch=BATCH)
    plain = dataclasses.replace(plain, data=data, accumulate=1, optim=Optim(kind="adamw"))
    mesh = parallel.run_mesh(plain.mesh)
    update, shapes = training.abstract(plain, mesh, LATENT)
    return plain, mesh, timing.repeated(update, *_filled(shapes))


def _preference(losers: int, reference: Reference, count: int) -> np.ndarray:
    plain, mesh, train = _training()
    shared = {f.name: getattr(plain, f.name) for f in dataclasses.fields(TrainConfig)}
    shared["objective"] = dataclasses.replace(plain.objective, drop=0.0, drop_others=0.0)
    config = AlignConfig(**shared, preference=Preference(losers=losers), reference=reference, pairs="random")
    update, shapes = preference.abstract(config, mesh, LATENT)
    found = timing.ratios(timing.repeated(update, *_filled(shapes)), train, count)
    return found / (plan.forwards(config) / 3)


def _filled(shapes: Any) -> Any:
    """Arrays of the shapes of `abstract`: small weights and noise, a real key."""
    keys = iter(jax.random.split(jax.random.key(0), 500))

    def fill(leaf: Any) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.device_put(jax.random.key(0), leaf.sharding)
        if leaf.dtype == jnp.int32:
            return jax.device_put(jnp.zeros(leaf.shape, jnp.int32), leaf.sharding)
        return jax.device_put(0.02 * jax.random.normal(next(keys), leaf.shape, leaf.dtype), leaf.sharding)

    return jax.tree.map(fill, shapes)
