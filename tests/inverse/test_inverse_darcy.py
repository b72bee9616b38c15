"""The elliptic problem against a series, another discretisation, dense matrices and difference quotients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.interpolate

from tests.inverse.inverse_elliptic import cells, cells_matrix, fine_sensors, series
from tests.laws import test_operators
from vrjax.inverse import darcy, operators

# Largest cell values of u = 0, as measured independently.
LARGEST = {16: 0.73446, 24: 0.73571, 32: 0.73615, 64: 0.73657}


@pytest.mark.parametrize("n", LARGEST)
def test_an_even_plate(n):
    assert series() == pytest.approx(0.7367135, abs=1e-6)
    assert float(jnp.max(darcy.solve(jnp.zeros((n, n))))) == pytest.approx(LARGEST[n], abs=1e-5)
    assert abs(LARGEST[n] - series()) < 0.6 / n**2


def test_solves_the_matrix_of_its_faces():
    with jax.enable_x64(True):
        u = np.random.default_rng(0).normal(size=(7, 7))
        f = np.random.default_rng(1).normal(size=(7, 7))
        p = darcy.solve(u, f)
        wanted = np.linalg.solve(cells_matrix(u), f.ravel() / 49).reshape(7, 7)
        np.testing.assert_allclose(p, wanted, rtol=0, atol=1e-11)
        assert darcy.residual(u, p, f) < 2e-12
        spoilt = darcy.residual(u, p.at[3, 3].add(0.1), f)
        change = np.linalg.norm(cells_matrix(u)[:, 24]) * 0.1 / np.linalg.norm(f / 49)
        assert float(spoilt) == pytest.approx(change, rel=1e-9)


def test_the_preconditioner_is_the_inverse_of_an_even_plate_and_near_that_of_a_smooth_one():
    """Of the whole matrix, by NumPy: symmetric, exact where u is constant, and so near elsewhere that the spread of
    eigenvalues, on which the steps depend, is a tenth of Jacobi's and does not grow with n."""
    spreads = {}
    with jax.enable_x64(True):
        for n in (8, 16):
            at = (np.arange(n) + 0.5) / n
            smooth = 0.7 * np.sin(3 * at[:, None]) * np.cos(5 * at) + 0.3 * at
            for u in (np.full((n, n), -0.4), smooth):
                apply = jax.jit(jax.vmap(darcy.elliptic.preconditioner(jnp.asarray(u))))
                near = np.asarray(apply(jnp.eye(n * n).reshape(-1, n, n))).reshape(n * n, n * n)
                np.testing.assert_allclose(near, near.T, rtol=0, atol=1e-13)
                matrix = cells_matrix(u)
                spread = lambda left, matrix=matrix: np.ptp(np.log(np.linalg.eigvals(left @ matrix).real))
                spreads[n] = spread(near), spread(np.diag(1 / np.diag(matrix)))
                if u is not smooth:
                    np.testing.assert_allclose(near @ matrix, np.eye(n * n), rtol=0, atol=1e-11)
    assert np.exp(spreads[16][0]) < np.exp(spreads[16][1]) / 10 and np.exp(spreads[8][0]) < 3
    assert np.exp(spreads[16][0]) < 1.2 * np.exp(spreads[8][0]) and np.exp(spreads[16][1]) > 3 * np.exp(spreads[8][1])


def test_second_order_against_vertices():
    """At the sensors, of a smooth field; the norm over all of them, since each one's offset to the cells changes."""
    with jax.enable_x64(True):
        errors, pressure = {}, fine_sensors()
        for n in (16, 32, 64):
            read = darcy.operator(n).apply(cells(n))
            errors[n] = np.linalg.norm(read - pressure) / np.linalg.norm(pressure)
            largest = np.max(np.abs(read - pressure) / pressure)
        assert largest < 0.01 and errors[64] < 2e-3
        assert np.log2(errors[16] / errors[64]) / 2 == pytest.approx(2, abs=0.1)
        assert errors[16] / errors[32] > 3 and errors[32] / errors[64] > 3


def test_second_order_of_the_flow_through_a_plate():
    """The mean pressure, a smooth functional, by its own differences: the order without another solver."""
    with jax.enable_x64(True):
        mean = {n: float(darcy.solve(cells(n)).mean()) for n in (16, 32, 64)}
    assert np.log2((mean[16] - mean[32]) / (mean[32] - mean[64])) == pytest.approx(2, abs=0.1)


def test_float32_is_near_float64():
    u = cells(32).astype(np.float32)
    single = darcy.solve(u)
    with jax.enable_x64(True):
        double = darcy.solve(u.astype(np.float64))
    np.testing.assert_allclose(single, double, rtol=0, atol=5e-6)
    assert darcy.residual(u, single) < 1e-4


def test_sensors_read_bilinearly_and_fall_to_zero():
    """SciPy's interpolation on the cell centres with the boundary's zeros around them."""
    rng = np.random.default_rng(2)
    p, points = rng.normal(size=(6, 6)), np.r_[rng.random((40, 2)), [[0, 0.5], [1, 1], [0.5, 1], [0.01, 0.99]]]
    axis = np.r_[0, (np.arange(6) + 0.5) / 6, 1]
    wanted = scipy.interpolate.RegularGridInterpolator((axis, axis), np.pad(p, 1))(points)
    with jax.enable_x64(True):
        np.testing.assert_allclose(darcy.observe(p, points), wanted, rtol=0, atol=1e-13)
        assert darcy.observe(p, np.array([[1.2, 0.5], [-0.3, 0.5]])).tolist() == [0, 0]
    assert darcy.sensors().shape == (36, 2) and darcy.sensors()[7].tolist() == [2 / 7, 2 / 7]


