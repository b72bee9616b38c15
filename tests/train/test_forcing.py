"""Teacher, diffusion and self-forcing: against sums in NumPy for a linear network, and rollouts of a real one."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vrjax.flow import Prediction, grids
from vrjax.models import cached, causal
from vrjax.models.causal import CausalConfig, CausalDiT
from vrjax.train import objectives

F, N = 6, 5
SIGMA = np.array([0.9, 0.3, 0.3, 0.6, 0.6, 0.2], np.float32)
CHUNKS = (2, 2, 2)
WEIGHTS = {"a": 0.3, "b": -0.7, "c": 0.2, "d": 0.05}
grid = grids.self_forcing((1000, 600, 250), 1.0, warp=False)


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


class Linear:
    """v = a x + b (sum of all frames seen) + c sigma + d start; the state is that sum, and how it was shown is kept."""

    def begin(self, model):
        return jnp.zeros(N)

    def chunk(self, model, state, x, level, start):
        times = jnp.broadcast_to(level.time / 1000, (len(x),))[:, None]
        return Prediction(model["a"] * x + model["b"] * state + model["c"] * times + model["d"] * start)

    def after(self, model, state, x, level, start):
        return state + x.sum(0) + 10 * level.time / 1000

    def forced(self, model, x, level, clean, clean_level):
        out, at = [], 0
        times = jnp.broadcast_to(level.time, (F,))
        for n in CHUNKS:
            seen = clean[:at].sum(0) + 10 * (at // 2) * clean_level.time / 1000
            one = level._replace(time=times[at : at + n])
            out.append(self.chunk(model, seen, x[at : at + n], one, at).v)
            at += n
        return Prediction(jnp.concatenate(out))


X0, NOISE = drawn(F, N), drawn(F, N, seed=1)
calls = lambda model=WEIGHTS: cached.Calls(jax.tree.map(jnp.asarray, dict(model)), CHUNKS, Linear())


def linear(x, seen, sigma, start):
    """As `Linear`, in NumPy."""
    return WEIGHTS["a"] * x + WEIGHTS["b"] * seen + WEIGHTS["c"] * sigma + WEIGHTS["d"] * start


@pytest.mark.parametrize("clean_sigma", [None, 0.25])
def test_teacher_forcing_of_a_linear_network(clean_sigma):
    weight = drawn(F, 1, seed=3) ** 2
    errors, shown = [], X0.astype(np.float64)
    if clean_sigma is not None:
        shown = 0.75 * X0 + 0.25 * drawn(F, N, seed=2)
    for f in range(F):
        start = f // 2 * 2
        x = (1 - SIGMA[f]) * X0[f] + SIGMA[f] * NOISE[f]
        seen = shown[:start].sum(0) + 10 * (start // 2) * (clean_sigma or 0)
        errors.append((linear(x, seen, SIGMA[f], start) - (NOISE[f] - X0[f])) ** 2)
    beside: Any = {} if clean_sigma is None else {"clean_noise": jnp.asarray(drawn(F, N, seed=2)), "clean_sigma": 0.25}
    given = (calls(), jnp.asarray(X0), jnp.asarray(NOISE), jnp.asarray(SIGMA))
    found = objectives.teacher_forcing(*given, **beside)
    np.testing.assert_allclose(found, np.mean(errors), rtol=1e-5)
    weighted = objectives.teacher_forcing(*given, **beside, weight=jnp.asarray(weight))
    np.testing.assert_allclose(weighted, np.sum(weight * errors) / (weight.sum() * N), rtol=1e-5)


def test_diffusion_forcing_has_a_level_for_each_frame():
    times = []

    def velocity(x, level):
        times.append(level.time)
        return 0.5 * x + level.time[:, None] / 1000

    x = (1 - SIGMA[:, None]) * X0 + SIGMA[:, None] * NOISE
    wanted = np.mean((0.5 * x + SIGMA[:, None] - (NOISE - X0)) ** 2)
    given = jnp.asarray(X0), jnp.asarray(NOISE)
    found = objectives.diffusion_forcing(velocity, *given, jnp.asarray(SIGMA))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    np.testing.assert_allclose(times[0], 1000 * SIGMA, rtol=1e-6)
    # At equal levels it is plain flow matching.
    even = objectives.diffusion_forcing(velocity, *given, jnp.full(F, 0.4))
    plain = objectives.flow_error(lambda x, level: 0.5 * x + level.time / 1000, *given, objectives.level_of(0.4))
    np.testing.assert_allclose(even, plain, rtol=1e-6)
    with pytest.raises(ValueError, match=r"sigma has shape \(2,\), expected one for each of 6 frames"):
        objectives.diffusion_forcing(velocity, *given, jnp.zeros(2))


def test_a_chunk_has_one_level():
    found = np.asarray(objectives.sample_chunk_sigmas(jax.random.key(0), 8, (1, 2, 3), shift=3.0))
    assert found.shape == (8, 6) and (found[:, 1] == found[:, 2]).all() and (np.ptp(found[:, 3:], axis=1) == 0).all()
    levels = np.sort(found[:, [0, 1, 3]].ravel())
    strata = levels / (3 - 2 * levels)  # before the shift
    assert (np.floor(strata * 24) == np.arange(24)).all()


def rolled(step, given=0, context_sigma=0.0):
    """By hand: the video, and what the last step of each chunk was asked."""
    key, seen, out, asked = jax.random.key(7), np.zeros(N), [], []
    normal = lambda c, k: np.asarray(jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, c), k), (2, N)))
    for c in range(3):
        start, x = 2 * c, NOISE[2 * c : 2 * c + 2].astype(np.float64)
        if start < given:
            out.append(X0[start : start + 2])
            seen = seen + out[-1].sum(0)
            continue
        for k in range(step + 1):
            sigma = grid.sigmas[k]
            asked_now = x, seen.copy(), sigma, start
            x0 = x - sigma * linear(x, seen, sigma, start)
            x = (1 - grid.sigmas[k + 1]) * x0 + grid.sigmas[k + 1] * normal(c, k)
        asked.append(asked_now)
        out.append(x0)
        shown = (1 - context_sigma) * x0 + context_sigma * normal(c, grid.steps)
        seen = seen + shown.sum(0) + 10 * context_sigma
    return np.concatenate(out), asked


@functools.partial(jax.jit, static_argnames=("given", "context_sigma"))
def self_forced(model, noise, step, given=0, context_sigma=0.0):
    front = jnp.asarray(X0[:given]) if given else None
    how = {"given": front, "step": step, "context_sigma": context_sigma}
    return objectives.self_forcing(calls(model), noise[given:], grid, jax.random.key(7), **how).latents


@pytest.mark.parametrize("step, given, context_sigma", [(0, 0, 0.0), (2, 0, 0.0), (1, 2, 0.0), (2, 2, 0.1)])
def test_self_forcing_of_a_linear_network(step, given, context_sigma):
    """It sees its own outputs, and no truth but what was given."""
    made, _ = rolled(step, given, context_sigma)
    found = self_forced(WEIGHTS, jnp.asarray(NOISE), step, given, context_sigma)
    np.testing.assert_allclose(found, made, rtol=0, atol=2e-5)


def test_the_gradient_runs_through_the_last_step_of_each_chunk_alone():
    """d x0 / da = -sigma x at what was asked there; nothing runs through the noise, earlier steps, or the state."""
    made, asked = rolled(1)
    pull = drawn(F, N, seed=9)
    loss = lambda model, noise: jnp.sum(self_forced(model, noise, 1) * pull)
    of_model, of_noise = jax.jit(jax.grad(loss, (0, 1)))(jax.tree.map(jnp.asarray, WEIGHTS), jnp.asarray(NOISE))
    wanted = dict.fromkeys(WEIGHTS, 0.0)
    for (x, seen, sigma, start), part in zip(asked, pull.reshape(3, 2, N), strict=True):
        wanted["a"] -= sigma * np.sum(part * x)
        wanted["b"] -= sigma * np.sum(part * seen)
        wanted["c"] -= sigma * np.sum(part) * sigma
        wanted["d"] -= sigma * np.sum(part) * start
    for name, slope in wanted.items():
        np.testing.assert_allclose(of_model[name], slope, rtol=1e-4, atol=1e-5)
    assert not np.asarray(of_noise).any()


def test_the_last_step_is_drawn():
    run = jax.jit(jax.vmap(lambda key: objectives.self_forcing(calls(), jnp.asarray(NOISE), grid, key)))
    found = np.asarray(run(jax.random.split(jax.random.key(0), 60)).step)
    assert set(found) == {0, 1, 2} and np.bincount(found).min() > 8


def test_what_self_forcing_refuses():
    noise = jnp.asarray(NOISE)
    with pytest.raises(ValueError, match=r"self_forcing: 1 given frames and 5 of noise, expected chunks that end at"):
        objectives.self_forcing(calls(), noise[1:], grid, jax.random.key(0), given=noise[:1])
    with pytest.raises(ValueError, match="the grid ends at sigma 0.5, expected 0"):
        objectives.self_forcing(calls(), noise, grids.Grid(np.array([1.0, 0.5])), jax.random.key(0))


# ------------------------------------------------------------------------------------------------------ a real network

CFG = CausalConfig(
    dim=24, ffn_dim=32, heads=4, layers=2, in_channels=3, out_channels=3, patch=(1, 2, 2), freq_dim=8, text_len=0,
    action=2, chunk=1, window=3, gate_init=1.0,
)  # fmt: skip
FILM, ACTIONS = drawn(4, 2, 2, 3), drawn(4, 2, seed=4)


@pytest.fixture(scope="module")
def dit():
    leaves, tree = jax.tree.flatten(CausalDiT(CFG, rngs=nnx.Rngs(0)))
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return tree.unflatten([x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)])


def test_self_forcing_is_a_rollout_of_the_network(dit):
    """Ended at the last step it is `causal.rollout`; its gradient reaches all weights that a chunk's last pass uses."""
    grid, key = grids.self_forcing((1000, 500), 5.0), jax.random.key(3)

    def roll(dit):
        made = cached.calls(dit, {"actions": ACTIONS}, FILM.shape)
        return objectives.self_forcing(
            made, jnp.asarray(FILM[1:]), grid, key, given=jnp.asarray(FILM[:1]), step=1
        ).latents

    normal = lambda c: jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, c), 0), FILM[:1].shape)
    joins = jnp.concatenate([normal(c) for c in range(1, 4)])[None]
    options = {"chunk": 1, "window": 3, "given": FILM[:1], "actions": ACTIONS, "renoise": joins}
    alone = causal.rollout(dit, None, FILM[1:], steps=(1000, 500), shift=5.0, **options)
    loss = lambda dit: (jnp.sum(roll(dit)[1:] ** 2), roll(dit))
    slopes, made = jax.jit(jax.grad(loss, has_aux=True))(dit)
    np.testing.assert_allclose(made, alone.latents, rtol=0, atol=1e-5)
    assert all(np.isfinite(leaf).all() and np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(slopes))


def test_no_frame_hears_of_later_ones(dit):
    """Derivatives of velocities with respect to noisy frames of other chunks, and clean ones from their own on, are
    exactly zero; those of what they may see are not."""
    pull = drawn(*FILM.shape, seed=5)
    still = objectives.level_of(0.0)

    @jax.jit
    @functools.partial(jax.jacrev, argnums=(0, 1))
    def slopes(noisy, clean):
        forced = cached.calls(dit, {"actions": ACTIONS}, FILM.shape).forced
        return jnp.sum(forced(noisy, objectives.level_of(0.5), clean, still).v * pull, (1, 2, 3))

    noisy, clean = (np.abs(s).max((2, 3, 4)) for s in slopes(jnp.asarray(FILM), jnp.asarray(FILM[::-1].copy())))
    assert (noisy[~np.eye(4, dtype=bool)] == 0).all() and (np.diag(noisy) > 1e-5).all()
    assert (np.triu(clean) == 0).all() and (clean[np.tril_indices(4, -1)] > 1e-7).all()
