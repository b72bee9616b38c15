"""The null model against closed forms, automatic differentiation, and the published simulation of the null."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vrjax.flow import Level, Record, grids, sample
from vrjax.reasoning.instruments import cells, null, perturb


def blobs() -> np.ndarray:
    """Four videos (8, 12, 12, 1): a 4 x 4 square of ones in a corner during 7 of 8 frames; |c_i - c_j|^2 = 224."""
    videos = np.zeros((4, 8, 12, 12, 1), np.float32)
    for k, (row, column) in enumerate([(1, 1), (1, 7), (7, 1), (7, 7)]):
        videos[k, 1:, row : row + 4, column : column + 4] = 1.0
    return videos


@jax.jit
def predict(c, prior, x, sigma):
    return null.velocity(c, prior)(x, Level(sigma, 1000 * sigma))


# Closed forms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [1.0, 0.7, 0.02, 1e-7])
def test_one_candidate_is_a_straight_line(sigma):
    """K = 1: x0_hat is the candidate wherever the state is, so v = (x - c) / sigma."""
    c, eps = np.random.default_rng(0).standard_normal((2, 2, 3, 3, 1)).astype(np.float32)
    prediction = predict(jnp.asarray(c[None]), None, jnp.asarray((1 - sigma) * c + sigma * eps), sigma)
    # In float32 the division by sigma leaves eps - c with the rounding error of x over sigma.
    assert np.abs(prediction.v - (eps - c)).max() < 1e-6 + 5e-7 / sigma
    assert prediction.taps["posterior"] == 1.0 and prediction.taps["entropy"] == 0.0


def test_one_candidate_run_ends_in_it_at_any_number_of_steps():
    c = jax.random.normal(jax.random.key(0), (1, 2, 3, 3, 1))
    x = jax.random.normal(jax.random.key(1), c.shape[1:])
    for steps in (1, 4):
        run = sample(null.velocity(c), x, grids.shifted(steps, shift=5.0))
        np.testing.assert_allclose(run.x0, jnp.broadcast_to(c, run.x0.shape), atol=1e-5)
        np.testing.assert_allclose(run.final, c[0], atol=1e-6)


@pytest.mark.parametrize("sigma", [0.9, 0.5, 0.1])
def test_two_opposite_candidates_are_a_tanh(sigma):
    """K = 2, c = +-a, equal priors: x0_hat = a tanh((1 - s) <x, a> / s^2)."""
    with jax.enable_x64(True):
        a, x = np.random.default_rng(2).standard_normal((2, 2, 2, 2, 1))
        x = sigma * x
        v = predict(jnp.asarray(np.stack([a, -a])), None, jnp.asarray(x), sigma).v
        expected = a * np.tanh((1 - sigma) * np.vdot(x, a) / sigma**2)
        np.testing.assert_allclose(x - sigma * v, expected, rtol=1e-10, atol=1e-12)


def log_density(x, sigma, c, prior):
    """log p_sigma(x) of the Gaussian mixture sum_k p_k N(x; (1 - sigma) c_k, sigma^2 I), in nats."""
    distance = jnp.square(x - (1.0 - sigma) * c).sum(tuple(range(1, c.ndim)))
    terms = jnp.log(prior) - distance / (2.0 * sigma**2)
    return jax.nn.logsumexp(terms) - x.size * (jnp.log(sigma * 1.0) + 0.5 * jnp.log(2.0 * jnp.pi))


@jax.jit
def score_and_density(c, prior, x, sigma):
    return jax.value_and_grad(log_density)(x, sigma, c, prior)


@pytest.mark.parametrize("sigma", [0.95, 0.6, 0.3])
def test_velocity_is_the_score_of_the_mixture(sigma):
    """score = grad log p = -(x + (1 - s) v) / s; density against scipy's Gaussians, gradient by autodiff."""
    with jax.enable_x64(True):
        *c, x = np.random.default_rng(4).standard_normal((4, 1, 2, 2, 1))
        c, prior = np.stack(c), np.array([0.5, 0.2, 0.3])
        density = sum(
            p * stats.multivariate_normal((1 - sigma) * m.ravel(), sigma**2 * np.eye(4)).pdf(x.ravel())
            for p, m in zip(prior, c, strict=True)
        )
        arguments = jnp.asarray(c), jnp.asarray(prior), jnp.asarray(x), sigma
        found, score = score_and_density(*arguments)
        np.testing.assert_allclose(found, np.log(density), rtol=1e-10)
        np.testing.assert_allclose(score, -(x + (1 - sigma) * predict(*arguments).v) / sigma, rtol=1e-9)


