"""The trainings of a seed: a teacher of text and references, and from it four short ones that differ in data alone.

    teacher = training.teacher(study, here, seed)            # read, or trained and kept
    student = training.further(study, here, seed, "student", bank)
    model = training.model(student)                          # a MotionDiT, to be sampled in either mode

The teacher alternates between two compiled updates of one set of weights: text on motions of S, and references on
motions of S and on such as wander at random (`vrjax.motion.program.wander`). A branch that has seen references of S
alone shows verbs of S whatever it is led by (`tuning.md`).

A further training goes on from the teacher, told by text. Half of each batch is of S, the same motions in the same
order for every one of them, under the same noises; the other half is drawn from a bank, which is all they differ in.
"""

import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, traverse_util
from jaxtyping import Array, Float

from experiments.vimogen.config import Trainings, ViMoGen
from vrjax.data import motions
from vrjax.data.motions import Motions
from vrjax.flow import draws
from vrjax.models import motion as motion_models
from vrjax.models.motion import MotionConfig, MotionDiT
from vrjax.motion import rep276
from vrjax.study.tables import Bench, Tables
from vrjax.train import optim, step, update
from vrjax.train.config import Data, Objective, Optim, TrainConfig
from vrjax.train.state import Network, State

MODEL = MotionConfig(
    mode="text",
    dim=96,
    ffn_dim=384,
    heads=4,
    layers=4,
    reference_layers=2,
    text_dim=96,
    text_len=24,
    predicts="clean",
    gate_init=1.0,
    unroll=True,
)
"""That of `configs/vimogen/small.py`."""
TEXT = (MODEL.text_len, MODEL.text_dim)
ROWS = Motions().rows
MOCAP = Motions(sets=("S",))
FRESH, TEACHER, FURTHER = 0, 1, 2  # streams of a seed
BLOCK = 50  # updates whose mean error is kept
TOLD = Objective(shift=5.0, drop=0.1, channel_weights=((258, 3.0),), weighting="bsmntw")
LED = dataclasses.replace(TOLD, drop=0.0)


class Bank(NamedTuple):
    """What a further training is shown beside S.

    Attributes:
        latent (n, t, 276): normalised rows.
        text (n, l, d): what they are called.
        alone (n, 276): 1 for channels that are learned, 0 for those of a poor estimate (all but joints' rotations).
    """

    latent: Float[Array, "n t d"]
    text: Float[Array, "n l w"]
    alone: Float[Array, "n d"]


def bank(latent: Any, text: Any, *, estimated: bool) -> Bank:
    """Of motions with text; of `estimated` ones the joints' own rotations alone are learned, as ViMoGen does."""
    channels = np.arange(rep276.WIDTH) < (rep276.BODY.stop if estimated else rep276.WIDTH)
    return Bank(
        jnp.asarray(latent), jnp.asarray(text), jnp.broadcast_to(jnp.float32(channels), (len(latent), len(channels)))
    )


def joined(*banks: Bank) -> Bank:
    """Several banks as one."""
    return Bank(*(jnp.concatenate(parts) for parts in zip(*banks, strict=True)))


def more_mocap(seed: int, count: int) -> Bank:
    """Motions of S that are in no other training: the control's bank."""
    spec = dataclasses.replace(MOCAP, corrupted=False)
    numbers = jnp.arange(count, dtype=jnp.uint32) + jnp.uint32(2**31)
    made = jax.jit(functools.partial(motions.make, spec, text=TEXT))(seed, numbers)
    return bank(made["latent"], made["text"], estimated=False)


# ------------------------------------------------------------------------------------------------------------ programs


def config(lengths: Trainings, mode: str, *, teacher: bool) -> TrainConfig:
    """The run that an update belongs to; its data are made by this module."""
    return TrainConfig(
        name=f"vimogen-{mode}",
        model=dataclasses.replace(MODEL, mode=mode),
        steps=lengths.teacher if teacher else lengths.short,
        data=Data(batch=lengths.batch),
        objective=LED if mode == "motion" else TOLD,
        optim=Optim(kind="muon", lr=lengths.lr if teacher else lengths.short_lr),
    )


@functools.cache
def program(lengths: Trainings, mode: str, *, teacher: bool) -> Callable[..., tuple[State, Array]]:
    """The compiled update `(state, seed, number, bank) -> (state, error)`, one for all seeds; the state is donated, and
    a teacher's bank is None."""
    body = step.body(Network(config(lengths, mode, teacher=teacher), {}))

    def move(state: State, seed: Array, number: Array, shown: Bank | None) -> tuple[State, Array]:
        key = jax.random.fold_in(draws.key(seed), TEACHER if teacher else FURTHER)
        state, metrics = body(state, {}, _batch(lengths, mode, seed, number, key, shown), key)
        return state, metrics["relative"]

    return jax.jit(move, donate_argnums=0)


