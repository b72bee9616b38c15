"""Ranks, coverage and scores: of exact samplers, of samplers that are too sure, and against plain sums over pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vrjax.inverse import calibrate
from vrjax.inverse.exact import mixture

PRIOR = mixture.isotropic(jnp.array([0.6, 0.4]), jnp.array([[-1.0, 0.5], [1.0, 0.0]]), 0.5)
MATRIX, NOISE, PROBLEMS, DRAWS = jnp.array([[1.0, 0.5]]), 0.4, 500, 99


@jax.jit
def problems(key, shrink):
    """Truths and draws of exact posteriors, the draws drawn to their mean."""

    def one(key):
        first, second, third = jax.random.split(key, 3)
        truth = mixture.sample(first, PRIOR, 1)[0]
        y = MATRIX @ truth + NOISE * jax.random.normal(second, (1,))
        after = mixture.posterior(PRIOR, MATRIX, y, NOISE)
        mean = mixture.moments(after)[0]
        return truth, mean + shrink * (mixture.sample(third, after, DRAWS) - mean)

    return jax.vmap(one)(jax.random.split(key, PROBLEMS))


@pytest.fixture(scope="module")
def exact():
    return problems(jax.random.key(0), 1.0)


@pytest.fixture(scope="module")
def narrow():
    return problems(jax.random.key(0), 0.75)


def test_ranks_are_uniform_for_an_exact_sampler_only(exact, narrow):
    for (truth, draws), right in ((exact, True), (narrow, False)):
        found = calibrate.ranks(truth, draws)
        assert found.shape == (PROBLEMS, 2) and found.min() >= 0 and found.max() <= DRAWS
        expected = np.sum(np.asarray(draws)[:, :, 1] < np.asarray(truth)[:, None, 1], 1)
        np.testing.assert_array_equal(found[:, 1], expected)
        told = calibrate.uniformity(jax.random.key(1), found[:, 0], DRAWS)
        inside = ((told.low <= told.ecdf) & (told.ecdf <= told.high)).all()
        assert len(told.counts) == 20 and told.counts.sum() == PROBLEMS
        if right:
            assert told.chi2_p > 0.01 and told.ecdf_p > 0.05 and inside
        else:
            assert told.chi2_p < 1e-4 and told.ecdf_p < 1e-3 and not inside


def test_the_band_holds_uniform_ranks_as_often_as_it_says():
    found = jax.random.randint(jax.random.key(2), (100, 60), 0, 20)
    p = [calibrate.uniformity(jax.random.key(3), row, 19, trials=200).ecdf_p for row in found]
    # 100 p-values: their share under .1 is within three standard errors of it
    assert 0.01 < np.mean(np.array(p) < 0.1) < 0.2
    with pytest.raises(ValueError, match="found: 60 ranks from"):
        calibrate.uniformity(jax.random.key(3), found[0], 10)
    with pytest.raises(ValueError, match="bins: found 3 for 20"):
        calibrate.uniformity(jax.random.key(3), found[0], 19, bins=3)


def test_ties_are_broken_at_random():
    draws = jnp.zeros((4000, 9))
    found = calibrate.ranks(jnp.zeros(4000), draws, jax.random.key(4))
    assert stats.chisquare(np.bincount(np.asarray(found), minlength=10)).pvalue > 1e-3
    assert (calibrate.ranks(jnp.zeros(4000), draws) == 0).all()


def test_coverage(exact, narrow):
    told = calibrate.coverage(exact[0][:, 0], exact[1][:, :, 0])
    assert told.low < 0.9 < told.high and told.n == PROBLEMS and told.share == told.hits / PROBLEMS
    z, p, n = stats.norm.isf(0.025), told.share, PROBLEMS
    # Wilson's ends solve (p - q)^2 = z^2 q (1 - q) / n
    for q in (told.low, told.high):
        assert (p - q) ** 2 == pytest.approx(z**2 * q * (1 - q) / n, rel=1e-9)
    assert calibrate.coverage(*(np.asarray(a)[..., 0] for a in narrow)).high < 0.87
    # uniform truth and draws: exact for every number of draws
    rng = np.random.default_rng(0)
    few = calibrate.coverage(rng.random(40_000), rng.random((40_000, 9)), 0.8)
    assert few.share == pytest.approx(0.8, abs=0.01)
    with pytest.raises(ValueError, match="expected at least 19"):
        calibrate.coverage(np.zeros(3), np.zeros((3, 18)), 0.9)
    with pytest.raises(ValueError, match="not finite"):
        calibrate.coverage(np.zeros(3), np.full((3, 30), np.nan), 0.9)


def test_mode_weights():
    draws = mixture.sample(jax.random.key(5), PRIOR, 4000)
    found = calibrate.mode_weights(draws, PRIOR.means)
    away = np.linalg.norm(np.asarray(draws)[:, None] - np.asarray(PRIOR.means), axis=-1)
    np.testing.assert_allclose(found, [np.mean(away[:, 0] < away[:, 1]), np.mean(away[:, 0] >= away[:, 1])], atol=1e-6)
    np.testing.assert_allclose(found, PRIOR.weights, atol=0.05)
    # A wide mode beside a narrow one: by Mahalanobis's distance the point belongs to the wide one.
    modes, precisions = jnp.array([[0.0], [3.0]]), jnp.array([[[0.25]], [[25.0]]])
    assert calibrate.assign(jnp.array([[2.2]]), modes)[0] == 1
    assert calibrate.assign(jnp.array([[2.2]]), modes, precisions)[0] == 0


def pairs(draws, truth, fair):
    """CRPS and energy score by their definition, over all pairs."""
    n = len(draws)
    norm = lambda a: np.sqrt((a**2).sum(-1))
    among = norm(draws[:, None] - draws).sum() / (n * (n - 1) if fair else n * n)
    return norm(draws - truth).mean() - 0.5 * among


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.floats(-100, 100), fair=st.booleans())
def test_scores_are_sums_over_pairs(seed, shift, fair):
    rng = np.random.default_rng(seed)
    draws, truth = np.round(rng.normal(size=(17, 3)), 1) + shift, rng.normal(size=3) + shift
    with jax.enable_x64(True):
        given = jnp.asarray(draws), jnp.asarray(truth)
        expected = [pairs(draws[:, i : i + 1], truth[i : i + 1], fair) for i in range(3)]
        np.testing.assert_allclose(calibrate.crps(*given, fair=fair), expected, atol=1e-11)
        score = calibrate.energy_score(*given, fair=fair)
        np.testing.assert_allclose(score, pairs(draws, truth, fair), atol=1e-11)


def test_crps_of_many_draws_is_the_normal_law_s():
    draws = jax.random.normal(jax.random.key(6), (200_000,)) + 1000
    y = 0.7
    exact = y * (2 * stats.norm.cdf(y) - 1) + 2 * stats.norm.pdf(y) - 1 / np.sqrt(np.pi)
    assert calibrate.crps(draws, jnp.float32(1000 + y)) == pytest.approx(exact, abs=5e-3)


def test_split():
    found = calibrate.split(1.0, 4.0, 9.0, lambda a, b: abs(a - b))
    assert found == (3.0, 5.0) and found.sampler == 3.0 and found.prior == 5.0
    with pytest.raises(ValueError, match="draws: found shape"):
        calibrate.ranks(jnp.zeros(3), jnp.zeros((4, 5)))
    with pytest.raises(ValueError, match="draws: found shape"):
        calibrate.crps(jnp.zeros((5, 2)), jnp.zeros(3))
