"""Guided samplers where the posterior is known: Gaussian priors, their limits, and a mixture of three."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.inverse.inverse_guided import Dense, Gaussian, Mixture, Solving, Square, sliced
from vrjax.flow import Level, Prediction, Record, cfg, euler, grids, heun, sample, unipc
from vrjax.inverse import guided

RNG = np.random.default_rng(3)
ROOT = RNG.normal(size=(3, 3))
PRIOR = Gaussian(RNG.normal(size=3), ROOT @ ROOT.T / 3 + 0.1 * np.eye(3))
ROUND = Gaussian(PRIOR.mean, 0.7 * np.eye(3))
A, Y, NOISE = RNG.normal(size=(2, 3)), RNG.normal(size=2), 0.4
E8 = Mixture([(-1.0, -1.0), (1.0, 1.0), (1.0, -1.0)], [0.5, 0.3, 0.2], 0.25)

CASES = {
    "tmpd": (PRIOR, lambda v: guided.tmpd(v, Dense(A), Y, NOISE)),
    "tmpd by CG": (PRIOR, lambda v: guided.tmpd(v, Dense(A), Y, NOISE, explicit=False)),
    "pigdm": (ROUND, lambda v: guided.pigdm(v, Dense(A), Y, NOISE, prior_variance=0.7)),
    "pigdm of an operator that solves": (ROUND, lambda v: guided.pigdm(v, Solving(A), Y, NOISE, prior_variance=0.7)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_velocity_is_the_posteriors(case):
    """With the exact covariance, the guided velocity of a Gaussian prior is that of the Gaussian posterior."""
    prior, guide = CASES[case]
    exact = prior.posterior(A, Y, NOISE)
    with jax.enable_x64(True):
        both = jax.jit(lambda x, s: [jnp.asarray(f(x, Level(s, 1000 * s)).v) for f in (guide(prior.v), exact.v)])
        for s in (0.02, 0.5, 0.97):
            found, wanted = both(jnp.asarray([0.4, -1.2, 0.9]), jnp.asarray(s))
            np.testing.assert_allclose(found, wanted, rtol=1e-6 if "CG" in case else 1e-9)


def test_large_observations_are_solved_by_cg(monkeypatch):
    """What is explicit up to 32 entries is CG above; here the bound is moved."""
    from vrjax.inverse.guided import _linear

    at = (jnp.asarray([0.4, -1.2, 0.9]), Level(jnp.asarray(0.6), jnp.asarray(600.0)))
    explicit = guided.pigdm(PRIOR.v, Dense(A), Y, NOISE)(*at).v
    monkeypatch.setattr(_linear, "EXPLICIT", 0)
    np.testing.assert_allclose(guided.pigdm(PRIOR.v, Dense(A), Y, NOISE)(*at).v, explicit, rtol=1e-5)


def moments(solver, steps):
    """(mean, covariance) of what a deterministic run makes of N(0, I): it is affine, so four runs tell all."""
    run = lambda x: (
        sample(
            guided.tmpd(PRIOR.v, Dense(A), Y, NOISE), x, grids.shifted(steps), solver=solver, record=Record(())
        ).final
    )
    ends = np.asarray(jax.jit(jax.vmap(run))(jnp.concatenate([jnp.zeros((1, 3)), jnp.eye(3)])))
    matrix = (ends[1:] - ends[0]).T
    return ends[0], matrix @ matrix.T


@pytest.mark.parametrize(
    "solver, largest", [(euler(), 0.05), (heun(), 0.0005), (unipc(), 0.001)], ids=["euler", "heun", "unipc"]
)
def test_mean_and_covariance_converge(solver, largest):
    """Without Monte-Carlo error: mean and covariance of the run approach the posterior's as steps are added."""
    exact = PRIOR.posterior(A, Y, NOISE)
    with jax.enable_x64(True):
        errors = []
        for steps in (20, 40, 80):
            mean, covariance = moments(solver, steps)
            errors.append((np.abs(mean - exact.mean).max(), np.abs(covariance - exact.covariance).max()))
    errors = np.array(errors)
    assert np.all(errors[-1] < largest)
    assert np.all(errors[1:].max(1) < 0.7 * errors[:-1].max(1))


def test_composes_with_guidance_and_keeps_taps():
    """The correction of a guided velocity is that of its data estimate; taps are the base's; seeds by vmap."""
    base = cfg(PRIOR.v, ROUND.v, 1.5)
    velocity = guided.pigdm(base, Dense(A), Y, NOISE)
    x, level = jnp.asarray([[0.4, -1.2, 0.9], [1.0, 0.2, -0.1]]), Level(jnp.asarray(0.6), jnp.asarray(600.0))
    found = jax.vmap(lambda x: velocity(x, level))(x)
    np.testing.assert_allclose(found.taps["x0"], jax.vmap(lambda x: base(x, level))(x).taps["x0"])
    jacobian = jax.jacobian(lambda x: x - 0.6 * base(x, level).v)(x[1])
    missing = Y - A @ (x[1] - 0.6 * base(x[1], level).v)
    r2 = 0.36 / 0.52
    score = jacobian.T @ A.T @ np.linalg.solve(r2 * A @ A.T + NOISE**2 * np.eye(2), missing)
    np.testing.assert_allclose(found.v[1], base(x[1], level).v - 1.5 * score, rtol=2e-5)


