"""What the inverse study measures without a draw is what quadrature and textbook formulas say; slopes and violations
that were planted are found; every experiment gives finite numbers of its shapes, and the same bits twice."""

import functools
import itertools

import inverse_small
import jax
import numpy as np
import pytest
from inverse_small import STUDY
from scipy import integrate, stats

from experiments.inverse import (
    bounds_hold,
    bumps,
    counterexample,
    evidence,
    gaussian,
    keys,
    line,
    names,
    reading,
    width,
)
from vrjax.files import kept

# ------------------------------------------------------------------------------------------------ laws on the line


def plain(gap: bool):
    """The study's density in plain NumPy as the sheet writes it, not normalised, and the ends of its pieces."""
    pieces = [(-2.0, -0.5), (0.5, 2.0)] if gap else [(-2.0, 2.0)]

    def density(t):
        bumps = 0.6 / 0.25 * np.exp(-((t + 0.7) ** 2) / (2 * 0.25**2)) + 0.4 / 0.35 * np.exp(
            -((t - 0.8) ** 2) / (2 * 0.35**2)
        )
        return (bumps + 0.02) * any(low <= t <= high for low, high in pieces)

    return density, pieces


def integral(f, pieces, low=-np.inf, high=np.inf):
    parts = [(max(a, low), min(b, high)) for a, b in pieces]
    tight = dict(epsabs=1e-13, epsrel=1e-12, limit=200)
    return sum(integrate.quad(f, a, b, **tight)[0] for a, b in parts if a < b)


CASES = [(False, None), (True, None), (False, (0.1, 0.4)), (True, (0.1, 0.1))]


def law(gap, seen):
    """Closed form, and density in plain NumPy, of the prior or of a posterior."""
    density, pieces = plain(gap)
    if seen is None:
        return bumps.mixture(gap), density, pieces
    y, noise = seen
    updated = lambda t: density(t) * np.exp(-((y - t) ** 2) / (2 * noise**2))
    return bumps.posterior(bumps.mixture(gap), y, noise), updated, pieces


