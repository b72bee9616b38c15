"""Fits of generators: exact W2 against POT, closed forms, programs that are compiled once, and what errors say."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest
from scipy import stats

from vrjax.flow import grids, heun, sample, sde
from vrjax.inverse import distances, generators
from vrjax.inverse.generators.modes import sorted as on_the_line

KEY = jax.random.key(0)
MOONS = np.random.default_rng(0)


def moons(number: int, rng=MOONS) -> np.ndarray:
    angle, side = np.pi * rng.random(number), rng.random(number) < 0.5
    x = np.stack([np.cos(angle), np.sin(angle)], 1)
    x = np.where(side[:, None], x, [1.0, 0.5] - x)
    return x + 0.08 * rng.normal(size=x.shape)


def bumps(number: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    left = rng.random(number) < 0.6
    return np.where(left, rng.normal(-0.7, 0.25, number), rng.normal(0.8, 0.35, number))


@pytest.mark.parametrize("n, m", [(10, 16), (48, 16), (7, 7)], ids=str)
def test_targets_give_exact_w2_on_the_line(n, m):
    """mean (t_i - q_i)^2 + mean v_i is W2^2 of POT, for outputs in order and any sizes."""
    rng = np.random.default_rng(n)
    data, made = rng.normal(size=(n, 1)), np.sort(rng.normal(size=(m, 1)), 0)
    wanted, within = on_the_line.targets(data, m)
    exact = ot.emd2(np.full(m, 1 / m), np.full(n, 1 / n), ot.dist(made, data))
    np.testing.assert_allclose(np.mean((made - wanted) ** 2) + within, exact, rtol=1e-10)


def test_latent_points_are_normal():
    line, cube = generators.midpoints(512)[:, 0], generators.sobol(KEY, 512, 3)
    assert stats.wasserstein_distance(line, stats.norm.ppf((np.arange(50_000) + 0.5) / 50_000)) < 0.01
    np.testing.assert_allclose(cube.mean(0), 0.0, atol=0.01)
    np.testing.assert_allclose(np.cov(cube.T), np.eye(3), atol=0.05)
    np.testing.assert_array_equal(cube, generators.sobol(KEY, 512, 3))
    assert np.any(cube != generators.sobol(jax.random.key(1), 512, 3))


def test_an_affine_fit_on_the_line_reaches_its_closed_form():
    """The W2 projection of data on N(c, a^2) has c the mean and a the covariance of quantiles."""
    data = bumps(96, 0)
    truth = lambda key, number: bumps(number, 5)
    params, report = generators.fit(
        KEY, data, generators.affine(1), mode="sorted", latents=64, steps=200, restarts=1, truth=truth
    )
    z, (wanted, within) = generators.midpoints(64)[:, 0], on_the_line.targets(data[:, None], 64)
    slope = np.sum(z * wanted[:, 0]) / np.sum(z * z)
    best = np.sqrt(np.mean((slope * z + data.mean() - wanted[:, 0]) ** 2) + within)
    np.testing.assert_allclose(report.approximation, best, rtol=1e-5)
    assert 0 <= report.optimisation_gap < 1e-3 * best
    np.testing.assert_allclose(report.train_w2, report.approximation + report.optimisation_gap, rtol=1e-6)
    made = generators.push(generators.affine(1), params, jnp.asarray([[-1.0], [1.0]]))[:, 0]
    np.testing.assert_allclose(made, data.mean() + slope * np.array([-1.0, 1.0]), atol=2e-3)
    # 2 W2(nu_n, nu) by SciPy's ordered quantiles of many more draws.
    many = np.sort(bumps(96 * 2000, 9)).reshape(96, -1)
    expected = 2 * np.sqrt(np.mean((np.sort(data)[:, None] - many) ** 2))
    np.testing.assert_allclose(report.statistical, expected, rtol=0.03)


def test_a_network_on_the_line_comes_near_the_data():
    data = bumps(128, 1)
    fit = functools.partial(generators.fit, mode="sorted", latents=128, restarts=2)
    params, report = fit(KEY, data, generators.mlp(1))
    gaussian = np.sqrt(np.mean((np.sort(data) - data.mean() - data.std() * generators.midpoints(128)[:, 0]) ** 2))
    np.testing.assert_allclose(report.curve[:, 0], gaussian, rtol=1e-4)  # it starts as the data's Gaussian
    assert report.train_w2 < 0.4 * gaussian and report.curve.shape == (2, 800)
    assert report.train_w2 == report.restarts.min() == report.approximation
    assert report.optimisation_gap == pytest.approx(np.ptp(report.restarts) / 2)
    assert report.fresh_w2 < 2 * report.train_w2
    made = generators.push(generators.mlp(1), params, generators.midpoints(128).astype(np.float32))
    np.testing.assert_allclose(report.train_w2, distances.w2(made, data.astype(np.float32)), rtol=1e-5)
    again, _ = fit(KEY, data, generators.mlp(1))
    chex.assert_trees_all_equal(params, again)


def test_nothing_is_compiled_again_for_another_round_restart_rate_or_data_set():
    plain = generators.mlp(2, widths=(8,))
    # Two programs ask for it: `push` and the inner loop.
    counted = plain._replace(apply=chex.assert_max_traces(plain.apply, n=2))
    fit = functools.partial(generators.fit, generator=counted, latents=16, inner=2)
    for n in (20, 30):
        fit(KEY, moons(n, np.random.default_rng(n)), steps=20, restarts=2, learning_rate=1e-3 * n)
    with pytest.raises(AssertionError, match="traced"):
        fit(KEY, moons(20), steps=4, latents=32)  # another program: the count counts


def test_the_plan_mode_fits_moons():
    data = moons(96)
    net = generators.mlp(2, widths=(32, 32))
    fit = functools.partial(generators.fit, KEY, data, net, latents=128, inner=20)
    params, report = fit(steps=400, restarts=1, best_known=0.05)
    z = generators.sobol(jax.random.split(KEY, 4)[0], 128, 2)
    made = np.asarray(generators.push(net, params, z.astype(np.float32)), np.float64)
    exact = ot.emd2(np.full(128, 1 / 128), np.full(96, 1 / 96), ot.dist(made, data)) ** 0.5
    np.testing.assert_allclose(report.train_w2, exact, rtol=1e-6)
    np.testing.assert_allclose(report.train_w2, report.curve.min(), rtol=1e-6)
    assert report.train_w2 < 0.5 * report.curve[0, 0] and report.curve.shape == (1, 21)
    assert report.approximation == min(0.05, report.train_w2)
    np.testing.assert_allclose(report.optimisation_gap, report.train_w2 - report.approximation)
    assert np.isnan(report.statistical) and report.unsolved == 0 and report.fresh_w2 > report.train_w2


def test_plan_mode_does_not_shrink_a_gaussian():
    """Minibatches of 16 would pull the fit's spread in by many per cent; the full plan keeps it."""
    rng = np.random.default_rng(2)
    data = rng.normal(size=(256, 2)) * [2.0, 0.5] + [3.0, -1.0]
    family = generators.affine(2)
    params, report = generators.fit(KEY, data, family, latents=256, steps=200, restarts=1)
    spread = np.asarray(params["root"] @ params["skip"])
    ratio = np.sqrt(np.trace(spread @ spread.T) / np.trace(np.cov(data.T)))
    assert 0.93 < ratio <= 1.0  # the sheet: "a slightly smaller covariance"
    np.testing.assert_allclose(params["mean"] + params["root"] @ params["bias"], data.mean(0), atol=0.05)
    assert np.isnan(report.optimisation_gap)  # one run and nothing else: not known, and not 0


