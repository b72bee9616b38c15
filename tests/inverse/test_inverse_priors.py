"""Random log-permeabilities against dense matrices in NumPy, and the statistics that they are there for."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from tests.inverse.inverse_elliptic import cells_matrix
from vrjax.inverse import darcy
from vrjax.inverse.darcy import priors

N = 8
CENTRE = (N // 2) * (N + 1)


@functools.cache
def laplace(n):
    """The negative Laplacian: the plate's matrix at u = 0, on cells of side 1/n."""
    return n**2 * cells_matrix(np.zeros((n, n)))


def layer(kappa):
    """(kappa^2 - Laplace)^-2 kappa^3 as a matrix."""
    inverse = np.linalg.inv(np.diag(kappa.ravel() ** 2) + laplace(math.isqrt(kappa.size)))
    return inverse @ inverse * kappa.ravel() ** 3


def first_layer():
    """The matrix of the first layer, its deviation at the centre 1."""
    inverse = np.linalg.inv(36 * np.eye(N * N) + laplace(N))
    square = inverse @ inverse
    return square / np.linalg.norm(square[CENTRE])


def test_two_layers_are_those_of_dense_matrices():
    w = np.random.default_rng(0).normal(size=(2, N, N))
    with jax.enable_x64(True):
        prior = darcy.prior(N)
        u, kappa, scale = prior(w), prior.kappa(w[0]), float(prior.scale)
    wanted = 12 * np.exp(0.7 * first_layer() @ w[0].ravel())
    np.testing.assert_allclose(kappa.ravel(), wanted, rtol=1e-11)
    np.testing.assert_allclose(u.ravel(), scale * layer(wanted) @ w[1].ravel(), rtol=0, atol=1e-10)


def test_the_scale_makes_the_deviation_at_the_centre():
    """Given the first layer the field is Gaussian, of known variance; 400 first layers of NumPy's own."""
    scale = float(darcy.prior(N).scale)
    draws = first_layer() @ np.random.default_rng(1).normal(size=(N * N, 400))
    variance = [scale**2 * np.sum(layer(12 * np.exp(0.7 * v))[CENTRE] ** 2) for v in draws.T]
    assert abs(np.mean(variance) - 0.25) < 4 * np.std(variance) * np.sqrt(1 / 400 + 1 / priors.DRAWS)


def test_the_scale_is_the_same_in_every_process_and_follows_the_grid():
    first = priors._layered(N)[2]
    priors._layered.cache_clear()
    assert priors._layered(N)[2] == first
    # White noise of cells has a variance of 1, not of 1/h^2: the scale grows as n.
    assert abs(priors._layered(32)[2] / priors._layered(16)[2] - 2) < 0.05


def test_gaussian_fields_have_their_covariance():
    with jax.enable_x64(True):
        for prior in (darcy.matern(N), darcy.varying(N, 4.0, 9.0)):
            u = jax.vmap(prior)(jnp.eye(N * N).reshape(-1, N, N)).reshape(N * N, -1).T
            kappa = np.asarray(prior.kappa)
            np.testing.assert_allclose(u, float(prior.scale) * layer(kappa), rtol=0, atol=1e-11)
            assert abs(np.sum(u[CENTRE] ** 2) - 0.25) < 1e-9
    assert kappa[0].tolist() == [4 + 5 / 16] * N and kappa[-1].tolist() == [9 - 5 / 16] * N


def test_few_modes_hold_the_varying_field():
    """The energies of 32, 64 and 128 modes that were measured independently for kappa 6 -> 24: .942, .984, .996."""
    kappa = np.asarray(darcy.varying(32).kappa)
    energy = np.linalg.svd(layer(kappa), compute_uv=False) ** 2
    share = np.cumsum(energy)[[31, 63, 127]] / energy.sum()
    np.testing.assert_allclose(share, [0.942, 0.984, 0.996], rtol=0, atol=0.006)


def kurtosis(u):
    """At every site of the middle half, over fields, and on the mean over sites: 3 where they are Gaussian."""
    u = u - u.mean(0)
    return float(np.mean((u**4).mean(0) / (u**2).mean(0) ** 2))


def test_two_layers_are_not_gaussian():
    """Increments between neighbours have heavy tails at every site, where those of a Gaussian field have none."""
    n = 16
    w = jax.random.normal(jax.random.key(0), (1024, 2, n, n))
    deep = np.asarray(jax.jit(jax.vmap(darcy.prior(n)))(w))
    flat = np.asarray(jax.jit(jax.vmap(darcy.matern(n)))(w[:, 1]))
    inside = (slice(None), slice(4, 12), slice(4, 12))
    for axis in (1, 2):
        assert kurtosis(np.diff(deep[inside], axis=axis)) > 5.5
        assert abs(kurtosis(np.diff(flat[inside], axis=axis)) - 3) < 0.15
    for u in (deep, flat):
        assert abs(u[:, n // 2, n // 2].std() - 0.5) < 0.04


def test_derivative_through_prior_and_plate():
    """Of a pressure with respect to the white noise, by extrapolated central differences in float64."""
    rng = np.random.default_rng(2)
    w, d = rng.normal(size=(2, 2, N, N))
    with jax.enable_x64(True):
        prior, plate = darcy.prior(N), darcy.operator(N, np.array([[0.3, 0.6]]))
        read = jax.jit(lambda w: plate.apply(prior(w))[0])
        slope = float(jnp.vdot(jax.jit(jax.grad(read))(w), d))
        near, far = ((read(w + h * d) - read(w - h * d)) / (2 * h) for h in (1e-3, 2e-3))
        quotient = float(4 * near - far) / 3
    np.testing.assert_allclose(slope, quotient, rtol=1e-7)
