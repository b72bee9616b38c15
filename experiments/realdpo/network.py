"""The network of the study, the training of its bases, and sampling; everything for all bases at once under `vmap`."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.realdpo import inputs
from experiments.realdpo.config import RealDPO
from vrjax import parallel
from vrjax.align import rollouts
from vrjax.align.config import AlignConfig, Preference, Rollout
from vrjax.models.wan import WanConfig
from vrjax.tasks.discs import physics
from vrjax.tasks.discs.physics import Clips
from vrjax.train import state as states
from vrjax.train import step as training
from vrjax.train.config import Data, Ema, Objective, Optim, TrainConfig, Validate
from vrjax.train.optim import path_name
from vrjax.train.state import Network

GROUP = 200  # samples made in one call, per base


def model(study: RealDPO) -> WanConfig:
    """Wan's transformer, one token for every two frames of a body."""
    return WanConfig(
        dim=study.dim,
        ffn_dim=3 * study.dim,
        heads=study.heads,
        layers=study.layers,
        in_channels=5,  # x, y, and the condition: mask, x, y
        out_channels=2,
        patch=(2, 1, 1),
        freq_dim=32,
        text_dim=inputs.WIDTH,
        text_len=3,
        gate_init=1.0,
    )


def base_config(study: RealDPO, seed: int) -> TrainConfig:
    """The training run of one base."""
    return TrainConfig(
        name="base",
        model=model(study),
        steps=study.base_steps,
        data=Data(batch=study.base_batch),
        objective=Objective(times="uniform", shift=1.0, drop=0.0),
        optim=Optim(kind="muon", lr=study.base_lr, warmup=min(50, study.base_steps)),
        ema=Ema(decay=0.995),
        validate=Validate(every=0, final_clips=0),
        dtype="float32",
        seed=seed,
    )


def post_config(study: RealDPO) -> AlignConfig:
    """The part that all post-training runs share; losses and numbers come from the arm."""
    return AlignConfig(
        name="post",
        model=model(study),
        steps=study.steps,
        data=Data(batch=study.batch),
        preference=Preference(loss="sft"),
        pairs="in memory",
        objective=Objective(times="uniform", shift=1.0, drop=0.0),
        validate=Validate(every=0, final_clips=0),
        dtype="float32",
    )


def rows(clips: Clips) -> dict[str, np.ndarray]:
    """Clips as a model takes them: `latent`, `text`, `image`, on a leading axis."""
    return {"latent": inputs.latents(clips.path), **inputs.conditions(clips)}


def train_base(study: RealDPO, seed: int, tick: Callable[[int], None] = lambda done: None) -> dict[str, np.ndarray]:
    """One network from scratch, on its own clips, a part of which breaks physics; every third batch is two discs.

    Returns:
        The moving average of the weights by dotted name, and "relative", (updates,): the training error over that of
        predicting zero.
    """
    config = base_config(study, seed)
    mesh, update = _base_update(study.shape())
    _, state, _ = states.make(config, mesh)
    key, rng = states.run_key(config, states.STEP), np.random.default_rng([1, seed])
    clips = {
        family: rows(physics.make(family, study.base_clips, split="base", seed=seed, broken=study.broken))
        for family in physics.FAMILIES
    }
    errors = []
    for i in range(study.base_steps):
        index = rng.integers(study.base_clips, size=study.base_batch)
        chosen = clips["collide" if i % 3 == 2 else "bounce"]
        state, metrics = update(state, {}, {k: v[index] for k, v in chosen.items()}, key)
        errors.append(metrics["relative"])
        tick(1)
    return flatten(jax.device_get(state.ema)) | {"relative": np.stack(jax.device_get(errors))}


def flatten(params: Any) -> dict[str, np.ndarray]:
    """Weights by dotted name."""
    return {path_name(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params)}


def stack(study: RealDPO, named: list[dict[str, np.ndarray]]) -> Any:
    """Weights of several bases, as `flatten` names them, as one tree with a leading axis; other entries are ignored.

    Raises:
        ValueError: a weight is missing or has another shape than the study's network.
    """
    like = jax.eval_shape(lambda: states.fresh_weights(base_config(study, 0)))

    def pick(path: Any, leaf: Any) -> Any:
        found: list[Any] = [one.get(path_name(path)) for one in named]
        shapes = {"missing" if a is None else a.shape for a in found}
        if shapes != {leaf.shape}:
            raise ValueError(f"weight {path_name(path)} is {shapes}, expected {leaf.shape}")
        return jnp.asarray(np.stack(found), jnp.float32)

    return jax.tree_util.tree_map_with_path(pick, like)


@functools.cache
def _base_update(study: RealDPO) -> tuple[Any, Any]:
    """Mesh and compiled update of base training."""
    config = base_config(study, 0)
    mesh = parallel.run_mesh(config.mesh)
    network, _, shardings = states.make(config, mesh)
    return mesh, training.make(network, mesh, shardings)


@functools.cache
def _samples(study: RealDPO) -> Callable[..., Any]:
    """The compiled sampler of all bases, one program per family: `(params, noise, text, image) -> latents`."""
    network, rollout = Network(post_config(study), {}), Rollout(steps=study.sampler_steps, shift=study.shift)

    def group(params: Any, noise: Any, text: Any, image: Any) -> Any:
        dit = network.build(params, {}, network.sampler())
        return rollouts.sample_batch(dit, noise[:, None], {"text": text, "image": image}, rollout)[:, 0]

    return jax.jit(jax.vmap(group))


class Sampler:
    """Samples of every base's model for given conditions: one compiled program per family."""

    def __init__(self, study: RealDPO):
        self._run = _samples(study.shape())

    def __call__(self, params: Any, clips: list[Clips], noises: int, seed: tuple[int, ...]) -> np.ndarray:
        """(bases, n, noises, frames, bodies, 2) positions.

        Args:
            params: stacked weights.
            clips: conditions of each base, all of one length and family.
            noises: samples per condition.
            seed: of the initial noises, which depend on it and on the place of a condition, not on the base.
        """
        bases, n, bodies = len(clips), len(clips[0]), physics.BODIES[clips[0].family]
        shape = (physics.FRAMES, 1, bodies, 2)
        noise = np.random.default_rng([2, *seed]).standard_normal((n * noises, *shape), np.float32)
        given = [{k: np.repeat(v, noises, 0) for k, v in inputs.conditions(c).items()} for c in clips]
        parts = []
        for begin in range(0, n * noises, GROUP):
            index = np.minimum(np.arange(begin, begin + GROUP), n * noises - 1)
            each = {k: np.stack([g[k][index] for g in given]) for k in ("text", "image")}
            shared = np.broadcast_to(noise[index], (bases, GROUP, *shape))
            out = np.asarray(self._run(params, shared, each["text"], each["image"]))
            parts.append(out[:, : min(GROUP, n * noises - begin)])
        latent = np.concatenate(parts, 1).reshape(bases, n, noises, *shape)
        return inputs.positions(latent)


def count(params: Any) -> int:
    """Weights of one base."""
    return sum(int(np.prod(x.shape[1:])) for x in jax.tree.leaves(params))