def test_sinkhorn_mode_lowers_its_divergence():
    data = moons(48, np.random.default_rng(4))
    net = generators.mlp(2, widths=(16,))
    params, report = generators.fit(
        KEY, data, net, mode="sinkhorn", epsilon=0.05, latents=32, steps=60, restarts=1, learning_rate=2e-2
    )
    assert report.unsolved == 0 and report.curve[0, -1] < 0.5 * report.curve[0, 0]
    z = generators.sobol(jax.random.split(KEY, 4)[0], 32, 2).astype(np.float32)
    start = generators.push(net, net.init(KEY, data), z)
    np.testing.assert_allclose(
        report.curve[0, 0], distances.sinkhorn_divergence(start, data.astype(np.float32), 0.05), rtol=1e-3
    )
    assert report.train_w2 < distances.w2(start, data.astype(np.float32))


def test_the_convex_family_is_a_gradient_and_is_found_again():
    """Data are the family's own image of the latent points: the fit's W2 goes to 0 with the parameters' error."""
    family = generators.convex(2, 2)
    true = dict(amount=jnp.asarray([1.5, 1.0]), rows=jnp.asarray([[2.0, 0.5], [-0.5, 1.5]]), offsets=jnp.zeros(2))
    jacobian = jax.jacobian(lambda z: family.apply(true, z))(jnp.asarray([0.3, -0.7]))
    np.testing.assert_allclose(jacobian, jacobian.T, atol=1e-6)
    assert np.linalg.eigvalsh(jacobian)[0] >= 1.0  # it adds to the identity
    z = generators.sobol(jax.random.split(KEY, 4)[0], 64, 2).astype(np.float32)
    data = np.asarray(generators.push(family, true, z))
    near = family._replace(init=lambda key, data: jax.tree.map(lambda p: 0.8 * p, true))
    params, report = generators.fit(KEY, data, near, latents=64, steps=200, restarts=1, learning_rate=3e-2)
    assert report.train_w2 < 0.02 * report.curve[0, 0]
    np.testing.assert_allclose(jax.nn.softplus(params["amount"]), jax.nn.softplus(true["amount"]), rtol=0.1)


