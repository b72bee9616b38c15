"""Rates in several dimensions and on two moons: the true maps and their posteriors against closed forms and quadrature,
distances of weighted points against POT, and the wiring at tiny sizes."""

import numpy as np
import ot
import pytest
from scipy import integrate, stats
from scipy.spatial.distance import cdist

from experiments.inverse import clouds, dimension, moons, names, weighted
from experiments.inverse.config import Dimension, Inverse, Moons
from experiments.inverse.keys import data_sets
from vrjax.files import kept
from vrjax.flow import draws
from vrjax.inverse import distances, generators
from vrjax.study.tables import Bench

COMMON = dict(
    sizes=(16, 32),
    repeats=3,
    plans=2,
    plans_to=16,
    fits=1,
    fits_to=16,
    latents=16,
    steps=20,
    block=64,
    blocks=2,
    directions=8,
    ratio=2,
    fresh=64,
    debiased=16,
)
STUDY = Inverse(
    name="tiny",
    seeds=(0,),
    dimension=Dimension(**COMMON, dimensions=(1, 2), observations=2),
    moons=Moons(**COMMON, y=(0.2, 0.9)),
)
FULL = Inverse(name="full", seeds=(0,))


def points(generator, params, z):
    return weighted.pushed(generator, params, z).astype(np.float64)


# -------------------------------------------------------------------------------------------------- the true maps


@pytest.mark.parametrize("d", [1, 3])
def test_the_true_map_is_the_gradient_of_a_convex_function_and_an_optimal_map(d):
    one = dimension.problem(FULL, d)
    amount = np.logaddexp(0, one.params["amount"])
    assert ((amount > 0.5) & (amount < 1.5)).all() and len(amount) == 4
    potential = lambda z: (
        0.5 * np.sum(z**2, -1) + np.logaddexp(0, z @ one.params["rows"].T + one.params["offsets"]) @ amount
    )
    z = np.random.default_rng(0).normal(size=(200, d))
    step = 1e-4 * np.eye(d)
    gradient = np.stack([(potential(z + e) - potential(z - e)) / 2e-4 for e in step], -1)
    made = points(one.true, one.params, z)
    np.testing.assert_allclose(made, gradient, atol=3e-5)
    jacobians = np.stack([(points(one.true, one.params, z + 100 * e) - made) / 1e-2 for e in step], -1)
    np.testing.assert_allclose(jacobians, jacobians.transpose(0, 2, 1), atol=0.05)
    assert np.linalg.eigvalsh(jacobians).min() > 0.95 and np.linalg.eigvalsh(jacobians).max() > 1.2
    # Brenier: no other plan between these points and their images is cheaper.
    cost = ot.emd2(np.full(200, 1 / 200), np.full(200, 1 / 200), cdist(z, made, "sqeuclidean"))
    np.testing.assert_allclose(cost, np.mean(np.sum((made - z) ** 2, 1)), rtol=1e-6)


def test_the_restricted_class_holds_the_truth_and_every_class_is_the_same_object(monkeypatch):
    one = dimension.problem(FULL, 3)
    assert one.true is dimension.problem(FULL, 3).true is generators.convex(3, 4)
    start = one.true.init(draws.key(0))
    assert {name: value.shape for name, value in start.items()} == {k: v.shape for k, v in one.params.items()}
    key = data_sets(STUDY, names.DIMENSION, 0, 16, 1)[0]
    data = clouds.drawn(one, key[None], 4000)[0]
    z = np.random.default_rng(0).normal(size=(4000, 3))
    for x, y in zip(data.T, points(one.true, one.params, z).T, strict=True):
        assert stats.ks_2samp(x, y).pvalue > 0.01
    # A fit that ends at the true parameters has no error: `bound` compares with the true map on the same points.
    pairs = [weighted.Pair(data[:16], data[16:32], 0.0)] * 3
    report = generators.Report(*np.zeros(5), restarts=np.zeros(1), curve=np.zeros(1), unsolved=0)
    for params, exact in ((one.params, True), (start, False)):
        monkeypatch.setattr(generators, "fit", lambda *args, params=params, **options: (params, report))
        prior, found = clouds.fitted(STUDY.dimension, one, pairs, one.true, data[:16], key)
        assert (found["bound"] == 0) == exact
        assert found["prior w1 debiased"] + found["prior w1 floor"] > 0 and prior.points.shape == (64, 3)