def _batch(
    lengths: Trainings, mode: str, seed: Array, number: Array, key: Array, shown: Bank | None
) -> dict[str, Array]:
    """The examples of an update; see the module."""
    size = lengths.batch if shown is None else lengths.batch // 2
    spec, first = MOCAP, number * size
    if shown is not None:
        first = first + jnp.uint32(2**30)  # beyond those of the teacher
    if mode == "motion":
        spec = dataclasses.replace(MOCAP, wander=lengths.wander, told_by_text=(0.0,))
    made = motions.make(spec, seed, first + jnp.arange(size, dtype=jnp.uint32), text=TEXT)
    names = ("latent", "text", "reference") if mode == "motion" else ("latent", "text")
    batch = {name: made[name] for name in names}
    if shown is None:
        return batch
    others = lengths.batch - size
    index = jax.random.randint(jax.random.fold_in(key, number), (others,), 0, len(shown.latent))
    batch = {name: jnp.concatenate([batch[name], getattr(shown, name)[index]]) for name in names}
    return batch | {"channels_alone": jnp.concatenate([jnp.ones((size, rep276.WIDTH)), shown.alone[index]])}


# ----------------------------------------------------------------------------------------------------------- trainings


def fresh(seed: Any) -> Any:
    """A seed's weights before any update, nested."""
    return _fresh(MODEL, jnp.asarray(seed, jnp.uint32))


@functools.partial(jax.jit, static_argnums=0)
def _fresh(cfg: MotionConfig, seed: Array) -> Any:
    return nnx.to_pure_dict(nnx.split(motion_models.init(cfg, jax.random.fold_in(draws.key(seed), FRESH)))[1])


def teacher(study: ViMoGen, here: Bench, seed: int) -> Tables:
    """The teacher's weights by name, and its `curve.text`, `curve.motion` and `curve.seconds` (of a core, compilation
    included), from the run folder or trained."""

    def make() -> Tables:
        every = study.trainings.every
        modes = ["motion" if number % every == every - 1 else "text" for number in range(study.trainings.teacher)]
        return _trained(study, here, seed, "teacher", fresh(seed), modes, None)

    return here.part(f"weights{seed}-teacher", make, packed=False)


def further(study: ViMoGen, here: Bench, seed: int, name: str, start: Tables, shown: Bank) -> Tables:
    """As `teacher`, of a training that goes on from the weights `start` with a bank."""
    make = lambda: _trained(study, here, seed, name, weights(start), ["text"] * study.trainings.short, shown)
    content = hashlib.sha256()
    for array in (*shown, *start.values()):
        content.update(np.ascontiguousarray(array).tobytes())
    return here.part(f"weights{seed}-{name}", make, of={"bank": content.hexdigest()}, packed=False)


def _trained(
    study: ViMoGen, here: Bench, seed: int, name: str, params: Any, modes: list[str], shown: Bank | None
) -> Tables:
    lengths, began = study.trainings, time.process_time()
    runs = {mode: program(lengths, mode, teacher=shown is None) for mode in dict.fromkeys(modes)}
    tx, _ = optim.of(config(lengths, modes[0], teacher=shown is None).optim, len(modes))
    state = jax.jit(functools.partial(update.start, tx=tx))(jax.tree.map(jnp.array, params))
    errors: dict[str, list[Array]] = {mode: [] for mode in runs}
    with here.bar(f"seed {seed}: {name}", len(modes)) as tick:
        for number, mode in enumerate(modes):
            state, error = runs[mode](state, np.uint32(seed), np.uint32(number), shown)
            errors[mode].append(error)
            if number % BLOCK == BLOCK - 1 or number == len(modes) - 1:
                jax.block_until_ready(state)
                tick(min(BLOCK, number % BLOCK + 1))
    flat = traverse_util.flatten_dict(state.params, sep=".")
    curves = {f"curve.{mode}": blocks(np.asarray(jnp.stack(found))) for mode, found in errors.items()}
    curves["curve.seconds"] = np.array([time.process_time() - began], np.float32)
    return {key: np.asarray(value) for key, value in flat.items()} | curves


def blocks(errors: np.ndarray, size: int = BLOCK) -> Float[np.ndarray, " blocks"]:
    """Means of every `size` errors, of the last that are left."""
    return np.array([errors[i : i + size].mean() for i in range(0, len(errors), size)], np.float32)


def weights(of: Mapping[str, np.ndarray]) -> Any:
    """The weights among what a training left, nested."""
    return traverse_util.unflatten_dict({k: v for k, v in of.items() if not k.startswith("curve.")}, sep=".")


def model(params: Any) -> MotionDiT:
    """The network of nested weights, which samples in mode "text" and "motion"."""
    return nnx.merge(_graph(), nnx.State(jax.tree.map(jnp.asarray, params)))


@functools.cache
def _graph() -> Any:
    plain = dataclasses.replace(MODEL, unroll=False, mode="mixed")
    return nnx.split(nnx.eval_shape(lambda: motion_models.init(plain, jax.random.key(0))))[0]
