"""The sampler of few-step models against its two lines in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vrjax.flow import Record, grids, renoise, sample

GRID = grids.self_forcing((1000, 750, 250))


def velocity(x, level):
    return jnp.sin(3 * x) + level.sigma


def by_hand(x, noise):
    """States before each step and the end, in float64."""
    states, sigmas = [np.float64(x)], GRID.sigmas
    for s, end, joins in zip(sigmas, sigmas[1:], [*noise, np.zeros_like(noise[0])], strict=False):
        x0 = states[-1] - s * (np.sin(3 * states[-1]) + s)
        states.append((1 - end) * x0 + end * joins)
    return np.stack(states)


def test_given_noise_joins_between_steps():
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, 3)), rng.normal(size=(2, 2, 3))
    with jax.enable_x64(True):
        run = sample(velocity, jnp.asarray(x), GRID, solver=renoise(jnp.asarray(noise)))
        np.testing.assert_allclose(run.x, by_hand(x, noise), rtol=0, atol=1e-12)
        np.testing.assert_array_equal(run.final, run.x0[-1])


def test_drawn_noise_is_new_in_every_step_and_the_keys_alone():
    x, record = jnp.zeros((2, 3)), Record(fields=("x", "noise"))
    one, two, other = (
        sample(velocity, x, GRID, solver=renoise(), key=jax.random.key(seed), record=record) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one.x, two.x)
    assert np.abs(one.x[1:] - other.x[1:]).min() > 0 and np.abs(one.noise[0] - one.noise[1]).min() > 0
    np.testing.assert_allclose(one.x, by_hand(x, one.noise[:2]), rtol=0, atol=1e-5)


def test_a_single_step_needs_no_noise():
    grid = grids.self_forcing((1000,))
    run = sample(velocity, jnp.ones(3), grid, solver=renoise(jnp.zeros((0, 3))))
    np.testing.assert_allclose(run.final, 1 - np.sin(3.0) - 1, rtol=0, atol=1e-6)


def test_noise_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"renoise: noise of shape \(2, 4\), expected \(steps - 1, 3\)"):
        sample(velocity, jnp.ones(3), GRID, solver=renoise(jnp.zeros((2, 4))))


@pytest.mark.parametrize("times", [(), (0,), (1000, 1001), (1000, 0.5), ((1000, 500),)])
def test_lists_that_are_none(times):
    with pytest.raises(ValueError, match="self_forcing: times must be whole numbers"):
        grids.self_forcing(times)
