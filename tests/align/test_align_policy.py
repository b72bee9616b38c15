"""GRPO and SPO on the stochastic sampler: replay, ratios, the update, candidates."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from flax import nnx

from vrjax import flow
from vrjax.align import losses, policy
from vrjax.models import wan
from vrjax.train import state as states
from vrjax.train import update as update_of

GRID = flow.grids.shifted(4, shift=3.0)


def given(rows):
    return {name: rows[name] for name in ("text", "image")}


@pytest.fixture(scope="module")
def setup():
    """Network, weights with an alive head, two prompts, and one group of rollouts of each."""
    config = tiny.align(start="unused")
    network = states.Network(config, {})
    dit = wan.WanDiT(tiny.MODEL, rngs=nnx.Rngs(7))
    dit.head.kernel[...] = 0.3 * jax.random.normal(jax.random.key(9), dit.head.kernel.shape)
    params = nnx.to_pure_dict(nnx.split(dit)[1])
    rows = tiny.batch(2)
    solver = flow.sde("flow_grpo")
    roll = policy.rollout(network, shape=tiny.SHAPE, grid=GRID, solver=solver, group=3)
    rolled = roll(params, {}, given(rows), jax.random.key(1))
    return network, params, rolled, roll, rows


def test_the_ratio_before_the_first_update_is_exactly_one(setup):
    network, params, rolled, roll, rows = setup
    replayed = jax.jit(lambda p, r: policy.log_probs(network, p, {}, r))(params, rolled)
    recorded = rolled.trajectory.log_prob
    assert replayed.shape == (2, 3, 4)
    np.testing.assert_array_equal(np.exp(replayed - recorded), 1.0)
    assert np.all(np.asarray(recorded)[..., -1] == 0) and np.all(np.asarray(recorded)[..., :-1] != 0)
    # other weights: other densities
    other = jax.tree.map(lambda p: p * 1.01, params)
    moved = jax.jit(lambda p, r: policy.log_probs(network, p, {}, r))(other, rolled)
    assert np.abs(np.asarray(moved - recorded)[..., :-1]).min() > 1e-7


def test_the_update_raises_the_density_of_what_was_rewarded(setup):
    network, params, rolled, roll, rows = setup
    rewards = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5]], np.float32)
    advantage = losses.advantages(rewards)
    tx = optax.sgd(1e-2)
    update = policy.make(network, tx, clip=1e-4, kl=0.04)
    copy = jax.tree.map(jnp.array, params)
    reference = jax.tree.map(jnp.array, params)
    state = update_of.start(copy, tx)
    args = (rolled, rolled.trajectory.log_prob, advantage)
    state, old, metrics = update(state, {}, reference, *args, True, jax.random.key(2))
    assert metrics["ratio_min"] == 1.0 and metrics["ratio_max"] == 1.0 and metrics["clipped"] == 0
    assert metrics["replay_error"] < 1e-5 and abs(metrics["kl"]) < 1e-9
    # at ratio 1 the loss is the mean of -A over the trained steps: groups are centred
    assert abs(metrics["loss"]) < 1e-5 and metrics["grad_norm"] > 0
    np.testing.assert_allclose(old, rolled.trajectory.log_prob, atol=1e-5)
    new = jax.jit(lambda p, r: policy.log_probs(network, p, {}, r))(state.params, rolled)
    change = np.asarray(new - old)[..., :-1].mean(-1)
    assert change[0, 0] > 0 > change[0, 1:].mean()
    # a second update on the same trajectories is clipped where the ratio has left the range
    state, _, metrics = update(state, {}, reference, rolled, old, advantage, False, jax.random.key(3))
    assert metrics["ratio_max"] > 1 and metrics["kl"] > 0 and state.step == 2


def test_grpo_learns_a_planted_bandit(setup):
    """A sample pays when its mean is above (or, the other way round, below) that of all samples before any update."""
    network, params, *_, rows = setup
    roll = policy.rollout(network, shape=tiny.SHAPE, grid=GRID, solver=flow.sde("flow_grpo"), group=16)
    tx = optax.adam(1e-3)
    update = policy.make(network, tx)
    means = lambda rolled: np.asarray(rolled.trajectory.final).mean((2, 3, 4, 5))
    line = np.median(means(roll(params, {}, given(rows), jax.random.key(0))))

    def paid(sign):
        state, shares = update_of.start(jax.tree.map(jnp.array, params), tx), []
        for k in range(20):
            rolled = roll(state.params, {}, given(rows), jax.random.key(10 + k))
            reward = (sign * (means(rolled) - line) > 0).astype(np.float32)
            shares.append(reward.mean())
            advantage = losses.advantages(reward)
            state, *_ = update(state, {}, {}, rolled, rolled.trajectory.log_prob, advantage, True, jax.random.key(k))
        return np.mean(shares[:2]), np.mean(shares[-2:])

    for sign in (1, -1):
        before, after = paid(sign)
        assert before < 0.7 and after > before + 0.25, (sign, before, after)


def test_the_share_of_trained_steps(setup):
    _, _, rolled, *_ = setup
    everything = policy._trained(rolled.trajectory, (2, 3, 4), 1.0, jax.random.key(0))
    np.testing.assert_array_equal(everything, np.broadcast_to([1, 1, 1, 0], (2, 3, 4)))
    some = np.asarray(policy._trained(rolled.trajectory, (64, 3, 4), 0.6, jax.random.key(0)))
    assert np.all(some.sum(-1) == 2) and np.all(some[..., -1] == 0)
    assert np.all(some.mean((0, 1))[:3] > 0.4)  # each step takes part


def test_the_divergence_is_that_of_the_sampler(setup):
    """KL against the transitions' own means and deviations, as the sampler records them."""
    network, params, rolled, _, rows = setup
    other = jax.tree.map(lambda p: p * 1.02, params)
    trained = jnp.ones((2, 3, 4)).at[..., -1].set(0)
    found = jax.jit(lambda p, q, r: policy._divergence(network, p, q, {}, r, trained))(other, params, rolled)
    solver = flow.sde("flow_grpo")
    x = np.asarray(rolled.trajectory.x[1, 2])
    rows_ = solver.plan(GRID)
    one, total = [network.build(p, {}) for p in (other, params)], []
    for s in range(3):
        level = flow.Level(jnp.float32(GRID.sigmas[s]), jnp.float32(GRID.times[s]))
        mean = [
            rows_["x"][s] * x[s]
            + rows_["v"][s] * np.asarray(d.velocity(rows["text"][1], image=rows["image"][1])(x[s], level).v)
            for d in one
        ]
        total.append(np.mean((mean[0] - mean[1]) ** 2) / (2 * rows_["std"][s] ** 2))
    single = jax.tree.map(lambda a: a[1:2], rolled.conditions)
    import dataclasses

    alone = policy.Rollouts(dataclasses.replace(rolled.trajectory, x=rolled.trajectory.x[1:2, 2:3]), single)
    value = policy._divergence(network, other, params, {}, alone, trained[1:2, 2:3])
    np.testing.assert_allclose(value, np.mean(total), rtol=1e-3)
    assert np.isfinite(found) and found > 0