def test_fewer_points_than_dimensions_lose_nothing():
    data = np.random.default_rng(6).normal(size=(3, 5))
    family = generators.affine(5, latent=2)
    params, report = generators.fit(KEY, data, family, latents=16, steps=40, inner=10, restarts=1)
    made = np.asarray(generators.push(family, params, np.random.default_rng(7).normal(size=(4, 2)).astype(np.float32)))
    centred = data - data.mean(0)
    inside = np.linalg.pinv(centred) @ centred
    np.testing.assert_allclose((made - data.mean(0)) @ inside, made - data.mean(0), atol=1e-4)
    assert np.isfinite(report.train_w2)


def waves(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    t = np.linspace(0, 1, 8)
    shapes = [np.outer(np.sin(k * np.pi * t), np.cos(k * np.pi * t)) / k for k in range(1, 5)]
    return 1.0 + np.einsum("nk,kij->nij", rng.standard_t(5, size=(number, 4)), shapes)


def test_a_field_is_fitted_in_its_coordinates_exactly():
    fields, inner = waves(40), generators.mlp(2, widths=(8,))
    params, report = generators.fit_field(
        KEY, fields, inner, latents=32, steps=60, restarts=1, truth=lambda key, number: waves(number), best_known=0.2
    )
    whole = generators.field(inner, (8, 8))
    z = generators.sobol(jax.random.split(jax.random.split(KEY)[0], 4)[0], 32, 2).astype(np.float32)
    made = generators.push(whole, params, z)
    assert made.shape == (32, 8, 8)
    exact = distances.w2(np.asarray(made, np.float64).reshape(32, -1), fields.reshape(40, -1))
    np.testing.assert_allclose(report.train_w2, exact, rtol=1e-4)
    basis, coordinates = generators.pca(fields, 2)
    assert basis.rest > 0 and report.train_w2 > np.sqrt(basis.rest)
    assert report.optimisation_gap >= 0 and report.statistical > 0
    # Components against NumPy's covariance.
    values = np.linalg.eigvalsh(np.cov(fields.reshape(40, -1).T, bias=True))[::-1]
    np.testing.assert_allclose(np.mean(coordinates**2, 0), values[:2], rtol=1e-8)
    np.testing.assert_allclose(basis.rest, values[2:].sum(), rtol=1e-6, atol=1e-12)
    fresh = whole.init(KEY, fields)
    np.testing.assert_allclose(jnp.abs(fresh["components"]), np.abs(basis.components), atol=1e-5)


def test_a_flow_is_a_generator():
    """A Gaussian's exact flow, whose map is affine: T(z) = mean + s z up to the solver's error."""
    mean, s = jnp.asarray([1.0, -2.0]), 0.5
    grid, noise = grids.shifted(40, shift=1.0), jax.random.normal(KEY, (3, 4))

    def exact(weights):
        def velocity(x, level):
            sigma = level.sigma
            variance = (1 - sigma) ** 2 * s**2 + sigma**2
            score = (x - (1 - sigma) * weights) / variance
            return (sigma * score) - (weights + (1 - sigma) * s**2 * score)  # eps - x0, posterior means

        return velocity

    flow = generators.flow_generator(exact, grid, shape=(2, 2), solver=heun(), params=mean)
    assert (flow.latent, flow.output) == (4, (2, 2)) and flow.init(KEY) is mean
    made = jax.jit(jax.vmap(flow.apply, (None, 0)))(mean, noise)
    np.testing.assert_allclose(made, mean + s * noise.reshape(3, 2, 2), atol=5e-3)
    plain = generators.flow_generator(exact(mean), grid, shape=(2, 2), solver=heun())
    np.testing.assert_allclose(plain.apply(plain.init(KEY), noise[0]), made[0], atol=1e-5)
    direct = sample(exact(mean), noise[0].reshape(2, 2), grid, solver=heun()).final
    np.testing.assert_allclose(plain.apply((), noise[0]), direct, atol=1e-6)
    slope = jax.jacobian(lambda z: plain.apply((), z))(noise[0])
    np.testing.assert_allclose(slope.reshape(4, 4), s * np.eye(4), atol=5e-3)  # gradient-based samplers go through


DATA = np.zeros((8, 2)) + np.arange(8.0)[:, None]
NET = generators.affine(2)
WRONG = [
    (lambda: generators.fit(KEY, DATA[None], NET), "fit: data must be points"),
    (lambda: generators.fit(KEY, DATA * np.nan, NET), "fit: data must be finite, found 16 of 16"),
    (lambda: generators.fit(KEY, DATA[:, :1], NET), r"fit: data must be \(n, d\) with d the generator's \(2,\)"),
    (lambda: generators.fit(KEY, DATA, NET, mode="plam"), "unknown mode 'plam', did you mean 'plan'"),
    (lambda: generators.fit(KEY, DATA, NET, mode="sorted"), "mode 'sorted' is for the line"),
    (lambda: generators.fit(KEY, DATA, NET, mode="sinkhorn"), "mode 'sinkhorn', which needs it, found None"),
    (lambda: generators.fit(KEY, DATA, NET, epsilon=0.1), "found 0.1 in mode 'plan'"),
    (lambda: generators.fit(KEY, DATA, NET, mode="sinkhorn", epsilon=-0.1), "epsilon must be finite and above 0"),
    (lambda: generators.fit(KEY, DATA, NET, latents=100), "must be a power of two, found 100"),
    (lambda: generators.fit(KEY, DATA, NET, restarts=0), "fit: restarts must be at least 1"),
    (lambda: generators.fit(KEY, DATA, NET, learning_rate=0.0), "learning_rate must be finite and above 0"),
    (lambda: generators.statistical(KEY, DATA, lambda key, n: np.ones(3)), r"truth must return \(1024, 2\)"),
    (lambda: generators.mlp(2, widths=()), "mlp: widths must name one hidden layer"),
    (lambda: generators.mlp(2, activation="gelo"), "unknown activation 'gelo', did you mean 'gelu'"),
    (lambda: generators.affine(0), "affine: sizes must be at least 1"),
    (lambda: generators.pca(DATA, 3), "pca: rank must lie in 1 to 2"),
    (lambda: generators.field(NET, (1, 2)).init(KEY), "field: init needs the fields"),
    (lambda: generators.flow_generator(id, grids.shifted(2, shift=1.0), shape=(2,), solver=sde()), "deterministic"),
]


@pytest.mark.parametrize("call, line", WRONG, ids=[line[:40] for _, line in WRONG])
def test_bad_input_is_one_clear_line(call, line):
    with pytest.raises(ValueError, match=line) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_fit_that_diverges_is_told():
    wild = NET._replace(apply=lambda params, z: jnp.exp(1e3 * NET.apply(params, z)))
    with pytest.raises(ValueError, match="not finite"):
        generators.fit(KEY, DATA, wild, latents=8, steps=2, inner=1, restarts=1)
