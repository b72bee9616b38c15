"""The stochastic solver's published transitions, and `log_prob`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vrjax.flow import Phase, Record, euler, grids, log_prob, sample, sde

KEY = jax.random.key(5)
GRID = grids.shifted(6, 3.0)
W = (jax.random.normal(jax.random.key(1), (4, 32)) / 2, jax.random.normal(jax.random.key(2), (32, 4)) / 8)
X = jax.random.normal(jax.random.key(0), (40, 16, 4))
EVERYTHING = Record(fields=("x", "v", "next", "mean", "std", "noise"))
KINDS = ["flow_grpo", "dance_grpo"]


def network(w):
    def velocity(x, level):
        h = jnp.tanh(x @ w[0] + level.time / 1000)
        h = h / jnp.sqrt(jnp.mean(h * h, -1, keepdims=True) + 1e-6)
        return 0.5 * x + h @ w[1]

    return velocity


def rollout(w, x, key, kind="flow_grpo", record=None, **options):
    return sample(network(w), x, GRID, solver=sde(kind, **options), key=key, record=record)


def published(kind, eta, x, v, sigmas, i):
    """Mean and standard deviation of one step as the public code of each paper writes it, in float64."""
    sigma, dt = sigmas[i], sigmas[i + 1] - sigmas[i]
    if kind == "flow_grpo":
        std = eta * np.sqrt(sigma / (1 - (sigmas[1] if sigma == 1 else sigma)))
        mean = x * (1 + std**2 / (2 * sigma) * dt) + v * (1 + std**2 * (1 - sigma) / (2 * sigma)) * dt
        return mean, std * np.sqrt(-dt)
    x0 = x - sigma * v
    score = -(x - x0 * (1 - sigma)) / sigma**2
    return x + dt * v - 0.5 * eta**2 * score * dt, eta * np.sqrt(-dt)


@pytest.mark.parametrize("kind, eta", [("flow_grpo", 0.7), ("dance_grpo", 0.3)])
@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_every_step_is_the_published_one(kind, eta, reduce):
    with jax.enable_x64(True):
        x = jax.random.normal(KEY, (3, 4), jnp.float64)
        t = rollout(W, x, KEY, kind, EVERYTHING, noisy_end=True, reduce=reduce)
        t = jax.tree.map(np.asarray, t)
    for i in range(6):
        mean, std = published(kind, eta, t.x[i], t.v[i], GRID.sigmas, i)
        np.testing.assert_allclose(t.mean[i], mean, atol=1e-12)
        assert t.std[i] == pytest.approx(std, rel=1e-12)
        np.testing.assert_allclose(t.x[i + 1], mean + std * t.noise[i], atol=1e-12)
        density = getattr(np, reduce)(stats.norm.logpdf(t.x[i + 1], mean, std))
        assert t.log_prob[i] == pytest.approx(density, rel=1e-10)
    assert t.noise.std() == pytest.approx(1.0, abs=0.3) and len(np.unique(t.noise)) == t.noise.size


def test_the_end_is_exact_unless_asked_otherwise():
    t = rollout(W, X, KEY, record=EVERYTHING)
    assert t.std[-1] == 0 and t.log_prob[-1] == 0 and np.all(t.std[:-1] > 0)
    np.testing.assert_allclose(t.final, t.x[-2] - t.sigma[-2] * t.v[-1], atol=1e-6)


def test_a_window_is_stochastic_and_the_rest_is_euler():
    t = rollout(W, X, KEY, record=EVERYTHING, window=(2, 4))
    np.testing.assert_array_equal(np.asarray(t.std) > 0, [False, False, True, True, False, False])
    plain = sample(network(W), X, GRID, solver=euler())
    np.testing.assert_allclose(t.x[:3], plain.x[:3], atol=1e-6)
    assert np.abs(t.x[3] - plain.x[3]).max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_the_ratio_is_exactly_1_before_any_update(kind):
    """Bit for bit: jitted, in batches, for some steps. Differentiating compiles the network's forward pass into another
    program, which saves what the backward pass needs: there its own rounding may show, 1e-7 here.
    """
    t = jax.jit(rollout, static_argnums=3)(W, X, KEY, kind)
    assert t.log_prob.shape == (6,) and np.isfinite(t.log_prob).all() and len(np.unique(t.log_prob)) == 6
    again = jax.jit(lambda w, t: log_prob(network(w), t))(W, t)
    np.testing.assert_array_equal(again, t.log_prob)

    def ratio(w, t, wrap=lambda f: f):
        return jnp.exp(log_prob(wrap(network(w)), t) - t.log_prob)

    for wrap in (lambda f: f, jax.checkpoint):
        loss = lambda w, t, wrap=wrap: (jnp.mean(r := ratio(w, t, wrap)), r)
        (_, ratios), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(W, t)
        np.testing.assert_allclose(ratios, 1.0, rtol=0, atol=5e-7)
        assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for g in gradient)

    xs, keys = jnp.stack([X, X[::-1]]), jax.random.split(KEY, 2)
    batch = jax.jit(jax.vmap(lambda x, key: rollout(W, x, key, kind)))(xs, keys)
    np.testing.assert_array_equal(jax.jit(jax.vmap(lambda t: ratio(W, t)))(batch), 1.0)

    for steps in ((4, 1), (2,)):
        some = jax.jit(lambda x, s=steps: rollout(W, x, KEY, kind, Record(s, ("x", "next"))))(X)
        assert some.log_prob.shape == (len(steps),)
        np.testing.assert_array_equal(jax.jit(lambda t: ratio(W, t))(some), 1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_log_prob_of_another_network(kind):
    """Against scipy's normal density, and its gradient against the analytic one through the mean."""
    other = jax.tree.map(lambda a: 1.05 * a, W)
    with jax.enable_x64(True):
        w, other = (jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), p) for p in (W, other))
        t = rollout(w, jax.random.normal(KEY, (3, 4), jnp.float64), KEY, kind, EVERYTHING)
        moved, gradient = jax.value_and_grad(lambda s: log_prob(lambda x, level: s * network(other)(x, level), t)[2])(
            1.0
        )
        expected = []
        for i in range(5):
            v = np.asarray(network(other)(t.x[i], _level(t, i)))
            mean, std = published(kind, 0.7 if kind == "flow_grpo" else 0.3, np.asarray(t.x[i]), v, GRID.sigmas, i)
            expected.append(stats.norm.logpdf(np.asarray(t.next[i]), mean, std).mean())
            if i == 2:
                step = published(kind, 0.7 if kind == "flow_grpo" else 0.3, 0.0, 1.0, GRID.sigmas, i)[0]
                slope = np.mean((np.asarray(t.next[i]) - mean) / std**2 * step * v)
        found = log_prob(network(other), t)
    np.testing.assert_allclose(found[:5], expected, rtol=1e-9)
    assert found[5] == 0.0 and moved == pytest.approx(expected[2], rel=1e-9)
    assert gradient == pytest.approx(slope, rel=1e-8)


