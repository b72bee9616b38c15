"""The smallest models and runs, one set for all tests: equal shapes, so that compiled programs are compiled once."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from vrjax.align.config import AlignConfig, Preference, Rollout
from vrjax.models import wan
from vrjax.models.wan import WanConfig
from vrjax.motion import Motion, program
from vrjax.motion.rotations import about
from vrjax.train.config import Checkpoint, Data, Optim, TrainConfig, Validate

# Four heads and sizes that four devices divide; 4 latent frames of 10 x 10 are 16 tokens, a clip of a task 36.
MODEL = WanConfig(
    dim=24,
    heads=4,
    ffn_dim=16,
    layers=2,
    in_channels=3 + 4,
    out_channels=3,
    patch=(1, 5, 5),
    freq_dim=8,
    text_dim=8,
    text_len=16,
    gate_init=1.0,
)

# The smallest network with as many blocks as the specialists of Chain-of-Steps.
SPECIALIST = WanConfig(
    dim=12,
    ffn_dim=16,
    heads=1,
    layers=6,
    in_channels=7,
    out_channels=3,
    freq_dim=16,
    text_dim=8,
    text_len=16,
    gate_init=1.0,
)

SHAPE = (4, 10, 10, 3)


def config(**changes) -> TrainConfig:
    """A training run of milliseconds per update that uses everything; `changes` replace fields."""
    tiny = TrainConfig(
        name="tiny",
        model=MODEL,
        data=Data(mix={"maze": 1.0}, batch=4),
        optim=Optim(warmup=2),
        steps=8,
        validate=Validate(every=4, clips=2, final_clips=2, steps=2, group=2),
        checkpoint=Checkpoint(every=2),
    )
    return dataclasses.replace(tiny, **changes)


def pod(**changes) -> TrainConfig:
    """The same for tests of meshes and processes: AdamW, no validation on the way, every checkpoint kept."""
    fields = {
        "name": "pod",
        "optim": Optim(kind="adamw", warmup=2),
        "validate": Validate(every=0, clips=2, final_clips=2, steps=2, group=2),
        "checkpoint": Checkpoint(every=2, keep=8),
    }
    return config(**(fields | changes))


def align(**changes) -> AlignConfig:
    """A preference run with stored losers; `changes` replace fields."""
    tiny = AlignConfig(
        name="tiny",
        model=MODEL,
        data=Data(mix={"maze": 1.0}, batch=8),
        optim=Optim(kind="adamw", lr=1e-2, warmup=0, final=1.0),
        preference=Preference(beta=20.0, losers=2, bins=2),
        pairs="stored",
        steps=8,
        validate=Validate(every=0, final_clips=0, steps=2),
        checkpoint=Checkpoint(every=2),
    )
    return dataclasses.replace(tiny, **changes)


def online(**changes) -> AlignConfig:
    """The same with losers sampled in the update."""
    fields = {"pairs": None, "rollout": Rollout(source="policy", steps=2), **changes}
    return align(**fields)


def dit(model: WanConfig = MODEL, seed: int = 1) -> wan.WanDiT:
    """Random weights everywhere, so that nothing is zero as it is before training."""
    rng = np.random.default_rng(seed)
    abstract = jax.eval_shape(lambda: wan.WanDiT(model, rngs=nnx.Rngs(0)))
    return jax.tree.map(lambda a: jnp.asarray(0.2 * rng.standard_normal(a.shape), a.dtype), abstract)


def save_base(folder, model: WanConfig = MODEL) -> str:
    """A model whose every weight is alive (a fresh head is zero) in diffusers' layout."""
    made = wan.WanDiT(model, rngs=nnx.Rngs(7))
    made.head.kernel[...] = 0.3 * jax.random.normal(jax.random.key(9), made.head.kernel.shape)
    wan.save_dit(made, folder)
    return str(folder)