def test_ends_of_the_noise_range():
    """At sigma 1 the posterior is the prior whatever the state; at sigma 0 it is the candidate itself, v = 0 there."""
    *c, x = np.random.default_rng(6).standard_normal((4, 2, 2, 2, 1)).astype(np.float32)
    c, prior = jnp.asarray(np.stack(c)), jnp.array([0.7, 0.1, 0.2])
    np.testing.assert_allclose(predict(c, prior, jnp.asarray(x), 1.0).taps["posterior"], prior, rtol=1e-6)
    for k in range(3):
        prediction = predict(c, prior, c[k], 0.0)
        np.testing.assert_array_equal(prediction.taps["posterior"], np.eye(3)[k])
        np.testing.assert_array_equal(prediction.v, 0.0)


@pytest.mark.parametrize("sigma", [1.0, 0.5, 1e-3, 1e-12, 0.0])
def test_finite_values_and_gradients_everywhere(sigma):
    """Also with a padded candidate of prior 0, whose content must not matter at all."""
    c = jax.random.normal(jax.random.key(8), (3, 2, 2, 2, 1))
    prior = jnp.array([0.6, 0.4, 0.0])
    x = (1 - sigma) * c[1] + sigma * jax.random.normal(jax.random.key(9), c.shape[1:])

    def loss(x, sigma, c, prior):
        prediction = null.velocity(c, prior)(x, Level(sigma, 1000 * sigma))
        return jnp.square(prediction.v).sum() + prediction.taps["entropy"]

    value, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3)))(x, jnp.float32(sigma), c, prior)
    for leaf in jax.tree.leaves((value, gradients)):
        assert jnp.isfinite(leaf).all()
    np.testing.assert_array_equal(gradients[2][2], 0.0)
    moved = predict(c.at[2].set(1e3), prior, x, sigma)
    np.testing.assert_array_equal(moved.v, predict(c, prior, x, sigma).v)


def test_the_run_differentiates_end_to_end():
    """Gradient of the final state with respect to the start, through sigma 1 and the exact last step."""
    c = jnp.asarray(blobs()[:, :2, :6, :6])[:2]
    x = jax.random.normal(jax.random.key(10), c.shape[1:])
    final = lambda x: jnp.square(sample(null.velocity(c), x, grids.shifted(6, shift=2.0)).final - 0.3).sum()
    assert jnp.isfinite(jax.jit(jax.grad(final))(x)).all()


@settings(max_examples=25, deadline=None)
@given(sigma=st.floats(0.0, 1.0), seed=st.integers(0, 10**6), scale=st.floats(0.1, 100.0))
def test_posterior_invariants(sigma, seed, scale):
    """It sums to 1, follows a permutation of the candidates, and does not care for the scale of the prior."""
    rng = np.random.default_rng(seed)
    *c, x = rng.standard_normal((5, 1, 2, 2, 1)).astype(np.float32)
    c, x, prior = jnp.asarray(np.stack(c)), jnp.asarray(x), jnp.asarray(rng.uniform(0.1, 1, 4), jnp.float32)
    taps = predict(c, prior, x, sigma).taps
    w = np.asarray(taps["posterior"])
    assert abs(w.sum() - 1) < 1e-6 and w.min() >= 0
    order = np.array([2, 0, 3, 1])
    np.testing.assert_allclose(
        predict(c[order], scale * prior[order], x, sigma).taps["posterior"], w[order], rtol=1e-3, atol=1e-5
    )
    assert -1e-6 <= taps["entropy"] <= np.log(4) + 1e-6
    assert taps["entropy"] == pytest.approx(stats.entropy(w), abs=1e-5)


@pytest.mark.parametrize("prior", [[0.0, 0.0], [0.5, -0.5]])
def test_bad_priors_are_refused(prior):
    with pytest.raises(ValueError, match="prior must be non-negative with a positive sum"):
        null.velocity(jnp.zeros((2, 1, 1, 1, 1)), jnp.array(prior))


def test_no_candidates_are_refused():
    with pytest.raises(ValueError, match="candidates is empty"):
        null.velocity(jnp.zeros((0, 1, 1, 1, 1)))


# The null as the reference sheet simulated it ------------------------------------------------------------------------

GRID = grids.shifted(50, shift=5.0)
RUNS = 192


@pytest.fixture(scope="module")
def runs():
    """Clean runs over the four blobs, uniform prior: (starts, entropy [n, S], answer [n], x0 [n, S, ...])."""
    velocity = null.velocity(jnp.asarray(blobs()))
    x = jax.random.normal(jax.random.key(11), (RUNS, *blobs().shape[1:]))

    def one(x):
        run = sample(velocity, x, GRID, record=Record(fields=("x0",)))
        return run.taps["entropy"], nearest(run.final), run.x0

    return x, *jax.jit(lambda x: jax.lax.map(one, x, batch_size=16))(x)


def nearest(x):
    return jnp.square(x - jnp.asarray(blobs())).sum((1, 2, 3, 4)).argmin()


def test_runs_end_in_candidates(runs):
    _, entropies, answers, x0 = runs
    assert jnp.abs(x0[:, -1] - jnp.asarray(blobs())[answers]).max() < 1e-4
    assert entropies[:, -1].max() < 1e-6


