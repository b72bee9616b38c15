"""One preference update as one compiled, sharded, donated function.

Inside it: losers are sampled where the run asks for it, one noise and one level are drawn per pair, policy and
reference are measured on winner and losers, the loss is differentiated in micro-batches, the optimiser moves the
policy, and the averages follow.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding

from vrjax import parallel
from vrjax.align import logs, losses, references, rollouts
from vrjax.align.bank import Bank
from vrjax.align.config import AlignConfig
from vrjax.align.errors import Errors, Measured, pair_errors
from vrjax.models import family
from vrjax.train import objectives, optim, update
from vrjax.train import state as states
from vrjax.train import step as training
from vrjax.train.objectives import Draw
from vrjax.train.state import Network

Batch = dict[str, Any]
BANK = 3  # stream of randomness, beside those of vrjax.train.state


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State(states.State):
    """The donated state of a preference run: that of training, and what the reference keeps (maybe an empty dict)."""

    reference: Any


def make_reference(config: Any) -> references.Reference:
    """The reference of a config; none for a loss that compares with none. Its numbers may be traced."""
    method, spec = losses.METHODS[config.preference.loss], config.reference
    return references.KINDS[spec.kind if method.needs_reference else "none"](spec)


def make_bank(config: Any) -> Bank | None:
    """The bank of draws of a config, or None where draws are fresh."""
    if not config.reference.draws:
        return None
    return Bank(config.reference.draws, states.run_key(config, BANK), lambda key, count: levels(config, key, count))


def extended(config: AlignConfig, state: Any, shardings: Any) -> tuple[State, State]:
    """The state of a training, of arrays or of shapes, with what the reference keeps beside it; and its shardings.

    The reference starts from the state's weights and lies where they lie.
    """
    reference = make_reference(config)
    kept = jax.eval_shape(reference.init, state.params)
    like = shardings.params if jax.tree.leaves(kept) else {}
    if isinstance(state.step, jax.ShapeDtypeStruct):
        kept = states.placed(kept, like)
    else:
        kept = jax.jit(reference.init, out_shardings=like)(state.params)
    return _extended(state, kept), _extended(shardings, like)


def start(config: AlignConfig, params: Any) -> State:
    """The state before the first update of given weights (or adapters), pure."""
    tx, _ = optim.of(config.optim, config.steps)
    return _extended(update.start(params, tx, average=config.ema.decay > 0), make_reference(config).init(params))


def _extended(state: states.State, reference: Any) -> State:
    return State(**{f.name: getattr(state, f.name) for f in dataclasses.fields(state)}, reference=reference)


def abstract(config: AlignConfig, mesh: Mesh, latent: tuple[int, ...]) -> tuple[Any, tuple[State, Any, Batch, Any]]:
    """The compiled update of a config, and its arguments as shapes with shardings; see `vrjax.train.step.abstract`.

    Raises:
        ValueError: a loss over parts of clips, whose masks come with the pairs.
    """
    method = losses.METHODS[config.preference.loss]
    if method.needs_masks:
        raise ValueError(f"config {config.name!r}: the masks of {config.preference.loss} come with its pairs")
    network, state, shardings = states.abstract(config, mesh)
    state, shardings = extended(config, state, shardings)
    losers, draws = config.preference.losers, config.reference.draws
    shapes = {"latent": latent, **network.family.conditions(config.model, latent)}
    if method.needs_losers and config.rollout.source == "stored":
        shapes["lose"] = (losers, *latent)
    if make_reference(config).kind == "precomputed":
        shapes |= {"reference_win": (draws,), "reference_lose": (draws, losers)}
    batch = {name: training.rows_like(config, mesh, *shape) for name, shape in shapes.items()}
    if config.data.motions is not None:
        batch = {name: training.rows_like(config, mesh, dtype=jnp.uint32) for name in ("seed", "number")}
    if draws:
        batch["pair"] = training.rows_like(config, mesh, dtype=jnp.int32)
    return make(network, mesh, shardings), (state, network.base, batch, training.key_like(config, shardings))


def levels(config: Any, key: jax.Array, count: int) -> jax.Array:
    """Noise levels of the run: those of `config.objective`, mapped to [low, high] of `config.preference`."""
    range_ = config.preference
    return range_.low + (range_.high - range_.low) * training.levels(config.objective, key, count)


def draw(config: Any, bank: Bank | None, key: jax.Array, batch: Batch) -> tuple[Batch, Draw]:
    """All randomness of one update: dropped conditions, one noise and one level per pair, for the whole batch.

    Drawn before the batch is cut into micro-batches. With a bank, `batch["draw"]` says which draw each pair gets, and
    the stored reference errors of that draw become `reference_win` (b,) and `reference_lose` (b, losers).
    """
    count, *shape = batch["latent"].shape
    batch, noise, level = training.drop(config, key, batch)
    if bank is not None:
        which = jax.random.randint(noise, (count,), 0, bank.draws)
        drawn = jax.vmap(lambda pair, k: bank.draw(pair, k, tuple(shape)))(batch["pair"], which)
        if "reference_win" in batch:
            pick = jax.vmap(lambda table, k: table[k])
            batch |= {name: pick(batch[name], which) for name in ("reference_win", "reference_lose")}
        return batch, Draw(*drawn)
    own = losses.METHODS[config.preference.loss].needs_losers and not config.preference.shared_noise
    lead = (count, 1 + config.preference.losers) if own else (count,)
    return batch, Draw(jax.random.normal(noise, (*lead, *shape), jnp.float32), levels(config, level, count))


def batch_errors(model: Any, batch: Batch, drawn: Draw, layout: parallel.Layout | None = None) -> Errors:
    """Errors of a batch of pairs under a module: `latent` (b, ...), `lose` (b, losers, ...) if any, `masks` if any.

    `layout` is that of the network the module was built from: pairs are divided over the mesh.
    """
    lose, masks, of = batch.get("lose"), batch.get("masks"), family.of(model.cfg)

    def one(win: Any, lose: Any, masks: Any, given: Any, noise: Any, sigma: Any) -> Errors:
        velocity = lambda x, level: of.predict(model, x, level, given)
        return pair_errors(velocity, win, lose, noise, objectives.level_of(sigma), masks=masks)

    axes = (0, None if lose is None else 0, None if masks is None else 0, 0, 0, 0)
    given = training.conditions(model.cfg, batch)
    return parallel.batch(layout, one, in_axes=axes)(batch["latent"], lose, masks, given, drawn.noise, drawn.sigma)


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


def pair_loss(
    network: Network, reference: references.Reference, kept: Any, base: Any, config: Any = None
) -> Callable[[Any, Batch, Draw], tuple[jax.Array, Measured]]:
    """`(params, batch, drawn) -> (loss, measured)`: the mean over pairs of (weight x loss), and the errors behind it.

    `config` is that of the network, or one whose numbers are traced. KTO's baseline is that of the micro-batch.
    """
    whole: Any = network.config if config is None else config
    spec = whole.preference

    def loss(params: Any, batch: Batch, drawn: Draw) -> tuple[jax.Array, Measured]:
        measured = Measured(
            batch_errors(network.build(params, base), batch, drawn, network.layout),
            reference_errors(network, reference, kept, base, batch, drawn),
            drawn.sigma,
        )
        pairs = losses.pair_losses(spec, measured, batch)
        return jnp.mean(batch["weight"] * pairs if "weight" in batch else pairs), measured

    return loss


def with_losers(
    network: Network, reference: references.Reference, state: State, base: Any, batch: Batch, key: jax.Array
) -> Batch:
    """The batch with sampled losers: `lose` (b, losers, ...) and the pairs' `weight` (b,)."""
    config: Any = network.config
    if config.rollout.source == "policy":
        model = network.build(state.params, base)
    else:
        assert reference.module is not None  # the config has been checked
        model = reference.module(network, state.reference, base)
    count, given = config.preference.losers, training.conditions(config.model, batch)
    made = rollouts.losers(model, batch["latent"], given, key, config.rollout, count, layout=network.layout)
    return batch | {"lose": made.latents, "weight": made.weight * batch.get("weight", 1.0)}