def test_moons_lie_around_two_half_circles():
    one = moons.problem(STUDY)
    z = np.random.default_rng(0).normal(size=(4000, 3))
    curve = points(one.true, np.asarray(0.0), z)
    upper = z[:, 0] < 0
    np.testing.assert_allclose(np.linalg.norm(curve[upper], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(curve[~upper] - [1, 0.5], axis=1), 1, atol=1e-5)
    assert curve[upper, 1].min() > -1e-5 and curve[~upper, 1].max() < 0.5 + 1e-5
    angle = np.arctan2(*curve[upper].T[::-1]) / np.pi
    assert stats.kstest(angle, "uniform").pvalue > 0.01
    away = points(one.true, one.params, z) - curve
    np.testing.assert_allclose(away.std(0), 0.08, rtol=0.05)


# --------------------------------------------------------------------------------------------------- posteriors


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_a_posterior_on_the_line_is_that_of_quadrature(noise):
    one = dimension.problem(FULL, 1)
    k = int(np.flatnonzero(one.noise_std == noise)[0])
    amount = np.logaddexp(0, one.params["amount"])
    rows, offsets = one.params["rows"][:, 0], one.params["offsets"]
    image = lambda z: z + np.sum(amount * rows / (1 + np.exp(-(z * rows + offsets))))
    density = lambda z: np.exp(-0.5 * z**2 - 0.5 * ((one.y[k, 0] - image(z)) / noise) ** 2) / np.sqrt(2 * np.pi)
    moment = [integrate.quad(lambda z, p=p: image(z) ** p * density(z), -9, 9, epsabs=1e-11)[0] for p in range(3)]
    z = weighted.nodes(draws.key(1), 4096, 1).reshape(2, 2048, 1)
    found = weighted.posteriors(one.true, one.params, z, one.seen, one.y, one.noise_std)
    np.testing.assert_allclose(found.evidence[k], moment[0], rtol=1e-3)
    mean = found.weights[k] @ found.points[k, :, 0]
    np.testing.assert_allclose(mean, moment[1] / moment[0], atol=2e-3)
    second = found.weights[k] @ found.points[k, :, 0] ** 2
    np.testing.assert_allclose(second, moment[2] / moment[0], rtol=3e-3)
    np.testing.assert_allclose(found.weights.sum(1), 1, rtol=1e-12)
    assert (found.khat < 0.5).all() and (found.ess > 400).all()
    assert (found.weights * 4096 * found.evidence[:, None] < 2 + 1e-5).all()


def test_both_moons_have_their_mass_in_a_posterior():
    """The Gaussian at the mode lies on one of them; the other is found by the points of the latent normal."""
    one = moons.problem(STUDY)
    z = weighted.nodes(draws.key(1), 8192, 3)[None]
    found = weighted.posteriors(one.true, one.params, z, one.seen, one.y, one.noise_std)
    rng = np.random.default_rng(0)
    x = points(one.true, one.params, rng.normal(size=(200_000, 3)))
    for k in range(2):
        likelihood = np.exp(-0.5 * ((one.y[k, 0] - x[:, 1]) / 0.3) ** 2)
        right = likelihood @ (x[:, 0] > 0.5) / likelihood.sum()
        np.testing.assert_allclose(found.weights[k] @ (found.points[k, :, 0] > 0.5), right, atol=0.02)
        np.testing.assert_allclose(found.evidence[k], likelihood.mean(), rtol=0.02)


def test_a_data_set_is_reweighted_by_its_likelihood():
    one = dimension.problem(FULL, 3)
    data = np.random.default_rng(0).normal(size=(20, 3))
    prior = clouds.empirical(one, data)
    for k, (found, weights) in enumerate(prior.after):
        likelihood = stats.norm.pdf(data[:, :2], one.y[k], one.noise_std[k]).prod(1)
        np.testing.assert_allclose(weights, likelihood / likelihood.sum(), rtol=1e-10)
        assert found is data


# ---------------------------------------------------------------------------------------------------- distances


def measure_of(rng, n, d):
    return rng.normal(size=(n, d)) + 0.3, rng.dirichlet(np.ones(n))


@pytest.mark.parametrize("d", [1, 3])
def test_sliced_distances_of_weighted_points_are_pots(d):
    rng = np.random.default_rng(d)
    law, others = measure_of(rng, 40, d), [measure_of(rng, n, d) for n in (1, 7, 60)]
    others[2][0][:] *= 3  # to both sides of the law
    ways = np.asarray(distances.directions(draws.key(0), 5, d))
    found = weighted.sliced(*law, others, ways)
    for one, (x, a) in zip(found, others, strict=True):
        wanted = [ot.emd2_1d(law[0] @ side, x @ side, law[1], a, metric="euclidean") for side in ways]
        np.testing.assert_allclose(one, np.mean(wanted), rtol=1e-6)
    assert weighted.sliced(*law, [law], ways)[0] < 1e-12


def test_bounds_of_w1_are_its_primal_and_its_dual():
    rng = np.random.default_rng(0)
    x, a = measure_of(rng, 12, 3)
    a[:2] = 0.0
    draws_, fresh = rng.normal(size=(50, 3)), rng.normal(size=(4000, 3))
    low, high = weighted.between(x, a, draws_, draws_)
    wanted = ot.emd2(a / a.sum(), np.full(50, 1 / 50), cdist(x, draws_))
    np.testing.assert_allclose([low, high], wanted, rtol=1e-9)  # strong duality
    # Of two points at +-1 on the first axis W1 to a centred normal is the mean distance to the nearer one.
    two, half = np.eye(3)[[0, 0]] * [[1.0], [-1.0]], np.array([0.5, 0.5])
    exact = np.mean(cdist(rng.normal(size=(100_000, 3)), two).min(1))
    low, high = np.transpose([weighted.between(two, half, rng.normal(size=(20, 3)), fresh) for _ in range(200)]).mean(1)
    assert low < exact + 0.02 and exact < high and high - low > 0.01


def test_debiased_distances_are_those_of_the_library():
    rng = np.random.default_rng(0)
    p, q = (measure_of(rng, 200, 2) for _ in range(2))
    one, law = weighted.pair(rng, *weighted.halves(*p), 30), weighted.pair(rng, q, q, 30)
    found, floor = weighted.debiased(one, law)
    np.testing.assert_allclose(found, distances.debiased_w1(one.one, one.other, law.one, law.other), rtol=1e-5)
    assert found + floor == pytest.approx(float(distances.w1(one.one, law.one)), rel=1e-6)
    assert not set(map(tuple, one.one)) & set(map(tuple, one.other))


def test_draws_of_weighted_points_have_their_weights():
    x, a = np.arange(3.0)[:, None], np.array([0.2, 0.0, 0.8])
    found = weighted.resampled(np.random.default_rng(0), x, a, 4000)[:, 0]
    np.testing.assert_allclose(np.bincount(found.astype(int), minlength=3) / 4000, a, atol=0.03)


# ------------------------------------------------------------------------------------------------------- wiring


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    here = Bench(tmp_path_factory.mktemp("run"))
    return {module: module.measure(STUDY, here, 0) for module in (dimension, moons)}


SHAPES = {
    dimension: {
        "dimensions": (2,),
        "observed": (2,),
        "evidence": (2, 4),
        "noise_std": (2, 4),
        "empirical prior sliced w1": (2, 2, 3),
        "empirical posterior sliced w1": (2, 2, 3, 4),
        "empirical prior w1 low": (2, 1, 2),
        "empirical posterior w1 high": (2, 1, 2, 2),
        "generator prior sliced w1": (2, 1, 1),
        "restricted posterior sliced w1": (2, 1, 1, 4),
        "restricted bound": (2, 1, 1),
        "restricted posterior w1 debiased": (2, 1, 1, 2),
        "generator prior w1 floor": (2, 1, 1),
        "generator khat": (2, 1, 1, 4),
        "generator optimisation_gap": (2, 1, 1),
        "floor prior sliced w1": (2,),
        "floor posterior sliced w1": (2, 4),
        "reference ess": (2, 4),
    },
    moons: {
        "y": (2,),
        "empirical posterior w1 low": (1, 2, 2),
        "generator posterior w1 debiased": (1, 1, 2),
        "generator prior sliced w1": (1, 1),
        "floor posterior sliced w1": (2,),
        "evidence": (2,),
    },
}


@pytest.mark.parametrize("module", SHAPES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_an_experiment_gives_finite_numbers_of_its_shapes_equal_bits_twice_and_one_program(module, found, tmp_path):
    first = found[module]
    assert SHAPES[module].items() <= {name: value.shape for name, value in first.items()}.items()
    assert all(np.isfinite(value).all() for value in first.values())
    assert ("restricted bound" in first) == (module is dimension) and "generator bound" not in first
    programs = (weighted._weighed, weighted._khat, clouds._drawn, generators.push)
    compiled = [program._cache_size() for program in programs]
    again = module.measure(STUDY, Bench(tmp_path / "a"), 0)
    for name, value in first.items():
        assert value.dtype == again[name].dtype and value.tobytes() == again[name].tobytes(), name
    other = module.measure(STUDY, Bench(tmp_path / "b"), 1)
    assert [program._cache_size() for program in programs] == compiled
    for name in ("evidence", "floor prior sliced w1", "reference ess"):
        np.testing.assert_array_equal(first[name], other[name])
    assert not np.isclose(first["empirical prior sliced w1"], other["empirical prior sliced w1"]).any()


def test_on_the_line_bounds_and_sliced_distances_are_one(found):
    table = found[dimension]
    for end in ("low", "high"):
        wanted = table["empirical prior sliced w1"][0, :1, :2]
        np.testing.assert_array_equal(table[f"empirical prior w1 {end}"][0], wanted)
        wanted = table["empirical posterior sliced w1"][0, :1, :2][..., table["observed"]]
        np.testing.assert_array_equal(table[f"empirical posterior w1 {end}"][0], wanted)


def test_observations_are_the_first_half_of_a_truth_under_each_noise():
    for d, seen in ((1, 1), (2, 1), (3, 2), (5, 3), (8, 4)):
        one = dimension.problem(FULL, d)
        assert one.y.shape == (6, seen) and one.noise_std.tolist() == [0.3] * 3 + [1.0] * 3
        np.testing.assert_array_equal(one.seen, np.eye(d)[:seen])
        # y = x + noise: both pairs tell the same x, and the noise is of order 1.
        noise = (one.y[3:] - one.y[:3]) / 0.7
        assert 0.1 < np.sqrt(np.mean(noise**2)) < 2.5
    assert one.few.tolist() == [0, 3]


def test_more_fits_or_plans_than_data_sets_are_refused():
    for name in ("fits", "plans"):
        with pytest.raises(ValueError, match=f"dimension: {name} is 4, expected at most repeats, 3"):
            Dimension(**{**COMMON, name: 4})


@pytest.mark.parametrize("module", SHAPES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_what_measures_imports_nothing_that_judges(module):
    reached = kept.reached(module.__name__)
    barred = ("vrjax.study.claims", "vrjax.study.page", "vrjax.report.html", "vrjax.cli", "experiments.inverse.reading")
    assert not [name for name in reached if name.startswith(barred)]
