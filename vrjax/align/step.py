"""One preference update as one compiled, sharded, donated function.

Inside it: losers are sampled where the run asks for it, one noise and one level are drawn per pair, policy and
reference are measured on winner and losers, the loss is differentiated in micro-batches, the optimiser moves the
policy, and the averages follow.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding

from vrjax import parallel
from vrjax.align import logs, methods, references, rollouts
from vrjax.align.bank import Bank
from vrjax.align.config import AlignConfig
from vrjax.align.errors import Errors, Measured, pair_errors
from vrjax.train import ema, objectives
from vrjax.train import state as states
from vrjax.train.objectives import Draw
from vrjax.train.state import Network
from vrjax.train.step import batch_sharding, transformation

Batch = dict[str, Any]
BANK = 3  # stream of randomness, beside those of vrjax.train.state


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State(states.State):
    """The donated state of a preference run: that of training, and what the reference keeps (maybe an empty dict)."""

    reference: Any

    def trees(self) -> dict[str, Any]:
        """The state as the named items of a checkpoint; a reference that keeps nothing is no item."""
        trees = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: tree for name, tree in trees.items() if jax.tree.leaves(tree)}


def make_reference(config: AlignConfig) -> references.Reference:
    """The reference of a config; none for a method that compares with none."""
    spec = config.reference
    if not methods.needs_reference(config.preference):
        return references.none()
    return references.make(spec.kind, decay=spec.decay, every=spec.every, rate=spec.rate)


def make_bank(config: AlignConfig) -> Bank | None:
    """The bank of draws of a config, or None where draws are fresh."""
    if not config.reference.draws:
        return None
    return Bank(config.reference.draws, states.run_key(config, BANK), lambda key, count: levels(config, key, count))


def make_state(
    config: AlignConfig, tx: optax.GradientTransformation, mesh: Mesh
) -> tuple[Network, State, State, references.Reference]:
    """The network, a fresh state on the mesh, its shardings, and the reference; weights come from `config.start`."""
    network, state, _ = states.make(config, tx, mesh)
    return network, *with_reference(config, state)


def with_reference(config: AlignConfig, state: states.State) -> tuple[State, State, references.Reference]:
    """A fresh training state with the reference it starts from, laid out like the weights; and all shardings."""
    reference = make_reference(config)
    shardings = jax.tree.map(lambda x: x.sharding, state)
    like = _kept_like(reference, state.params, shardings.params)
    kept = jax.jit(reference.init, out_shardings=like)(state.params)
    return _extended(state, kept), _extended(shardings, like), reference


def _kept_like(reference: references.Reference, params: Any, shardings: Any) -> Any:
    """Shardings of what a reference keeps: those of the weights, or an empty dict."""
    return shardings if jax.tree.leaves(jax.eval_shape(reference.init, params)) else {}


def _extended(state: states.State, reference: Any) -> State:
    return State(**{**state.trees(), "reference": reference})


def abstract(
    config: AlignConfig, mesh: Mesh, latent: tuple[int, int, int, int]
) -> tuple[Any, tuple[State, Any, Batch, Any]]:
    """The compiled update of a config, and its arguments as shapes with shardings; see `vrjax.train.step.abstract`.

    Raises:
      ValueError: a loss over parts of clips, whose masks come with the pairs.
    """
    if config.preference.loss in ("local_dpo", "dense_dpo"):
        raise ValueError(f"config {config.name!r}: the masks of {config.preference.loss} come with its pairs")
    tx, rate = transformation(config)
    network, state, shardings = states.abstract(config, tx, mesh)
    reference = make_reference(config)
    like = _kept_like(reference, state.params, shardings.params)
    kept = jax.eval_shape(reference.init, state.params)
    kept = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), kept, like)
    state, shardings = _extended(state, kept), _extended(shardings, like)
    update, over_batch, model = (
        make(network, reference, tx, rate, mesh, shardings),
        batch_sharding(config, mesh),
        config.model,
    )
    put = lambda *shape, dtype=jnp.float32: jax.ShapeDtypeStruct(
        (config.data.batch, *shape), dtype, sharding=over_batch
    )
    batch = {
        "latent": put(*latent),
        "image": put(*latent[:-1], model.in_channels - latent[-1]),
        "text": put(model.text_len, model.text_dim),
    }
    losers, draws = config.preference.losers, config.reference.draws
    if methods.needs_losers(config.preference) and config.rollout.source == "stored":
        batch["lose"] = put(losers, *latent)
    if draws:
        batch["pair"] = put(dtype=jnp.int32)
    if reference.kind == "precomputed":
        batch |= {"reference_win": put(draws), "reference_lose": put(draws, losers)}
    key = jax.eval_shape(lambda: states.run_key(config, states.STEP))
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=shardings.step)
    return update, (state, network.base, batch, key)


def levels(config: AlignConfig, key: jax.Array, count: int) -> jax.Array:
    """Noise levels of the run: those of `config.objective`, mapped to [low, high]."""
    spec, range_ = config.objective, config.preference
    sigma = objectives.sample_sigmas(key, count, kind=spec.times, shift=spec.shift, mean=spec.mean, std=spec.std)
    return range_.low + (range_.high - range_.low) * sigma


def draw(config: AlignConfig, bank: Bank | None, key: jax.Array, batch: Batch) -> tuple[Batch, Draw]:
    """All randomness of one update: dropped conditions, one noise and one level per pair, for the whole batch.

    Drawn before the batch is cut into micro-batches. With a bank, `batch["draw"]` says which draw each pair gets, and
    the stored reference errors of that draw become `reference_win` (b,) and `reference_lose` (b, losers).
    """
    spec, x0 = config.objective, batch["latent"]
    count, shape = x0.shape[0], x0.shape[1:]
    keys = jax.random.split(key, 4)
    if bank is not None:
        which = jax.random.randint(keys[2], (count,), 0, bank.draws)
        drawn = jax.vmap(lambda pair, k: bank.draw(pair, k, shape))(batch["pair"], which)
        batch = dict(batch)
        if "reference_win" in batch:
            pick = jax.vmap(lambda table, k: table[k])
            batch |= {name: pick(batch[name], which) for name in ("reference_win", "reference_lose")}
        return batch, Draw(*drawn)
    batch = batch | {
        "text": objectives.drop(keys[0], batch["text"], spec.drop_text),
        "image": objectives.drop(keys[1], batch["image"], spec.drop_image),
    }
    own = methods.needs_losers(config.preference) and not config.preference.shared_noise
    lead = (count, 1 + config.preference.losers) if own else (count,)
    noise = jax.random.normal(keys[2], (*lead, *shape), jnp.float32)
    return batch, Draw(noise, levels(config, keys[3], count))


def batch_errors(dit: Any, batch: Batch, drawn: Draw, layout: parallel.Layout | None = None) -> Errors:
    """Errors of a batch of pairs under a module: `latent` (b, ...), `lose` (b, losers, ...) if any, `masks` if any.

    `layout` is that of the network the module was built from: pairs are divided over the mesh.
    """
    lose, masks = batch.get("lose"), batch.get("masks")

    def one(win, lose, masks, text, image, noise, sigma):
        # The module itself, not its `velocity`: asked once, keys of the conditions belong inside the blocks.
        velocity = lambda x, level: dit(x, level.time, text, image=image)
        return pair_errors(velocity, win, lose, noise, objectives.level_of(sigma), masks=masks)

    axes = (0, None if lose is None else 0, None if masks is None else 0, 0, 0, 0, 0)
    given = (batch["latent"], lose, masks, batch["text"], batch["image"], drawn.noise, drawn.sigma)
    return parallel.batch(layout, one, in_axes=axes)(*given)


def reference_errors(
    network: Network, reference: references.Reference, kept: Any, base: Any, batch: Batch, drawn: Draw
) -> Errors:
    """Errors of the reference at the policy's draws; stored ones, or zeros, where there is no model to ask."""
    if reference.kind == "precomputed":
        return Errors(batch["reference_win"], batch["reference_lose"])
    if reference.module is None:
        lead = batch["lose"].shape[:2] if "lose" in batch else (len(batch["latent"]), 0)
        return Errors(jnp.zeros(lead[:1]), jnp.zeros(lead))
    module = reference.module(network, kept, base)
    return jax.lax.stop_gradient(batch_errors(module, batch, drawn, network.layout))


