"""Seeds as the unit: against SciPy's t and exact intervals, brute-force enumeration, and moments in closed form."""

import itertools

import numpy as np
import pytest
from scipy import stats

from vrjax.report import seeds, statistics
from vrjax.report.statistics import DESIGNS


def _values(shape=(5, 40, 3), spread=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return spread * rng.normal(size=(shape[0], 1, 1)) + rng.normal(size=shape)


@pytest.mark.parametrize("n", [5, 8])
def test_where_seeds_dominate_the_interval_is_students_t_on_their_means(n):
    data = _values((n, 40, 3), spread=10.0)
    theirs = stats.ttest_1samp(data.mean((1, 2)), 0.0).confidence_interval(0.95)
    ours = seeds.interval(data)
    assert ours.interval == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    boot = statistics.hierarchical_bootstrap(data, design="nested")
    assert boot.high - boot.low < 0.85 * (ours.high - ours.low)  # what used to be published
    assert ours.n == data.size and ours.value == pytest.approx(data.mean())


def test_where_seeds_do_not_differ_the_bootstrap_is_the_longer_one():
    data = np.random.default_rng(1).normal(size=(8, 100, 1))
    data += data.mean() - data.mean((1, 2), keepdims=True)  # seeds' means are equal: t alone would be certain
    boot = statistics.hierarchical_bootstrap(data, resample=(0, 1), design="nested")
    assert seeds.interval(data).interval == boot.interval


def test_crossed_designs_count_what_all_seeds_share():
    rng = np.random.default_rng(2)
    data = rng.normal(size=(1, 30, 1)) + 0.01 * rng.normal(size=(8, 30, 1))
    crossed, nested = (seeds.interval(data, design=d) for d in DESIGNS[::-1])
    items = stats.ttest_1samp(data.mean((0, 2)), 0.0).confidence_interval(0.95)
    assert crossed.interval == pytest.approx((items.low, items.high), rel=0.02)
    assert nested.high - nested.low < 0.6 * (crossed.high - crossed.low)


def test_satterthwaite_by_hand():
    """Equal variances of seeds and instances: the sum has more degrees of freedom than either."""
    a, b = np.array([-1.0, 0.0, 1.0]), np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    data = (a[:, None] + b)[..., None]
    of_seeds, of_items = a.var(ddof=1) / 3, b.var(ddof=1) / 5
    freedom = (of_seeds + of_items) ** 2 / (of_seeds**2 / 2 + of_items**2 / 4)
    half = stats.t.isf(0.025, freedom) * np.sqrt(of_seeds + of_items)
    t_alone = stats.t.isf(0.025, 2) * np.sqrt(of_seeds)
    assert seeds.interval(data, design="crossed").high == pytest.approx(max(half, t_alone))


def test_one_seed_speaks_of_itself():
    data = _values((1, 30, 2))
    items = stats.ttest_1samp(data.mean((0, 2)), 0.0).confidence_interval(0.95)
    low, high = seeds.interval(data).interval
    assert low <= items.low and high >= items.high
    assert float(seeds.p_value(np.ones((1, 30, 2)))) == 0.5
    assert seeds.components(data).share is None


# The degenerate case -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value, bounds", [(1.0, (0, 1)), (0.0, (0, 1)), (0.0, (-1, 1))])
def test_all_alike_is_the_exact_interval_of_a_proportion(value, bounds):
    data = np.full((5, 12, 3), value)
    upper = stats.binomtest(0, 60).proportion_ci(0.95, method="exact").high
    low, high = seeds.interval(data, bounds=bounds).interval
    assert (low, high) == pytest.approx((value - upper * (value - bounds[0]), value + upper * (bounds[1] - value)))
    shared = seeds.interval(data, design="crossed", bounds=bounds)
    twelve = stats.binomtest(0, 12).proportion_ci(0.95, method="exact").high
    assert shared.high - shared.low == pytest.approx(twelve * (bounds[1] - bounds[0]))  # the same twelve for all seeds
    assert upper > 3 / 60  # the one-sided rule of three is shorter: it is no 95 % interval of two sides


def test_one_discordant_pair_has_an_exact_interval():
    data = np.zeros((5, 20, 2))
    data[3, 7, 1] = 1.0
    up, down = (stats.binomtest(k, 100).proportion_ci(0.95, method="exact").high for k in (1, 0))
    assert seeds.interval(data, bounds=(-1, 1)).interval == pytest.approx((-down, up))
    assert seeds.interval(-data, bounds=(-1, 1)).interval == pytest.approx((-up, down))


def test_without_bounds_no_size_is_made_up():
    same, one = np.full((5, 20, 2), 0.3), np.full((5, 20, 2), 0.3)
    one[0, 0] = 7.0
    for data in (same, one):
        assert seeds.interval(data).interval == (-np.inf, np.inf)
    one[1, 1] = 5.0
    assert np.isfinite(seeds.interval(one).interval).all()


def test_few_that_differ_widen_and_many_do_not():
    data = np.zeros((5, 20, 1))
    data[0, : seeds.FEW - 1] = 1.0
    low, _ = seeds.rare(data, bounds=(-1, 1))
    assert np.isfinite(low) and seeds.interval(data, bounds=(-1, 1)).low <= low
    data[1, 0] = 1.0
    assert seeds.rare(data, bounds=(-1, 1)) == (np.inf, -np.inf)


def test_bases_that_differ_make_the_interval_say_so():
    data = np.random.default_rng(0).normal(size=(5, 40, 2)) + np.arange(5)[:, None, None]
    bases, alone = seeds.interval(data, resamples=400), seeds.interval(data[:1], resamples=400)
    assert bases.high - bases.low > 1.5 and alone.high - alone.low < 0.7


# p-values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 8])
def test_p_values_flip_whole_seeds_by_enumeration(n):
    data = _values((n, 10, 2), spread=0.3, seed=n) + 0.3
    means = data.mean((1, 2))
    every = [np.dot(signs, means) >= means.sum() - 1e-12 for signs in itertools.product((1, -1), repeat=n)]
    assert float(seeds.p_value(data)) == pytest.approx(np.mean(every))
    assert float(seeds.p_value(np.ones((n, 4, 1)))) == 2.0**-n  # 1/32, 1/256
    assert float(seeds.p_value(-np.ones((n, 4, 1)), side="less")) == 2.0**-n
    assert float(seeds.p_value(np.ones((n, 4, 1)), side="less")) == 1.0
    assert float(seeds.p_value(np.ones((n, 4, 1)), side="either")) == 2.0 ** (1 - n)
    assert float(seeds.p_value(np.ones((n, 4, 1)), null=1.0)) == 1.0


def test_p_of_equality_is_the_larger_of_two_tests():
    data = _values((8, 10, 1), spread=0.01) * 0.05 + 0.02
    both = [float(seeds.p_value(data, side=s, null=b)) for s, b in (("greater", -0.05), ("less", 0.05))]
    assert float(seeds.p_value(data, side="equal", smallest=0.05)) == max(both) < 0.05
    assert float(seeds.p_value(data, side="equal", smallest=0.02)) > 0.05


def test_crossed_p_is_the_largest_of_seeds_items_and_both():
    rng = np.random.default_rng(4)
    for spread, items in ((1.0, 0.1), (0.1, 1.0), (0.5, 0.5)):
        data = 0.2 + spread * rng.normal(size=(8, 1, 1)) + items * rng.normal(size=(1, 9, 1))
        data = data + 0.05 * rng.normal(size=(8, 9, 2))
        by = [means for means in (data.mean((1, 2)), data.mean((0, 2)))]
        flips = [
            np.mean([np.dot(f, m) >= m.sum() - 1e-12 for f in itertools.product((1, -1), repeat=len(m))]) for m in by
        ]
        v = [m.var(ddof=1) / len(m) for m in by]
        freedom = sum(v) ** 2 / sum(x**2 / (len(m) - 1) for x, m in zip(v, by, strict=True))
        flips.append(stats.t.sf(data.mean() / np.sqrt(sum(v)), freedom))
        assert float(seeds.p_value(data, design="crossed")) == pytest.approx(max(flips))


def test_many_studies_at_once_have_their_own_p():
    data = np.random.default_rng(5).normal(0.2, 1, size=(7, 5, 6, 2))
    for design in DESIGNS:
        together = seeds.p_value(data, design=design)
        assert together.tolist() == pytest.approx([float(seeds.p_value(one, design=design)) for one in data])
        intervals = seeds.interval(data, design=design, resamples=200)
        alone = [seeds.interval(one, design=design, resamples=200).low for one in data]
        np.testing.assert_allclose(intervals.low, alone, atol=1e-12)


# Where the variance is -----------------------------------------------------------------------------------------------


def test_components_recover_what_was_put_in():
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(60, 1, 1)), 2 * rng.normal(size=(1, 80, 1))
    crossed = seeds.components(a + b + 0.5 * rng.normal(size=(60, 80, 1)), "crossed")
    assert crossed.seeds == pytest.approx(a.var(ddof=1), rel=0.02)
    assert crossed.instances == pytest.approx(b.var(ddof=1), rel=0.02)
    assert crossed.rest == pytest.approx(0.25, rel=0.06)
    assert crossed.share == pytest.approx((1 / 60) / (1 / 60 + 4 / 80 + 0.25 / 4800), rel=0.4)
    nested = seeds.components(a + 2 * rng.normal(size=(60, 80, 1)), "nested")
    assert nested.rest == pytest.approx(4, rel=0.05) and nested.seeds == pytest.approx(a.var(ddof=1), rel=0.25)
    assert nested.share is not None and 0.9 < nested.share <= 1
    assert seeds.components(np.zeros((5, 4, 1))).share is None


def test_share_equals_scipys_analysis_of_variance():
    data = _values((6, 15, 1), spread=0.5)
    f = stats.f_oneway(*data[..., 0]).statistic
    found = seeds.components(data)
    assert found.share == pytest.approx(1 - 1 / f)  # F = (rest + 15 seeds) / rest


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: seeds.interval(np.zeros((2, 3))), "3 axes"),
        (lambda: seeds.interval(np.zeros((2, 3, 1)), design="mixed"), "'mixed'"),
        (lambda: seeds.interval(np.full((2, 3, 1), 2.0), bounds=(-1, 1)), "out of the bounds"),
        (lambda: seeds.p_value(np.zeros((2, 3, 1)), side="up"), "side"),
        (lambda: seeds.components(np.zeros((2, 2, 3, 1))), "3 axes"),
    ],
)
def test_bad_values_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
