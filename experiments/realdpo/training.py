"""Post-training: vrjax's own preference step, for all bases at once, compiled once per method.

Learning rate, beta, anchor, noise range and the reference's motion are arguments of the compiled update, so arms that
differ in numbers only share a program.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.realdpo.arms import Arm
from experiments.realdpo.config import Study
from experiments.realdpo.network import post_config
from vrjax.align import methods, references, step
from vrjax.align.config import Preference
from vrjax.align.config import Reference as SpecOfReference
from vrjax.align.references import Reference
from vrjax.align.step import State
from vrjax.train import ema, optim
from vrjax.train import state as states
from vrjax.train.state import Network

LOGGED = ("loss", "win_error", "win_gap", "lose_gap", "loser_dominant", "accuracy", "win_motion", "lose_motion")


class Numbers(NamedTuple):
    """What may differ between arms of one program; float32 scalars, `every` an int32."""

    lr: Any
    beta: Any
    anchor: Any
    high: Any
    rate: Any
    every: Any

    @classmethod
    def of(cls, arm: Arm) -> "Numbers":
        f = jnp.float32
        return cls(f(arm.lr), f(arm.beta), f(arm.anchor), f(arm.high), f(arm.rate), jnp.int32(arm.every))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traced(Preference):
    """A `Preference` whose numbers may be traced: they are checked where they are made, in `Study` and `Arm`."""

    def __post_init__(self):
        pass


def reference(numbers: Numbers) -> Reference:
    """The moving reference with a traced rate and cadence: `references.ema`, and with rate 0 `references.frozen`."""

    def update(kept: Any, params: Any, count: Any) -> Any:
        rate = jnp.where((count + 1) % numbers.every == 0, numbers.rate, 0.0)
        return jax.tree.map(lambda a, p: a + rate * (p.astype(jnp.float32) - a), kept, params)

    return references.frozen()._replace(kind="ema", update=update, moves=True)


class Program(NamedTuple):
    """A method's compiled functions over all bases: `start(params) -> state` and
    `update(numbers, state, batch, keys) -> (state, metrics)`; the state is donated."""

    start: Callable[[Any], State]
    update: Callable[[Numbers, State, Any, Any], tuple[State, dict[str, jax.Array]]]


@functools.cache
def program(study: Study, method: str, losers: int, shared: bool) -> Program:
    """The program of a method. `method` is a loss of `vrjax.align`; plain DPO is "reg_dpo" with anchor 0."""
    preference = Preference(loss=method, losers=losers)  # type: ignore[arg-type]
    compares = methods.needs_reference(preference)
    config = dataclasses.replace(
        post_config(study), preference=preference, reference=SpecOfReference(kind="frozen" if compares else "none")
    )
    mesh = states.make_mesh(config)
    # The rate multiplies last: AdamW's weight decay is scaled by it too, as in `vrjax.train.optim`.
    unit = optim.make(
        kind="adamw",
        lr=1.0,
        steps=study.steps,
        warmup=study.warmup,
        final=1.0,
        b2=0.95,
        weight_decay=study.decay,
    )

    def kept(numbers: Numbers) -> Reference:
        return reference(numbers) if compares else references.none()

    def tx(numbers: Numbers) -> optax.GradientTransformation:
        return optax.chain(unit, optax.scale(numbers.lr))

    def start(params: Any) -> State:
        nothing: list[Any] = [jnp.float32(0)] * 5
        zero = Numbers._make([*nothing, jnp.int32(1)])
        init = lambda p: State(jnp.zeros((), jnp.int32), p, ema.init(p), tx(zero).init(p), kept(zero).init(p))
        return jax.vmap(init)(params)

    def update(numbers: Numbers, state: State, batch: Any, key: Any) -> tuple[State, dict[str, jax.Array]]:
        spec = Traced(
            loss=method,  # type: ignore[arg-type]
            beta=numbers.beta,
            anchor=numbers.anchor,
            high=numbers.high,
            losers=losers,
            shared_noise=shared,
            bins=1,
        )
        network = Network(dataclasses.replace(config, preference=spec), {})
        whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        shardings = jax.tree.map(lambda _: whole, state)
        one = step.make(network, kept(numbers), tx(numbers), lambda _: numbers.lr, mesh, shardings)
        state, metrics = one(state, {}, batch, key)
        return state, {name: metrics[name] for name in LOGGED if name in metrics}

    many = jax.vmap(update, in_axes=(None, 0, 0, 0))
    return Program(jax.jit(start), jax.jit(many, donate_argnums=1))


def train(
    study: Study,
    arm: Arm,
    params: Any,
    data: Sequence[Mapping[str, np.ndarray]],
    until: int,
    tick: Callable[[int], None] = lambda done: None,
):
    """Post-trains all bases; a generator of `(updates, params)` after every update, and finally the log.

    Args:
        params: stacked weights of the bases; not donated.
        data: of each base: `latent`, `text`, `image`, and with losers `lose` and `weight`, rows on the leading axis.
        until: updates.

    Yields:
        (updates done, stacked weights) after every update. Copy what outlives the next one: the state is donated.

    Returns (of the generator): {logged name: (updates, bases)}.
    """
    own = program(study.shape(), arm.method, arm.losers, arm.shared)
    state = own.start(params)
    seeds = [study.first + i for i in range(study.bases)]
    keys = jnp.stack([jax.random.fold_in(jax.random.key(seed), 77) for seed in seeds])
    draws = [np.random.default_rng([3, seed]) for seed in seeds]
    numbers, log = Numbers.of(arm), []
    for done in range(1, until + 1):
        index = [rng.integers(len(d["latent"]), size=study.batch) for rng, d in zip(draws, data, strict=True)]
        batch = {k: np.stack([d[k][i] for d, i in zip(data, index, strict=True)]) for k in data[0]}
        state, metrics = own.update(numbers, state, batch, keys)
        log.append(metrics)
        tick(1)
        yield done, state.params
    host = jax.device_get(log)
    return {name: np.stack([row[name] for row in host]) for name in host[0]}
