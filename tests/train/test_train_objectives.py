"""Flow matching against closed forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrjax.flow import Level, Prediction
from vrjax.train import objectives

KEY = jax.random.key(0)
X0, NOISE = jax.random.normal(KEY, (2, 3, 4, 4, 3))


def test_the_true_velocity_has_no_error():
    truth = lambda x, level: NOISE - X0
    assert objectives.flow_error(truth, X0, NOISE, objectives.level_of(0.3)) == 0.0


def test_the_velocity_sees_the_state_and_the_time():
    seen = {}

    def velocity(x, level):
        seen.update(x=x, level=level)
        return Prediction(jnp.zeros_like(x))

    error = objectives.flow_error(velocity, X0, NOISE, objectives.level_of(0.25))
    np.testing.assert_allclose(seen["x"], 0.75 * X0 + 0.25 * NOISE, rtol=1e-6)
    assert seen["level"] == Level(0.25, 250.0)
    np.testing.assert_allclose(error, np.mean((np.asarray(NOISE) - np.asarray(X0)) ** 2), rtol=1e-6)


def test_posterior_mean_of_gaussian_data_reaches_its_bayes_error():
    """For x0 ~ N(0, s^2) the best velocity is linear in x; its error is s^2 / ((1 - sigma)^2 s^2 + sigma^2)."""
    s, sigma, n = 0.5, 0.4, 200_000
    a, b = jax.random.normal(jax.random.key(1), (2, n))
    var = (1 - sigma) ** 2 * s**2 + sigma**2
    gain = (sigma - (1 - sigma) * s**2) / var  # Cov(eps - x0, x) / Var(x)
    error = objectives.flow_error(lambda x, _: gain * x, s * a, b, objectives.level_of(sigma))
    np.testing.assert_allclose(error, s**2 / var, rtol=0.02)


def test_zero_velocity_error_is_its_expectation():
    x0 = jax.random.uniform(jax.random.key(2), (100_000,))
    error = objectives.flow_matching(lambda x, _: jnp.zeros_like(x), x0, jax.random.key(3), jnp.float32(0.5))
    np.testing.assert_allclose(error, objectives.zero_velocity_error(x0), rtol=0.02)


def test_weight_is_a_weighted_mean():
    weight = jnp.zeros((3, 1, 1, 1)).at[1].set(2.0)
    error = objectives.flow_error(lambda x, _: jnp.zeros_like(x), X0, NOISE, objectives.level_of(0.5), weight)
    np.testing.assert_allclose(error, jnp.mean((NOISE - X0)[1] ** 2), rtol=1e-6)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="noise has shape"):
        objectives.flow_error(lambda x, _: x, X0, NOISE[:2], objectives.level_of(0.5))
    with pytest.raises(ValueError, match="velocity returned shape"):
        objectives.flow_error(lambda x, _: x[..., :1], X0, NOISE, objectives.level_of(0.5))


@pytest.mark.parametrize("count", [1, 7, 32])  # each count is a program
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_one_uniform_in_every_stratum(count, seed):
    u = np.asarray(objectives.stratified_uniform(jax.random.key(seed), count), np.float64)
    place = np.sort(u) * count - np.arange(count)  # within its stratum, up to rounding
    assert np.all((place > -1e-4) & (place < 1 + 1e-4))
    assert np.all((u > 0) & (u < 1))


def quantiles(**options):
    """4096 stratified levels are the quantile function on a fine grid."""
    return np.sort(np.asarray(objectives.sample_sigmas(jax.random.key(4), 4096, **options)))


def test_shifted_uniform_is_the_closed_form():
    u = (np.arange(4096) + 0.5) / 4096
    np.testing.assert_allclose(quantiles(shift=3.0), 3 * u / (1 + 2 * u), atol=1e-3)


def test_logit_normal_is_the_closed_form():
    sigma = quantiles(kind="logit_normal", mean=0.3, std=1.2)
    logit = np.log(sigma / (1 - sigma))
    cdf = [0.5 * (1 + math.erf((z - 0.3) / 1.2 / math.sqrt(2))) for z in logit]
    np.testing.assert_allclose(cdf, (np.arange(4096) + 0.5) / 4096, atol=1e-3)
    shifted = quantiles(kind="logit_normal", mean=0.3, std=1.2, shift=5.0)
    np.testing.assert_allclose(shifted, 5 * sigma / (1 + 4 * sigma), atol=1e-5)


def test_unknown_sampler():
    with pytest.raises(ValueError, match="unknown time sampler 'cosine'"):
        objectives.sample_sigmas(KEY, 4, kind="cosine")


def test_dropout_drops_whole_conditions_at_the_rate():
    tree = {"a": jnp.ones((4000, 2, 3)), "b": jnp.ones((4000,))}
    out = objectives.drop(KEY, tree, 0.25)
    kept = np.asarray(out["b"])
    assert set(kept) == {0.0, 1.0}
    np.testing.assert_array_equal(out["a"], np.broadcast_to(kept[:, None, None], (4000, 2, 3)))
    assert abs(kept.mean() - 0.75) < 0.03
    assert objectives.drop(KEY, tree, 0.0) is tree
    assert not np.any(objectives.drop(KEY, tree, 1.0)["a"])
    with pytest.raises(ValueError, match="found 1.5"):
        objectives.drop(KEY, tree, 1.5)