def gradient(
    network: Network,
    reference: references.Reference,
    params: Any,
    kept: Any,
    base: Any,
    batch: Batch,
    drawn: Draw,
    parts: int,
) -> tuple[jax.Array, Any, Measured]:
    """Loss, gradient and measured errors of a batch, in `parts` micro-batches one after the other.

    The loss is the mean over pairs of (weight x loss). KTO's baseline is that of the micro-batch.
    """
    spec = network.config.preference  # type: ignore[attr-defined]

    def loss(params: Any, batch: Batch, drawn: Draw) -> tuple[jax.Array, Measured]:
        measured = Measured(
            batch_errors(network.build(params, base), batch, drawn, network.layout),
            reference_errors(network, reference, kept, base, batch, drawn),
            drawn.sigma,
        )
        pairs = methods.pair_losses(spec, measured, batch)
        return jnp.mean(batch["weight"] * pairs if "weight" in batch else pairs), measured

    value_and_grad = jax.value_and_grad(loss, has_aux=True)
    if parts == 1:
        (value, measured), grad = value_and_grad(params, batch, drawn)
        return value, grad, measured

    # Micro-batch m takes pairs m, m + parts, ...: each device keeps the pairs it already holds.
    split = lambda x: x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1)
    join = lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:])

    def body(total: Any, part: Any) -> tuple[Any, Measured]:
        (value, measured), grad = value_and_grad(params, *part)
        return jax.tree.map(jnp.add, total, (value, grad)), measured

    zero = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
    total, measured = jax.lax.scan(body, zero, jax.tree.map(split, (batch, drawn)))
    value, grad = jax.tree.map(lambda x: x / parts, total)
    return value, grad, jax.tree.map(join, measured)


