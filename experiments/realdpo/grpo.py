"""The upper reference: policy gradients with the verifier itself as the reward, `vrjax.align.policy` for all bases."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.realdpo import inputs
from experiments.realdpo.arms import Regime
from experiments.realdpo.config import RealDPO
from experiments.realdpo.network import post_config
from experiments.realdpo.pairs import Material
from vrjax import flow
from vrjax.align import losses, policy
from vrjax.tasks.discs import physics, verifier
from vrjax.train import optim, update
from vrjax.train.state import Network

REACH = 4 * verifier.TOLERANCE  # errors from here on are worth nothing


def reward(error: np.ndarray) -> np.ndarray:
    """1 for the true clip, falling evenly to 0 at an error of `REACH`, and 1 more for a valid clip."""
    return np.clip(1 - error / REACH, 0, 1) + (error < verifier.TOLERANCE)


def train(
    study: RealDPO,
    arm: Regime,
    params: Any,
    own: list[Material],
    until: int,
    tick: Callable[[int], None] = lambda done: None,
):
    """As `training.train`: yields (updates done, stacked weights), returns the log with "reward" (updates, bases).

    One update: `study.prompts` real clips' first frames, `study.group` stochastic samples each, one clipped step on all
    their transitions but the last.
    """
    network = Network(post_config(study), {})
    grid = flow.grids.shifted(study.sampler_steps, shift=study.shift)
    shape = (physics.FRAMES, 1, physics.BODIES[own[0].real.family], 2)
    roll = policy.rollout(network, shape=shape, grid=grid, solver=flow.sde("flow_grpo"), group=study.group)
    tx = optim.make(kind="adamw", lr=arm.lr, steps=until, warmup=0, final=1.0, b2=0.95, weight_decay=study.decay)
    step = policy.make(network, tx)
    rolls = jax.jit(jax.vmap(lambda p, given, key: roll(p, {}, given, key)))

    def one(state: Any, rolled: Any, old: Any, advantage: Any, key: Any) -> Any:
        state, _, metrics = step(state, {}, {}, rolled, old, advantage, True, key)
        return state, metrics

    many = jax.jit(jax.vmap(one), donate_argnums=0)
    state = jax.jit(jax.vmap(lambda p: update.start(p, tx)))(params)
    seeds = [study.first + i for i in range(study.bases)]
    keys = jnp.stack([jax.random.fold_in(jax.random.key(seed), 78) for seed in seeds])
    draws = [np.random.default_rng([5, seed]) for seed in seeds]
    log: list[dict[str, np.ndarray]] = []
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
        log.append({"reward": gained.mean((1, 2)), "loss": np.asarray(metrics["loss"])})
        tick(1)
        yield done, state.params
    return {name: np.stack([row[name] for row in log]) for name in log[0]}
