"""The bicycle against fine integration and closed form, the intelligent driver model against its formula."""

import jax
import jax.numpy as jnp
import numpy as np

from vrjax import drive

BICYCLE = jax.jit(drive.bicycle)


def integrated(pose, accel, steer, dt, wheelbase=2.7, steps=20_000):
    """Runge and Kutta's fourth order in float64, up to where the bicycle comes to rest."""
    x, y, yaw, v = (float(value) for value in pose)
    if accel < 0:
        dt = min(dt, v / -accel)
    h, f = dt / steps, lambda yaw, v: np.array([v * np.cos(yaw), v * np.sin(yaw), v * np.tan(steer) / wheelbase])
    at = np.array([x, y, yaw])
    for _ in range(steps):
        k1 = f(at[2], v)
        k2 = f(at[2] + h / 2 * k1[2], v + h / 2 * accel)
        k3 = f(at[2] + h / 2 * k2[2], v + h / 2 * accel)
        k4 = f(at[2] + h * k3[2], v + h * accel)
        at = at + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        v += h * accel
    return np.append(at, v)


def test_the_bicycle_is_what_fine_integration_says():
    cases = [
        ([1.0, -2.0, 0.4, 8.0], 1.5, 0.2, 2.0),
        ([0.0, 3.0, -2.0, 5.0], -2.0, -0.5, 1.0),
        ([2.0, 1.0, 1.0, 4.0], -5.0, 0.3, 3.0),  # at rest after 0.8 s
        ([5.0, 5.0, 3.0, 12.0], 0.0, 1e-4, 5.0),
        ([5.0, 5.0, 3.0, 12.0], 0.5, 0.0, 5.0),
    ]
    for pose, accel, steer, dt in cases:
        found = BICYCLE(jnp.array(pose), accel, steer, dt)
        np.testing.assert_allclose(found, integrated(pose, accel, steer, dt, steps=2_000), rtol=1e-5, atol=2e-6)


def test_the_bicycle_drives_circles_and_stops():
    steer = 0.3
    radius = 2.7 / np.tan(steer)
    round_ = BICYCLE(jnp.array([0.0, 0.0, 0.0, 3.0]), 0.0, steer, 2 * np.pi * radius / 3)
    np.testing.assert_allclose(round_, [0, 0, 2 * np.pi, 3], atol=2e-5)
    half = BICYCLE(jnp.array([0.0, 0.0, 0.0, 3.0]), 0.0, steer, np.pi * radius / 3)
    np.testing.assert_allclose(half, [0, 2 * radius, np.pi, 3], atol=2e-5)
    long = BICYCLE(jnp.array([0.0, 0.0, 0.0, 3.0]), 0.0, steer, 1.0, wheelbase=5.4)
    np.testing.assert_allclose(long[2], 3 * np.tan(steer) / 5.4, rtol=1e-6)
    rest = BICYCLE(jnp.array([1.0, 2.0, 0.0, 2.0]), -4.0, 0.0, 10.0)
    np.testing.assert_allclose(rest, [1.5, 2, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(BICYCLE(rest, -4.0, 0.5, 1.0), rest)
    np.testing.assert_allclose(BICYCLE(jnp.array([0.0, 0.0, 0.0, -1.0]), 2.0, 0.0, 1.0), [1, 0, 0, 2], atol=1e-6)


def test_two_half_steps_are_one():
    pose = jnp.array([0.0, 0.0, 0.7, 4.0])
    for accel in (1.0, -3.0, -30.0):
        halves = BICYCLE(BICYCLE(pose, accel, 0.25, 0.5), accel, 0.25, 0.5)
        np.testing.assert_allclose(halves, BICYCLE(pose, accel, 0.25, 1.0), rtol=1e-6, atol=1e-6)


def test_the_bicycle_has_gradients_where_it_goes_straight_and_where_it_rests():
    for pose, accel in (([0.0, 0.0, 0.0, 5.0], 1.0), ([0.0, 0.0, 0.0, 0.0], -1.0), ([0.0, 0.0, 0.0, 0.0], 0.0)):
        slope = jax.jit(jax.jacobian(drive.bicycle, (0, 1, 2)))(jnp.array(pose), accel, 0.0, 1.0)
        assert all(np.isfinite(part).all() for part in slope)
    moving = jax.jacobian(drive.bicycle, 2)(jnp.array([0.0, 0.0, 0.0, 5.0]), 1.0, 0.0, 1.0)
    np.testing.assert_allclose(moving, [0, 5.5**2 / 2 / 2.7, 5.5 / 2.7, 0], rtol=1e-5)


def test_the_driver_model_is_its_formula():
    rng = np.random.default_rng(0)
    gap, v, lead = rng.uniform(0.5, 80, 200), rng.uniform(0, 15, 200), rng.uniform(0, 15, 200)
    v0, T, s0, a, b = 13.0, 1.4, 2.5, 1.2, 1.8
    wanted = s0 + np.maximum(0, v * T + v * (v - lead) / (2 * np.sqrt(a * b)))
    expected = a * (1 - (v / v0) ** 4 - (wanted / gap) ** 2)
    found = drive.idm(gap, v, lead, drive.IDM(v0, T, s0, a, b))
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)
    assert (v * T + v * (v - lead) / (2 * np.sqrt(a * b)) < 0).sum() > 5  # where the maximum counts
    free = drive.idm(jnp.inf, v, 0.0, drive.IDM(v0, T, s0, a, b))
    np.testing.assert_allclose(free, a * (1 - (v / v0) ** 4), rtol=2e-6, atol=2e-6)
    assert float(drive.idm(-1.0, 3.0, 0.0, drive.IDM())) < -1e6
