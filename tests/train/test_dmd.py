"""Distribution matching distillation where both scores are known: normal data, normal generators."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vrjax.train import objectives
from vrjax.train.objectives import level_of

MEAN, STD = 0.7, 0.4
KEY = jax.random.key(0)


def gaussian(mean, std):
    """The exact velocity of N(mean, std²) per element: E[noise - x0 | x]."""

    def velocity(x, level):
        s = level.sigma
        var = (1 - s) ** 2 * std**2 + s**2
        off = x - (1 - s) * mean
        return s * off / var - (mean + (1 - s) * std**2 * off / var)

    return velocity


def estimate(x, sigma, mean, std):
    """E[x0 | x], in NumPy."""
    return mean + (1 - sigma) * std**2 / ((1 - sigma) ** 2 * std**2 + sigma**2) * (x - (1 - sigma) * mean)


@pytest.mark.parametrize("sigma", [0.02, 0.5, 1.0])
@pytest.mark.parametrize("normalise", [True, False])
def test_the_direction_is_the_difference_of_estimates(sigma, normalise):
    """Zero where the generator's law is the data's; beside it, away from where the data are."""
    x, noise = (jax.random.normal(key, (64,)) for key in jax.random.split(KEY))
    level, real = level_of(sigma), gaussian(MEAN, STD)
    how = {"normalise": normalise}
    np.testing.assert_array_equal(objectives.dmd_direction(real, real, x, noise, level, **how), 0)
    for mean, std in ((MEAN + 0.5, STD), (MEAN - 0.3, 2 * STD)):
        at = np.asarray((1 - sigma) * x + sigma * noise, np.float64)
        truth = estimate(at, sigma, MEAN, STD)
        wanted = estimate(at, sigma, mean, std) - truth
        wanted = wanted / np.abs(np.asarray(x) - truth).mean() if normalise else wanted
        found = objectives.dmd_direction(real, gaussian(mean, std), x, noise, level, **how)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
        if std == STD:
            assert (np.asarray(found) > 0).all()  # x is too large: the descent lowers it


def test_the_loss_has_that_gradient_and_no_other():
    x, noise = (jax.random.normal(key, (3, 4)) for key in jax.random.split(KEY))
    level, weight = level_of(0.4), np.array([[0.0], [1.0], [2.0]], np.float32)

    def loss(x, shift, weight=None):
        fake = gaussian(MEAN + 0.5 + shift, STD)
        return objectives.dmd(gaussian(MEAN + shift, STD), fake, x, noise, level, weight=weight)

    told = objectives.dmd_direction(gaussian(MEAN, STD), gaussian(MEAN + 0.5, STD), x, noise, level)
    of_x, of_scores = jax.grad(loss, (0, 1))(x, 0.0)
    np.testing.assert_allclose(of_x, told / 12, rtol=1e-5)
    assert of_scores == 0
    np.testing.assert_allclose(jax.grad(loss)(x, 0.0, weight), told * weight / 12, rtol=1e-5)
    np.testing.assert_allclose(loss(x, 0.0), 0.5 * np.mean(np.square(told)), rtol=1e-4)


def test_a_generator_ends_at_the_data():
    """x = a + b z, a critic that knows the generator's law: mean and width become those of the data."""

    def update(generator, key):
        keys = jax.random.split(key, 3)
        z, noise = jax.random.normal(keys[0], (256,)), jax.random.normal(keys[1], (256,))
        sigma = jax.random.uniform(keys[2], (), minval=0.02, maxval=0.98)
        law = jax.lax.stop_gradient(generator)

        def loss(generator):
            x = generator[0] + generator[1] * z
            return objectives.dmd(gaussian(MEAN, STD), gaussian(*law), x, noise, level_of(sigma))

        return generator - 0.05 * jax.grad(loss)(generator) * 256 / 16, None

    start = jnp.array([-0.5, 1.2])
    found, _ = jax.jit(lambda key: jax.lax.scan(update, start, jax.random.split(key, 400)))(KEY)
    np.testing.assert_allclose(found, [MEAN, STD], atol=0.03)


def test_the_critic_is_trained_on_what_was_made_and_moves_it_not():
    """At the exact velocity its error is Var[noise - x0 | x], and no velocity of other slope has less."""
    keys, sigma = jax.random.split(KEY), 0.5
    x, noise = MEAN + STD * jax.random.normal(keys[0], (40_000,)), jax.random.normal(keys[1], (40_000,))
    level, exact = level_of(sigma), gaussian(MEAN, STD)
    least = STD**2 + 1 - (sigma - (1 - sigma) * STD**2) ** 2 / ((1 - sigma) ** 2 * STD**2 + sigma**2)
    error = lambda slope, x: objectives.fake_error(lambda x, level: slope * exact(x, level), x, noise, level)
    np.testing.assert_allclose(error(1.0, x), least, rtol=0.03)
    of_slope, of_x = jax.grad(error, (0, 1))(1.0, x)
    assert abs(of_slope) < 0.03 and not np.asarray(of_x).any()
    assert error(0.8, x) > error(1.0, x) < error(1.2, x)
