"""The bounds hold on thousands of pairs of measures, and their pieces are what quadrature and the closed forms say."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from vrjax.inverse import bounds

PAIRS = 2000


def pairs(number: int, seed: int):
    """Random pairs of measures of up to 6 atoms on the line (some weights are 0), likelihoods of any width, and y where
    the evidence is no rounding."""
    rng = np.random.default_rng(seed)
    x, x_hat = rng.normal(size=(2, number, 6)) * np.exp(rng.normal(size=(number, 1)))
    near = rng.random(number) < 0.5  # half of them perturbations, for which the bound is sharpest
    x_hat = np.where(near[:, None], x + 0.1 * x_hat, x_hat)
    a, a_hat = rng.exponential(size=(2, number, 6)) * (rng.random((2, number, 6)) < 0.7)
    a[:, 0], a_hat[:, 0] = 1.0, 1.0
    sigma = 0.03 * 100 ** rng.random(number)
    y = x[:, 0] + 1.5 * sigma * rng.normal(size=number)
    return x, x_hat, a, a_hat, y, sigma


def on_the_line(x, x_hat, a, a_hat, y, sigma):
    likelihoods = (bounds.gaussian_log_likelihood(p, y, sigma) for p in (x, x_hat))
    return bounds.compare(x, x_hat, *likelihoods, bounds.likelihood_lipschitz(sigma), a=a, a_hat=a_hat)


def test_t1_holds_on_two_thousand_random_pairs():
    drawn = pairs(PAIRS, 0)
    with jax.enable_x64(True):
        found = jax.jit(jax.vmap(on_the_line))(*drawn)
        assert np.min(found.evidence) > 1e-12 and all(np.isfinite(item).all() for item in found)
        for bound in (found.t1, found.t3):
            assert np.sum(np.asarray(found.w1_posterior > bound * (1 + 1e-12))) == 0
        tight = np.asarray(found.w1_posterior / found.t1)
        # The bound is a bound of this and not of anything: it is nearly met, and much less would be violated.
        assert tight.max() > 0.5 and np.mean(tight > 0.25) > 0.05
    # One of them again in plain NumPy and SciPy.
    x, x_hat, a, a_hat, y, sigma = (item[7] for item in drawn)
    likelihood, hat = (np.exp(-((y - p) ** 2) / (2 * sigma**2)) for p in (x, x_hat))
    p, p_hat = a / a.sum(), a_hat / a_hat.sum()
    z = p @ likelihood
    posterior = stats.wasserstein_distance(x, x_hat, p * likelihood, p_hat * hat)
    held = np.concatenate([x[a > 0], x_hat[a_hat > 0]])
    constant = (1 + np.ptp(held) * np.exp(-0.5) / sigma) / z
    prior = stats.wasserstein_distance(x, x_hat, a, a_hat)
    expected = dict(w1_prior=prior, w1_posterior=posterior, evidence=z, constant=constant, t1=constant * prior)
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(found, name)[7], value, rtol=1e-9, err_msg=name)


def heavy(seed: int, far: float, number: int = 30):
    """x2 has a heavy tail that grows with x1, and only x1 is observed; the other prior moves x1 a little."""
    rng = np.random.default_rng(seed)
    x1 = rng.normal(size=number)
    x = np.stack([x1, far * (1 + np.abs(x1)) * rng.standard_t(2.1, size=number)], 1)
    x_hat = x + np.stack([0.05 * rng.normal(size=number), 0.01 * rng.normal(size=number)], 1)
    return x, x_hat, rng.exponential(size=number), float(rng.normal()), float(0.1 * 10 ** rng.random())


def test_t3_holds_where_one_half_is_observed():
    ratios = []
    with jax.enable_x64(True):
        for seed in range(200):
            x, x_hat, a, y, sigma = heavy(seed, far=10.0 ** (seed % 5))
            likelihoods = (bounds.gaussian_log_likelihood(p[:, 0], y, sigma) for p in (x, x_hat))
            found = bounds.compare(x, x_hat, *likelihoods, bounds.likelihood_lipschitz(sigma), a=a, a_hat=a)
            assert found.w1_posterior <= found.t3 and found.w1_posterior <= found.t1
            ratios.append(float(found.ratio))
    medians = np.median(np.reshape(ratios, (-1, 5)), 0)
    assert medians[-1] > 1000 * medians[0]  # no constant in W1 without a diameter


def test_no_constant_in_w1_where_one_half_is_observed():
    """Two atoms, the rare one K away in what is not observed and moved by h in what is: the ratio grows with K."""
    share, h, sigma, y = 1e-3, 1e-3, 0.5, 0.0

    def ratio(far: float) -> tuple[float, float]:
        x, x_hat = (np.array([[0.0, 0.0], [place, far]]) for place in (1.0, 1.0 - h))
        a = np.array([1 - share, share])
        likelihoods = (bounds.gaussian_log_likelihood(p[:, 0], y, sigma) for p in (x, x_hat))
        found = bounds.compare(x, x_hat, *likelihoods, bounds.likelihood_lipschitz(sigma), a=a, a_hat=a)
        return float(found.ratio), float(found.w1_posterior / found.t3)

    with jax.enable_x64(True):
        near, far = ratio(1e2), ratio(1e4)
    # What is observed moves the rare atom's weight by its likelihood's slope, times K; W1 of the priors knows only h.
    slope = np.exp(-0.5 / sigma**2) / sigma**2
    np.testing.assert_allclose(far[0], 1e4 * slope, rtol=0.01)
    assert 90 < far[0] / near[0] < 110
    assert 0.05 < far[1] <= 1 and near[1] <= 1


def test_the_sheets_one_dimensional_problem():
    """Z = 0.247 and C = 28.6 for the two bumps on [-2, 2] with y = 0.1 and sigma = 0.4."""
    bumps = lambda t: sum(
        w / s * np.exp(-((t - m) ** 2) / (2 * s * s)) for w, m, s in ((0.6, -0.7, 0.25), (0.4, 0.8, 0.35))
    )
    density = lambda t: bumps(t) + 0.02
    mass = integrate.quad(density, -2, 2)[0]
    z = integrate.quad(lambda t: density(t) * np.exp(-((0.1 - t) ** 2) / 0.32), -2, 2)[0] / mass
    with jax.enable_x64(True):
        grid = np.linspace(-2, 2, 20_001)
        found = bounds.evidence(bounds.gaussian_log_likelihood(grid, 0.1, 0.4), density(grid))
        np.testing.assert_allclose(found, z, rtol=1e-4)
        constant = bounds.t1_constant(found, bounds.likelihood_lipschitz(0.4), 4.0)
    assert (round(float(found), 3), round(float(constant), 1)) == (0.247, 28.6)


def test_the_likelihoods_lipschitz_constant_is_its_steepest_slope():
    rng = np.random.default_rng(0)
    forward, factor = rng.normal(size=(2, 2)), rng.normal(size=(2, 2))
    cov = factor @ factor.T
    turn, values, _ = np.linalg.svd(np.linalg.inv(np.linalg.cholesky(cov)) @ forward)
    sharp = values[0] * np.exp(-0.5)
    with jax.enable_x64(True):
        # The identity with unequal noise: met along the sharpest coordinate, one deviation away.
        stds, y = np.array([0.5, 0.2]), np.array([1.0, -2.0])
        likelihood = lambda x: jnp.exp(bounds.gaussian_log_likelihood(x, y, stds))
        steepest = jnp.linalg.norm(jax.grad(likelihood)(y + np.array([0.0, 0.2])))
        np.testing.assert_allclose(bounds.likelihood_lipschitz(stds), steepest, rtol=1e-12)
        np.testing.assert_allclose(bounds.likelihood_lipschitz(noise_cov=np.diag(stds**2)), steepest, rtol=1e-12)
        far = jax.vmap(jax.grad(likelihood))(y + rng.normal(size=(500, 2)) * stds)
        assert np.max(np.linalg.norm(far, axis=1)) <= steepest
        # Correlated noise and a matrix: not below the sharp constant |Gamma^{-1/2} G| e^{-1/2}.
        norm = np.linalg.norm(forward, 2)
        assert bounds.likelihood_lipschitz(noise_cov=cov, forward_lipschitz=norm) >= sharp * (1 - 1e-12)
        close = bounds.likelihood_lipschitz(noise_cov=cov)
        np.testing.assert_allclose(close, np.exp(-0.5) / np.sqrt(np.linalg.eigvalsh(cov)[0]), rtol=1e-12)


def test_posterior_and_evidence_of_a_discrete_prior():
    rng = np.random.default_rng(1)
    x, a = rng.normal(size=(9, 2)), rng.exponential(size=9)
    y, stds = np.array([0.3, -0.4]), np.array([0.5, 0.7])
    with jax.enable_x64(True):
        log = bounds.gaussian_log_likelihood(x, y, stds)
        likelihood = np.exp(-0.5 * (((y - x) / stds) ** 2).sum(1))
        np.testing.assert_allclose(bounds.evidence(log, a), (a * likelihood).sum() / a.sum(), rtol=1e-12)
        np.testing.assert_allclose(bounds.posterior(log, a), a * likelihood / (a * likelihood).sum(), rtol=1e-12)
        # Far in the tail Z is below the smallest number, and the posterior is as good.
        low = np.asarray(log) - 2000.0
        np.testing.assert_allclose(bounds.posterior(low, a), bounds.posterior(log, a), rtol=1e-9)
        np.testing.assert_allclose(bounds.log_evidence(low, a), bounds.log_evidence(log, a) - 2000.0, rtol=1e-12)
        # A point that is not of the prior, however likely.
        beside = bounds.posterior(np.array([-5000.0, 0.0, -5001.0]), np.array([1.0, 0.0, 1.0]))
        np.testing.assert_allclose(beside, [1 / (1 + np.exp(-1)), 0, 1 / (1 + np.exp(1))])
        impossible = np.where(np.arange(9) < 8, -np.inf, 0.0)
        np.testing.assert_allclose(bounds.posterior(impossible), np.eye(9)[8], rtol=1e-12)
        np.testing.assert_allclose(bounds.radius(x, a, y), (a * np.linalg.norm(x - y, axis=1)).sum() / a.sum())
        np.testing.assert_allclose(bounds.second_moment(x, a, y), np.sqrt((a * ((x - y) ** 2).sum(1)).sum() / a.sum()))


ONES = np.ones(4)
WRONG = [
    (functools.partial(bounds.gaussian_log_likelihood, ONES, np.ones(3), 1.0), "y must be"),
    (functools.partial(bounds.gaussian_log_likelihood, ONES, 0.0, 0.0), "noise_std must be finite and above 0"),
    (functools.partial(bounds.gaussian_log_likelihood, ONES, ONES, np.ones(3)), r"noise_std must be \(\) or \(4,\)"),
    (functools.partial(bounds.likelihood_lipschitz), "expected noise_std or noise_cov, found none"),
    (functools.partial(bounds.likelihood_lipschitz, noise_cov=-np.eye(2)), "eigenvalues of noise_cov must be"),
    (functools.partial(bounds.evidence, ONES * np.nan), "found NaN"),
    (functools.partial(bounds.posterior, -ONES * np.inf), "finite at one point of the prior or more"),
    (functools.partial(bounds.posterior, ONES, -ONES), "posterior: a must be weights >= 0"),
    (functools.partial(bounds.t1_constant, 0.0, 1.0, 1.0), "t1_constant: z must be finite and above 0"),
    (functools.partial(bounds.t3_bound, 1.0, 1.0, 1.0, 1.0, 1.0, -1.0), "t3_bound: w2 must be"),
    (functools.partial(bounds.radius, ONES, None, np.ones(2)), "radius: centre must be"),
    (functools.partial(bounds.compare, ONES, ONES, ONES, ONES, 1.0), "log_likelihood must be unnormalised"),
]


@pytest.mark.parametrize("call, line", WRONG, ids=[line[:40] for _, line in WRONG])
def test_bad_input_is_one_clear_line(call, line):
    with pytest.raises(ValueError, match=line) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_t2_where_everything_is_observed_needs_no_diameter():
    """Identity and a heavy tail: the ratio stays, since far points have no likelihood."""
    compiled = jax.jit(on_the_line)

    def ratio(far):
        x = np.array([0.0, 1.0, far])
        found = compiled(x, x + 0.01, np.ones(3), np.ones(3), 0.2, 0.5)
        return float(found.ratio)

    with jax.enable_x64(True):
        np.testing.assert_allclose(ratio(1e6), ratio(1e3), rtol=1e-6)
