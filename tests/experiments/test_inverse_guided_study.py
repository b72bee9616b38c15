"""Guided samplers on solvable problems: the problems are what they say, and the judge tells good samplers from bad."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.inverse import calibrated, guided, guided_arms, guided_latent, increments, solvable
from experiments.inverse.config import Guided, Inverse
from experiments.inverse.guided_names import ARMS, LATENT, NOT_FINITE, NOT_RUN
from vrjax.flow import Level
from vrjax.flow.draws import settled
from vrjax.inverse.exact import mixture
from vrjax.study.tables import Bench

TINY = Inverse(
    name="tiny",
    seeds=(0,),
    guided=Guided(
        dimensions=(2,),
        problems=(3, 2),
        signal=8,
        draws=(64, 64),
        pairs=(3, 3),
        few_draws=8,
        particles=32,
        lanes=64,
        validation=1,
        validation_draws=64,
        directions=8,
        chains=4,
        burn=16,
        gibbs_thin=2,
    ),
)
B = solvable.SCALE


def quadrature(z, t, b):
    """E[u | z] and E[n | z] of a Laplace number by Gauss-Legendre panels around its kink and its peak, in NumPy."""
    ends, width = 60 * b, min(t / (1 - t), b)
    spots = (0.0, np.clip(z / (1 - t), -ends, ends))
    cuts = {c + k * width for c in spots for k in (-40, -8, -3, -1, 0, 1, 3, 8, 40)}
    cuts = np.unique([-ends, ends, *(c for c in cuts if abs(c) < ends)])
    x, w = np.polynomial.legendre.leggauss(80)
    half, middle = np.diff(cuts)[:, None] / 2, (cuts[1:] + cuts[:-1])[:, None] / 2
    u = middle + half * x
    log_density = -np.abs(u) / b - (z - (1 - t) * u) ** 2 / (2 * t**2)
    mass = half * w * np.exp(log_density - log_density.max())
    return np.sum(mass * u) / mass.sum(), np.sum(mass * (z - (1 - t) * u)) / t / mass.sum()


def test_the_flow_of_laplace_increments_is_exact():
    """Against quadrature at all levels, in float32 to 3e-5; its slope, the variance of u, is finite everywhere."""
    levels, points = (0.001, 0.01, 0.1, 0.3, 0.5, 0.8, 0.95, 0.99, 0.998), (-6.0, -2.0, -0.3, 0.0, 0.2, 1.0, 3.0, 8.0)
    wanted = np.array([[quadrature(z, t, B) for z in points] for t in levels])
    every = jax.jit(jax.vmap(lambda t: jnp.stack(increments.means(jnp.asarray(points), t, B), -1)))
    found = np.asarray(every(jnp.asarray(levels)))
    assert np.max(np.abs(found - wanted) / (1 + np.abs(wanted))) < 3e-5
    v = increments.velocity(B)(jnp.asarray(points), Level(jnp.asarray(0.5), 500.0))
    np.testing.assert_allclose(v, wanted[4, :, 1] - wanted[4, :, 0], atol=2e-6)
    slope = jax.vmap(jax.vmap(jax.grad(lambda z, t: increments.means(z, t, B)[0]), (0, None)), (None, 0))
    steep = jax.jit(slope)(jnp.linspace(-30, 30, 41), jnp.asarray([0.0, 0.01, 0.3, 0.9, 1.0]))
    assert np.isfinite(steep).all() and (steep > -1e-6).all()


def test_the_velocity_of_mixtures_is_the_one_of_the_library():
    for shape in ((2,), (40,)):
        prior = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), solvable._mixture(np.random.default_rng(3), *shape))
        x, level = 0.3 * jnp.ones(shape), Level(jnp.asarray(0.4), 400.0)
        wanted = mixture.velocity(solvable.law(prior))(x, level)
        np.testing.assert_allclose(solvable.velocity(prior)(x, level), wanted, atol=2e-5)
        wanted = mixture.responsibilities(solvable.law(prior), x)
        np.testing.assert_allclose(solvable.responsibilities(prior, x), wanted, atol=2e-5)


def test_problems_of_a_group_have_equal_shapes_and_the_sheets_is_among_them():
    posed = solvable.problems(TINY, "mixtures 2")
    np.testing.assert_allclose(solvable.weights(posed[0]), [0, 0.6, 0.4], atol=1e-3)
    exact = solvable.reference(jax.random.key(0), posed[0], 4000, 1)
    # Of components 2 and 3 given x1 = .6: x1 is N(1 - .25^2 .4 / (.25^2 + .3^2), ...), x2 stays at +-1.
    gain = 0.25**2 / (0.25**2 + 0.3**2)
    np.testing.assert_allclose(exact[:, 0].mean(), 1 - gain * 0.4, atol=0.02)
    np.testing.assert_allclose(np.mean(exact[:, 1] > 0), 0.6, atol=0.03)
    shapes = [[np.shape(a) for a in jax.tree.leaves(one)] for one in posed]
    assert shapes[0] == shapes[1] == shapes[2]
    for one in (*posed, *solvable.problems(TINY, "signals")):
        np.testing.assert_allclose(np.linalg.norm(one.operator.matrix, 2), 1, rtol=1e-5)
        assert np.all(one.y[~one.operator.matrix.any(1)] == 0)
    other = solvable.problems(TINY, "mixtures 2", validation=True)
    assert not np.allclose(other[0].prior.means, posed[0].prior.means)
    assert not np.allclose(other[0].y, posed[0].y)


def test_a_signal_seen_through_its_increments():
    """The operator on increments is the one on their sums over its norm, and so is the exact posterior's data fit."""
    whole, blurred, few = solvable.problems(dataclasses.replace(TINY, guided=_signals(3)), "signals")
    norm = np.linalg.norm(np.tril(np.ones((8, 8))), 2)
    u = np.random.default_rng(0).normal(size=8)
    np.testing.assert_allclose(whole.operator.matrix @ u * norm, np.cumsum(u), atol=1e-5)
    np.testing.assert_allclose(float(whole.noise_std) * norm, 0.5, rtol=1e-5)
    seen = np.cumsum(u)[3::4]
    np.testing.assert_allclose((few.operator.matrix @ u)[:2] / (few.operator.matrix @ u)[0], seen / seen[0], rtol=1e-3)
    assert np.count_nonzero(few.operator.matrix.any(1)) == 2
    np.testing.assert_allclose(solvable._of_signal(np.asarray(whole.operator.matrix)) * norm, np.eye(8), atol=1e-5)
    draws = solvable.reference(jax.random.key(1), whole, 512, 4)
    assert np.std(np.cumsum(draws, 1).mean(0) - whole.y * norm) < 0.5  # the noise