def test_dps_is_exact_where_the_noise_is_wide():
    """Its answer to a change of the observation, of one key and so without Monte-Carlo error, beside the posterior's.

    The likelihood of x0_hat ignores the uncertainty of x0 beside the noise, so the answers agree as that grows.
    """
    grid, operator = grids.shifted(60), Dense(A)
    with jax.enable_x64(True):

        @jax.jit
        def shift(noise_std):
            run = lambda y: (
                sample(
                    PRIOR.v,
                    jnp.ones(3),
                    grid,
                    solver=guided.dps(operator, y, noise_std, step="likelihood"),
                    key=jax.random.key(0),
                    record=Record(()),
                ).final
            )
            return run(jnp.asarray(Y)) - run(jnp.asarray(A @ PRIOR.mean))

        errors = []
        for noise_std in (1.0, 4.0, 16.0):
            exact = PRIOR.posterior(A, Y, noise_std).mean - PRIOR.mean
            errors.append(np.linalg.norm(shift(noise_std) - exact) / np.linalg.norm(exact))
    assert errors[0] > 4 * errors[1] and errors[2] < 0.03


@functools.cache
def draws(name, count=2000, **options):
    """Draws from the mixture with x1 = .6 observed, noise .3, 50 steps."""
    operator, grid = Dense(np.array([[1.0, 0.0]])), grids.shifted(50)
    one = lambda x, key: guided.run(
        name, E8.v, operator, np.array([0.6]), 0.3, x, grid, key=key, record=Record((49,), ("next",)), **options
    )
    x = jax.random.normal(jax.random.key(5), (count, 2))
    found = jax.jit(jax.vmap(one, axis_name="seed"))(x, jax.random.split(jax.random.key(6), count))
    assert np.all(found.stats["finite"])
    return np.asarray(found.final, np.float64), found.stats


def test_the_mixture():
    """Sliced W1 between 2,000 draws and as many of the posterior (.011 between two such sets): DPS .033; PiGDM .19 with
    8 % of its draws in the mode where the posterior has nothing; the filter .021, and its evidence
    within .01."""
    weights, exact = E8.posterior(np.array([1.0, 0.0]), 0.6, 0.3, 2000, seed=0)
    np.testing.assert_allclose(weights, [0, 0.6, 0.4], atol=1e-3)
    found = {}
    for name, options in (("dps", (("step", "likelihood"),)), ("pigdm", ()), ("smc", ())):
        x, stats = draws(name, **dict(options))
        found[name] = (sliced(x, exact), *E8.nearest(x))
    assert found["dps"][0] < 0.1 and found["dps"][1] < 0.01
    assert found["pigdm"][0] < 0.25 and 0.01 < found["pigdm"][1] < 0.12  # it does leave draws in the impossible mode
    assert found["dps"][0] < found["pigdm"][0] < 0.6
    np.testing.assert_allclose(found["smc"], [0, *weights], atol=0.06)
    variance = 0.25**2 + 0.3**2  # of the first entry of a component, with the noise
    likelihood = np.exp(-0.5 * (0.6 - E8.means[:, 0]) ** 2 / variance) / np.sqrt(2 * np.pi * variance)
    assert stats["log_evidence"][0, -1] == pytest.approx(np.log(E8.weights @ likelihood), abs=0.05)


V, START, AT = PRIOR.v, jnp.zeros(3), Level(jnp.asarray(0.5), jnp.asarray(500.0))
OP, KEY = Dense(A), jax.random.key(0)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: guided.pigdm(V, Square(A), Y, NOISE), "pigdm: .* needs a linear operator .* nonlinear one, Square"),
        (lambda: guided.pigdm(V, OP, np.array([np.nan, 0.0]), NOISE), "pigdm: y must be finite, found 1 of 2"),
        (lambda: guided.pigdm(V, OP, Y, 0.0), "pigdm: noise_std must be one positive finite number, found 0.0"),
        (lambda: guided.pigdm(V, OP, np.zeros(3), NOISE)(START, AT), r"pigdm: y must .* \(2,\), found \(3,\)"),
        (lambda: guided.ot_ode(V, OP, Y, NOISE, gamma="one"), "ot_ode: gamma must be one of constant, gamma_t"),
        (lambda: guided.dps(OP, Y, NOISE, step="big"), "dps: step must be one of published, normalised, likelihood"),
        (lambda: guided.dps(object(), Y, NOISE), "dps: operator must have .apply"),
        (lambda: guided.flowdps(Square(A), Y, NOISE), "flowdps: residual='adjoint' needs a linear operator"),
        (lambda: guided.flowchef(OP, Y, NOISE, residual="pseudo_inverse"), "needs operator.pseudo_inverse"),
        (lambda: guided.daps(V, OP, Y, NOISE, START, key=KEY, tau=0.0), "daps: tau must be positive"),
        (lambda: guided.smc(V, OP, Y, NOISE, START, key=KEY, threshold=2.0), "threshold must lie within"),
        (lambda: guided.smc(V, OP, Y, NOISE, START, key=KEY), "a collective over 'seed'"),
        (lambda: guided.d_flow(V, OP, Y, NOISE, START, grids.shifted(5)), "even number of steps, found 5"),
        (
            lambda: guided.run("dps", V, OP, Y, NOISE, START, grids.shifted(5), key=KEY, solver=euler()),
            "dps is a solver",
        ),
        (lambda: guided.get("dsp"), "unknown guided method 'dsp'"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_every_level_above_the_highest_is_asked_as_it():
    seen = lambda x, level: Prediction(level.sigma * jnp.ones_like(x), {"time": level.time})
    velocity = guided.pigdm(seen, Dense(A), Y, NOISE, highest=0.9, weight=0.0)
    for sigma, asked in ((1.0, 0.9), (0.95, 0.9), (0.9, 0.9), (0.3, 0.3)):
        found = velocity(jnp.zeros(3), Level(jnp.asarray(sigma), jnp.asarray(1000 * sigma)))
        np.testing.assert_allclose((found.v[0], found.taps["time"]), (asked, 1000 * asked), rtol=1e-6)