def test_posterior_entropy_falls_as_in_the_published_simulation(runs):
    """Superposition early and commitment at steps 20 to 30, by averaging alone.

    Sheet: 50 seeds; its candidates are not stated, but a pairwise squared distance of 224 reproduces every entry. The
    tolerance is three standard errors of a 50-seed mean (at most .05 each) beside ours.
    """
    at = [0, 5, 10, 15, 20, 25, 30, 40]
    published = np.array([1.39, 1.37, 1.28, 1.10, 0.81, 0.45, 0.10, 0.0])
    mean, error = np.asarray(runs[1]).mean(0)[at], np.asarray(runs[1]).std(0)[at]
    error = np.sqrt(error**2 / 50 + error**2 / RUNS)
    assert np.all(np.abs(mean - published) < 3 * error + 0.008), (mean, published, error)
    assert mean[0] == pytest.approx(np.log(4), abs=1e-5)


def test_answers_follow_the_prior():
    """The flow carries N(0, I) to the candidates with the prior's frequencies (chi-square, fixed seed)."""
    prior = jnp.array([0.4, 0.3, 0.2, 0.1])
    c = 3.0 * jax.random.normal(jax.random.key(12), (4, 1, 2, 2, 1))
    grid = grids.shifted(100, shift=3.0)

    def one(x):
        return (
            jnp.square(sample(null.velocity(c, prior), x, grid, record=Record(steps=())).final - c)
            .sum((1, 2, 3, 4))
            .argmin()
        )

    answers = jax.jit(jax.vmap(one))(jax.random.normal(jax.random.key(13), (4000, *c.shape[1:])))
    counts = np.bincount(np.asarray(answers), minlength=4)
    assert stats.chisquare(counts, 4000 * np.asarray(prior)).pvalue > 0.01, counts
    assert stats.chisquare(counts, [1000] * 4).pvalue < 1e-12  # the test has the power to fail


def changed(runs, edit_of, sites, n):
    """Share of the first n runs whose answer a disturbance changes, per site: one program over sites and runs."""
    x, _, answers, x0 = runs
    velocity = null.velocity(jnp.asarray(blobs()))

    def site_of_run(args):
        site, x, x0, key, answer = args
        final = sample(velocity, x, GRID, key=key, edit=edit_of(site, x0), record=Record(steps=())).final
        return nearest(final) != answer

    m = len(sites)
    pairs = (
        jnp.repeat(sites, n, 0),
        jnp.tile(x[:n], (m, 1, 1, 1, 1)),
        jnp.tile(x0[:n], (m, 1, 1, 1, 1, 1)),
        jnp.tile(jax.random.split(jax.random.key(14), n), m),
        jnp.tile(answers[:n], m),
    )
    flipped = jax.jit(lambda p: perturb.sweep(site_of_run, p, how="map", group=16))(pairs)
    return np.asarray(flipped).reshape(m, n).mean(1)


def test_step_noise_hurts_far_more_than_frame_noise_without_any_reasoning(runs):
    """Pure noise on all frames at one step redraws the answer: 3/4 of four equal candidates, at every step alike.

    (The reference sheet reports .85 with 60 runs; independence of the new noise from the old answer makes it .75 in the
    limit, and a binomial of 48 has a standard error of .0625.) One frame of eight at all 50 steps changes far fewer.
    """
    window = cells.allowed(50, 8)
    steps = jnp.stack([cells.at_step(s, window) for s in (0, 12, 25, 40)])
    frames = jnp.stack([cells.at_frame(f, window) for f in (0, 3)])
    share = changed(runs, lambda cells, x0: perturb.replace(cells), jnp.concatenate([steps, frames]), 48)
    assert np.all(np.abs(share[:4] - 0.75) < 0.19), share
    assert share[4] == 0.0 and share[5] < 0.4, share  # frame 0 carries nothing; 0 to .27 in the sheet


def test_matched_noise_is_the_informative_curve(runs):
    """Re-noising at the right level changes the answer early, ever less, and not at all once the run has committed.

    Beside the long-run shares of an independent NumPy simulation of this setting (3000 runs), and the sheet's (60).
    """
    window = cells.allowed(50, 8)
    at = jnp.stack([cells.at_step(s, window) for s in (2, 10, 20, 25, 30, 37)])
    share = changed(runs, lambda cells, x0: perturb.renoise(cells, GRID, x0), at, 64)
    long_run = np.array([0.748, 0.727, 0.517, 0.280, 0.055, 0.0003])
    published = np.array([0.85, 0.78, 0.65, 0.40, 0.08, 0.0])
    variance = long_run * (1 - long_run)
    assert np.all(np.abs(share - long_run) < 3 * np.sqrt(variance / 64) + 0.01), share
    assert np.all(np.abs(share - published) < 3 * np.sqrt(variance * (1 / 64 + 1 / 60)) + 0.01), share