def test_derivative_against_differences():
    """Of a misfit, in float64, by extrapolated central differences in random directions; of the source too."""
    rng = np.random.default_rng(3)
    with jax.enable_x64(True):
        u, y = jnp.asarray(cells(16)), jnp.asarray(rng.random(36))
        points = jnp.asarray(darcy.sensors())

        @jax.jit
        def loss(u, f):
            return jnp.sum((darcy.observe(darcy.solve(u, f), points) - y) ** 2)

        by_u, by_f = jax.jit(jax.grad(loss, (0, 1)))(u, 10.0)
        for _ in range(3):
            d = rng.normal(size=u.shape)
            near, far = ((loss(u + h * d, 10.0) - loss(u - h * d, 10.0)) / (2 * h) for h in (1e-3, 2e-3))
            assert float(jnp.vdot(by_u, d)) == pytest.approx(float(4 * near - far) / 3, rel=1e-7)
        quotient = (loss(u, 10.1) - loss(u, 9.9)) / 0.2  # exact: the misfit is quadratic in the source
        assert float(by_f) == pytest.approx(float(quotient), rel=1e-9)


def test_obeys_the_law_of_operators():
    test_operators.obeys(lambda: darcy.operator(5, np.array([[0.2, 0.3], [0.7, 0.45], [0.05, 1.0]])))


@pytest.mark.parametrize("wrong", [np.nan, -np.inf, -200.0])
def test_never_a_wrong_pressure(wrong):
    """Of a field that is not finite, or whose resistance float32 does not hold."""
    u = jnp.zeros((6, 6)).at[2, 2].set(wrong)
    p, g = jax.jit(jax.value_and_grad(lambda u: darcy.solve(u)[0, 0]))(u)
    q, h = jax.jit(jax.value_and_grad(lambda u: darcy.solve(u)[0, 0]))(jnp.zeros((6, 6)))
    assert np.isnan(p) and np.isnan(g).any() and np.isfinite(q) and np.isfinite(h).all()


def test_a_field_over_the_mesh():
    """Chains over one axis, the field's rows over another: the same in float64, exchanging borders and sums only."""
    mesh = jax.make_mesh((2, 4), ("seed", "data"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    read = jax.jit(jax.vmap(jax.value_and_grad(lambda u: jnp.sum(darcy.observe(darcy.solve(u), darcy.sensors()) ** 2))))
    with jax.enable_x64(True):
        u = jnp.stack([jnp.asarray(cells(16)), -jnp.asarray(cells(16))])
        cut = jax.device_put(u, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("seed", "data")))
        for whole, parts in zip(read(u), read(cut), strict=True):
            np.testing.assert_allclose(parts, whole, rtol=1e-9, atol=1e-10)
        assert "all-gather(" not in read.lower(cut).compile().as_text()


def test_a_problem_has_data_of_a_finer_grid():
    key = jax.random.key(4)
    truth = cells(32).astype(np.float32)
    problem = darcy.problem(key, truth, 16, noise=0.1)
    assert problem.operator.in_shape == (16, 16) and problem.y.shape == problem.clean.shape == (36,)
    np.testing.assert_allclose(problem.clean, darcy.operator(32).apply(truth), rtol=1e-6)
    assert float(problem.noise_std) == pytest.approx(0.1 * float(darcy.solve(truth).max()), rel=1e-6)
    noise = (problem.y - problem.clean) / problem.noise_std
    np.testing.assert_allclose(noise, jax.random.normal(key, (36,)), rtol=0, atol=1e-4)
    np.testing.assert_array_equal(problem.y, darcy.problem(key, truth, 16, noise=0.1).y)
    # The model of the inversion misses the clean data, by less than the noise.
    miss = problem.operator.apply(darcy.coarsen(truth, 16)) - problem.clean
    assert 1e-4 < float(jnp.abs(miss).max()) < float(problem.noise_std)
    np.testing.assert_allclose(darcy.coarsen(truth, 16)[3, 5], truth[6:8, 10:12].mean(), rtol=1e-6)
    phi = operators.potential(problem.operator, problem.y, problem.noise_std)
    assert 5 < float(phi(darcy.coarsen(truth, 16))) < 40


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: darcy.problem(jax.random.key(0), np.zeros((16, 16)), 16), "inverse crime.* 16 x 16 cells for .* 16 x"),
        (lambda: darcy.problem(jax.random.key(0), np.zeros((16, 16)), 32), "inverse crime.* 16 x 16 cells for .* 32 x"),
        (
            lambda: darcy.problem(jax.random.key(0), np.zeros((8, 8)), 4, noise=0.0),
            "noise must be a finite share above 0",
        ),
        (lambda: darcy.problem(jax.random.key(0), np.full((8, 8), np.nan), 4), "no pressure of this truth"),
        (lambda: darcy.operator(1), "n must be at least 2"),
        (lambda: darcy.operator(8, np.array([[0.5, 1.1]])), r"points must lie in \[0, 1\]\^2, found 0.5 to 1.1"),
        (lambda: darcy.operator(8, source=np.ones((4, 4))), r"source must be a number or have shape \(8, 8\)"),
        (lambda: darcy.coarsen(np.zeros((8, 8)), 3), "no means on 3 x 3"),
        (lambda: darcy.prior(3), "at least 4 cells"),
        (lambda: darcy.matern(8, 0.0), "kappa must be finite and above 0"),
        (lambda: darcy.prior(4)(np.zeros((4, 4), np.float32)), r"shape \(2, 4, 4\), found \(4, 4\)"),
    ],
)
def test_refuses_in_one_line(call, match):
    with pytest.raises(ValueError, match=match) as error:
        call()
    assert "\n" not in str(error.value) and str(error.value).startswith("darcy:")
