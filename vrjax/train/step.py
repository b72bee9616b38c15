"""The update of a training run: flow matching on a batch of clips, moved by `vrjax.train.update`."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from vrjax import parallel
from vrjax.data import motions
from vrjax.models import family
from vrjax.train import objectives, optim, update
from vrjax.train import state as states
from vrjax.train.config import TrainConfig
from vrjax.train.state import Network, State

Batch = dict[str, Any]


def conditions(model: Any, batch: Mapping[str, Any]) -> Batch:
    """The conditions among the arrays of a batch: those that the model's family names, and its config's SIZES."""
    names = (*family.of(model).conditions(model, batch["latent"].shape[1:]), *getattr(model, "SIZES", ()))
    return {name: batch[name] for name in names if name in batch}


def filled(config: Any, batch: Batch) -> Batch:
    """The batch; where the config's data is made inside the update, what the batch's numbers stand for."""
    spec = config.data.motions
    if spec is None:
        return batch
    text = family.of(config.model).conditions(config.model, spec.latent)["text"]
    return motions.make(spec, batch["seed"], batch["number"], text=text)


def drop(config: Any, key: jax.Array, batch: Batch) -> tuple[Batch, jax.Array, jax.Array]:
    """The batch with conditions withheld as the objective says, each by a key of its own; and two more keys.

    Rates `drop_others` (b,) of the batch itself go before the objective's.
    """
    spec, latent = config.objective, batch["latent"].shape[1:]
    names = tuple(family.of(config.model).conditions(config.model, latent))
    *keys, first, second = jax.random.split(key, len(names) + 2)
    others = batch.get("drop_others", spec.drop_others)
    rates = {name: spec.drop if name in config.model.GUIDED else others for name in names}
    each = [(name, key) for name, key in zip(names, keys, strict=True) if name in batch]
    return batch | {name: objectives.drop(key, batch[name], rates[name]) for name, key in each}, first, second


def levels(spec: Any, key: jax.Array, count: int) -> jax.Array:
    """Noise levels of a batch, as the objective `spec` says."""
    return objectives.sample_sigmas(
        key, count, kind=spec.times, shift=spec.shift, mean=spec.mean, std=spec.std, low=spec.low, high=spec.high
    )


def taught(config: Any, batch: Batch) -> jax.Array | None:
    """Which channels (b, c) examples are trained on: all, or `channels_alone` of those whose conditions, but for what
    guidance withholds, are all zero. None where the batch has no such channels."""
    if "channels_alone" not in batch:
        return None
    names = family.of(config.model).conditions(config.model, batch["latent"].shape[1:])
    shown = jnp.zeros(len(batch["latent"]), bool)
    for name in names:
        if name in batch and name not in config.model.GUIDED:
            shown |= jnp.any(batch[name] != 0, axis=tuple(range(1, batch[name].ndim)))
    return jnp.where(shown[:, None], 1.0, batch["channels_alone"])


def draw(config: Any, key: jax.Array, batch: Batch) -> tuple[Batch, objectives.Draw]:
    """All randomness of one update: dropped conditions, noise and levels for the whole batch, and `weight` of each
    example's errors where they do not count alike.

    It is drawn before the batch is cut into micro-batches, so accumulation changes nothing but rounding.
    """
    batch, noise, level = drop(config, key, batch)
    latent, spec = batch["latent"], config.objective
    drawn = objectives.Draw(jax.random.normal(noise, latent.shape, jnp.float32), levels(spec, level, len(latent)))
    masks = {"mask": batch.get("mask"), "channel_mask": taught(config, batch)}
    how = {"channels": spec.channel_weights, "weighting": spec.weighting, "shift": spec.shift}
    weight = objectives.example_weights(latent, drawn.sigma, **masks, **how)
    return batch if weight is None else batch | {"weight": weight}, drawn


def batch_error(network: Network, params: Any, base: Any, batch: Batch, drawn: objectives.Draw) -> jax.Array:
    """Mean flow-matching error over a batch; of errors times their `weight`, where the batch has one."""
    model, of = network.build(params, base), network.family

    def one(x0: Any, given: Batch, noise: Any, sigma: Any, weight: Any) -> jax.Array:
        velocity = lambda x, level: of.predict(model, x, level, given)
        return objectives.flow_error(velocity, x0, noise, objectives.level_of(sigma), weight, x0.size)

    given = conditions(network.config.model, batch)
    examples = batch["latent"], given, drawn.noise, drawn.sigma, batch.get("weight")
    return jnp.mean(parallel.batch(network.layout, one)(*examples))


def body(network: Network) -> Callable[..., tuple[State, dict[str, jax.Array]]]:
    """The update as a pure function `(state, base, batch, key, numbers={}) -> (state, metrics)`.

    `numbers` replaces numbers of the config by dotted name, traced or not; see `vrjax.train.update`. The batch holds
    `latent` (b, ...) and the family's conditions by name, and maybe `mask` (see `objectives.example_weights`),
    `drop_others` (see `drop`) and `channels_alone` (see `taught`); or what `filled` makes them of.

    Metrics are float32 scalars: `loss`; `relative`, the loss over that of predicting zero; `grad_norm` before
    clipping; `weight_norm` after the update; `lr`.
    """
    config = network.config

    def step(state: State, base: Any, batch: Batch, key: jax.Array, numbers: Mapping[str, Any] = update.NONE):
        spec = update.numbered(config, numbers)
        tx, rate = optim.of(spec.optim, config.steps)
        batch, drawn = draw(spec, jax.random.fold_in(key, state.step), filled(config, batch))
        loss = lambda params, batch, drawn: (batch_error(network, params, base, batch, drawn), None)
        given = {"parts": config.accumulate, "decay": spec.ema.decay, "ramp": spec.ema.ramp}
        after, moved = update.move(loss, tx, state, (batch, drawn), **given)
        relative = moved.loss / objectives.zero_velocity_error(batch["latent"], weight=batch.get("weight"))
        return after, moved.metrics | {"relative": relative, "lr": jnp.asarray(rate(state.step), jnp.float32)}

    return step


def make(
    network: Network, mesh: Mesh, shardings: State
) -> Callable[[State, Any, Batch, jax.Array], tuple[State, dict[str, jax.Array]]]:
    """The compiled `body`: `(state, base, batch, key) -> (state, metrics)`; `state` is donated.

    Args:
        network: the static half of the model; `base` is its frozen weights (`network.base`).
        mesh: where everything lives.
        shardings: of the state, as `vrjax.train.state.make` returned them.
    """
    return update.compiled(body(network), shardings, network.base, states.batch_sharding(network.config, mesh))


def abstract(
    config: TrainConfig, mesh: Mesh, latent: tuple[int, ...]
) -> tuple[Any, tuple[State, Any, dict[str, Any], Any]]:
    """The compiled update of a config, and its arguments as shapes with shardings: `update.lower(*args).compile()`.

    Nothing is allocated, and the mesh may be of devices that this machine does not have. `config.dtype` and
    `config.model.attention` should then be set: "auto" chooses for the devices that are here.

    Args:
        config: the run. Of `config.data`, only `batch` and what is made inside the update matter.
        mesh: where everything would live.
        latent: shape of one clip's latent; the conditions are those of the model's family beside it.
    """
    network, state, shardings = states.abstract(config, mesh)
    shapes = {"latent": latent, **network.family.conditions(config.model, latent)}
    batch = {name: rows_like(config, mesh, *shape) for name, shape in shapes.items()}
    if config.data.motions is not None:
        batch = {name: rows_like(config, mesh, dtype=jnp.uint32) for name in ("seed", "number")}
    return make(network, mesh, shardings), (state, network.base, batch, key_like(config, shardings))


def rows_like(config: TrainConfig, mesh: Mesh, *shape: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    """One array of a batch, as its shape and sharding."""
    return jax.ShapeDtypeStruct((config.data.batch, *shape), dtype, sharding=states.batch_sharding(config, mesh))


def key_like(config: TrainConfig, shardings: State) -> jax.ShapeDtypeStruct:
    """The key of a run, as its shape and sharding."""
    key = jax.eval_shape(functools.partial(states.run_key, config, states.STEP))
    return jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=shardings.step)