def _signals(number):
    return dataclasses.replace(TINY.guided, problems=(3, number))


def test_the_judge_passes_exact_draws_and_fails_narrow_ones():
    """Gaussian posteriors: exact draws, draws of 0.6 of the spread, draws off by 0.6 of it, and runs that broke."""
    rng = np.random.default_rng(4)
    truth = rng.normal(size=(400, 2))
    exact = rng.normal(size=(400, 19, 2))
    judge = lambda draws, fine=None: calibrated.judged(
        jax.random.key(0),
        guided.ranked(truth, draws, np.ones(draws.shape[:2], bool) if fine is None else fine),
        draws=19,
    )
    good = judge(exact)
    assert good.passed and good.pairs == 400 and np.all(np.abs(good.coverage - 0.9) < 0.05) and good.p > 0.01
    narrow = judge(0.6 * exact)
    assert narrow.passed is False and np.all(narrow.high < 0.9) and narrow.p < 1e-3
    shifted = judge(exact + 0.6)
    assert shifted.passed is False and shifted.p < 1e-3
    fine = np.ones((400, 19), bool)
    fine[3, 7] = False
    broken = judge(exact, fine)
    assert broken.passed is False and broken.lost == 1 and broken.p == 0
    blank = calibrated.judged(jax.random.key(0), np.full((5, 2), NOT_RUN, np.int8), draws=19)
    assert blank.passed is None and blank.pairs == 0
    with pytest.raises(ValueError, match="one less than a multiple of 20"):
        calibrated.judged(jax.random.key(0), np.zeros((5, 2), int), draws=30)


def test_the_filter_and_a_slice_find_the_sheets_weights():
    """Two samplers that are exact in their limits, on the sheet's problem; an arm's draws depend on its key alone."""
    (problem, *_) = solvable.problems(TINY, "mixtures 2")
    y = np.broadcast_to(problem.y, (256, 2))
    with settled(True):
        draw = lambda: guided_arms.draws("smc", problem, y, jax.random.key(2), 1.0, lanes=128, particles=64)
        x, fine = draw()
        np.testing.assert_array_equal(x, draw()[0])
        drawn = guided_latent.draws("latent elliptical_slice", problem, y[:2], jax.random.key(3), TINY.guided, 512)
    assert fine.all() and drawn.finite == 1 and drawn.pairs.shape == (2, 19, 2)
    for states, within in ((x, 0.1), (drawn.own, 0.12)):
        found = np.asarray(guided.responsibilities(problem.prior, states)).mean(0)
        np.testing.assert_allclose(found, [0, 0.6, 0.4], atol=within)
    with pytest.raises(ValueError, match="multiples of 64 particles"):
        guided_arms.draws("smc", problem, y[:3], jax.random.key(2), 1.0, lanes=128, particles=64)


def test_all_of_a_seed(tmp_path, monkeypatch):
    """Names and shapes, over a few arms."""
    few = {name: ARMS[name] for name in ("pigdm", "flowdps", "tmpd", LATENT[0])}
    monkeypatch.setattr(guided, "ARMS", few)
    monkeypatch.setattr(guided, "LATENT", LATENT[:1])
    table = guided.measure(TINY, Bench(tmp_path), 0)
    assert table["mixtures 2 distance"].shape == (4, 2, 3) and np.isfinite(table["mixtures 2 distance"]).all()
    assert table["mixtures 2 modes"].shape == (4, 2, 3, 3) and table["signals modes"].shape == (4, 2, 2, 0)
    ranks = table["mixtures 2 ranks"]
    assert ranks.shape == (4, 2, 3, 3, 4) and ranks.dtype == np.int8
    assert ((ranks >= 0) & (ranks <= 19) | (ranks == NOT_FINITE)).all()
    assert table["signals floor"].shape == (2,) and (table["signals floor"] > 0).all()
    assert table["mixtures 2 rhat"].shape == (1, 3)
    assert np.isnan(table["mixtures 2 number"][2]).all() and table["mixtures 2 number"][0, 0] == 1.0
    np.testing.assert_array_equal(table["mixtures 2 distance"][2, 0], table["mixtures 2 distance"][2, 1])
    np.testing.assert_allclose(table["mixtures 2 weights"][0], [0, 0.6, 0.4], atol=1e-3)
    medians = table["mixtures 2 validated"][0]
    best = few["pigdm"].candidates[int(np.nanargmin(medians))]
    assert table["mixtures 2 number"][0, 1] == best
