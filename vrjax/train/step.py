"""One update as one compiled function: gradient (accumulated), clip, optimiser, moving average."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding

from vrjax import parallel
from vrjax.train import ema, objectives, optim
from vrjax.train import state as states
from vrjax.train.config import TrainConfig
from vrjax.train.state import Network, State, rules

Batch = dict[str, jax.Array]


def draw(config: TrainConfig, key: jax.Array, batch: Batch) -> tuple[Batch, objectives.Draw]:
    """All randomness of one update: dropped conditions, noise and levels for the whole batch.

    It is drawn before the batch is cut into micro-batches, so accumulation changes nothing but rounding.
    """
    spec = config.objective
    keys = jax.random.split(key, 4)
    x0 = batch["latent"]
    batch = {
        "latent": x0,
        "text": objectives.drop(keys[0], batch["text"], spec.drop_text),
        "image": objectives.drop(keys[1], batch["image"], spec.drop_image),
    }
    noise = jax.random.normal(keys[2], x0.shape, jnp.float32)
    sigma = objectives.sample_sigmas(
        keys[3],
        x0.shape[0],
        kind=spec.times,
        shift=spec.shift,
        mean=spec.mean,
        std=spec.std,
        low=spec.low,
        high=spec.high,
    )
    return batch, objectives.Draw(noise, sigma)


def batch_error(network: Network, params: Any, base: Any, batch: Batch, drawn: objectives.Draw) -> jax.Array:
    """Mean flow-matching error over a batch."""
    dit = network.build(params, base)

    def one(x0, image, text, noise, sigma):
        # The module itself, not `velocity`: asked once, keys of the conditions belong inside the blocks (remat, FSDP).
        velocity = lambda x, level: dit(x, level.time, text, image=image)
        return objectives.flow_error(velocity, x0, noise, objectives.level_of(sigma))

    examples = batch["latent"], batch["image"], batch["text"], drawn.noise, drawn.sigma
    return jnp.mean(parallel.batch(network.layout, one)(*examples))


def gradient(network: Network, params: Any, base: Any, batch: Batch, drawn: objectives.Draw, parts: int) -> tuple:
    """Loss and gradient of a batch, in `parts` micro-batches one after the other."""
    value_and_grad = jax.value_and_grad(lambda p, b, d: batch_error(network, p, base, b, d))
    if parts == 1:
        return value_and_grad(params, batch, drawn)

    # Micro-batch m takes examples m, m + parts, ...: each device keeps the examples it already holds.
    split = lambda x: x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1)

    def body(total, part):
        return jax.tree.map(jnp.add, total, value_and_grad(params, *part)), None

    zero = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
    total, _ = jax.lax.scan(body, zero, jax.tree.map(split, (batch, drawn)))
    return jax.tree.map(lambda x: x / parts, total)


def make(
    network: Network, tx: optax.GradientTransformation, learning_rate: optax.Schedule, mesh: Mesh, shardings: State
) -> Callable[[State, Any, Batch, jax.Array], tuple[State, dict[str, jax.Array]]]:
    """The compiled update `(state, base, batch, key) -> (state, metrics)`; `state` is donated.

    Args:
      network: the static half of the model; `base` is its frozen weights (`network.base`).
      tx: what `vrjax.train.optim.make` returned.
      learning_rate: reported in the metrics.
      mesh: where everything lives.
      shardings: of the state, as `vrjax.train.state.make` returned them.

    Metrics are float32 scalars: `loss`; `relative`, the loss over that of predicting zero; `grad_norm` before
    clipping; `weight_norm` after the update; `lr`.
    """
    config = network.config
    whole = shardings.step
    over_batch = batch_sharding(config, mesh)

    def step(state: State, base: Any, batch: Batch, key: jax.Array):
        batch, drawn = draw(config, jax.random.fold_in(key, state.step), batch)
        loss, grad = gradient(network, state.params, base, batch, drawn, config.accumulate)
        updates, optimizer = tx.update(grad, state.optimizer, state.params)
        params: Any = optax.apply_updates(state.params, updates)
        average = ema.update(state.ema, params, state.step, config.ema.decay, config.ema.ramp)
        metrics = {
            "loss": loss,
            "relative": loss / objectives.zero_velocity_error(batch["latent"]),
            "grad_norm": optax.global_norm(grad),
            "weight_norm": optax.global_norm(params),
            "lr": jnp.asarray(learning_rate(state.step), jnp.float32),
        }
        return State(state.step + 1, params, average, optimizer), metrics

    base_shardings = jax.tree.map(lambda x: x.sharding, network.base)
    return jax.jit(
        step,
        donate_argnums=0,
        in_shardings=(shardings, base_shardings, over_batch, whole),
        out_shardings=(shardings, whole),
    )


def abstract(
    config: TrainConfig, mesh: Mesh, latent: tuple[int, int, int, int]
) -> tuple[Any, tuple[State, Any, dict[str, Any], Any]]:
    """The compiled update of a config, and its arguments as shapes with shardings: `update.lower(*args).compile()`.

    Nothing is allocated, and the mesh may be of devices that this machine does not have. `config.dtype` and
    `config.model.attention` should then be set: "auto" chooses for the devices that are here.

    Args:
      config: the run. Of `config.data`, only `batch` matters.
      mesh: where everything would live.
      latent: shape (t, h, w, c) of one clip's latent. The condition has the model's other `in_channels - c` channels
        (none for text-to-video), the text `model.text_len` rows.
    """
    tx, rate = transformation(config)
    network, state, shardings = states.abstract(config, tx, mesh)
    update, over_batch, model = make(network, tx, rate, mesh, shardings), batch_sharding(config, mesh), config.model
    shapes = {
        "latent": latent,
        "image": (*latent[:-1], model.in_channels - latent[-1]),
        "text": (model.text_len, model.text_dim),
    }
    put = lambda shape: jax.ShapeDtypeStruct((config.data.batch, *shape), jnp.float32, sharding=over_batch)
    key = jax.eval_shape(lambda: states.run_key(config, states.STEP))
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=shardings.step)
    return update, (state, network.base, {name: put(shape) for name, shape in shapes.items()}, key)


def transformation(config: TrainConfig) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """The optimiser of a config, and the learning rate that the metrics report."""
    spec = config.optim
    tx = optim.make(
        kind=spec.kind,
        lr=spec.lr,
        steps=config.steps,
        warmup=spec.warmup,
        final=spec.final,
        muon_scale=spec.muon_scale,
        muon_patterns=spec.muon_patterns,
        momentum=spec.momentum,
        b1=spec.b1,
        b2=spec.b2,
        weight_decay=spec.weight_decay,
        clip=spec.clip,
    )
    return tx, optim.schedule(spec.lr, config.steps, spec.warmup, spec.final)


def batch_sharding(config: TrainConfig, mesh: Mesh) -> NamedSharding:
    """Examples are divided over the mesh axes of the logical axis `batch`.

    Raises:
      ValueError: the devices do not divide a micro-batch.
    """
    spec = parallel.spec(("batch",), rules(config))
    sharding = NamedSharding(mesh, spec)
    micro = config.data.batch // config.accumulate
    ways = config.data.batch // sharding.shard_shape((config.data.batch,))[0] if micro else 1
    if micro % ways:
        raise ValueError(f"a micro-batch of {micro} examples cannot be divided over {ways} devices")
    return sharding