@pytest.mark.parametrize("gap, seen", CASES)
def test_masses_moments_and_quantiles_are_those_of_quadrature(gap, seen):
    with keys.exact():
        one, density, pieces = law(gap, seen)
        mass = integral(density, pieces)
        np.testing.assert_allclose(bumps.total(one), mass, rtol=1e-11)
        at = np.array([-2.5, -1.1, -0.5, 0.2, 0.9, 3.0])
        np.testing.assert_allclose(bumps.density(one, at), [density(t) / mass for t in at], rtol=1e-11)
        for power, found in enumerate(bumps.moments(one, at)):
            wanted = [integral(lambda t, power=power: t**power * density(t), pieces, high=t) / mass for t in at]
            np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
        levels = np.array([1e-4, 0.1, 0.3, 0.7, 0.999])
        below = [integral(density, pieces, high=t) / mass for t in np.asarray(bumps.quantile(one, levels))]
        np.testing.assert_allclose(below, levels, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("gap, seen", CASES)
def test_distances_to_weighted_points_are_those_of_quadrature(gap, seen):
    points = np.array([0.3, -1.4, 2.3, -0.6, 0.9, -2.1])  # in any order, some outside of the support
    weights = np.array([0.2, 0.1, 0.05, 0.3, 0.35, 0.0])
    with keys.exact():
        one, density, pieces = law(gap, seen)
        w1, w2 = (float(value) for value in bumps.wasserstein(one, points, weights))
    mass = integral(density, pieces)
    below = functools.cache(lambda t: integral(density, pieces, high=t) / mass)
    apart = lambda t: abs(below(t) - weights[points <= t].sum())
    between = sorted([-2.5, 2.5, -2.0, -0.5, 0.5, 2.0, *points])
    crude = sum(integrate.quad(apart, a, b, epsabs=1e-9, limit=60)[0] for a, b in itertools.pairwise(between))
    np.testing.assert_allclose(w1, crude, rtol=1e-6)
    # W2 in the law's own coordinate: what lies between two levels goes to their point.
    order = np.argsort(points)
    levels = np.cumsum(weights[order])
    with keys.exact():
        cuts = [-2.0, *np.asarray(bumps.quantile(one, np.minimum(levels[:-1], 1.0))), 2.0]
    cost = [
        integral(lambda t, x=x: (t - x) ** 2 * density(t), pieces, low, high) / mass
        for x, low, high in zip(points[order], cuts[:-1], cuts[1:], strict=True)
    ]
    np.testing.assert_allclose(w2, np.sqrt(sum(cost)), rtol=1e-8)


def test_draws_have_the_laws_distribution():
    (key,) = keys.data_sets(STUDY, names.LINE, 0, 4000, 1)
    (drawn,) = line.drawn(key[None], bumps.mixture(gap=True), 4000)
    assert not ((drawn > -0.5) & (drawn < 0.5)).any()
    with keys.exact():
        below = lambda t: np.asarray(bumps.moments(bumps.mixture(gap=True), t)[0])
        assert stats.kstest(drawn, below).pvalue > 0.01


def test_errors_of_a_measure_its_posterior_and_the_sheets_constant():
    density, pieces = plain(False)
    rng = np.random.default_rng(0)
    points, y, noise = rng.uniform(-1.9, 2.2, size=(1, 16)), np.array([0.1, 0.9]), np.array([0.4, 0.3])
    found = line.errors(bumps.mixture(), points, line.equal(16), y, noise)
    z = line.evidence(bumps.mixture(), y, noise)
    assert {name: value.shape for name, value in found.items()} == {
        "prior w1": (1,),
        "prior w2": (1,),
        "posterior w1": (1, 2),
        "constant": (1, 2),
    }
    for k in range(2):
        likelihood = lambda t, k=k: np.exp(-((y[k] - t) ** 2) / (2 * noise[k] ** 2))
        wanted = integral(lambda t, of=likelihood: density(t) * of(t), pieces) / integral(density, pieces)
        np.testing.assert_allclose(z[k], wanted, rtol=1e-11)
        across = max(2.0, points.max()) + 2.0
        np.testing.assert_allclose(found["constant"][0, k], (1 + across * np.exp(-0.5) / noise[k]) / wanted, rtol=1e-10)
        weights = likelihood(points[0]) / likelihood(points[0]).sum()
        with keys.exact():
            one, updated, _ = law(False, (y[k], noise[k]))
            direct = float(bumps.wasserstein(one, points[0], weights)[0])
        np.testing.assert_allclose(found["posterior w1"][0, k], direct, rtol=1e-12)
    assert (round(float(z[0]), 3), round((1 + 4 * np.exp(-0.5) / 0.4) / float(z[0]), 1)) == (0.247, 28.6)


def test_nodes_stand_for_a_normal_and_reach_its_tails_and_the_floor_is_what_they_give():
    z, weights = line.nodes(256)
    assert (np.diff(z) > 0).all()
    np.testing.assert_allclose([weights @ z**power for power in range(5)], [1, 0, 1, 0, 3], atol=5e-3)
    y, noise = np.array([0.1, 1.95]), np.array([0.4, 0.1])
    found = line.floors(bumps.mixture(), 16, y, noise)
    z, weights = line.nodes(16)
    with keys.exact():
        images = np.asarray(bumps.quantile(bumps.mixture(), stats.norm.cdf(z)))
        np.testing.assert_allclose(found["prior w1"], bumps.wasserstein(bumps.mixture(), images, weights)[0], rtol=1e-9)
    assert (found["posterior w1"] < 0.15).all()
    assert -z[0] > 1.3 * stats.norm.isf(0.5 / 16)  # further out than points of equal mass


def test_the_sharp_constant_is_the_ratio_of_a_prior_of_which_a_little_is_moved():
    y, noise = np.array([0.1]), np.array([0.2])
    (sharp,) = evidence.sharp(bumps.mixture(), y, noise, 401)
    z = float(line.evidence(bumps.mixture(), y, noise)[0])
    assert 1 / z <= sharp <= (1 + 4 * np.exp(-0.5) / 0.2) / z
    with keys.exact():
        x = np.asarray(bumps.quantile(bumps.mixture(), (np.arange(4000) + 0.5) / 4000))
    likelihood = lambda x: np.exp(-((y - x) ** 2) / (2 * noise**2))
    ratios = []
    for place in np.linspace(-1.5, 1.5, 61):
        moved = x.copy()
        moved[np.argmin(abs(x - place))] += 1e-4
        after = stats.wasserstein_distance(x, moved, likelihood(x), likelihood(moved))
        ratios.append(after / stats.wasserstein_distance(x, moved))
    np.testing.assert_allclose(max(ratios), sharp, rtol=0.02)


# ------------------------------------------------------------------------------------------------ the Gaussian problem


def test_a_gaussian_posterior_is_the_conditional_of_the_joint():
    rng = np.random.default_rng(0)
    root, forward, mean, y = rng.normal(size=(3, 3)), rng.normal(size=(2, 3)), rng.normal(size=3), rng.normal(size=2)
    cov = root @ np.diag([1.0, 2.0, 0.0]) @ root.T  # singular, as of few data
    with keys.exact():
        found = gaussian.posterior(mean, cov, forward, 0.3, y)
    seen, cross = forward @ cov @ forward.T + 0.09 * np.eye(2), cov @ forward.T
    np.testing.assert_allclose(found[0], mean + cross @ np.linalg.solve(seen, y - forward @ mean), atol=1e-12)
    np.testing.assert_allclose(found[1], cov - cross @ np.linalg.solve(seen, cross.T), atol=1e-12)


def test_gaussian_errors_on_the_line_are_integrals_of_quantiles_and_moments_those_of_the_data():
    one = gaussian.problem(STUDY, 1)
    data_keys = keys.data_sets(STUDY, names.GAUSSIAN, 0, 50, 2)
    mean, cov = gaussian.moments(data_keys, one, 50)
    with keys.exact():
        data = np.asarray(jax.random.normal(data_keys[1], (50, 1), "float64")) @ one["root"].T
    np.testing.assert_allclose((mean[1, 0], cov[1, 0, 0]), (data.mean(), data.var()), rtol=1e-12)
    found = gaussian.compared(one, mean, cov)
    forward, y, std = float(one["forward"][0, 0]), float(one["y"][2, 0]), float(one["noise_std"])

    def normals(mean, variance):
        """The prior, and the posterior of the last observation."""
        after = 1 / (1 / variance + forward**2 / std**2)
        return stats.norm(mean, variance**0.5), stats.norm(after * (mean / variance + forward * y / std**2), after**0.5)

    true, learned = normals(0.0, float(one["root"][0, 0] ** 2)), normals(mean[1, 0], cov[1, 0, 0])
    for which, place in (("prior", 1), ("posterior", (1, 2))):
        a, b = (pair[which == "posterior"] for pair in (true, learned))
        apart = lambda z, power, a=a, b=b: (
            abs(a.mean() - b.mean() + z * (a.std() - b.std())) ** power * stats.norm.pdf(z)
        )
        meet = (b.mean() - a.mean()) / (a.std() - b.std())
        w1, w2 = (
            sum(
                integrate.quad(apart, low, high, args=(power,), epsabs=1e-13)[0]
                for low, high in ((-12, np.clip(meet, -12, 12)), (np.clip(meet, -12, 12), 12))
            )
            for power in (1, 2)
        )
        np.testing.assert_allclose(found[f"{which} sliced w1"][place], w1, rtol=1e-7)
        np.testing.assert_allclose(found[f"{which} w2"][place], w2**0.5, rtol=1e-7)


# ------------------------------------------------------------------------------------------------ reading


def test_planted_slopes_and_their_difference_are_found():
    sizes, rng = 2 ** np.arange(5, 12), np.random.default_rng(0)
    noise = np.exp(0.2 * rng.normal(size=(len(sizes), 40)))
    one, other = 3.0 * sizes[:, None] ** -0.5 * noise, 0.2 * sizes[:, None] ** -0.37 * noise
    exact = np.broadcast_to(3.0 * sizes[:, None] ** -0.37, (len(sizes), 2))
    np.testing.assert_allclose(reading.slope(sizes, exact), -0.37, rtol=1e-12)
    np.testing.assert_allclose(reading.difference(sizes, one, other), -0.13, rtol=1e-10)
    found = reading.bootstrap(sizes, one)
    assert found.low < -0.5 < found.high and found.low < found.value < found.high and found.n == 40
    paired = reading.bootstrap(sizes, one, other)  # the noise is common: nothing is left of it
    np.testing.assert_allclose(paired[:3], -0.13, rtol=1e-8)
    many = reading.over(sizes, np.stack([one, other], -1), lambda k: sizes > (40, 70)[k])
    np.testing.assert_allclose(many, [reading.slope(sizes[1:], one[1:]), reading.slope(sizes[2:], other[2:])])


def test_a_bootstrap_interval_covers_the_slope_as_often_as_it_says():
    sizes, rng, held = 2 ** np.arange(5, 11), np.random.default_rng(1), 0
    for study in range(200):
        errors = sizes[:, None] ** -0.5 * np.exp(0.3 * rng.normal(size=(len(sizes), 30)))
        found = reading.bootstrap(sizes, errors, resamples=200, seed=study)
        held += found.low < -0.5 < found.high
    assert 0.88 < held / 200 < 0.99


def test_slopes_of_nothing_are_refused():
    for sizes, errors in (([8], np.ones((1, 2))), ([8, 16], np.ones((3, 2))), ([8, 16], np.zeros((2, 2)))):
        with pytest.raises(ValueError, match="slope"):
            reading.slope(np.asarray(sizes), errors)


def test_a_planted_violation_is_counted():
    rng = np.random.default_rng(0)
    bound = rng.uniform(1, 2, size=(20, 3))
    found = bound * rng.uniform(0.1, 0.9, size=bound.shape)
    assert reading.violations(found, bound) == 0 and 0.7 < reading.tightness(found, bound)[0] < 0.9
    found[3, 1] = bound[3, 1] * 1.0001
    found[5, 2] = np.nan
    found[6, 0] = bound[6, 0] * (1 + 1e-13)
    assert reading.violations(found, bound) == 2


def test_sizes_with_few_data_where_the_likelihood_is_and_hidden_errors_are_told():
    sizes = np.array([32, 64, 128, 256])
    assert reading.first(sizes, 0.08).tolist() == [False, True, True, True]
    errors, gap = np.array([[0.2, 0.4], [0.1, 0.1]]), np.array([[0.1, 0.0], [0.05, 0.05]])
    assert reading.resolved(errors, gap).tolist() == [True, False]
    assert reading.resolved(errors, 0.05).tolist() == [True, False]
    np.testing.assert_array_equal(reading.best(np.array([[3, 1, 2], [1, 2, 3]]), errors[:, [0, 1, 1]]), [0.4, 0.1])
    assert reading.spearman(np.array([1.0, 2.0, 5.0]), np.array([0.1, 0.2, 0.3])) == 1.0


# ------------------------------------------------------------------------------------------------ experiments

SHAPES = {
    gaussian: {
        "prior w2": (2, 2, 2),
        "posterior sliced w1": (2, 2, 2, 3),
        "moments prior w2": (1,),
        "plan posterior w2": (1, 3),
        "plan best known": (1,),
    },
    line: {
        "empirical prior w2": (1, 3),
        "generator posterior w1": (1, 2, 2),
        "generator optimisation_gap": (1, 2),
        "gap empirical prior w2": (1, 3),
        "evidence": (2,),
        "floor posterior w1": (2,),
    },
    width: {"prior w1": (1, 2, 3), "posterior w1": (1, 2, 3), "train w2": (1, 2, 3), "floor prior w1": ()},
    evidence: {"generator posterior w1": (2,), "empirical constant": (2,), "generator prior w1": (), "sharp": (2,)},
    counterexample: {"far": (2,), "w1_posterior": (2, 3), "t3": (2, 3), "moved": (2, 3)},
    bounds_hold: {"w1_posterior": (500,), "t1": (500,), "noise_std": (500,)},
}


@functools.cache
def measured(module, folder):
    return module.measure(STUDY, inverse_small.bench(folder), 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.mark.parametrize("module", SHAPES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_an_experiment_gives_finite_numbers_of_its_shapes_and_equal_bits_twice(module, folder, tmp_path):
    found = measured(module, folder)
    assert SHAPES[module].items() <= {name: value.shape for name, value in found.items()}.items()
    assert all(np.isfinite(value).all() for value in found.values())
    again = module.measure(STUDY, inverse_small.bench(tmp_path), 0)
    assert again.keys() == found.keys()
    for name, value in found.items():
        assert value.dtype == again[name].dtype and value.tobytes() == again[name].tobytes(), name


@pytest.mark.parametrize("module", SHAPES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_what_measures_imports_nothing_that_judges(module):
    reached = kept.reached(module.__name__)
    barred = ("vrjax.study.claims", "vrjax.study.page", "vrjax.report.html", "vrjax.cli", "experiments.inverse.reading")
    assert not [name for name in reached if name.startswith(barred)]


def test_bounds_hold_and_are_nearly_met(folder):
    found = measured(bounds_hold, folder)
    assert reading.violations(found["w1_posterior"], found["t1"]) == 0
    assert reading.violations(found["w1_posterior"], found["t3"]) == 0
    assert found["evidence"].min() > 1e-12
    largest, median = reading.tightness(found["w1_posterior"], found["t1"])
    assert largest > 0.5 and 0.02 < median < 0.5


def test_without_an_observed_tail_the_ratio_grows_and_w2_still_bounds(folder):
    found = measured(counterexample, folder)
    far = found["far"][:, None]
    # The cheapest plan moves the tail alone, by the shift.
    np.testing.assert_allclose(found["w1_prior"], found["moved"] * far**-2.5, rtol=1e-6)
    np.testing.assert_allclose(found["w2_prior"], found["moved"] * far**-1.25, rtol=1e-6)
    assert reading.violations(found["w1_posterior"], found["t3"]) == 0
    growth = np.log(found["w1_posterior"] / found["w1_prior"])
    assert (growth[1] - growth[0] > 0.7 * np.log(8)).all()


def test_keys_are_of_one_data_set_alone():
    bits = lambda *a: [jax.random.key_data(key).tolist() for key in keys.data_sets(STUDY, *a)]
    three = bits(names.LINE, 1, 32, 3)
    assert bits(names.LINE, 1, 32, 2) == three[:2]
    others = [bits(names.WIDTH, 1, 32, 1), bits(names.LINE, 2, 32, 1), bits(names.LINE, 1, 64, 1)]
    assert len({str(key) for key in [*three, *(one[0] for one in others)]}) == 6
    assert names.EXPERIMENTS[:2] == (names.GAUSSIAN, names.LINE)  # their places are part of the keys
