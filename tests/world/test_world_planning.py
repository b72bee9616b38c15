"""Planners on a world whose best plan is known by hand, with every call of the model counted."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.world.world_toys import WEIGHT, Echo, Line, optimum, quadratic
from vrjax import parallel, world
from vrjax.world import planning

KEY = jax.random.key(4)
HORIZON, TARGET = 4, np.array([0.6, -0.3], np.float32)
ACTIONS, LEAST = optimum(TARGET, HORIZON)
# options, and by how much the cost may be above the least one: what sampling leaves, and nothing of gradients
METHODS: dict[str, Any] = {
    "cem": ({"candidates": 64, "iterations": 12, "inertia": 0.0}, 2e-3),
    "mppi": ({"candidates": 64, "iterations": 12, "temperature": 0.01, "decay": 0.8}, 8e-3),
    "gradient": ({"candidates": 2, "iterations": 120, "rate": 0.05}, 1e-5),
    "gradient+cem": ({"candidates": 16, "iterations": 3, "refine": 40, "rate": 0.03, "elites": 4}, 2e-4),
}
each_method = pytest.mark.parametrize("name", METHODS)
seen = []


def tick(_):
    seen.append(1)


def run(name, w=None, cost=quadratic, args=(TARGET,), key=KEY, **more):
    options = METHODS[name][0] | more
    return world.plan(w or Line(), jnp.zeros(2), cost, key, name, horizon=HORIZON, args=args, **options)


@functools.cache
def plain(name):
    return run(name)


def test_the_optimum_by_hand():
    """What is known of the toy is what its rollout says."""
    _, history = world.rollout(Line(), jnp.zeros(2), ACTIONS, KEY)
    assert float(quadratic(history.decoded, TARGET)) == pytest.approx(LEAST, rel=1e-5)
    assert pytest.approx(WEIGHT * float(TARGET @ TARGET) / (HORIZON + WEIGHT), rel=1e-6) == LEAST


@each_method
def test_the_optimum_is_reached(name):
    found = plain(name)
    assert -1e-6 <= float(found.cost) - LEAST <= METHODS[name][1]
    assert found.inputs.shape == (HORIZON, 2) and np.abs(found.inputs).max() <= 1
    # The cost is that of the inputs, best so far never rises, and there was something to gain.
    _, history = world.rollout(Line(), jnp.zeros(2), found.inputs, KEY)
    assert float(quadratic(history.decoded, TARGET)) == pytest.approx(float(found.cost), abs=1e-6)
    told = np.asarray(found.history)
    assert (np.diff(told) <= 0).all() and told[-1] == found.cost and told[0] > LEAST + 1e-3
    assert (np.asarray(found.finite) == 1).all()
    if "gradient" in name:
        np.testing.assert_allclose(found.inputs, ACTIONS, atol=0.03)
    assert name in planning.names()


@each_method
def test_equal_keys_give_equal_plans_and_a_mesh_changes_nothing(name):
    for a, b in zip(run(name), plain(name), strict=True):
        np.testing.assert_array_equal(a, b)
    many: Any = {"gradient": {"candidates": 8, "iterations": 10}}.get(name, {"iterations": 2})
    one = run(name, **many)
    spread = run(name, **many, mesh=parallel.mesh({"seed": 8}))
    for a, b in zip(one, spread, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    other = run(name, key=jax.random.key(5), **many)
    assert (np.asarray(other.inputs) != np.asarray(one.inputs)).any()


@each_method
def test_every_call_of_the_model_is_counted(name):
    """The world itself counts the steps forward; those of gradients are said to cost BACKWARD more."""
    seen.clear()
    found = run(name, Line(count=tick), iterations=2)
    jax.block_until_ready(found)
    jax.effects_barrier()
    o = METHODS[name][0]
    sampled, slopes = {
        "cem": (64, 0),
        "mppi": (64, 0),
        "gradient": (0, 2),
        "gradient+cem": (16, 4 * o.get("refine", 0)),
    }[name]
    assert len(seen) == 2 * HORIZON * (sampled + slopes)
    assert int(found.calls) == 2 * HORIZON * (sampled + (1 + planning.BACKWARD) * slopes)


def half_known(decoded, target):
    """Not a number where the plan ends on the wrong side: the first coordinate of the last point below zero."""
    return jnp.where(decoded["x"][-1, 0] < 0, jnp.nan, quadratic(decoded, target))


def unknown(decoded, target):
    return quadratic(decoded, target) + jnp.nan


@each_method
def test_what_is_not_finite_is_flagged_and_never_chosen(name):
    found = run(name, cost=half_known, candidates=64)
    assert np.isfinite(found.cost) and np.isfinite(found.inputs).all()
    assert 0.2 < float(found.finite[0]) < 0.8
    assert float(found.cost) - LEAST <= max(METHODS[name][1], 5e-3)
    start = np.full((HORIZON, 2), 0.25, np.float32)
    lost = run(name, cost=unknown, candidates=64, iterations=2, start=start)
    assert np.isposinf(lost.cost) and (np.asarray(lost.finite) == 0).all()
    np.testing.assert_array_equal(lost.inputs, start)


def last(decoded, target):
    return jnp.sum((decoded["x"][-1] - target) ** 2)


def test_control_plans_again():
    """In a world that kicks, planned through a model that does not: each plan begins where the world is."""
    w, model = Line(noise=jnp.float32(0.02)), Line(noise=jnp.float32(0.0))
    options = {"horizon": 3, "candidates": 8, "iterations": 30, "args": (TARGET,), "rate": 0.05}
    found = world.control(w, jnp.zeros(2), last, KEY, "gradient", steps=5, model=model, **options)
    assert found.inputs.shape == (5, 2) and found.states.shape == (5, 2)
    # The world's own chance is that of a rollout with the first half of the key.
    chance = jax.random.split(KEY)[0]
    final, history = world.rollout(w, jnp.zeros(2), found.inputs, chance, record=("states",))
    np.testing.assert_allclose(history.states, found.states, atol=1e-6)
    np.testing.assert_allclose(final, found.final, atol=1e-6)
    moved: Any = np.diff(np.asarray(found.states), axis=0, prepend=0)
    kicks = moved - 0.5 * np.asarray(found.inputs)
    assert 0.01 < kicks.std() < 0.04
    # Each plan is there in three steps and one of them is taken: a third of the way, five times, and the kicks.
    assert np.linalg.norm(found.final - TARGET) < 0.2 and float(found.cost.max()) < 1e-2
    assert int(found.calls) == 5 * 30 * 8 * 3 * (1 + planning.BACKWARD)
    blind = lambda state, key: jnp.zeros(2)
    lost = world.control(w, jnp.zeros(2), last, KEY, "gradient", steps=5, model=model, see=blind, **options)
    assert np.linalg.norm(lost.final - TARGET) > 0.35  # it always thinks that it is at the beginning


def test_control_takes_several_actions_of_a_plan():
    """Two plans of three actions, two of each taken: as planned by hand from where each begins."""
    options: dict[str, Any] = {"horizon": 3, "candidates": 8, "iterations": 6, "args": (TARGET,)}
    found = world.control(Line(), jnp.zeros(2), last, KEY, "cem", steps=4, act=2, **options)
    state, start, thought = jnp.zeros(2), None, jax.random.split(KEY)[1]
    for t in range(2):
        think = jax.random.split(jax.random.fold_in(thought, t))[1]
        made = world.plan(Line(), state, last, think, "cem", start=start, **options)
        taken = slice(2 * t, 2 * t + 2)
        np.testing.assert_allclose(found.inputs[taken], made.inputs[:2], atol=1e-6)
        np.testing.assert_allclose(found.cost[taken], np.full(2, made.cost), atol=1e-6)
        state, start = found.states[2 * t + 1], jnp.concatenate([made.inputs[2:], jnp.zeros((2, 2))])
    np.testing.assert_allclose(found.states[:, 0], 0.5 * np.cumsum(found.inputs[:, 0]), atol=1e-6)
    assert int(found.calls) == 2 * 6 * 8 * 3
    for act in (0, 3, 4):
        with pytest.raises(ValueError, match=f"act must be 1 to 3 and divide 4 steps, found {act}"):
            world.control(Line(), jnp.zeros(2), last, KEY, "cem", steps=4, act=act, **options)


def test_what_is_refused():
    def line(match, **wrong):
        options = {"w": Line(), "method": "cem", "horizon": 2, "candidates": 4, "iterations": 1, "cost": last} | wrong
        w, cost = options.pop("w"), options.pop("cost")
        with pytest.raises(ValueError, match=match) as error:
            world.plan(w, jnp.zeros(2), cost, KEY, args=(TARGET,), **options)
        assert "\n" not in str(error.value)

    line("unknown method 'cme', expected one of cem, gradient, mppi, gradient", method="cme")
    line("plan: horizon must be an integer of at least 1, found 0", horizon=0)
    line("plan: candidates must be an integer of at least 1, found -2", candidates=-2)
    line("cem: elites must be 1 to 4, found 5", elites=5)
    line("cem: refine must be at least 0, found -1", refine=-1)
    line(r"gradient\+cem: refine must be at least 1", method="gradient+cem", refine=0)
    line(r"world_toys: action must have shape \(2, 2\), found \(3, 2\)", start=np.zeros((3, 2)))
    line("action must be finite", start=np.full((2, 2), np.nan))
    line(r"cost: found a value of shape \(2,\), expected a scalar", cost=lambda decoded, target: decoded["x"][:, 0])
    with pytest.raises(TypeError, match="temperature"):
        world.plan(Line(), jnp.zeros(2), last, KEY, horizon=2, candidates=4, iterations=1, temperature=1.0)
    options = {"horizon": 2, "candidates": 4, "iterations": 1, "args": (TARGET,)}
    with pytest.raises(ValueError, match="control: steps must be an integer of at least 1"):
        world.control(Line(), jnp.zeros(2), last, KEY, steps=0, **options)
    with pytest.raises(ValueError, match="its states cannot be decoded"):
        world.World.decode(Echo(), jnp.zeros(2))