def body(network: Network, mesh: Mesh) -> Callable[..., tuple[State, dict[str, jax.Array]]]:
    """The update as a pure function `(state, base, batch, key, numbers={}) -> (state, metrics)`.

    `numbers` replaces numbers of the config by dotted name, such as `preference.beta`; they may be traced, see
    `vrjax.train.update`.

    The batch holds `latent` (b, ...), the winners; the family's conditions by name; `lose` (b, losers, ...) unless
    losers are rolled out; optionally `weight` (b,), `masks` (b, parts, ...) and `label` (b, parts); with a bank `pair`
    (b,), and for stored reference errors `reference_win` (b, draws) and `reference_lose` (b, draws, losers). Or it is
    what `vrjax.train.step.filled` makes winners of.

    Metrics: those of `vrjax.align.logs.metrics`; `loss`; `relative`, the winners' error over that of predicting zero;
    `grad_norm`, `weight_norm`, `reference_distance` (norm of policy - reference, where it is kept as weights), `lr`;
    `win_motion`, `lose_motion`, the dynamic degree of winners and losers; `pair_weight`.
    """
    config: Any = network.config
    method, over_batch = losses.METHODS[config.preference.loss], states.batch_sharding(config, mesh)

    def step(state: State, base: Any, batch: Batch, key: jax.Array, numbers: Mapping[str, Any] = update.NONE):
        spec = update.numbered(config, numbers)
        reference, (tx, rate) = make_reference(spec), optim.of(spec.optim, config.steps)
        key, roll = jax.random.split(jax.random.fold_in(key, state.step))
        batch = training.filled(config, batch)
        if not method.needs_losers:
            batch = {k: v for k, v in batch.items() if k not in ("lose", "masks", "label")}
        elif config.rollout.source != "stored":
            batch = with_losers(network, reference, state, base, batch, roll)
            # Samples come out of the sampler's own layout: bring them to that of the winners.
            batch["lose"] = jax.lax.with_sharding_constraint(batch["lose"], NamedSharding(mesh, over_batch.spec))
        batch, drawn = draw(spec, make_bank(spec), key, batch)
        loss = pair_loss(network, reference, state.reference, base, spec)
        given = {"parts": config.accumulate, "decay": spec.ema.decay, "ramp": spec.ema.ramp}
        after, moved = update.move(loss, tx, state, (batch, drawn), **given)
        kept = reference.update(state.reference, after.params, state.step)
        metrics = moved.metrics | {
            "relative": jnp.mean(moved.aux.policy.win) / objectives.zero_velocity_error(batch["latent"]),
            "lr": jnp.asarray(rate(state.step), jnp.float32),
            "win_motion": jnp.mean(logs.dynamic_degree(batch["latent"])),
            **logs.metrics(spec.preference, moved.aux),
        }
        if "lose" in batch:
            metrics["lose_motion"] = jnp.mean(logs.dynamic_degree(batch["lose"], 2))
        if "weight" in batch:
            metrics["pair_weight"] = jnp.mean(batch["weight"])
        if jax.tree.leaves(kept):
            difference = jax.tree.map(lambda p, r: p.astype(jnp.float32) - r.astype(jnp.float32), after.params, kept)
            metrics["reference_distance"] = optax.global_norm(difference)
        return dataclasses.replace(after, reference=kept), metrics

    return step


def make(
    network: Network, mesh: Mesh, shardings: State
) -> Callable[[State, Any, Batch, jax.Array], tuple[State, dict[str, jax.Array]]]:
    """The compiled `body`: `(state, base, batch, key) -> (state, metrics)`; `state` is donated.

    Args:
        network: the static half of the model; `base` is its frozen weights (`network.base`).
        mesh: where everything lives.
        shardings: of the state, as `extended` returned them.
    """
    rows = states.batch_sharding(network.config, mesh)
    return update.compiled(body(network, mesh), shardings, network.base, rows)