def batch(n: int = 8, losers: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """Random pairs in the layout of the preference step."""
    keys = jax.random.split(jax.random.key(seed), 4)
    out = {
        "latent": jax.random.uniform(keys[0], (n, *SHAPE), minval=-1, maxval=1),
        "lose": jax.random.uniform(keys[1], (n, losers, *SHAPE), minval=-1, maxval=1),
        "image": jax.random.normal(keys[2], (n, *SHAPE[:-1], 4)),
        "text": jax.random.normal(keys[3], (n, 16, 8)),
        "pair": np.arange(n, dtype=np.int32),
    }
    return {k: np.asarray(v) for k, v in out.items()}


def encoded(folder, latents, losers, texts):
    """Pairs that are arrays already, as a folder of encoded ones."""
    from vrjax.align import cache

    store, rows = cache.Cache(folder), []
    keep = lambda kind, name, array: store.keep(kind, name, {"of": array.tolist()}, lambda: array, array.ndim)
    for i, (win, lose, text) in enumerate(zip(latents, losers, texts, strict=True)):
        row = {"name": f"clip{i}", "prompt": "a clip", "latent": keep("latents", "latent", win)}
        row |= {"lose": [keep("latents", "latent", one) for one in lose], "text": keep("text", "text", text)}
        rows.append(row)
    cache.write_index(folder, rows, dtype=store.dtype, made={"by": "test"})
    return str(folder)


def same_updates(states, expected, atol=1e-5, share=0.9):
    """States after updates that may differ by rounding alone: the optimiser's moments and all weights.

    Adam divides a gradient by its size: where there is next to none, only its sign is left, which rounding turns. So a
    weight is compared as long as its first moment was never next to zero, which holds for a `share` of them at least;
    its moments are compared in any case.
    """
    alive = {}
    for state, wanted in zip(states, expected, strict=True):
        for name in ("mu", "nu"):
            both = (optax.tree_utils.tree_get_all_with_path(s.optimizer, name) for s in (state, wanted))
            for (_, found), (_, moments) in zip(*both, strict=True):  # a part of the weights each, the others masked
                chex.assert_trees_all_close(found, moments, rtol=0, atol=atol)
                for path, moment in jax.tree_util.tree_leaves_with_path(moments) if name == "mu" else ():
                    a, b = (functools.reduce(lambda t, k: t[k.key], path, s.params) for s in (state, wanted))
                    alive[path] = alive.get(path, True) & (np.abs(moment) > 1e-6)
                    a, b = np.asarray(a)[alive[path]], np.asarray(b)[alive[path]]
                    np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=str(path))
    assert np.mean(np.concatenate([mask.ravel() for mask in alive.values()])) > share


def realdpo():
    """The smallest study of RealDPO."""
    from experiments.realdpo.config import RealDPO

    return RealDPO(
        name="tiny",
        bases=2,
        dim=16,
        layers=1,
        heads=1,
        base_steps=2,
        base_batch=2,
        base_clips=16,
        reals=16,
        batch=4,
        steps=6,
        released_steps=8,
        grpo_steps=2,
        warmup=2,
        sampler_steps=2,
        conditions=3,
        noises=2,
        held_noises=2,
        looks=2,
        look_conditions=2,
        group=2,
        prompts=2,
        resamples=200,
    )


def performance(key, script, frames=60, *, duration=None) -> program.Performance:
    """In the place of `program.perform`, which takes seconds to compile: each action has a pose of its own, which each
    key moves a little; the first joint's angle, in hundredths of a radian, is the duration."""
    pose = jax.random.normal(jax.random.fold_in(jax.random.key(0), script.lower), (22, 3))
    joints = pose + jnp.arange(frames)[:, None, None] * 0.01 * jax.random.normal(key, (22, 3))
    still = jnp.broadcast_to(jnp.eye(3), (frames, 22, 3, 3))
    body = still[:, 1:].at[:, 0].set(about("z", jnp.asarray(0.01 * (frames if duration is None else duration))))
    return program.Performance(Motion(joints, still[:, 0], body, joints[:, 0]), jnp.ones((frames, 2), bool))


class Cut:
    """An iterator that breaks down after some batches."""

    def __init__(self, data, left):
        self.data, self.left = data, left

    def __next__(self):
        self.left -= 1
        if self.left < 0:
            raise OSError("the power is gone")
        return next(self.data)

    def __getattr__(self, name):
        return getattr(self.data, name)
