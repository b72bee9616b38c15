"""Statistics of the ladder's checks against numbers by hand, closed forms and SciPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vrjax.world import exact, ladder
from vrjax.world.ladder import _core, _trs, chance, controls
from vrjax.world.ladder.checks import f1, f2, i1, p2, s2, s3
from vrjax.world.ladder.facts import grid, push

KEY = jax.random.key(8)


def binomial(n, p):
    return stats.binom.pmf(np.arange(n + 1), n, p)


@pytest.fixture(scope="module")
def coins():
    """For each kind: the world, its scene of coins, and the law of how many of five fall."""
    out = {}
    for name, facts in (("push", push), ("grid", grid)):
        truth = exact.get(name, slip=0.3)
        state, inputs, _ = facts.coin(truth)
        out[name] = truth, facts, state, inputs, chance.law(truth, state, inputs, facts)
    return out


@pytest.mark.parametrize("name", ["push", "grid"])
def test_the_law_by_enumeration_is_binomial(coins, name):
    *_, law = coins[name]
    np.testing.assert_allclose(law.outcomes, np.arange(6), atol=1e-4)
    np.testing.assert_allclose(law.probabilities, binomial(5, 0.3), rtol=1e-5)  # the odds are float32
    bound, rare = chance.threshold(law)
    assert (bound, rare) == (pytest.approx(4.5, abs=1e-4), pytest.approx(0.3**5))
    with pytest.raises(_core.Lacks, match="the last has 0.0024"):
        chance.threshold(law, 1e-3)


def test_a_rare_event_lies_at_either_end():
    law = chance.Law(np.array([0.0, 1.0, 2.0]), np.array([0.005, 0.3, 0.695]))
    assert s2.rare(law) == (-0.5, pytest.approx(0.005), -1.0)
    law = chance.Law(np.array([0.0, 1.0, 2.0]), np.array([0.005, 0.988, 0.007]))
    assert s2.rare(law) == (1.5, pytest.approx(0.007), 1.0)
    with pytest.raises(_core.Lacks, match="no outcome at the upper end is rarer"):
        s2.rare(chance.Law(np.array([0.0, 1.0]), np.array([0.5, 0.5])))


def test_rows_of_coins_where_only_the_first_counts():
    bits, shares = chance.rows(4, 0.2, first=True)
    np.testing.assert_allclose(shares, stats.geom.pmf(np.arange(1, 5), 0.2).tolist() + [0.8**4])
    np.testing.assert_array_equal(bits.argmax(1)[:4], np.arange(4))
    bits, shares = chance.rows(4, 0.2)
    assert len(np.unique(bits, axis=0)) == 16 and shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(shares, np.prod(np.where(bits > 0, 0.2, 0.8), 1))
    np.testing.assert_allclose(chance.weights(bits, 0.2), shares, rtol=1e-5)


@pytest.mark.parametrize("name", ["push", "grid"])
def test_tilted_samplers_are_unbiased(coins, name):
    """Means over many small estimates lie within three and a half standard errors of 0.3^5; the errors that they state
    are right; plain rollouts of one of them would see two events or three."""
    truth, facts, state, inputs, law = coins[name]
    bound, exact_rate = chance.threshold(law)
    keys = jax.random.split(KEY, 40)

    @jax.jit
    def many(truth, state):
        see = _core.recode
        one = lambda key: chance.tilted(truth, state, inputs, bound, 0.3, 0.6, key, facts=facts, count=400)
        other = lambda key: chance.split(truth, truth, state, inputs, bound, 1.5, key, see=see, facts=facts, count=600)
        return jax.lax.map(one, keys), jax.lax.map(other, keys)

    for found in many(truth, state):
        values = np.asarray(found.value, np.float64)
        error = values.std(ddof=1) / np.sqrt(len(values))
        assert abs(values.mean() - exact_rate) < 3.5 * error
        assert values.std(ddof=1) < 0.4 * exact_rate  # of 400 plain rollouts: 1.01 of it
        assert 0.5 < np.mean(np.asarray(found.error)) / values.std(ddof=1) < 2.0


def test_weights_that_are_left_out_are_seen(coins):
    """The same coins without their weights say something else: the test above could have failed."""
    truth, facts, state, inputs, law = coins["grid"]
    bound, exact_rate = chance.threshold(law)
    found = chance.tilted(truth, state, inputs, bound, 0.3, 0.6, KEY, facts=facts, count=400)
    wrong = chance.tilted(truth, state, inputs, bound, 0.6, 0.6, KEY, facts=facts, count=400)
    assert float(wrong.value) == pytest.approx(0.6**5, rel=0.5) and float(wrong.value) > 10 * float(found.value)


def test_ten_thousand_rollouts_are_one_program(coins):
    """Their faces are binomial; other odds, another scene and another key are arguments."""
    truth, facts, state, inputs, law = coins["grid"]
    program: Any = chance.outcomes
    begin = program._cache_size()
    for p in (0.3, 0.1):
        w = exact.get("grid", slip=p)
        found = chance.outcomes(w, truth, state, inputs, KEY, see=_core.recode, facts=facts, count=10_000)
        counts = chance.faces(found, law, 1.0)
        assert counts[-1] == 0 and counts.sum() == 10_000
        assert stats.chisquare(counts[:5], 10_000 * binomial(5, p)[:5] / binomial(5, p)[:5].sum()
                               * counts[:5].sum() / 10_000).pvalue > 1e-3  # fmt: skip
    assert program._cache_size() == begin + 1


def test_total_variation_and_pearson():
    assert chance.total_variation([30, 70], [0.5, 0.5]) == pytest.approx(0.2)
    assert chance.total_variation([50, 40, 10], [0.5, 0.5]) == pytest.approx(0.1)  # a face that cannot be
    counts, p = np.array([18, 55, 27]), np.array([0.25, 0.5, 0.25])
    assert chance.chi_squared(counts, p) == pytest.approx(stats.chisquare(counts, 100 * p).pvalue)
    assert chance.chi_squared([50, 49, 1], [0.5, 0.5]) == 0.0
    small = np.array([0.9, 0.06, 0.03, 0.01])  # of a hundred, the last two are taken together
    expected = stats.chisquare([88, 7, 5], [90, 6, 4]).pvalue
    assert chance.chi_squared([88, 7, 3, 2], small) == pytest.approx(expected)


def test_faces():
    law = chance.Law(np.array([0.0, 1.0, 2.0]), np.array([0.5, 0.3, 0.2]))
    counts = chance.faces([0.1, -0.2, 1.4, 1.6, 9.0, np.nan], law, 0.5)
    np.testing.assert_array_equal(counts, [2, 1, 1, 2])
    assert s3.recall([50, 14, 36], law) == pytest.approx(2 / 3)  # the second comes less than half as often
    assert s3.recall([34, 33, 33], law) == 1.0


def test_boxes_and_places():
    a, b = jnp.array([0.0, 0.0, 1.0, 1.0]), jnp.array([1.0, 0.0, 1.0, 1.0])
    assert float(f1.overlap(a, b)) == pytest.approx(2 / 6) and float(f1.overlap(a, a)) == 1
    assert float(f1.overlap(a, a + jnp.array([5.0, 0, 0, 0]))) == 0
    assert i1.spearman([1, 2, 3], [10, 30, 20]) == pytest.approx(0.5) and np.isnan(i1.spearman([1, 1], [1, 2]))
    turned = i1.heading(
        np.array([[1.0, 1.0], [0.0, 0.0], [5.0, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0], [0.1, 0]]), 0.5
    )
    assert turned == pytest.approx((45 + 90) / 2)  # who stands still is at a right angle; the third is too short
    errors = np.array([[0.0, 0.5, 1.5, 0.2], [0.0, np.nan, 0.0, 0.0], [0.0, 0.1, 0.2, 1.0]])
    np.testing.assert_array_equal(p2.horizon(errors, 1.0), [2, 1, 4])
    assert p2.slope(np.outer([1.0, 3.0], np.arange(10) * 1e-3)) == pytest.approx(2.0)
    picture = np.zeros((4, 4, 3))
    assert _core.psnr(picture, picture + 0.2) == pytest.approx(20.0) and _core.psnr(picture, picture) == _core.PEAK
    values = np.array([1.0, 2.0, 4.0])
    assert _core.lower(values) == pytest.approx(stats.t.interval(0.95, 2, values.mean(), stats.sem(values))[0])


def test_temporality_independence_space():
    way = np.cumsum(np.stack([_trs.request(i, 4) for i in range(8)]), 1)
    back = np.cumsum(np.stack([_trs.request(i, 4, True) for i in range(8)]), 1)
    np.testing.assert_array_equal(way[:, -1], back[:, -1])  # the same wishes
    assert len(np.unique(way.reshape(8, -1), axis=0)) == 8
    other = np.roll(way, 3, 0)
    found = _trs.trs(way, back, other, 2 * way, way)
    assert found.R == pytest.approx(1) and found.S == pytest.approx(1) and found.T > 0.4
    assert found.marks == (True, True, True)
    assert _trs.trs(way, way, other, -way, 0 * way).marks == (False, False, False)
    assert _trs.trs(0 * way, 0 * way, 0 * way, 0 * way, way).marks == (False, False, False)


def test_features_see_blur_and_motion():
    """The filters have no mean, so that plain pictures have none of them; a Fréchet distance of Gaussians by hand."""
    plain = f2.features(jnp.full((1, 8, 6, 6, 3), 0.4))
    np.testing.assert_allclose(plain, 0, atol=1e-5)
    rng = np.random.default_rng(0)
    noise = jnp.asarray(rng.normal(size=(1, 8, 6, 6, 3)), jnp.float32)
    sharp, soft = f2.features(noise), f2.features(controls.blur(noise))
    assert (np.asarray(soft) < np.asarray(sharp)).all()
    np.testing.assert_allclose(controls.blur(jnp.ones((2, 4, 5, 3))), 1)
    x = rng.normal(size=(4_000, 2))
    assert f2.distance(x, 2 * x + 3, np.array([1.0, 1.0])) == pytest.approx(2 * 9 + 2, rel=0.05)


def test_a_world_with_no_fault_is_the_world():
    truth = exact.example("push")
    keys = jax.random.split(KEY, 4)
    states = jax.jit(jax.vmap(truth.make))(keys)
    actions = jax.random.uniform(KEY, (4, 6, 2), minval=-1.0, maxval=1.0)
    play = lambda w: _core.played(w, truth, states, actions, keys, see=_core.recode, frames=True)
    mine, true = play(controls.faulty(truth)), play(truth)
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(true), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    frozen = play(controls.get("frozen", truth))
    assert np.ptp(np.asarray(frozen.decoded["agent"]), axis=1).max() == 0
    late = play(controls.get("delayed", truth))
    early = np.concatenate([np.zeros((4, 1, 2)), np.asarray(actions)[:, :-1]], 1)
    shifted = _core.played(truth, truth, states, jnp.asarray(early, jnp.float32), keys, see=_core.recode, frames=True)
    np.testing.assert_allclose(late.decoded["agent"], shifted.decoded["agent"], atol=1e-6)
    assert ladder.controls.names()[0] == "frozen"
    with pytest.raises(ValueError, match="unknown control 'frozne', did you mean 'frozen'"):
        controls.get("frozne", truth)
