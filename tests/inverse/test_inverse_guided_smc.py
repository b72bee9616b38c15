"""The twisted filter: its update, its evidence without bias, its draws; and equal results wherever the seeds are."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inverse.inverse_guided import Dense, Gaussian
from vrjax import parallel
from vrjax.flow import Grid, Record, grids, heun, sample
from vrjax.inverse import guided
from vrjax.parallel import over_seeds

filter_ = importlib.import_module("vrjax.inverse.guided.smc")  # the package's name is the function
RNG = np.random.default_rng(8)
PRIOR = Gaussian([0.3, -0.5], [[1.0, 0.4], [0.4, 0.6]])
A, Y, NOISE = np.array([[1.0, -0.5]]), np.array([1.2]), 0.5


def log_normal(missing, variance):
    return -0.5 * (np.sum(missing**2, -1) / variance + missing.shape[-1] * np.log(2 * np.pi * variance))


def resampled(log_weights, u):
    """Systematic resampling by its definition: position (i + u) / n falls into somebody's share."""
    shares = np.exp(log_weights - log_weights.max())
    shares, n = shares / shares.sum(), len(shares)
    return np.array([int(np.sum(np.cumsum(shares) <= (i + u) / n)) for i in range(n)])


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_two_steps(threshold):
    """Four particles from .6 to .3 to 0, in NumPy: proposal, weights, resampling, evidence, ancestors."""
    levels, n = (0.6, 0.3, 0.0), 4
    x = RNG.normal(size=(n, 2))
    keys = jax.random.split(jax.random.key(1), n)
    with jax.enable_x64(True):
        run = lambda x, key: guided.smc(
            PRIOR.v, Dense(A), Y, NOISE, x, Grid(np.array(levels)), key=key, threshold=threshold, twist=0.7
        )
        found = jax.vmap(run, axis_name="seed")(jnp.asarray(x), keys)
        steps = [[jax.random.split(key, (2, 2))[s, 1] for key in keys] for s in range(2)]
        eps = [np.array([jax.random.normal(key, (2,), np.float64) for key in step]) for step in steps]
        uniforms = [[float(jax.random.uniform(k, (), np.float64)) for k in jax.random.split(step[0])] for step in steps]
    log_weight, log_evidence = np.zeros(n), 0.0
    for s, (t, end) in enumerate(zip(levels[:-1], levels[1:], strict=True)):
        matrix, shift = PRIOR.estimate(t)
        np.testing.assert_allclose(found.x[:, s], x, rtol=1e-9)
        x0 = x @ matrix.T + shift
        variance = NOISE**2 + 0.7 * t**2 / (t**2 + (1 - t) ** 2)
        twist = log_normal(Y - x0 @ A.T, variance)
        score = ((Y - x0 @ A.T) / variance) @ A @ matrix
        log_weight = log_weight + twist
        np.testing.assert_allclose(found.stats["log_weight"][:, s], log_weight, rtol=1e-9)
        weights = np.exp(log_weight)
        np.testing.assert_allclose(found.stats["ess"][:, s], weights.sum() ** 2 / (weights**2).sum(), rtol=1e-9)
        ancestor = np.arange(n)
        if threshold:
            ancestor, log_evidence = resampled(log_weight, uniforms[s][0]), log_evidence + np.log(weights.mean())
            log_weight = np.zeros(n)
        x, x0, score, twist = x[ancestor], x0[ancestor], score[ancestor], twist[ancestor]
        # the reverse chain of u = x / (1 - t), whose noise is t / (1 - t)
        old, new = t / (1 - t), end / (1 - end)
        mean = (1 - end) * (x0 + (new / old) ** 2 * (x / (1 - t) - x0))
        std = (1 - end) * np.sqrt(new**2 * (old**2 - new**2) / old**2)
        moved = mean + (1 - end) * (1 - (new / old) ** 2) * t**2 / (1 - t) * score * (end > 0)
        x = moved + std * eps[s]
        if end:
            log_weight = log_weight + log_normal(x - mean, std**2) - log_normal(x - moved, std**2) - twist
        else:
            log_weight = log_weight - twist + log_normal(Y - x @ A.T, NOISE**2)
            last, log_evidence = resampled(log_weight, uniforms[s][1]), log_evidence + np.log(np.exp(log_weight).mean())
            x, ancestor = x[last], ancestor[last]
        np.testing.assert_array_equal(found.stats["ancestor"][:, s], ancestor)
    np.testing.assert_allclose(found.final, x, rtol=1e-9)
    np.testing.assert_allclose(found.stats["log_evidence"][:, -1], log_evidence, rtol=1e-9)
    assert np.all(found.stats["finite"])


def chain(grid):
    """The Gaussian that the unguided reverse chain ends with, in closed form: the prior of the filter's evidence."""
    mean, covariance = np.zeros(2), np.eye(2)
    for t, end in zip(grid.sigmas[:-1], grid.sigmas[1:], strict=True):
        matrix, shift = PRIOR.estimate(t)
        kept = end / t * (1 - t) / (1 - end)
        noise = np.eye(2) - (1 - t) * matrix  # n = (x - (1 - t) x0) / t
        step = (1 - end) * matrix + end * kept * noise / t
        offset = (1 - end) * shift - end * kept * (1 - t) / t * shift
        mean = step @ mean + offset
        covariance = step @ covariance @ step.T + end**2 * (1 - kept**2) * np.eye(2)
    return Gaussian(mean, covariance)


