"""Post-training: vrjax's own preference step or policy gradients, for all bases at once, compiled once per method.

Learning rate, beta, anchor, noise range and the reference's motion are arguments of the compiled update, so arms that
differ in numbers only share a program.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.realdpo import inputs
from experiments.realdpo.arms import Regime
from experiments.realdpo.config import RealDPO
from experiments.realdpo.network import post_config
from experiments.realdpo.pairs import Material
from vrjax import flow, parallel
from vrjax.align import losses, policy, references, step
from vrjax.align.config import AlignConfig, Preference, Reference
from vrjax.align.step import State
from vrjax.tasks.discs import physics, verifier
from vrjax.train import optim, update
from vrjax.train.config import Optim
from vrjax.train.state import Network

LOGGED = ("loss", "win_error", "win_gap", "lose_gap", "loser_dominant", "accuracy")
BLOCK = 10  # updates of which a kept log holds the mean


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
    `update(numbers, state, origin, batch, keys) -> (state, metrics)`; the state is donated."""

    start: Callable[[Any], State]
    update: Callable[[Mapping[str, Any], State, Any, Any, Any], tuple[State, dict[str, jax.Array]]]


def config_of(
    study: RealDPO, method: str, losers: int = 1, shared: bool = True, warmup: int | None = None, accumulate: int = 1
) -> AlignConfig:
    """The run of a method, but for its `numbers`. `method` is a loss of `vrjax.align`; plain DPO is "reg_dpo" with
    anchor 0."""
    warmup = study.warmup if warmup is None else warmup
    return dataclasses.replace(
        post_config(study),
        preference=Preference(loss=method, losers=losers, shared_noise=shared, bins=1),
        reference=Reference(kind="ema" if losses.METHODS[method].needs_reference else "none"),
        optim=Optim(kind="adamw", warmup=warmup, final=1.0, b2=0.95, weight_decay=study.decay),
        accumulate=accumulate,
        steps=max(study.steps, warmup + 1),  # the rate is constant from the warm-up on
    )


@functools.cache
def program(study: RealDPO, *how: Any) -> Program:
    """The program of a method, which is all that `config_of` takes."""
    config = config_of(study, *how)
    one = step.body(Network(config, {}), parallel.run_mesh(config.mesh))
    start = jax.vmap(functools.partial(step.start, config))

    def move(numbers: Mapping[str, Any], state: State, origin: Any, batch: Any, key: Any) -> tuple[State, dict]:
        state, metrics = one(state, {}, batch, key, numbers)
        logged = {name: metrics[name] for name in LOGGED if name in metrics}
        if jax.tree.leaves(state.reference):
            logged["followed"] = references.followed(origin, state.reference, state.params)
        return state, logged

    many = jax.vmap(move, in_axes=(None, 0, 0, 0, 0))
    return Program(jax.jit(start), jax.jit(many, donate_argnums=1))


Run = Iterator[tuple[int, Any, dict[str, Any]]]
"""After every update: how many are done, the stacked weights (copy what outlives the next one: the state is donated),
and what is logged, (bases,) each."""


def train(
    study: RealDPO,
    arm: Regime,
    params: Any,
    data: Sequence[Mapping[str, np.ndarray]],
    until: int,
    tick: Callable[[int], None] = lambda done: None,
) -> Run:
    """Post-trains all bases by preferences, or on winners alone.

    Args:
        params: stacked weights of the bases; not donated.
        data: of each base: `latent`, `text`, `image`, and with losers `lose` and `weight`, rows on the leading axis.
        until: updates.
    """
    own = program(study.shape(), arm.method, arm.losers, arm.shared, arm.warmup, arm.accumulate)
    state, values = own.start(params), numbers(arm)
    keys, draws = _random(study, 77, 3)
    for done in range(1, until + 1):
        index = [rng.integers(len(d["latent"]), size=study.batch) for rng, d in zip(draws, data, strict=True)]
        batch = {k: np.stack([d[k][i] for d, i in zip(data, index, strict=True)]) for k in data[0]}
        state, metrics = own.update(values, state, params, batch, keys)
        tick(1)
        yield done, state.params, metrics


