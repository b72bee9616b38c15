"""Exactly solvable problems against quadrature, conditioning by hand and transport by the exact flow."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from tests.inverse.inverse_posteriors import responsibilities
from vrjax import flow
from vrjax.inverse import latent
from vrjax.inverse.exact import levy, mixture

STD = 0.25
E8 = mixture.isotropic(jnp.array([0.5, 0.3, 0.2]), jnp.array([[-1.0, -1.0], [1.0, 1.0], [1.0, -1.0]]), STD)
FIRST = jnp.array([[1.0, 0.0]])

# One program each, instead of one for every operation in them.
posterior, log_evidence, moments, cdf = map(
    jax.jit, (mixture.posterior, mixture.log_evidence, mixture.moments, mixture.cdf)
)
sample = jax.jit(mixture.sample, static_argnums=2)


def line():
    """A mixture in one dimension, in float64."""
    return mixture.Mixture(jnp.array([0.3, 0.7]), jnp.array([[-1.0], [0.8]]), jnp.array([[[0.09]], [[0.36]]]))


def pdf(x):
    return 0.3 * stats.norm.pdf(x, -1, 0.3) + 0.7 * stats.norm.pdf(x, 0.8, 0.6)


def quad(f):
    return integrate.quad(f, -8, 8, points=(-1, 0, 0.8), limit=200, epsabs=1e-13)[0]


def test_posterior_against_quadrature():
    with jax.enable_x64(True):
        a, y, s = 0.7, 0.4, 0.5
        likelihood = lambda x: stats.norm.pdf(y, a * x, s)
        z = quad(lambda x: pdf(x) * likelihood(x))
        mean = quad(lambda x: x * pdf(x) * likelihood(x)) / z
        square = quad(lambda x: (x - mean) ** 2 * pdf(x) * likelihood(x)) / z
        given = (line(), jnp.array([[a]]), jnp.array([y]), s)
        after = posterior(*given)
        found = moments(after)
        np.testing.assert_allclose(found[0], [mean], rtol=1e-9)
        np.testing.assert_allclose(found[1], [[square]], rtol=1e-9)
        np.testing.assert_allclose(log_evidence(*given), np.log(z), rtol=1e-9)
        x = 0.3
        np.testing.assert_allclose(
            np.exp(mixture.log_density(after, jnp.array([x]))), pdf(x) * likelihood(x) / z, rtol=1e-9
        )
        below = integrate.quad(lambda x: pdf(x) * likelihood(x) / z, -8, x, points=(-1,), epsabs=1e-12)[0]
        np.testing.assert_allclose(cdf(after, jnp.array(x)), below, rtol=1e-9)


def test_posterior_in_eight_dimensions_conditions_the_joint_gaussian():
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        roots = rng.normal(size=(3, 8, 8)) / 3
        law = mixture.Mixture(
            jnp.array([0.2, 0.5, 0.3]), jnp.asarray(rng.normal(size=(3, 8))), jnp.asarray(roots @ roots.swapaxes(1, 2))
        )
        matrix, y, s = rng.normal(size=(5, 8)), rng.normal(size=5), np.linspace(0.2, 1.0, 5)
        after = posterior(law, jnp.asarray(matrix), jnp.asarray(y), jnp.asarray(s))
        logs = []
        for k in range(3):
            prior, m = np.asarray(law.covariances[k]), np.asarray(law.means[k])
            # in information form, which the library does not use
            precision = np.linalg.inv(prior) + matrix.T @ (matrix / s[:, None] ** 2)
            mean = np.linalg.solve(precision, np.linalg.solve(prior, m) + matrix.T @ (y / s**2))
            np.testing.assert_allclose(after.means[k], mean, rtol=1e-7)
            np.testing.assert_allclose(after.covariances[k], np.linalg.inv(precision), rtol=1e-7, atol=1e-10)
            seen = matrix @ prior @ matrix.T + np.diag(s**2)
            logs.append(np.log(law.weights[k]) + stats.multivariate_normal.logpdf(y, matrix @ m, seen))
        np.testing.assert_allclose(after.weights, np.exp(logs - np.logaddexp.reduce(logs)), rtol=1e-7)
        np.testing.assert_allclose(
            log_evidence(law, jnp.asarray(matrix), jnp.asarray(y), jnp.asarray(s)), np.logaddexp.reduce(logs)
        )


def test_the_sheets_example_and_its_draws():
    after = posterior(E8, FIRST, jnp.array([0.6]), 0.3)
    np.testing.assert_allclose(after.weights, [0, 0.6, 0.4], atol=5e-4)
    draws = np.asarray(sample(jax.random.key(0), after, 20_000), np.float64)
    mean, covariance = moments(after)
    np.testing.assert_allclose(draws.mean(0), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.03)
    for axis in range(2):
        law = mixture.push(after, jnp.eye(2)[axis : axis + 1])
        assert stats.kstest(draws[:, axis], lambda x, law=law: np.asarray(cdf(law, jnp.asarray(x)))).pvalue > 1e-3


def test_velocity_is_the_conditional_mean():
    with jax.enable_x64(True):
        velocity = mixture.velocity(line())
        for t, x in ((0.9, 0.2), (0.5, -0.6), (0.05, 1.1)):
            joint = lambda u, t=t, x=x: pdf(u) * stats.norm.pdf(x, (1 - t) * u, t)
            # n = (x - (1 - t) x0) / t
            mean = quad(lambda u, t=t, x=x, joint=joint: ((x - (1 - t) * u) / t - u) * joint(u)) / quad(joint)
            v = velocity(jnp.array([x]), flow.Level(t, 1000 * t))
            np.testing.assert_allclose(v, [mean], rtol=1e-7)
        end = velocity(jnp.array([0.4]), flow.Level(0.0, 0.0))
        np.testing.assert_allclose(end, [-0.4], rtol=1e-9)  # x0 is x, and the noise is still any


def test_the_flow_carries_noise_to_prior_and_posterior_and_importance_through_it_agrees():
    grid = flow.grids.shifted(24, shift=1.0)
    y = jnp.array([0.6])

    @jax.jit
    def transported(noise, law):
        run = lambda x: (
            flow.sample(mixture.velocity(law), x, grid, solver=flow.heun(), record=flow.Record(steps=())).final
        )
        return jax.vmap(run)(noise)

    noise = jax.random.normal(jax.random.key(1), (4000, 2))
    after = posterior(E8, FIRST, y, 0.3)
    for law in (E8, after):
        x = np.asarray(transported(noise, law), np.float64)
        mean, covariance = moments(law)
        np.testing.assert_allclose(x.mean(0), mean, atol=0.05)
        np.testing.assert_allclose(np.cov(x.T), covariance, atol=0.06)

    def log_likelihood(z, law, y):
        return -0.5 * jnp.sum((y - FIRST @ transported(z[None], law)[0]) ** 2) / 0.3**2

    found = latent.importance(jax.random.key(2), log_likelihood, 2, 8000, args=(E8, y))
    x = np.asarray(transported(found.z, E8), np.float64)
    share = responsibilities(x, np.asarray(E8.weights), np.asarray(E8.means), STD**2 * np.eye(2))
    assert found.khat < 0.7 and found.ess > 1000
    np.testing.assert_allclose(np.exp(found.log_weights) @ share, after.weights, atol=0.03)
    norm = np.log(0.3 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(found.log_evidence - norm, log_evidence(E8, FIRST, y, 0.3), atol=0.05)


def test_gibbs_against_quadrature():
    matrix, y, s, b = np.array([[1.0, 0.5], [0.2, 1.0]]), np.array([0.8, -0.3]), 0.4, 0.7
    at = np.linspace(-5, 5, 1001)  # u = 0, where the prior has its kink, is among them
    u = np.stack(np.meshgrid(at, at, indexing="ij"), -1)
    x = np.cumsum(u, -1)
    logs = -np.abs(u).sum(-1) / b - 0.5 * ((y - x @ matrix.T) ** 2).sum(-1) / s**2
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    draws = levy.posterior(
        jax.random.key(3), jnp.asarray(matrix, float), jnp.asarray(y, float), s, b, steps=1500, chains=16
    )
    assert draws.shape == (16, 1500, 2) and latent.gate(draws).passed
    draws = np.asarray(draws, np.float64)
    f = lambda x: np.stack(
        [x[..., 0], x[..., 1], x[..., 0] ** 2, x[..., 1] ** 2, x[..., 0] * x[..., 1], x[..., 0] < 0.3], -1
    )
    told, exact = f(draws), np.einsum("ij,ijk->k", weights, f(x))
    sizes = np.asarray(latent.ess(told))
    assert sizes.min() > 2500
    np.testing.assert_array_less(np.abs(told.mean((0, 1)) - exact), 4.5 * told.std((0, 1)) / np.sqrt(sizes))


def test_gibbs_without_data_gives_the_prior_back():
    # so weak an observation says nothing: increments are Laplace, over 32 of them
    draws = levy.posterior(jax.random.key(4), jnp.eye(32), jnp.zeros(32), 1e4, 0.5, steps=200, chains=8, burn=30)
    increments = np.diff(np.asarray(draws), axis=-1)[:, ::10]
    assert stats.kstest(increments.ravel(), stats.laplace(scale=0.5).cdf).statistic < 0.02
    prior = np.diff(np.asarray(levy.sample(jax.random.key(5), 200, 32, 0.5)), axis=-1)
    assert stats.kstest(prior.ravel(), stats.laplace(scale=0.5).cdf).statistic < 0.02


def test_bad_input_is_one_line():
    run = functools.partial(mixture.posterior, E8)
    for args, why in (
        ((jnp.ones((1, 3)), jnp.ones(1), 0.3), r"matrix: found shape \(1, 3\), expected \(m, 2\)"),
        ((FIRST, jnp.ones(2), 0.3), r"y: found shape \(2,\), expected \(1,\)"),
        ((FIRST, jnp.array([jnp.nan]), 0.3), "y: found 1 values that are not finite"),
        ((FIRST, jnp.ones(1), 0.0), "noise_std: found 0, expected a positive number"),
    ):
        with pytest.raises(ValueError, match=why):
            run(*args)
    with pytest.raises(ValueError, match="expected 1: push it"):
        mixture.cdf(E8, jnp.zeros(3))
    with pytest.raises(ValueError, match="scale: found -1"):
        levy.posterior(jax.random.key(0), jnp.eye(2), jnp.zeros(2), 1.0, -1.0, steps=3)