def test_evidence_and_draws():
    """400 filters of 16 particles: evidence without bias for the chain as it is, whatever its steps; its posterior."""
    grid, filters, n = grids.shifted(8), 400, 16
    keys = jax.random.split(jax.random.key(2), (filters, n))

    def one(key):
        x = jax.random.normal(jax.random.fold_in(key, 1), (2,))
        return guided.smc(PRIOR.v, Dense(A), Y, NOISE, x, grid, key=key, record=Record((0, 7), ("next",)))

    found = jax.jit(jax.vmap(jax.vmap(one, axis_name="seed")))(keys)
    prior = chain(grid)
    wanted = prior.evidence(A, Y, NOISE)
    evidence = np.exp(np.asarray(found.stats["log_evidence"][:, 0, -1], np.float64))
    error = evidence.std() / np.sqrt(filters)
    assert error < 0.02 * wanted
    assert abs(evidence.mean() - wanted) < 4 * error
    assert chain(grids.shifted(400)).evidence(A, Y, NOISE) == pytest.approx(PRIOR.evidence(A, Y, NOISE), rel=0.005)
    exact = prior.posterior(A, Y, NOISE)
    # Filters are weighed by their evidence: then draws are exact for any number of particles.
    final, share = np.asarray(found.final, np.float64), evidence / evidence.sum()
    mean = share @ final.mean(1)
    spread = np.sqrt(np.sum(share[:, None] ** 2 * (final.mean(1) - mean) ** 2, 0))
    assert np.all(np.abs(mean - exact.mean) < 4 * spread) and np.all(spread < 0.03)
    centred = (final - exact.mean).reshape(-1, 2)
    covariance = np.einsum("f,fni,fnj->ij", share / n, *[centred.reshape(filters, n, 2)] * 2)
    np.testing.assert_allclose(covariance, exact.covariance, atol=0.06)
    assert np.all(found.stats["ess"] <= n + 1e-3) and np.all(found.stats["ess"] >= 1 - 1e-3)


@given(st.lists(st.floats(-30, 3), min_size=1, max_size=8), st.floats(0, 0.999))
@settings(max_examples=60, deadline=None)
def test_systematic_resampling(log_weights, u):
    """Everybody has as many children as its share of n says, rounded up or down, in order."""
    n = len(log_weights)
    padded = jnp.asarray(log_weights + [-np.inf] * (8 - n), jnp.float32)  # one compiled shape
    ancestors = np.asarray(filter_.systematic(padded, jnp.float32(u)))
    shares = np.exp(np.array(log_weights) - max(log_weights))
    expected = np.append(8 * shares / shares.sum(), np.zeros(8 - n))
    children = np.bincount(ancestors, minlength=8)
    assert np.all(np.diff(ancestors) >= 0) and children.sum() == 8
    assert np.all(children >= np.floor(expected - 1e-4)) and np.all(children <= np.ceil(expected + 1e-4))


HOWS = [("map", 8), ("vmap", 8), ("pmap", 8), ("mesh", 8), ("mesh", 2)]


def particles(key, y):
    x = jax.random.normal(jax.random.fold_in(key, 1), (2,))
    found = guided.smc(PRIOR.v, Dense(A), y, NOISE, x, grids.shifted(6), key=key, threshold=0.9)
    return {"final": found.final, "next": found.next, **found.stats}


def correct(key, y):
    x = jax.random.normal(key, (2,))
    velocity = guided.tmpd(PRIOR.v, Dense(A), y, NOISE)
    found = sample(velocity, x, grids.shifted(6), solver=heun(), record=Record(fn=guided.watch(Dense(A), y)))
    return {"final": found.final, **found.stats}


@pytest.fixture(scope="module")
def alone():
    """Eight seeds batched on one device, by jax's own vmap."""
    keys = jax.random.split(jax.random.key(3), 8)
    run = lambda fn: jax.jit(jax.vmap(fn, axis_name="seed", in_axes=(0, None)))(keys, jnp.asarray(Y))
    return keys, {fn: jax.device_get(run(fn)) for fn in (particles, correct)}


@pytest.mark.parametrize("fn", [particles, correct])
@pytest.mark.parametrize(("how", "devices"), HOWS)
def test_equal_wherever_the_seeds_are(how, devices, fn, alone):
    keys, wanted = alone
    mesh = parallel.mesh({"seed": devices}, devices=jax.devices()[:devices]) if how == "mesh" else None
    found = over_seeds(fn, keys, how, args=(jnp.asarray(Y),), mesh=mesh)
    assert len(found["final"].sharding.device_set) == (devices if how in ("pmap", "mesh") else 1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, wanted[fn])
    if fn is particles:
        ancestors = wanted[fn]["ancestor"]
        assert np.any(ancestors != np.arange(8)[:, None])  # somebody was resampled