def stacked(log: Sequence[Mapping[str, Any]], block: int = 1) -> dict[str, np.ndarray]:
    """What a run logged, name -> (updates, bases); or of every `block` updates the mean, of the last that are left."""
    host = jax.device_get(log)
    rows = {name: np.stack([row[name] for row in host]) for name in host[0]}
    begins = range(0, len(host), block)
    return {name: np.stack([values[i : i + block].mean(0) for i in begins]) for name, values in rows.items()}


def _random(study: RealDPO, key: int, stream: int) -> tuple[jax.Array, list[np.random.Generator]]:
    """Of each base: a key for the device, and the draws of its batches."""
    keys = jnp.stack([jax.random.fold_in(jax.random.key(seed), key) for seed in study.seeds])
    return keys, [np.random.default_rng([stream, seed]) for seed in study.seeds]


# --------------------------------------------------------------------------------------------------- policy gradients


REACH = 4 * verifier.TOLERANCE  # errors from here on are worth nothing


def reward(error: np.ndarray) -> np.ndarray:
    """1 for the true clip, falling evenly to 0 at an error of `REACH`, and 1 more for a valid clip."""
    return np.clip(1 - error / REACH, 0, 1) + (error < verifier.TOLERANCE)


def policy_gradients(
    study: RealDPO,
    arm: Regime,
    params: Any,
    own: list[Material],
    until: int,
    tick: Callable[[int], None] = lambda done: None,
) -> Run:
    """The upper reference: the verifier itself is the reward (`vrjax.align.policy`).

    One update: `study.prompts` real clips' first frames, `study.group` stochastic samples each, one clipped step on all
    their transitions but the last.
    """
    network = Network(post_config(study), {})
    grid = flow.grids.shifted(study.sampler_steps, shift=study.shift)
    shape = (physics.FRAMES, 1, physics.BODIES[own[0].real.family], 2)
    roll = policy.rollout(network, shape=shape, grid=grid, solver=flow.sde("flow_grpo"), group=study.group)
    tx = optim.make(kind="adamw", lr=arm.lr, steps=until, warmup=0, final=1.0, b2=0.95, weight_decay=study.decay)
    body = policy.make(network, tx)
    rolls = jax.jit(jax.vmap(lambda p, given, key: roll(p, {}, given, key)))

    def one(state: Any, rolled: Any, old: Any, advantage: Any, key: Any) -> Any:
        state, _, metrics = body(state, {}, {}, rolled, old, advantage, True, key)
        return state, metrics

    many = jax.jit(jax.vmap(one), donate_argnums=0)
    state = jax.jit(jax.vmap(lambda p: update.start(p, tx)))(params)
    keys, draws = _random(study, 78, 5)
    for done in range(1, until + 1):
        clips = [m.real.take(rng.integers(len(m.real), size=study.prompts)) for rng, m in zip(draws, own, strict=True)]
        given = jax.tree.map(lambda *x: np.stack(x), *(inputs.conditions(c) for c in clips))
        now = jax.vmap(jax.random.split)(jax.vmap(jax.random.fold_in, (0, None))(keys, done))
        rolled = rolls(state.params, given, now[:, 0])
        final = inputs.positions(np.asarray(rolled.trajectory.final))
        error = np.stack([verifier.judge(c, f).error for c, f in zip(clips, final, strict=True)])
        gained = reward(error)
        advantage = jnp.stack([losses.advantages(jnp.asarray(r, jnp.float32)) for r in gained])
        state, metrics = many(state, rolled, rolled.trajectory.log_prob, advantage, now[:, 1])
        tick(1)
        yield done, state.params, {"reward": gained.mean((1, 2)), "loss": metrics["loss"]}