def with_losers(
    network: Network, reference: references.Reference, state: State, base: Any, batch: Batch, key: jax.Array
) -> Batch:
    """The batch with sampled losers: `lose` (b, losers, ...) and the pairs' `weight` (b,)."""
    config: AlignConfig = network.config  # type: ignore[assignment]
    if config.rollout.source == "policy":
        dit = network.build(state.params, base)
    else:
        assert reference.module is not None  # the config has been checked
        dit = reference.module(network, state.reference, base)
    made = rollouts.losers(
        dit,
        batch["latent"],
        batch["text"],
        batch["image"],
        key,
        config.rollout,
        config.preference.losers,
        layout=network.layout,
    )
    return batch | {"lose": made.latents, "weight": made.weight * batch.get("weight", 1.0)}


def make(
    network: Network,
    reference: references.Reference,
    tx: optax.GradientTransformation,
    learning_rate: optax.Schedule,
    mesh: Mesh,
    shardings: State,
) -> Callable[[State, Any, Batch, jax.Array], tuple[State, dict[str, jax.Array]]]:
    """The compiled update `(state, base, batch, key) -> (state, metrics)`; `state` is donated.

    Args:
      network, shardings, reference: as `make_state` returned them; `base` is `network.base`.
      tx, learning_rate: as `vrjax.train.step.transformation` returned them.
      mesh: where everything lives.

    The batch holds `latent` (b, t, h, w, c), the winners; `text`, `image`; `lose` (b, losers, t, h, w, c) unless losers
    are rolled out; optionally `weight` (b,), `masks` (b, parts, ...) and `label` (b, parts); with a bank `pair` (b,),
    and for stored reference errors `reference_win` (b, draws) and `reference_lose` (b, draws, losers).

    Metrics: those of `vrjax.align.logs.metrics`; `loss`; `relative`, the winners' error over that of predicting zero;
    `grad_norm`, `weight_norm`, `reference_distance` (norm of policy - reference, where it is kept as weights), `lr`;
    `win_motion`, `lose_motion`, the dynamic degree of winners and losers; `pair_weight`.
    """
    config: AlignConfig = network.config  # type: ignore[assignment]
    whole, over_batch, bank = shardings.step, batch_sharding(config, mesh), make_bank(config)

    def step(state: State, base: Any, batch: Batch, key: jax.Array):
        key, roll = jax.random.split(jax.random.fold_in(key, state.step))
        if not methods.needs_losers(config.preference):
            batch = {k: v for k, v in batch.items() if k not in ("lose", "masks", "label")}
        elif config.rollout.source != "stored":
            batch = with_losers(network, reference, state, base, batch, roll)
            # Samples come out of the sampler's own layout: bring them to that of the winners.
            batch["lose"] = jax.lax.with_sharding_constraint(batch["lose"], NamedSharding(mesh, over_batch.spec))
        batch, drawn = draw(config, bank, key, batch)
        loss, grad, measured = gradient(
            network, reference, state.params, state.reference, base, batch, drawn, config.accumulate
        )
        updates, optimizer = tx.update(grad, state.optimizer, state.params)
        params: Any = optax.apply_updates(state.params, updates)
        average = ema.update(state.ema, params, state.step, config.ema.decay, config.ema.ramp)
        kept = reference.update(state.reference, params, state.step)
        metrics = {
            "loss": loss,
            "relative": jnp.mean(measured.policy.win) / objectives.zero_velocity_error(batch["latent"]),
            "grad_norm": optax.global_norm(grad),
            "weight_norm": optax.global_norm(params),
            "lr": jnp.asarray(learning_rate(state.step), jnp.float32),
            "win_motion": jnp.mean(logs.dynamic_degree(batch["latent"])),
            **logs.metrics(config.preference, measured),
        }
        if "lose" in batch:
            metrics["lose_motion"] = jnp.mean(logs.dynamic_degree(batch["lose"]))
        if "weight" in batch:
            metrics["pair_weight"] = jnp.mean(batch["weight"])
        if jax.tree.leaves(kept):
            difference = jax.tree.map(lambda p, r: p.astype(jnp.float32) - r.astype(jnp.float32), params, kept)
            metrics["reference_distance"] = optax.global_norm(difference)
        return State(state.step + 1, params, average, optimizer, kept), metrics

    base_shardings = jax.tree.map(lambda x: x.sharding, network.base)
    return jax.jit(
        step,
        donate_argnums=0,
        in_shardings=(shardings, base_shardings, over_batch, whole),
        out_shardings=(shardings, whole),
    )
