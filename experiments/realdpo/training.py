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

from experiments.realdpo.arms import Regime
from experiments.realdpo.config import RealDPO
from experiments.realdpo.network import post_config
from vrjax.align import losses, step
from vrjax.align.config import Preference, Reference
from vrjax.align.step import State
from vrjax.train import state as states
from vrjax.train.config import Optim
from vrjax.train.state import Network

LOGGED = ("loss", "win_error", "win_gap", "lose_gap", "loser_dominant", "accuracy", "win_motion", "lose_motion")


def numbers(arm: Regime) -> dict[str, Any]:
    """What may differ between arms of one program, as arguments of the update."""
    f = jnp.float32
    return {
        "optim.lr": f(arm.lr),
        "preference.beta": f(arm.beta),
        "preference.anchor": f(arm.anchor),
        "preference.high": f(arm.high),
        "reference.decay": 1 - f(arm.rate),  # a reference that moves by 0 is frozen
        "reference.every": jnp.int32(arm.every),
    }


class Program(NamedTuple):
    """A method's compiled functions over all bases: `start(params) -> state` and
    `update(numbers, state, batch, keys) -> (state, metrics)`; the state is donated."""

    start: Callable[[Any], State]
    update: Callable[[Mapping[str, Any], State, Any, Any], tuple[State, dict[str, jax.Array]]]


@functools.cache
def program(study: RealDPO, method: str, losers: int, shared: bool) -> Program:
    """The program of a method. `method` is a loss of `vrjax.align`; plain DPO is "reg_dpo" with anchor 0."""
    config = dataclasses.replace(
        post_config(study),
        preference=Preference(loss=method, losers=losers, shared_noise=shared, bins=1),
        reference=Reference(kind="ema" if losses.get(method).needs_reference else "none"),
        optim=Optim(kind="adamw", warmup=study.warmup, final=1.0, b2=0.95, weight_decay=study.decay),
    )
    one = step.body(Network(config, {}), states.make_mesh(config))
    start = jax.vmap(functools.partial(step.start, config))

    def update(numbers: Mapping[str, Any], state: State, batch: Any, key: Any) -> tuple[State, dict[str, jax.Array]]:
        state, metrics = one(state, {}, batch, key, numbers)
        return state, {name: metrics[name] for name in LOGGED if name in metrics}

    many = jax.vmap(update, in_axes=(None, 0, 0, 0))
    return Program(jax.jit(start), jax.jit(many, donate_argnums=1))


def train(
    study: RealDPO,
    arm: Regime,
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
    values, log = numbers(arm), []
    for done in range(1, until + 1):
        index = [rng.integers(len(d["latent"]), size=study.batch) for rng, d in zip(draws, data, strict=True)]
        batch = {k: np.stack([d[k][i] for d, i in zip(data, index, strict=True)]) for k in data[0]}
        state, metrics = own.update(values, state, batch, keys)
        log.append(metrics)
        tick(1)
        yield done, state.params
    host = jax.device_get(log)
    return {name: np.stack([row[name] for row in host]) for name in host[0]}
