"""Statistics against SciPy, exact enumeration, textbook numbers and simulated coverage."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vrjax.report import statistics as s


@pytest.mark.parametrize("successes, n", [(0, 10), (1, 10), (7, 10), (10, 10), (206, 256), (1, 1)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_wilson_equals_scipy(successes, n, level):
    ours = s.wilson(successes, n, level)
    theirs = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    assert ours.interval == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert ours.value == successes / n and ours.n == n
    assert 0.0 <= ours.low <= ours.value <= ours.high <= 1.0


def test_wilson_coverage_near_nominal_averaged_over_rates():
    """Exact coverage, no simulation: the binomial mass of the outcomes whose interval holds the true rate."""
    n, coverage = 40, []
    ends = np.array([s.wilson(k, n).interval for k in range(n + 1)])
    for rate in np.linspace(0.05, 0.95, 91):
        holds = (ends[:, 0] <= rate) & (rate <= ends[:, 1])
        coverage.append(stats.binom.pmf(np.arange(n + 1), n, rate)[holds].sum())
    assert np.mean(coverage) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("n", [1, 12, 200])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_clopper_pearson_equals_scipy(n, level):
    k = np.arange(n + 1)
    ours = s.clopper_pearson(k, n, level)
    theirs = [stats.binomtest(i, n).proportion_ci(level, method="exact") for i in k.tolist()]
    np.testing.assert_allclose(ours.low, [t.low for t in theirs], atol=1e-12)
    np.testing.assert_allclose(ours.high, [t.high for t in theirs], atol=1e-12)
    assert s.clopper_pearson(n, n, level).interval == (ours.low[-1], 1.0)
    covered = [stats.binom.pmf(k, n, p)[(ours.low <= p) & (p <= ours.high)].sum() for p in np.linspace(0.01, 0.99, 25)]
    assert min(covered) >= level - 1e-9


def test_equal_tails_of_a_known_sample():
    low, high = s.equal_tails(np.arange(1001) / 1000.0, 0.9)
    assert (float(low), float(high)) == pytest.approx((0.05, 0.95))


def test_hierarchical_bootstrap_moments_by_enumeration():
    """With one training seed and one noise seed it is the plain bootstrap of a mean: all n^n draws can be listed."""
    data = np.array([0.0, 1.0, 5.0, 2.0])
    every = np.array([np.mean(draw) for draw in itertools.product(data, repeat=4)])
    for design in ("crossed", "nested"):
        ours = s.hierarchical_bootstrap(data.reshape(1, 4, 1), design=design, resamples=100_000)
        assert ours.interval == pytest.approx(
            tuple(np.quantile(every, (0.025, 0.975))), abs=0.26
        )  # the grid step is 0.25
        assert ours.value == 2.0 and ours.n == 4


def _spread(data, **how):
    estimate = s.hierarchical_bootstrap(data, resamples=20_000, level=0.6826894921370859, **how)
    return (estimate.high - estimate.low) / 2  # one standard error where the draws are nearly normal


def test_hierarchical_bootstrap_variance_of_every_level():
    """The bootstrap variance of the mean is known in closed form for each level by itself and for nested levels."""
    rng = np.random.default_rng(0)
    t, n, m = 30, 25, 4
    data = rng.normal(size=(t, 1, 1)) + rng.normal(size=(1, n, 1)) + rng.normal(size=(t, n, m))
    top = data.mean((1, 2)).var() / t
    middle_nested = data.mean(2).var(axis=1).mean() / (t * n)
    middle_shared = data.mean((0, 2)).var() / n
    bottom = data.var(axis=2).mean() / (t * n * m)
    assert _spread(data, resample=(0,)) == pytest.approx(math.sqrt(top), rel=0.03)
    assert _spread(data, resample=(1,), design="nested") == pytest.approx(math.sqrt(middle_nested), rel=0.03)
    assert _spread(data, resample=(1,), design="crossed") == pytest.approx(math.sqrt(middle_shared), rel=0.03)
    assert _spread(data, resample=(2,)) == pytest.approx(math.sqrt(bottom), rel=0.03)
    whole = math.sqrt(top + middle_nested + bottom)
    assert _spread(data, design="nested") == pytest.approx(whole, rel=0.03)
    assert _spread(data, design="crossed") > whole  # the instance effect is common to all training seeds


def test_hierarchical_bootstrap_coverage():
    """Crossed data (the same instances under every training seed): 'crossed' covers, 'nested' is too short."""
    rng = np.random.default_rng(1)
    hits = {"crossed": 0, "nested": 0}
    rounds = 150
    for _ in range(rounds):
        data = 0.2 * rng.normal(size=(8, 1, 1)) + rng.normal(size=(1, 20, 1)) + 0.3 * rng.normal(size=(8, 20, 2))
        for how in hits:
            e = s.hierarchical_bootstrap(data, design=how, resamples=400, seed=int(rng.integers(1 << 30)))
            hits[how] += e.low <= 0.0 <= e.high
    assert hits["crossed"] / rounds > 0.88
    assert hits["nested"] / rounds < 0.8


def test_hierarchical_bootstrap_is_seeded_and_chunks_do_not_matter_to_the_law(monkeypatch):
    data = np.random.default_rng(2).normal(size=(3, 7, 2))
    first, again = (s.hierarchical_bootstrap(data, resamples=2000, seed=4) for _ in range(2))
    assert first == again
    assert s.hierarchical_bootstrap(data, resamples=2000, seed=5) != first
    monkeypatch.setattr(s, "_CHUNK", 100)
    chunked = s.hierarchical_bootstrap(data, resamples=2000, seed=4)
    assert chunked.interval == pytest.approx(first.interval, abs=0.1)


@pytest.mark.parametrize("design", s.DESIGNS)
def test_many_studies_at_once_are_each_as_by_itself(design):
    data = np.random.default_rng(3).normal(size=(2, 3, 4, 5, 2))
    together = s.hierarchical_bootstrap(data, design=design, resamples=300)
    assert together.value.shape == (2, 3) and together.n == 40
    for i, j in itertools.product(range(2), range(3)):
        alone = s.hierarchical_bootstrap(data[i, j], design=design, resamples=300)
        at = (together.value[i, j], together.low[i, j], together.high[i, j])
        assert at == pytest.approx((alone.value, *alone.interval), abs=1e-12)


def test_cluster_bootstrap_standard_error():
    """Rows of one cluster are copies: the standard error is that of the clusters, not of the rows."""
    rng = np.random.default_rng(4)
    base = rng.normal(size=(60, 3))
    rows, labels = np.repeat(base, 5, axis=0), np.repeat(np.arange(60), 5)
    wide = s.cluster_bootstrap(rows, labels, resamples=4000, level=0.6826894921370859)
    assert np.asarray(wide.high - wide.low) / 2 == pytest.approx(base.std(axis=0) / math.sqrt(60), rel=0.08)
    np.testing.assert_allclose(wide.value, base.mean(0), atol=1e-12)
    assert wide.n == 60
    narrow = s.cluster_bootstrap(rows, resamples=4000, level=0.6826894921370859)
    assert (np.asarray(narrow.high) < wide.high).all()


def test_cluster_bootstrap_unequal_clusters_weighs_rows():
    rows = np.array([[0.0]] * 9 + [[1.0]])
    e = s.cluster_bootstrap(rows, ["big"] * 9 + ["small"], resamples=20_000)
    assert e.value == pytest.approx(0.1)
    # Draws: both big -> 0, mixed -> 0.1, both small -> 1 with probability 1/4.
    np.testing.assert_allclose((e.low, e.high), ([0.0], [1.0]))


def test_sign_flip_is_exact_for_few_pairs_and_equals_scipy():
    d = np.array([0.5, -0.25, 1.0, 0.75, 0.5, 0.0, 2.0])
    every = [abs(np.dot(f, d)) >= abs(d.sum()) - 1e-12 for f in itertools.product((-1, 1), repeat=len(d))]
    assert float(s.sign_flip(d)) == pytest.approx(np.mean(every))
    theirs = stats.permutation_test(
        (d,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert float(s.sign_flip(d)) == pytest.approx(theirs.pvalue)


def test_one_sided_sign_flips_equal_scipy():
    d = np.array([0.5, -0.25, 1.0, 0.75, 0.5, 0.0, 2.0])
    for values in (d, -d):
        theirs = stats.permutation_test(
            (values,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="greater"
        )
        assert float(s.sign_flip(values, side="greater")) == pytest.approx(theirs.pvalue)


def test_sign_flip_random_patterns_approach_the_exact_value():
    rng = np.random.default_rng(6)
    d = rng.normal(0.4, 1, size=(12, 2))
    exact = s.sign_flip(d, resamples=4096)
    rough = s.sign_flip(d, resamples=4095, seed=1)
    np.testing.assert_allclose(rough, exact, atol=4 * 0.5 / math.sqrt(4095))
    assert (s.sign_flip(np.ones((40, 1)), resamples=999) > 0).all()


def test_sign_flip_clusters_flip_together():
    d = np.ones(6)
    assert float(s.sign_flip(d)) == pytest.approx(2 / 2**6)
    assert float(s.sign_flip(d, [0, 0, 0, 1, 1, 1])) == pytest.approx(2 / 2**2)
    assert float(s.sign_flip(np.zeros(4))) == 1.0


def test_sign_flip_level_under_the_null():
    rng = np.random.default_rng(7)
    p = s.sign_flip(rng.normal(size=(30, 400)), resamples=499)
    assert np.mean(p <= 0.1) == pytest.approx(0.1, abs=0.06)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_holm_equals_the_definition(p):
    result = s.holm(p, alpha=0.05)
    # Step down: walk the sorted p-values and stop at the first that misses alpha / (number left).
    rejected = np.zeros(len(p), bool)
    for rank, index in enumerate(np.argsort(p, kind="stable")):
        if p[index] * (len(p) - rank) > 0.05:
            break
        rejected[index] = True
    np.testing.assert_array_equal(result.rejected, rejected)
    assert (result.adjusted >= np.asarray(p)).all() and (result.adjusted <= 1).all()


def test_holm_textbook():
    result = s.holm([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(result.adjusted, [0.03, 0.06, 0.06, 0.02])
    assert result.rejected.tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: s.wilson(5, 4), "successes"),
        (lambda: s.wilson(0, 0), "n: expected at least 1"),
        (lambda: s.wilson(1, 2, level=1.0), "level"),
        (lambda: s.hierarchical_bootstrap(np.zeros((2, 2))), "3 axes"),
        (lambda: s.hierarchical_bootstrap(np.full((1, 2, 1), np.nan)), "2 of 2 values are NaN"),
        (lambda: s.hierarchical_bootstrap(np.zeros((1, 2, 1)), design="mixed"), "'mixed'"),
        (lambda: s.hierarchical_bootstrap(np.zeros((1, 2, 1)), resample=(3,)), "resample"),
        (lambda: s.hierarchical_bootstrap(np.zeros((1, 2, 1)), resamples=0), "resamples"),
        (lambda: s.cluster_bootstrap(np.zeros((3, 2)), [0, 1]), "one label per row"),
        (lambda: s.cluster_bootstrap(np.zeros((0, 2))), "empty"),
        (lambda: s.sign_flip(np.zeros(3), [0]), "one label per pair"),
        (lambda: s.sign_flip(np.zeros(3), side="less"), "side"),
        (lambda: s.clopper_pearson(5, 4), "successes"),
        (lambda: s.holm([1.5]), "0..1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
