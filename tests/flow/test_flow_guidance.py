"""Guidance, switches and constraints: velocity in, velocity out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.flow.flow_oracles import curved
from vrjax import flow
from vrjax.flow import (
    Level,
    Prediction,
    cfg,
    clamp_first_frame,
    dual,
    experts,
    grids,
    interval,
    sample,
    switch,
)

X = jax.random.normal(jax.random.key(0), (4, 2, 2, 3))
LEVEL = Level(jnp.float32(0.6), jnp.float32(600.0))


def cond(x, level):
    return Prediction(jnp.sin(x) + level.sigma, {"who": jnp.float32(1.0)})


def uncond(x, level):
    return Prediction(0.3 * x, {"who": jnp.float32(2.0)})


def image(x, level):
    return jnp.cos(x)


def value(velocity, x=X, level=LEVEL):
    out = velocity(x, level)
    return out.v if isinstance(out, Prediction) else out


C, U, I = value(cond), value(uncond), value(image)


def test_cfg():
    guided = cfg(cond, uncond, 5.0)(X, LEVEL)
    np.testing.assert_allclose(guided.v, U + 5 * (C - U), rtol=1e-6)
    assert guided.taps == {"who": 1.0}
    np.testing.assert_allclose(value(cfg(cond, uncond, 1.0)), C, atol=1e-6)
    np.testing.assert_allclose(value(cfg(cond, uncond, 0.0)), U, atol=1e-6)
    np.testing.assert_allclose(value(cfg(cond, uncond, lambda level: 10 * level.sigma)), U + 6 * (C - U), rtol=1e-5)


def test_dual_guidance_and_its_nested_form():
    np.testing.assert_allclose(
        value(dual(cond, image, uncond, text_scale=4.0, image_scale=2.0)),
        U + 2 * (I - U) + 4 * (C - I),
        rtol=1e-4,
        atol=1e-5,
    )
    np.testing.assert_allclose(value(dual(cond, image, uncond, text_scale=1.0, image_scale=1.0)), C, atol=1e-5)
    nested = cfg(cfg(cond, image, 4.0), uncond, 2.0)
    np.testing.assert_allclose(value(nested), U + 2 * (I + 4 * (C - I) - U), rtol=1e-4, atol=1e-5)
    assert nested(X, LEVEL).taps == {"who": 1.0}


def test_renormalisations_are_per_example():
    guided = np.asarray(U + 5 * (C - U))
    full = np.asarray(value(cfg(cond, uncond, 5.0, renorm=flow.rescale(1.0))))
    assert full.std() == pytest.approx(np.asarray(C).std(), rel=1e-5)
    half = value(cfg(cond, uncond, 5.0, renorm=flow.rescale(0.5)))
    np.testing.assert_allclose(half, 0.5 * full + 0.5 * guided, rtol=1e-4, atol=1e-5)
    kept = np.asarray(value(cfg(cond, uncond, 5.0, renorm=flow.keep_norm())))
    assert np.linalg.norm(kept) == pytest.approx(np.linalg.norm(C), rel=1e-5)
    np.testing.assert_allclose(kept / np.linalg.norm(kept), guided / np.linalg.norm(guided), atol=1e-6)
    np.testing.assert_allclose(value(cfg(cond, uncond, 0.9, renorm=flow.keep_norm(1.0))), U + 0.9 * (C - U), atol=1e-6)
    batch = jnp.stack([X, 3 * X])
    single = cfg(cond, uncond, 5.0, renorm=flow.rescale(0.7))
    both = jax.vmap(lambda x: single(x, LEVEL).v)(batch)
    np.testing.assert_allclose(both, jnp.stack([value(single, x) for x in batch]), atol=1e-5)
    zero = lambda x, level: jnp.zeros_like(x)
    for renorm in (flow.rescale(), flow.keep_norm()):
        gradient = jax.grad(lambda x, r=renorm: jnp.sum(value(cfg(zero, zero, 2.0, renorm=r), x)))(X)
        assert np.isfinite(gradient).all()


def test_interval_and_switch_choose_by_level():
    limited = interval(cfg(cond, uncond, 5.0), cond, 0.2, 0.6)
    guided = U + 5 * (C - U)
    np.testing.assert_allclose(value(limited), guided, rtol=1e-6)
    for sigma in (0.2, 0.7):
        level = Level(jnp.float32(sigma), jnp.float32(1000 * sigma))
        np.testing.assert_allclose(value(limited, level=level), value(cond, level=level))
    for time, expected in ((600.0, C), (599.0, I)):
        chosen = switch(lambda x, level: value(cond), image, 0.6)
        np.testing.assert_allclose(value(chosen, level=Level(jnp.float32(0.6), jnp.float32(time))), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="switch: both velocities must return equal shapes and taps"):
        switch(cond, image, 0.5)(X, LEVEL)
    with pytest.raises(ValueError, match="low must lie below high"):
        interval(cond, cond, 0.5, 0.5)


def test_a_dynamic_switch_is_the_same_run_as_static_phases():
    grid = grids.wan_unipc(10, 5.0)
    high, low = (
        (lambda x, level: 0.9 * curved(x, level.sigma, jnp.sin)),
        (lambda x, level: curved(x, level.sigma, jnp.sin)),
    )
    for solver in (flow.euler(), flow.unipc(), flow.heun()):
        static = sample(experts(grid, high, low, 0.9), X, grid, solver=solver)
        if (
            solver is flow.heun()
        ):  # its second evaluation belongs to the phase of its step, the switch looks at the level
            np.testing.assert_allclose(static.x[:3], sample(high, X, grid, solver=solver).x[:3], atol=1e-5)
            continue
        np.testing.assert_allclose(sample(switch(high, low, 0.9), X, grid, solver=solver).x, static.x, atol=1e-5)


@pytest.mark.parametrize("solver", [flow.euler(), flow.heun(), flow.dpmpp_2m(), flow.unipc(), flow.sde()])
@pytest.mark.parametrize("frames", [1, 2])
def test_first_frames_are_clamped(solver, frames):
    first = jnp.full((frames, 2, 2, 3), 0.25)
    seen = clamp_first_frame(lambda x, level: Prediction(curved(x, level.sigma, jnp.sin), {"x": x}), first)
    grid = grids.shifted(6, 3.0)
    run = lambda x: sample(seen, x, grid, solver=solver, key=jax.random.key(1))
    trajectory = run(X)
    np.testing.assert_array_equal(trajectory.taps["x"][:, :frames], jnp.broadcast_to(first, (6, *first.shape)))
    np.testing.assert_allclose(trajectory.x0[:, :frames], trajectory.taps["x"][:, :frames], atol=2e-6)
    np.testing.assert_allclose(trajectory.final[:frames], first, atol=2e-6)
    np.testing.assert_allclose(trajectory.taps["x"][:, frames:], trajectory.x[:-1, frames:])
    if not solver.stochastic:
        clean = run(X.at[:frames].set(first))
        np.testing.assert_allclose(clean.x[:, :frames], jnp.broadcast_to(first, (7, *first.shape)), atol=2e-6)
        np.testing.assert_allclose(clean.final[frames:], trajectory.final[frames:], atol=1e-5)
    gradient = jax.grad(lambda x: jnp.sum(run(x).final))(X)
    assert np.isfinite(gradient).all()


def test_clamped_frames_have_time_0():
    times = []

    def velocity(x, level):
        times.append(level.time)
        return x

    clamp_first_frame(velocity, jnp.zeros((2, 2, 3)), tokens_per_frame=5)(X, LEVEL)
    np.testing.assert_array_equal(times[0], [0.0] * 5 + [600.0] * 15)
    for shape in ((3, 2, 3), (5, 2, 2, 3), (2,)):
        with pytest.raises(ValueError, match="do not fit a state"):
            clamp_first_frame(velocity, jnp.zeros(shape))(X, LEVEL)
