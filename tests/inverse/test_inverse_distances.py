"""Distances against POT, SciPy, quadrature and the closed forms of Gaussians, in float64."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.scipy.special import ndtri
from scipy import integrate, linalg, stats

from vrjax.inverse import distances

EXACT = 1e-6
RNG = np.random.default_rng(3)


def drawn(n: int, d: int, seed: int, scale: float = 1.0):
    """Points, and weights of which one is 0."""
    rng = np.random.default_rng(seed)
    weights = rng.exponential(size=n)
    weights[n // 2] = 0.0
    return scale * rng.normal(size=(n, d)) + rng.normal(size=d), weights


def close(found, expected, rtol=EXACT, **kw):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=rtol, **kw)


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("sizes", [(12, 12), (12, 7)], ids=str)
def test_the_line_is_scipys_and_pots(sizes, weighted):
    (x, a), (y, b) = drawn(sizes[0], 1, 0), drawn(sizes[1], 1, 1, 2.0)
    x[3] = x[4] = y[2]  # ties within and across
    a, b = (a, b) if weighted else (None, None)
    masses = [np.full(n, 1 / n) if w is None else w / w.sum() for n, w in zip(sizes, (a, b), strict=True)]
    with jax.enable_x64(True):
        w1, w2, energy = (f(x, y, a, b) for f in (distances.w1, distances.w2, distances.energy))
        assert w1.shape == w2.shape == energy.shape == () and w1.dtype == jnp.float64
        close(w1, stats.wasserstein_distance(x[:, 0], y[:, 0], a, b))
        close(w1, ot.emd2(*masses, ot.dist(x, y, "euclidean")))
        close(w2, np.sqrt(ot.emd2(*masses, ot.dist(x, y))))
        close(energy, stats.energy_distance(x[:, 0], y[:, 0], a, b) ** 2)
        close(distances.w2(x[:, 0], y[:, 0], a, b), w2)


def test_the_line_goes_through_jit_vmap_and_grad():
    (x, a), (y, b) = drawn(5, 2, 0), drawn(4, 2, 1)
    both = lambda x, y, a, b: jnp.stack([distances.w1(x, y, a, b), distances.w2(x, y, a, b)])
    with jax.enable_x64(True):
        x, y, a, b = map(jnp.asarray, (x, y, a, b))
        mapped = jax.jit(jax.vmap(both, (1, 1, None, None)))(x, y, a, b)
        for column in range(2):
            close(mapped[column], both(x[:, column], y[:, column], a, b))
        slope = jax.grad(lambda x: both(x, y[:, 0], a, b).sum())(x[:, 0])
        step = 1e-6 * np.eye(5)[1]
        numeric = (both(x[:, 0] + step, y[:, 0], a, b) - both(x[:, 0] - step, y[:, 0], a, b)).sum() / 2e-6
        close(slope[1], numeric)
        assert np.isfinite(jax.grad(lambda x: distances.w2(x, y[:, 0]))(y[:, 0])).all()  # at distance 0


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10**6))
def test_the_line_obeys_triangle_shift_and_scale(seed):
    """One shape, so that nothing is compiled twice."""
    (x, a), (y, b), (z, c) = (drawn(6, 1, seed + i, 1.0 + i) for i in range(3))
    for f in (distances.w1, distances.w2):
        xy, xz, zy = (float(f(*pair)) for pair in ((x, y, a, b), (x, z, a, c), (z, y, c, b)))
        assert xy <= xz + zy + 1e-5
        close(f(3 * x + 1, 3 * y + 1, 5 * a, b), 3 * xy, rtol=2e-4)
        close(f(x, x + 2.0, a, a), 2.0, rtol=1e-4)
    assert float(distances.w1(x, y, a, b)) <= float(distances.w2(x, y, a, b)) * (1 + 1e-4)


@pytest.mark.parametrize("d", [2, 5])
def test_more_dimensions_are_pots(d):
    (x, a), (y, b) = drawn(20, d, 0), drawn(15, d, 1)
    with jax.enable_x64(True):
        for weights in ((None, None), (a, b)):
            p, q = (np.full(n, 1 / n) if w is None else w / w.sum() for n, w in zip((20, 15), weights, strict=True))
            close(distances.w1(x, y, *weights), ot.emd2(p, q, ot.dist(x, y, "euclidean")))
            close(distances.w2(x, y, *weights), ot.emd2(p, q, ot.dist(x, y)) ** 0.5)
        shift = RNG.normal(size=d)
        close(distances.w2(x, x + shift), linalg.norm(shift))
        plan, cost = distances.transport(x, y, a, b)
        close(plan.sum(0), b / b.sum(), atol=1e-12)
        close(plan.sum(1), a / a.sum(), atol=1e-12)
        close(cost, (plan * ot.dist(x, y)).sum())
    with pytest.raises(ValueError, match="w1: points in .* cannot be traced"):
        jax.jit(distances.w1)(x, y)


def test_a_plan_that_is_not_found_is_told(monkeypatch):
    monkeypatch.setattr("vrjax.inverse.distances.exact.ITERATIONS", 2)
    x, y = RNG.normal(size=(2, 30, 2))
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="w2: POT found no plan between 30 and 30 points"):
        distances.w2(x, y)


def test_against_a_quantile_function():
    (x, a), (y, _) = drawn(9, 1, 0), drawn(7, 1, 1)
    phi, cdf = stats.norm.pdf, stats.norm.cdf
    static = ("quantile", "nodes", "breaks")
    w1, w2 = (jax.jit(f, static_argnames=static) for f in (distances.w1_to_quantile, distances.w2_to_quantile))
    with jax.enable_x64(True):
        # Uniform on [0, 2]: the area between two distribution functions, by SciPy's quadrature.
        ranks = lambda t: a[x[:, 0] <= t].sum() / a.sum()
        area = integrate.quad(
            lambda t: abs(ranks(t) - np.clip(t / 2, 0, 1)), -6, 6, points=[0, 2, *x[:, 0]], limit=400
        )[0]
        close(w1(x, lambda u: 2 * u, 2, a=a), area)
        close(distances.w1_to_quantile(x, (np.array([0.0, 1.0]), np.array([0.0, 2.0])), 2, a=a), area)
        # One point against a normal: E|Z - c|, and E(Z - c)^2.
        c = 0.4
        found = w1(np.array([c]), ndtri, 200)
        close(found, 2 * phi(c) + c * (2 * cdf(c) - 1), rtol=1e-4)
        close(w2(np.array([c]), ndtri, 400), np.sqrt(1 + c * c), rtol=1e-3)
        # A density with a gap: its quantile function jumps at 0.3, and is a measure of many points in the limit.
        gap = lambda u: jnp.where(u < 0.3, -1 + u, 1 + u)
        grid = (np.arange(30_000) + 0.5) / 30_000
        many = np.where(grid < 0.3, -1 + grid, 1 + grid)
        close(w1(x, gap, 4, a=a, breaks=(0.3,)), distances.w1(x, many, a), rtol=1e-4)
        close(w2(x, gap, 4, a=a, breaks=(0.3,)), distances.w2(x, many, a), rtol=1e-4)
        # A table that jumps at every row is a discrete measure again.
        levels, values = np.repeat(np.arange(8) / 7, 2)[1:-1], np.repeat(np.sort(y[:, 0]), 2)
        close(jax.jit(lambda x: distances.w1_to_quantile(x, (levels, values), 2))(x), distances.w1(x, y))


def test_sliced_is_the_mean_of_projections():
    (x, a), (y, b) = drawn(11, 3, 0), drawn(8, 3, 1)
    rows = distances.directions(jax.random.key(0), 6, 3)
    close(jnp.linalg.norm(rows, axis=-1), 1.0)
    with jax.enable_x64(True):
        rows = np.asarray(rows, np.float64) * 7.0  # any length
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        expected = np.mean([stats.wasserstein_distance(x @ u, y @ u, a, b) for u in unit])
        close(jax.jit(distances.sliced_w1)(x, y, rows, a, b), expected)
        pot = ot.sliced_wasserstein_distance(x, y, projections=unit.T, p=1)
        close(distances.sliced_w1(x, y, rows), pot)


def test_energy_in_more_dimensions(monkeypatch):
    monkeypatch.setattr(
        sys.modules["vrjax.inverse.distances.energy"], "LARGEST", 60
    )  # several blocks, and a shorter last one
    (x, a), (y, b) = drawn(10, 3, 0), drawn(7, 3, 1)
    p, q = a / a.sum(), b / b.sum()
    far = lambda x, y: ot.dist(x, y, "euclidean")
    within = lambda x, p: p @ far(x, x) @ p
    with jax.enable_x64(True):
        biased = 2 * p @ far(x, y) @ q - within(x, p) - within(y, q)
        close(distances.energy(x, y, a, b), biased)
        close(distances.energy(x, x, a, a), 0.0, atol=1e-14)
        found = jax.jit(functools.partial(distances.energy, unbiased=True))
        fair = 2 * p @ far(x, y) @ q - within(x, p) / (1 - p @ p) - within(y, q) / (1 - q @ q)
        close(found(x, y, a, b), fair)
        # On the line the U-statistic over pairs of different points.
        u, v = x[:, :1], y[:, :1]
        pairs = 2 * far(u, v).mean() - far(u, u).sum() / 90 - far(v, v).sum() / 42
        close(found(u, v), pairs)


def covariances(d: int, rank: int):
    factors = np.random.default_rng(d).normal(size=(2, d, rank))
    return [f @ f.T for f in factors]


@pytest.mark.parametrize("d, rank", [(1, 1), (4, 4), (6, 3)], ids=str)
def test_bures_is_gelbrichs_formula(d, rank):
    (c1, c2), (m1, m2) = covariances(d, rank), np.random.default_rng(9).normal(size=(2, d))
    half = linalg.sqrtm(c1 + 1e-13 * np.eye(d))
    squared = np.sum((m1 - m2) ** 2) + np.trace(c1 + c2 - 2 * linalg.sqrtm(half @ c2 @ half + 1e-13 * np.eye(d))).real
    with jax.enable_x64(True):
        close(distances.bures(m1, c1, m2, c2), np.sqrt(squared), rtol=1e-6 if rank == d else 1e-5)
        close(distances.bures(m1, c1, m1, 4 * c1), np.sqrt(np.trace(c1)))
        close(distances.bures(m1, c1, m1, c1), 0.0, atol=1e-12)
    # Two near Gaussians in float32: the difference of traces would leave nothing but its rounding.
    near = distances.bures(*(np.float32(item) for item in (m1, c1, m1, c1 * (1 + 1e-4) ** 2)))
    close(near, 1e-4 * np.sqrt(np.trace(c1)), rtol=0.1)


def test_sliced_w1_of_gaussians_is_the_folded_normals_mean():
    (c1, c2), (m1, m2) = covariances(3, 3), np.random.default_rng(5).normal(size=(2, 3))
    rows = np.random.default_rng(6).normal(size=(3, 3))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = []
    for u in rows:
        n1, n2 = (stats.norm(m @ u, np.sqrt(u @ c @ u)) for m, c in ((m1, c1), (m2, c2)))
        gap = lambda t, n1=n1, n2=n2: abs(n1.cdf(t) - n2.cdf(t))
        expected.append(integrate.quad(gap, -60, 60, limit=500, points=[0.0])[0])
    with jax.enable_x64(True):
        close(distances.gaussian_sliced_w1(m1, c1, m2, c2, rows), np.mean(expected))
        close(distances.gaussian_sliced_w1(m1, c1, m2, c1, rows), np.mean(np.abs(rows @ (m1 - m2))))
        close(distances.gaussian_sliced_w1(m1, c1, m1, c1, rows), 0.0)


def entropic(x, y, a, b, epsilon: float) -> float:
    """<P, C> + epsilon KL(P | a b') by plain alternating updates in float64 NumPy."""
    cost = ((x[:, None] - y[None]) ** 2).sum(-1)
    kernel, v = np.exp(-cost / epsilon), np.ones(len(b))
    for _ in range(20_000):
        u = 1.0 / (kernel @ (b * v))
        new = 1.0 / (kernel.T @ (a * u))
        if np.max(np.abs(new / v - 1)) < 1e-13:
            break
        v = new
    plan = (a * u)[:, None] * kernel * (b * v)
    with np.errstate(divide="ignore", invalid="ignore"):
        kl = np.where(plan > 0, plan * np.log(plan / np.outer(a, b)), 0.0).sum()
    return (plan * cost).sum() + epsilon * kl


@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_sinkhorn_divergence_is_the_entropic_one(epsilon):
    (x, a), (y, b) = drawn(14, 2, 0, 0.5), drawn(14, 2, 1, 0.5)
    a, b = a + 0.1, b + 0.1
    a, b = a / a.sum(), b / b.sum()
    pairs = [entropic(*m, epsilon) for m in ((x, y, a, b), (x, x, a, a), (y, y, b, b))]
    expected = pairs[0] - 0.5 * (pairs[1] + pairs[2])
    far = [np.float32(points + 30.0) for points in (x, y)]  # float32, far from the origin
    close(distances.sinkhorn_divergence(*far, epsilon, np.float32(a), np.float32(b)), expected, rtol=1e-3)
    plain = [float(ot.sinkhorn2(*m, ot.dist(u, v), epsilon)) for m, u, v in (((a, b), x, y), ((a, a), x, x))]
    assert abs(plain[0] / pairs[0] - 1) > 1e-3  # POT's value is another one


def test_an_unconverged_sinkhorn_is_never_silent():
    x, y = (np.float32(drawn(14, 2, seed)[0]) for seed in range(2))
    hard = functools.partial(distances.sinkhorn_divergence, epsilon=1e-3, iterations=20)
    with pytest.raises(ValueError, match="sinkhorn_divergence: not within 0.0001 .* of 20 iterations at epsilon 0.001"):
        hard(x, y)
    assert np.isnan(jax.jit(hard)(x, y))
    found = distances.sinkhorn_solve(x, y, 1e-3, iterations=20)
    assert not found.converged and np.isfinite(found.divergence)
    assert np.isnan(jax.jit(lambda x, y: distances.sinkhorn_divergence(x, y, 0.5, iterations=20))(x * np.nan, y))


def test_debiased_w1():
    p, p2, q, q2 = RNG.normal(size=(4, 200, 2))
    found = distances.debiased_w1(p, p2, q, q2)
    plain = [float(distances.w1(*pair)) for pair in ((p, q), (p, p2), (q, q2))]
    close(found, plain[0] - 0.5 * (plain[1] + plain[2]), atol=1e-6)
    assert abs(found) < 0.2 * plain[0]  # equal measures: the noise is gone
    line = distances.debiased_w1(*(sample[:, 0] for sample in (p, p2, q, q2)), distance=distances.w2)
    assert line.shape == ()


def test_the_floor_is_the_distance_of_equal_measures():
    """Over many pairs of samples of one law the mean floor is the mean distance, at unequal sizes too."""

    def both(key):
        one, two, deal = jax.random.split(key, 3)
        x, y = jax.random.normal(one, (30,)), jax.random.normal(two, (90,))
        return jnp.stack([distances.w1(x, y), distances.floor(distances.w1, x, y, deal)])

    found = np.asarray(jax.jit(jax.vmap(both))(jax.random.split(jax.random.key(0), 600)))
    difference = found[:, 1] - found[:, 0]
    error = difference.std() / np.sqrt(600)
    assert abs(difference.mean()) < 3.5 * error and error < 0.02 * found.mean()


def test_the_floor_works_with_every_distance():
    key = jax.random.key(1)
    x, y = RNG.normal(size=(2, 40, 2)).astype(np.float32)
    rows = distances.directions(key, 5, 2)
    sliced = functools.partial(distances.sliced_w1, directions=rows)
    for f in (distances.w1, distances.w2, sliced, distances.energy):
        found = distances.floor(f, x, y, key)
        assert found.shape == () and 0 < found < 1
        assert found == distances.floor(f, x, y, key)
        assert found != distances.floor(f, x, y, jax.random.key(2))
    # A shift of 3 is far over its floor, which stays near that of each law alone.
    alone, apart = (distances.floor(sliced, x, x + 1e-6 + shift, key) for shift in (0.0, 3.0))
    assert distances.sliced_w1(x, x + 3.0, rows) > 5 * apart and apart < 0.5
    assert alone < apart


WRONG = [
    (lambda x: distances.w1(x[None], x), "w1: x must be points"),
    (lambda x: distances.w1(x, x[:, :1]), "w1: x and y must have equal dimension, found 2 and 1"),
    (lambda x: distances.w2(x, x * np.nan), "w2: y must be finite, found 8 of 8"),
    (lambda x: distances.w1(x, x, np.ones(3)), "w1: a must be one weight for each of 4 points"),
    (lambda x: distances.w1(x, x, None, np.array([1.0, -1, 1, 1])), "w1: b must be weights >= 0"),
    (lambda x: distances.energy(x[:1], x, unbiased=True), "energy: x must be two points or more"),
    (lambda x: distances.sliced_w1(x, x, np.ones((3, 3))), r"sliced_w1: directions must be \(k, 2\)"),
    (lambda x: distances.sliced_w1(x, x, np.zeros((3, 2))), "directions must have a length, found 3"),
    (lambda x: distances.directions(jax.random.key(0), 0, 2), "directions: number and dimension"),
    (lambda x: distances.sinkhorn_divergence(x, x, 0.0), "epsilon must be finite and above 0, found 0.0"),
    (lambda x: distances.sinkhorn_divergence(x, x, 1.0, iterations=0), "iterations must be at least 1"),
    (lambda x: distances.bures(x[0], x, x[0], x), r"bures: means must be \(d,\)"),
    (lambda x: distances.bures(x[0], -np.eye(2), x[0], np.eye(2)), "cov1 must be positive semi-definite"),
    (lambda x: distances.bures(x[0], np.array([[1.0, 2], [0, 1]]), x[0], np.eye(2)), "cov1 must be symmetric"),
    (lambda x: distances.debiased_w1(x, x, x, x[:3]), "debiased_w1: all four samples"),
    (lambda x: distances.floor(distances.w1, x, x, jax.random.key(0), repeats=0), "floor: repeats"),
    (lambda x: distances.floor(lambda x, y: x, x, x, jax.random.key(0)), "floor: distance must return a scalar"),
    (lambda x: distances.w1_to_quantile(x, ndtri), "w1_to_quantile: x must be points on the line"),
    (lambda x: distances.w1_to_quantile(x[:, 0], ndtri, 0), "nodes must be at least 1"),
    (lambda x: distances.w1_to_quantile(x[:, 0], ndtri, breaks=(1.5,)), "breaks must be levels"),
    (lambda x: distances.w1_to_quantile(x[:, 0], (np.array([0, 0.5]), np.zeros(2))), "must rise from 0 to 1"),
]


@pytest.mark.parametrize("call, line", WRONG, ids=[line[:40] for _, line in WRONG])
def test_bad_input_is_one_clear_line(call, line):
    with pytest.raises(ValueError, match=line) as caught:
        call(np.arange(8.0).reshape(4, 2))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("package, call", [("ot", distances.w1), ("ott", distances.sinkhorn_solve)])
def test_a_missing_package_names_the_extra(monkeypatch, package, call):
    for name in (package, "ott.tools"):
        monkeypatch.setitem(sys.modules, name, None)
    x = np.arange(8.0).reshape(4, 2)
    arguments = (x, x) if package == "ot" else (x, x[:3], 0.7)
    with pytest.raises(ImportError, match=r"pip install 'vrjax\[inverse\]'"):
        call(*arguments)
