"""Tempered particles on posteriors that are known: the problems, the map of signals, and the table of a seed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments.inverse import guided_latent, known, solvable
from experiments.inverse.config import Inverse, Known
from experiments.inverse.guided_names import SIGNALS
from vrjax.study.tables import Bench

TINY = Known(particles=64, runs=4, rounds=8, moves=4, pairs=(3, 4, 2))
STUDY = Inverse(name="tiny", seeds=(0, 1), known=TINY)


def test_no_two_seeds_share_a_mixture():
    one, other = (known.problems(STUDY, seed) for seed in STUDY.seeds)
    assert [len(some) for some in one.values()] == [3, 1, 1]
    means = [np.asarray(problem.prior.means) for problem in (*one["mixtures"], *other["mixtures"])]
    assert all(not np.allclose(means[i], means[j]) for i in range(6) for j in range(i))
    (gaussian,), (signal,) = one["gaussian"], one["signals"]
    np.testing.assert_array_equal(gaussian.prior.means[0], gaussian.prior.means[2])
    np.testing.assert_array_equal(gaussian.prior.scales[0], gaussian.prior.scales[1])
    plain = solvable.problems(STUDY, SIGNALS)[0]
    assert signal.noise_std == pytest.approx(known.SIGNAL_NOISE / solvable.SIGNAL_NOISES[0] * plain.noise_std)


def test_the_map_of_signals_is_the_quantiles_and_what_the_flow_tends_to():
    z, scale = np.linspace(-3, 3, 13).astype(np.float32), jnp.float32(0.7)
    x = np.asarray(known.mapped(scale, jnp.asarray(z), 16))
    np.testing.assert_allclose(stats.laplace(scale=0.7).cdf(x), stats.norm.cdf(z), atol=1e-6)
    flow = np.asarray(guided_latent.mapped(scale, z.size, 200)(jnp.asarray(z)))
    np.testing.assert_allclose(x, flow, atol=0.02)


def test_all_of_a_seed(tmp_path):
    study = dataclasses.replace(STUDY, guided=dataclasses.replace(STUDY.guided, ode_steps=6))
    table = known.measure(study, Bench(tmp_path), 1)
    for group, problems, pairs, k in (("mixtures", 3, 3, 3), ("gaussian", 1, 4, 0), ("signals", 1, 2, 0)):
        ranks = table[f"{group} ranks"]
        assert ranks.shape == (problems, pairs, 4) and (ranks >= -2).all() and (ranks <= 19).all()
        assert table[f"{group} weights"].shape == table[f"{group} modes"].shape == (problems, k)
        assert np.isfinite(table[f"{group} mode ess"]).all() == bool(k)
        assert ((table[f"{group} finite"] == 0) | (table[f"{group} finite"] > 0.99)).all()
    np.testing.assert_allclose(table["mixtures weights"].sum(-1), 1, atol=1e-6)
    off = np.abs(table["mixtures modes"] - table["mixtures weights"])
    assert off[table["mixtures finite"] > 0].max() < 0.2


def test_particles_of_a_gaussian_problem_have_its_posterior():
    """Mean and covariance in closed form, through the flow's map."""
    (problem,) = known.problems(STUDY, 0)["gaussian"]
    study = dataclasses.replace(STUDY, known=dataclasses.replace(TINY, rounds=10, moves=10))
    found = known.particles(study, jax.random.key(1), problem, np.broadcast_to(problem.y, (8, len(problem.y))), 256)
    assert found.reached.all() and (found.finite == 1).all()
    axes, scales, mean = (
        np.asarray(part[0], np.float64) for part in (problem.prior.axes, problem.prior.scales, problem.prior.means)
    )
    matrix, std, y = np.asarray(problem.operator.matrix, np.float64), float(problem.noise_std), np.asarray(problem.y)
    precision = axes @ np.diag(1 / scales) @ axes.T + matrix.T @ matrix / std**2
    cov = np.linalg.inv(precision)
    wanted = mean + cov @ matrix.T @ (y - matrix @ mean) / std**2
    states = found.states.reshape(-1, len(mean))
    deviations = np.sqrt(np.diagonal(cov))
    assert np.abs(states.mean(0) - wanted).max() < 0.12 * deviations.max()
    np.testing.assert_allclose(states.std(0), deviations, rtol=0.12)
