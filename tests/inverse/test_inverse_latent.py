"""Samplers of latent space against posteriors in closed form; observations, seeds and devices; what goes wrong."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.inverse import inverse_posteriors as exact
from tests.inverse.inverse_posteriors import GAUSSIAN, MODES, NEAR
from vrjax import parallel
from vrjax.inverse import latent

# name: sampler, chains, steps, options, a mixture, least effective size of any moment and share
SAMPLERS = {
    "pcn": (latent.pcn, 32, 600, {"beta": 0.9, "burn": 200, "thin": 4}, MODES, 2500),
    "elliptical_slice": (latent.elliptical_slice, 32, 600, {"burn": 20}, MODES, 2500),
    "laplace_slice": (latent.laplace_slice, 32, 600, {"burn": 20, "inflate": 4.0}, NEAR, 2500),
    "nuts": (latent.nuts, 16, 500, {"burn": 150, "doublings": 5}, NEAR, 1500),
}


def ran(name, case, **options):
    sampler, chains, steps, given, _, _ = SAMPLERS[name]
    given = {"args": case.args, **given, **options}
    return sampler(jax.random.key(1), exact.log_likelihood, exact.starts(chains), steps, **given)


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_draw_from_the_posterior(name):
    traces = []

    def log_likelihood(z, *args):
        traces.append(1)
        return exact.log_likelihood(z, *args)

    sampler, chains, steps, options, mixture, least = SAMPLERS[name]
    run = functools.partial(sampler, jax.random.key(1), log_likelihood, exact.starts(chains), steps, **options)
    first = run(args=GAUSSIAN.args)
    once = len(traces)
    second = run(args=mixture.args)
    assert len(traces) == once  # another observation is another argument of the same program
    for chain, case in ((first, GAUSSIAN), (second, mixture)):
        assert chain.z.shape == (chains, steps, 2) and chain.log_density.shape == (chains, steps)
        assert chain.info.finite.all() and chain.info.burn_finite.all()
        there = jax.vmap(lambda z, case=case: exact.log_likelihood(z, *case.args) - 0.5 * z @ z)(chain.z[3])
        np.testing.assert_allclose(chain.log_density[3], there, rtol=1e-4, atol=1e-4)
        exact.agrees(chain.z, case, least)
    assert latent.gate(first).passed
    if name != "nuts":  # which takes seconds
        np.testing.assert_array_equal(first.z, run(args=GAUSSIAN.args).z)


def test_laplace_finds_the_gaussian():
    with jax.enable_x64(True):
        mean, covariance = GAUSSIAN.moments()
        for residual in (None, exact.residual):
            search = functools.partial(latent.laplace, exact.log_likelihood, residual=residual)
            found = jax.jit(lambda args, search=search: search(jnp.zeros(2), args=args))(GAUSSIAN.args)
            np.testing.assert_allclose(found.mode, mean, atol=1e-9)
            np.testing.assert_allclose(found.covariance, covariance, atol=1e-9)
            assert found.gradient < 1e-8
    chain = latent.laplace_slice(
        jax.random.key(0), exact.log_likelihood, exact.starts(8), 200, args=GAUSSIAN.args, residual=exact.residual
    )
    np.testing.assert_allclose(chain.info.covariance, 1.3 * covariance, rtol=1e-4)
    assert chain.info.evaluations.mean() < 1.6  # the ellipse is the posterior's: hardly a point is refused
    exact.agrees(chain.z, GAUSSIAN, 300)


def test_tempered_smc_finds_weights_and_evidence():
    key, starts = jax.random.key(2), jax.random.normal(jax.random.key(3), (4, 1500, 2))
    run = jax.vmap(lambda key, z0: latent.tempered_smc(key, exact.log_likelihood, z0, 12, args=MODES.args))
    chain = run(jax.random.split(key, 4), starts)
    power = np.asarray(chain.info.tempering)
    assert (power[:, 0] == 0).all() and (np.diff(power) >= 0).all() and (power[:, -1] == 1).all()
    exact.agrees(chain.z[:, :, -1], MODES, 2500)
    np.testing.assert_allclose(chain.info.log_evidence, MODES.posterior()[-1], atol=0.15)
    assert abs(chain.info.log_evidence.mean() - MODES.posterior()[-1]) < 0.06
    assert latent.gate(chain).passed
    short = chain._replace(z=chain.z[:, :, :1], info=chain.info._replace(tempering=chain.info.tempering[:, :1]))
    assert "before 1" in latent.gate(short).why
    assert "several runs" in latent.gate(jax.tree.map(lambda a: a[0], chain)).why


def test_importance_with_a_good_and_a_bad_proposal():
    run = functools.partial(latent.importance, jax.random.key(4), exact.log_likelihood, 2, 20_000, args=MODES.args)
    weights, means, spread, evidence = MODES.posterior()
    good = run()
    assert good.khat < 0.5 and good.ess > 1000
    share = exact.responsibilities(np.asarray(good.z, np.float64), weights, means, spread)
    np.testing.assert_allclose(np.exp(good.log_weights) @ share, weights, atol=0.03)
    np.testing.assert_allclose(good.log_evidence, evidence, atol=0.03)
    assert np.exp(good.log_weights).sum() == pytest.approx(1, abs=1e-4)
    bad = run(mean=jnp.zeros(2), covariance=0.05 * jnp.eye(2))
    assert bad.khat > 0.7


def test_pcn_adapts_in_the_burn_in_only():
    options = {"beta": 0.05, "adapt": True, "target": 0.3, "burn": 600}
    chain = ran("pcn", GAUSSIAN, **options)
    assert abs(chain.info.acceptance.mean() - 0.3) < 0.05
    assert 0.3 < chain.info.step_size.min() and chain.info.step_size.max() < 1
    exact.agrees(chain.z, GAUSSIAN, 2500)


def test_observations_and_seeds_are_vmapped():
    def run(key, centres):
        args = (GAUSSIAN.args[0], centres, GAUSSIAN.args[2])
        return latent.elliptical_slice(key, exact.log_likelihood, exact.starts(8), 300, args=args, thin=2)

    seen = jnp.stack([GAUSSIAN.args[1], -GAUSSIAN.args[1]])
    keys = jax.random.split(jax.random.key(5), 2)
    chains = jax.vmap(run)(keys, seen)
    assert chains.z.shape == (2, 8, 300, 2)
    assert "one posterior at a time" in latent.gate(chains).why
    for i, sign in enumerate((1, -1)):
        exact.agrees(chains.z[i], GAUSSIAN._replace(centres=sign * GAUSSIAN.centres), 300)
        alone = run(keys[i], seen[i])
        # in a batch a sum may round otherwise; from one decision that falls otherwise on the chains differ
        np.testing.assert_allclose(chains.z[i, :, :3], alone.z[:, :3], atol=1e-4)


@pytest.mark.parametrize("name, chains", [("pcn", 16), ("elliptical_slice", 8), ("laplace_slice", 16)])
def test_chains_on_eight_devices_decide_alike(name, chains):
    sampler = SAMPLERS[name][0]
    with jax.enable_x64(True):
        run = functools.partial(
            sampler, jax.random.key(6), exact.log_likelihood, exact.starts(chains), 50, args=MODES.args
        )
        one, many = run(), run(how="mesh", mesh=parallel.mesh({"seed": 8}))
        assert one.z.dtype == np.float64 and len(many.z.sharding.device_set) == 8
        np.testing.assert_array_equal(one.info.acceptance, many.info.acceptance)
        np.testing.assert_array_equal(one.info.evaluations, many.info.evaluations)
        np.testing.assert_allclose(one.z, many.z, rtol=0, atol=1e-9)
        np.testing.assert_allclose(one.log_density, many.log_density, rtol=0, atol=1e-9)


# ------------------------------------------------------------------------------------------------- what goes wrong


def wall(z, height):
    """A likelihood that is NaN for z[0] > 0 and flat, far below 0, elsewhere."""
    return jnp.where(z[0] > 0, jnp.nan, -height)


@pytest.mark.parametrize("sampler", [latent.pcn, latent.elliptical_slice])
def test_not_finite_proposals_are_refused_and_flagged(sampler):
    z0 = -jnp.abs(jax.random.normal(jax.random.key(7), (8, 1)))
    # -1000 + log(u) is often -1000 in float32: the state itself must count as within the slice
    chain = sampler(jax.random.key(8), wall, z0, 400, args=(jnp.float32(1e5),))
    assert (chain.z <= 0).all() and np.isfinite(chain.log_density).all()
    assert not chain.info.finite.all() and chain.info.finite.any()
    assert float(-chain.z.mean()) == pytest.approx(np.sqrt(2 / np.pi), abs=0.1)  # the half-normal that is left


def test_starts_that_are_not_finite_are_one_line():
    z0 = jnp.array([[-1.0], [1.0], [2.0]])
    run = functools.partial(latent.pcn, jax.random.key(0), wall)
    with pytest.raises(
        ValueError, match=r"^z0: 2 of 3 starts are not finite: log_likelihood\(z0\[1\]\) is nan"
    ) as info:
        run(z0, 10, args=(1.0,))
    assert "\n" not in str(info.value)
    with pytest.raises(ValueError, match=r"z0: found shape \(2, 0\)"):
        run(jnp.zeros((2, 0)), 10, args=(1.0,))
    with pytest.raises(ValueError, match="steps: found 0"):
        run(-z0[:1] * 0 - 1, 0, args=(1.0,))
    with pytest.raises(ValueError, match="beta: found 1.5, expected a number in"):
        run(-z0[:1] * 0 - 1, 5, args=(1.0,), beta=1.5)
    with pytest.raises(ValueError, match=r"log_likelihood: found a value of shape \(1,\), expected a scalar"):
        latent.pcn(jax.random.key(0), lambda z: z, z0, 10)
    with pytest.raises(ValueError, match="burn: found 5"):
        latent.nuts(jax.random.key(0), exact.log_likelihood, exact.starts(2), 5, args=GAUSSIAN.args, burn=5)
    with pytest.raises(ValueError, match="positive definite"):
        latent.importance(jax.random.key(0), lambda z: 0.0, 2, 10, covariance=-jnp.eye(2))