def test_dance_grpo_starts_a_group_from_one_noise(setup):
    network, params, _, _, rows = setup
    solver = flow.sde("dance_grpo", eta=0.25)
    roll = policy.rollout(network, shape=tiny.SHAPE, grid=GRID, solver=solver, group=2, same_noise=True)
    rolled = roll(params, {}, given(rows), jax.random.key(1))
    x = np.asarray(rolled.trajectory.x)
    np.testing.assert_array_equal(x[:, 0, 0], x[:, 1, 0])
    assert np.abs(x[:, 0, 1] - x[:, 1, 1]).max() > 0.1 and np.abs(x[0, 0, 0] - x[1, 0, 0]).max() > 0.1
    with pytest.raises(ValueError, match="need a stochastic solver"):
        policy.rollout(network, shape=tiny.SHAPE, grid=GRID, solver=flow.euler(), group=2)


def test_spo_candidates_are_the_samplers_own_transitions():
    velocity = lambda x, level: jnp.sin(x) * level.sigma
    x, solver = jnp.linspace(-1, 1, 6), flow.sde("flow_grpo")
    found, density = policy.candidates(velocity, x, GRID, solver, 1, jax.random.key(0), 200)
    rows = solver.plan(GRID)
    mean = rows["x"][1] * x + rows["v"][1] * velocity(x, flow.Level(GRID.sigmas[1], 0))
    std = rows["std"][1]
    np.testing.assert_allclose(found.mean(0), mean, atol=4 * std / math.sqrt(200))
    z = (np.asarray(found) - np.asarray(mean)) / std
    expected = (-0.5 * z**2 - math.log(std) - 0.5 * math.log(2 * math.pi)).mean(-1)
    np.testing.assert_allclose(density, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="step 3 of this sampler has no noise"):
        policy.candidates(velocity, x, GRID, solver, 3, jax.random.key(0), 2)
    with pytest.raises(ValueError, match="need a stochastic solver"):
        policy.candidates(velocity, x, GRID, flow.euler(), 0, jax.random.key(0), 2)
