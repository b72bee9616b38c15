"""Solvers against diffusers' schedulers, the exact flow of a Gaussian, and their stated order."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.flow.flow_oracles import (
    CASES,
    DEVIATION,
    FIXTURES,
    MEAN,
    START,
    curved,
    diffusers_states,
    gaussian,
    gaussian_flow,
    ours,
    sigmas_of,
)
from vrjax.flow import (
    Grid,
    Level,
    Phase,
    Record,
    Solver,
    ab2,
    dpmpp_2m,
    euler,
    grids,
    heun,
    renoise,
    sample,
    sde,
    solvers,
    unipc,
)

KEY = jax.random.key(7)
SOLVERS = [euler(), heun(), ab2(), dpmpp_2m(), unipc(), unipc(3, variant="bh1"), sde(), sde("dance_grpo"), renoise()]
IDS = ["euler", "heun", "ab2", "dpmpp_2m", "unipc", "unipc3", "flow_grpo", "dance_grpo", "renoise"]


def velocity(x, level: Level):
    return curved(x, level.sigma, sin=jnp.sin)


def exact(x, level: Level):
    return gaussian(x, level.sigma)


def states(solver: Solver, sigmas, dtype) -> np.ndarray:
    with jax.enable_x64(dtype == "float64"):
        run = jax.jit(
            lambda x: sample(velocity, x, Grid(np.asarray(sigmas)), solver=solver, record=Record(fields=("x",)))
        )
        x = run(jnp.asarray(START, dtype)).x
        assert x.dtype == dtype
        return np.asarray(x)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
def test_equals_recorded_schedulers(name, dtype, tolerance):
    case = json.loads(FIXTURES.read_text())["states"][name]
    np.testing.assert_allclose(states(ours(name), case["sigmas"], dtype), case["states"], rtol=0, atol=tolerance)


@pytest.mark.parity
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize("steps, shift", [(20, 5.0), (5, 1.0)])
def test_equals_live_schedulers(name, dtype, tolerance, steps, shift):
    # Both step on the same numbers: what diffusers rounds to float32 is so for us too (1 - 1e-6 moves by 1e-8, and
    # with it lambda by 0.01).
    sigmas = sigmas_of(name, steps, shift).astype(dtype)
    theirs = diffusers_states(name, sigmas, dtype=dtype)
    np.testing.assert_allclose(states(ours(name), sigmas, dtype), theirs, rtol=0, atol=tolerance)


# The order of the error in the step size. UniPC's corrector raises its predictor's order by one.
@pytest.mark.parametrize(
    "solver, order",
    [
        (euler(), 1),
        (heun(), 2),
        (dpmpp_2m(), 2),
        (ab2(), 2),
        (unipc(1, lower_order_final=False), 2),
        (unipc(1, corrector=False), 1),
        (unipc(2, lower_order_final=False), 3),
        (unipc(2, lower_order_final=False, corrector=False), 2),
        (unipc(3, lower_order_final=False), 4),
        (unipc(2, variant="bh1", lower_order_final=False), 3),
        (sde(eta=0.0, noisy_end=True), 1),
    ],
)
def test_order_of_convergence(solver, order):
    """Measured between 128 and 256 steps on a grid above sigma 0, into which a step is first order by design."""
    assert solver.order == order
    with jax.enable_x64(True):
        errors = []
        for steps in (128, 256):
            grid = Grid(np.linspace(0.9, 0.1, steps + 1))
            final = sample(exact, jnp.asarray(START), grid, solver=solver, key=KEY, record=Record(())).final
            errors.append(np.abs(np.asarray(final) - gaussian_flow(START, 0.9, 0.1)).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("solver", SOLVERS, ids=IDS)
def test_last_step_is_the_data_estimate(solver):
    trajectory = sample(velocity, jnp.asarray(START, jnp.float32), grids.shifted(6, 3.0), solver=solver, key=KEY)
    # UniPC predicts from its corrected state: its data estimate is the same, up to the rounding of sigma 1 - 1e-6
    np.testing.assert_allclose(trajectory.final, trajectory.x0[-1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS, ids=IDS)
def test_differentiable_from_sigma_1_to_sigma_0(solver):
    """Finite everywhere and equal to the difference quotient, for the start and for a parameter of the network."""
    grid = grids.shifted(4, 3.0)

    def loss(x, w):
        return jnp.sum(sample(lambda x, level: w * velocity(x, level), x, grid, solver=solver, key=KEY).final ** 2)

    with jax.enable_x64(True):
        x, w, h = jnp.asarray(START), jnp.asarray(1.1), 1e-6
        value, (dx, dw) = jax.jit(jax.value_and_grad(loss, (0, 1)))(x, w)
        jitted = jax.jit(loss)
        assert np.isfinite(value) and np.all(np.isfinite(dx))
        np.testing.assert_allclose(dw, (jitted(x, w + h) - jitted(x, w - h)) / (2 * h), rtol=1e-6)
        e = jnp.zeros_like(x).at[1, 0].set(h)
        np.testing.assert_allclose(dx[1, 0], (jitted(x + e, w) - jitted(x - e, w)) / (2 * h), rtol=1e-5)


@pytest.mark.parametrize("solver", SOLVERS, ids=IDS)
def test_a_network_that_is_not_finite_at_sigma_0_is_never_asked_there(solver):
    trajectory = sample(
        lambda x, level: x / level.sigma, jnp.ones(3), grids.shifted(4, 3.0), solver=solver, key=KEY, record=Record(())
    )
    assert np.all(np.isfinite(trajectory.final))


@pytest.mark.parametrize("solver", [euler(), heun(), dpmpp_2m(), unipc(), unipc(3, variant="bh1")])
def test_affine_equivariance(solver):
    """Deterministic solvers are linear in state and velocity: an affine change of data and noise commutes with them."""
    grid, x = grids.shifted(7, 3.0), jnp.asarray(START, jnp.float32)
    a, b = 3.0, -0.4  # x0 -> a x0 + b, eps -> a eps: x -> a x + (1 - sigma) b, v -> a v - b

    def moved(y, level):
        return a * velocity((y - (1 - level.sigma) * b) / a, level) - b

    plain = sample(velocity, x, grid, solver=solver)
    other = sample(moved, a * x, grid, solver=solver)
    np.testing.assert_allclose(other.x0, a * plain.x0 + b, rtol=0, atol=3e-5)
    np.testing.assert_allclose(other.final, a * plain.final + b, rtol=0, atol=3e-5)


def test_sde_without_noise_is_euler():
    x, grid = jnp.asarray(START, jnp.float32), grids.shifted(6, 3.0)
    plain = sample(velocity, x, grid)
    for solver in (sde(eta=0.0), sde("dance_grpo", eta=0.0)):
        silent = sample(velocity, x, grid, solver=solver, key=KEY)
        np.testing.assert_allclose(silent.x, plain.x, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(silent.log_prob, 0.0)


@pytest.mark.parametrize("kind", ["flow_grpo", "dance_grpo"])
def test_sde_has_the_marginals_of_the_flow(kind):
    """Many particles of Gaussian data end with its mean and variance, whatever noise the steps add."""
    n = 20_000
    grid = Grid(np.linspace(1.0, 0.02, 200))
    start = jax.random.normal(jax.random.key(0), (n,))
    run = jax.jit(lambda x, key: sample(exact, x, grid, solver=sde(kind, eta=0.5), key=key))
    x = np.asarray(run(start, jax.random.key(1)).final, np.float64)
    s = grid.sigmas[-1]
    variance = (1 - s) ** 2 * DEVIATION**2 + s**2
    assert x.mean() == pytest.approx((1 - s) * MEAN, abs=5 * np.sqrt(variance / n) + 0.005)
    assert x.var() == pytest.approx(variance, abs=5 * variance * np.sqrt(2 / n) + 0.01 * variance)


def test_solvers_are_found_by_name():
    assert {"dpmpp_2m", "euler", "heun", "sde", "unipc"} <= set(solvers.names())
    assert all(isinstance(solvers.get(name), Solver) for name in solvers.names())
    assert solvers.get("unipc", order=3) is unipc(order=3)
    with pytest.raises(ValueError, match="unknown solver 'rk45', expected one of .*dpmpp_2m, euler"):
        solvers.get("rk45")


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: unipc(4), "order must be 1, 2 or 3, found 4"),
        (lambda: unipc(variant="bh3"), "variant must be 'bh1' or 'bh2'"),
        (lambda: sde("ddpm"), "kind must be one of flow_grpo, dance_grpo, found 'ddpm'"),
        (lambda: sde(eta=-1.0), "eta must be finite and not negative"),
        (lambda: sde(reduce="max"), "reduce must be"),
        (lambda: sde(window=(3, 2)), "window must be"),
        (
            lambda: sample(velocity, jnp.ones(2), grids.shifted(4), solver=sde(window=(0, 9)), key=KEY),
            "beyond the grid",
        ),
    ],
)
def test_bad_options(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("solver", SOLVERS, ids=IDS)
def test_goes_on_from_any_step(solver):
    """With what `Snapshot` shows of a step, in the program that also begins: the same bits, over the end of a phase."""
    grid = grids.shifted(6, shift=3.0)
    half = lambda x, level: 0.5 * velocity(x, level)
    record = Record(fn=lambda seen: (seen.next, seen.state))

    @jax.jit
    def run(x, resume):
        phases = (Phase(4, velocity), Phase(6, half))
        return sample(phases, x, grid, solver=solver, key=KEY, record=record, resume=resume)

    x = jnp.asarray(START, jnp.float32)
    whole = run(x, (0, solver.init(x)))
    for step in range(6):
        x_there, state = jax.tree.map(lambda a, at=step: a[at], whole.stats)
        np.testing.assert_array_equal(run(x_there, (step + 1, state)).final, whole.final)
    plain = sample((Phase(4, velocity), Phase(6, half)), x, grid, solver=solver, key=KEY).final
    np.testing.assert_allclose(whole.final, plain, rtol=1e-5, atol=1e-6)