def _level(t, i):
    from vrjax.flow import Level

    return Level(t.sigma[i], t.time[i])


def test_phases_and_edits():
    w = jax.tree.map(lambda a: 0.9 * a, W)
    phases = (Phase(2, network(w)), Phase(6, network(W)))
    edit = lambda step, x, key: jnp.where(step == 3, 0.5 * x, x)
    record = Record((5, 1, 3), ("x", "next"))
    run = jax.jit(lambda x: sample(phases, x, GRID, solver=sde(), key=KEY, edit=edit, record=record))
    t = run(X)
    np.testing.assert_array_equal(jax.jit(lambda t: log_prob(phases, t))(t), t.log_prob)
    assert np.abs(log_prob(network(W), t) - t.log_prob)[1] > 1e-4


def test_errors():
    with pytest.raises(ValueError, match="solver is deterministic"):
        log_prob(network(W), sample(network(W), X, GRID))
    some = rollout(W, X, KEY, record=Record((1,), ("x",)))
    with pytest.raises(ValueError, match="only some of its steps were recorded, so it must have 'next'"):
        log_prob(network(W), some)
    edited = sample(network(W), X, GRID, solver=sde(), key=KEY, edit=lambda s, x, k: x)
    with pytest.raises(ValueError, match="edited between steps"):
        log_prob(network(W), edited)
    with pytest.raises(ValueError, match="must have x recorded"):
        log_prob(network(W), rollout(W, X, KEY, record=Record(())))
    with pytest.raises(ValueError, match="use jax.vmap"):
        log_prob(network(W), jax.vmap(lambda k: rollout(W, X, k))(jax.random.split(KEY, 2)))
