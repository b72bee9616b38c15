"""Disturbances change the chosen cells only; doses are exact; a sweep is one program; replay calls no network."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrjax.flow import Prediction, euler, grids, sample
from vrjax.reasoning.instruments import cells, perturb

STEPS, FRAMES = 6, 4
GRID = grids.shifted(STEPS, shift=3.0)
WINDOW = cells.allowed(STEPS, FRAMES)
KEY = jax.random.key(7)
X = jax.random.normal(jax.random.key(0), (FRAMES, 2, 2, 1))


def velocity(x, level):
    """A nonlinear velocity in which frames speak to each other."""
    return jnp.tanh(x - 0.5 * x.mean(0, keepdims=True)) * (1.0 + level.sigma)


@jax.jit
def clean_run():
    return sample(velocity, X, GRID)


@pytest.fixture(scope="module")
def clean():
    return clean_run()


@pytest.fixture(scope="module")
def disturbed():
    """One compiled run per kind of edit, with the table of cells as argument."""
    edits = {
        "replace": lambda table, clean: perturb.replace(table),
        "renoise": lambda table, clean: perturb.renoise(table, GRID, clean.x0),
        "renoise by velocity": lambda table, clean: perturb.renoise(table, GRID, velocity),
        "transplant": lambda table, clean: perturb.transplant(table, -clean.x),
    }

    def runner(edit):
        return jax.jit(lambda table, clean: sample(velocity, X, GRID, key=KEY, edit=edit(table, clean)))

    return {name: runner(edit) for name, edit in edits.items()}


KINDS = ["replace", "renoise", "renoise by velocity", "transplant"]


# Cells ---------------------------------------------------------------------------------------------------------------


def test_allowed_window():
    window = cells.allowed(5, 3, first=1, stop=4, exclude_frames=(0, -1))
    np.testing.assert_array_equal(np.argwhere(window), [[1, 1], [2, 1], [3, 1]])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"first": 3, "stop": 3}, "need 0 <= first < stop <= 5 steps, found first=3, stop=3"),
        ({"stop": 6}, "found first=0, stop=6"),
        ({"exclude_frames": (3,)}, r"exclude_frames \[3\] are not among 3 frames"),
        ({"exclude_frames": (0, 1, 2)}, "leaves none of 3 frames"),
    ],
)
def test_bad_windows_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        cells.allowed(5, 3, **arguments)


def test_step_and_frame_tables():
    window = cells.allowed(5, 3, stop=4, exclude_frames=(2,))
    np.testing.assert_array_equal(np.argwhere(cells.at_step(1, window)), [[1, 0], [1, 1]])
    np.testing.assert_array_equal(np.argwhere(cells.at_frame(1, window)), [[0, 1], [1, 1], [2, 1], [3, 1]])
    np.testing.assert_array_equal(np.argwhere(cells.at_frame(0, window, at=(1, 4))), [[1, 0]])
    assert not cells.at_step(4, window).any() and not cells.at_frame(2, window).any()
    assert cells.spread_steps(2, window) == (1, 3) and cells.spread_steps(4, window) == (0, 1, 2, 3)
    with pytest.raises(ValueError, match="cannot spread 5 cells over 4 allowed steps"):
        cells.spread_steps(5, window)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_shuffled_frames_keep_dose_and_steps(seed):
    window = cells.allowed(STEPS, FRAMES, exclude_frames=(3,))
    keys = jax.random.split(jax.random.key(seed))
    table = jax.random.bernoulli(keys[0], 0.3, window.shape) & window
    shuffled = np.asarray(cells.shuffle_frames(keys[1], table, window))
    np.testing.assert_array_equal(shuffled.sum(1), table.sum(1))
    assert not (shuffled & ~window).any()


# Edits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_no_cells_is_the_clean_run_bit_for_bit(kind, clean, disturbed):
    run = disturbed[kind](jnp.zeros((STEPS, FRAMES), bool), clean)
    np.testing.assert_array_equal(run.x, clean.x)
    np.testing.assert_array_equal(run.final, clean.final)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None)
@given(step=st.integers(0, STEPS - 1), frames=st.lists(st.booleans(), min_size=FRAMES, max_size=FRAMES))
def test_only_the_chosen_cells_change(kind, clean, disturbed, step, frames):
    """Before the step every state is the clean one, at the step exactly the chosen frames differ, bit for bit."""
    table = jnp.zeros((STEPS, FRAMES), bool).at[step].set(jnp.array(frames))
    run = disturbed[kind](table, clean)
    np.testing.assert_array_equal(run.x[:step], clean.x[:step])
    differs = np.asarray(run.x[step] != clean.x[step]).reshape(FRAMES, -1)
    np.testing.assert_array_equal(differs.any(1), frames)
    np.testing.assert_array_equal(differs.all(1), frames)


def test_same_key_same_noise_at_every_site(clean, disturbed):
    """Sites are paired: the cell (step, frame) receives the same noise whatever else is disturbed."""
    one = disturbed["replace"](cells.at_step(2, WINDOW), clean)
    other = disturbed["replace"](cells.at_frame(1, WINDOW, at=(2,)), clean)
    np.testing.assert_array_equal(one.x[2, 1], other.x[2, 1])


def test_renoised_states_have_the_level_of_their_step():
    """(1 - sigma) x0_hat + sigma eps: mean and spread over many draws, at two steps."""
    estimate = jnp.full((STEPS, 2, 8, 8, 4), 3.0)
    edit = perturb.renoise(jnp.ones((STEPS, 2), bool), GRID, estimate)
    draw = jax.jit(jax.vmap(lambda step, key: edit(step, jnp.zeros((2, 8, 8, 4)), key)))
    for step in (1, 5):
        values = draw(jnp.full(40, step), jax.random.split(KEY, 40))
        sigma, n = GRID.sigmas[step], values.size
        assert abs(float(values.mean()) - 3 * (1 - sigma)) < 4 * sigma / np.sqrt(n)
        assert abs(float(values.std()) - sigma) < 4 * sigma / np.sqrt(2 * n)


def test_replaced_states_are_standard_normal(clean):
    ones = jnp.ones((STEPS, 2), bool)
    x = jnp.full((2, 16, 16, 8), 5.0)
    value = jax.jit(lambda: perturb.replace(ones)(3, x, KEY))()
    assert abs(float(value.mean())) < 4 / np.sqrt(x.size)
    assert abs(float(value.std()) - 1) < 4 / np.sqrt(2 * x.size)


def test_both_sources_of_the_estimate_agree_at_the_first_disturbed_step(clean, disturbed):
    """The clean run's record is exact there; at a second disturbed step only the velocity knows the new estimate."""
    table = cells.at_step(3, WINDOW)
    record, live = disturbed["renoise"](table, clean), disturbed["renoise by velocity"](table, clean)
    np.testing.assert_allclose(record.x, live.x, atol=2e-6)
    table = cells.at_step(1, WINDOW) | cells.at_step(3, WINDOW)
    record, live = disturbed["renoise"](table, clean), disturbed["renoise by velocity"](table, clean)
    np.testing.assert_allclose(record.x[:3], live.x[:3], atol=2e-6)
    assert jnp.abs(record.x[3] - live.x[3]).max() > 1e-2
    eps = (record.x[3] - (1 - GRID.sigmas[3]) * clean.x0[3]) / GRID.sigmas[3]
    estimate = (live.x[3] - GRID.sigmas[3] * eps) / (1 - GRID.sigmas[3])
    before = record.x[2] + (GRID.sigmas[3] - GRID.sigmas[2]) * record.v[2]
    expected = before - GRID.sigmas[3] * velocity(before, type("L", (), {"sigma": GRID.sigmas[3]}))
    np.testing.assert_allclose(estimate, expected, atol=1e-5)


def test_transplant_of_all_frames_continues_as_the_donor(clean):
    """A failing run with the whole state of a succeeding one at step s ends where the donor ends, for every s."""
    donor = jax.jit(lambda: sample(velocity, -2.0 * X, GRID))()
    tables = jnp.stack([cells.at_step(s, WINDOW) for s in range(STEPS)])
    run = lambda table: sample(velocity, X, GRID, edit=perturb.transplant(table, donor.x)).final
    finals = jax.jit(lambda: perturb.sweep(run, tables))()
    np.testing.assert_allclose(finals, jnp.broadcast_to(donor.final, finals.shape), atol=1e-6)
    assert jnp.abs(donor.final - clean.final).max() > 0.5


def test_wrong_numbers_of_steps_and_missing_keys_are_refused(clean):
    with pytest.raises(ValueError, match="need one row per step of the grid, 6; found 5 rows of cells and 6 estimates"):
        perturb.renoise(jnp.ones((5, FRAMES), bool), GRID, clean.x0)
    with pytest.raises(ValueError, match="found 6 rows of cells and 7 estimates"):
        perturb.renoise(jnp.ones((6, FRAMES), bool), GRID, clean.x)
    with pytest.raises(ValueError, match=r"give sample\(..., key=...\), found key=None"):
        sample(velocity, X, GRID, edit=perturb.replace(jnp.ones((STEPS, FRAMES), bool)))


# Sweeps and replay ---------------------------------------------------------------------------------------------------


def test_sweep_is_one_program_and_the_same_in_every_form(clean, disturbed):
    """vmap, map and map in groups (with a remainder) agree with single runs; a second call traces nothing."""
    tables = jnp.stack([cells.at_step(s, WINDOW) for s in range(4)] + [cells.at_frame(2, WINDOW)])
    expected = jnp.stack([disturbed["replace"](table, clean).final for table in tables])
    for how, group in [("vmap", None), ("map", None), ("map", 2)]:
        traced = []

        def counted(x, level, traced=traced):
            traced.append(1)
            return velocity(x, level)

        def run(table, counted=counted):
            return sample(counted, X, GRID, key=KEY, edit=perturb.replace(table)).final

        program = jax.jit(functools.partial(perturb.sweep, run, how=how, group=group))
        np.testing.assert_allclose(program(tables), expected, atol=1e-6)
        once = len(traced)
        program(tables[::-1])
        assert len(traced) == once and once <= 6  # shape inference and the scan, not one per site


@pytest.mark.parametrize(
    "sites, how, message",
    [
        ({"a": jnp.zeros(3), "b": jnp.zeros(2)}, "vmap", "one common, non-empty leading axis"),
        (jnp.zeros((0, 2)), "vmap", "one common, non-empty leading axis"),
        (jnp.float32(0), "vmap", "one common, non-empty leading axis"),
        (jnp.zeros(3), "pmap", "how must be 'vmap' or 'map', found 'pmap'"),
    ],
)
def test_bad_sweeps_are_refused(sites, how, message):
    with pytest.raises(ValueError, match=message):
        perturb.sweep(lambda site: site, sites, how=how)


def solvers():
    import vrjax.flow as flow

    yield pytest.param(euler(), id="euler")
    for name in ("unipc", "dpmpp_2m"):
        if hasattr(flow, name):
            yield pytest.param(getattr(flow, name)(), id=name)


@pytest.mark.parametrize("solver", solvers())
def test_replay_equals_the_full_run_and_saves_its_evaluations(solver):
    """A disturbed run that replays the record up to its step is the run that recomputes it; the network is called S - s
    times (counted by a host callback), in one program over all steps."""
    calls = []

    def counted(x, level):
        jax.debug.callback(lambda: calls.append(1))
        return Prediction(velocity(x, level), {"mean": x.mean()})

    @jax.jit
    def both():
        clean = sample(counted, X, GRID, solver=solver)

        def run(step, replayed):
            v = perturb.replay(counted, clean, GRID, step) if replayed else velocity
            edit = perturb.renoise(cells.at_step(step, WINDOW), GRID, clean.x0)
            out = sample(v, X, GRID, solver=solver, key=KEY, edit=edit)
            return (out.x, out.taps["mean"]) if replayed else (out.x,)

        steps = jnp.arange(STEPS)
        fast = perturb.sweep(lambda s: run(s, True), steps, how="map")
        return clean, *fast, *perturb.sweep(lambda s: run(s, False), steps, how="map")

    clean, fast, means, full = both()
    jax.effects_barrier()
    np.testing.assert_allclose(fast, full, atol=2e-6)
    assert len(calls) == STEPS + sum(STEPS - s for s in range(STEPS))
    np.testing.assert_allclose(means, full[:, :-1].mean((2, 3, 4, 5)), atol=2e-6)
    assert jnp.abs(full[:, -1] - clean.final).reshape(STEPS, -1).max(1)[:-1].min() > 1e-3


def test_replay_needs_the_predictions(clean):
    with pytest.raises(ValueError, match="needs the predictions v of all 6 steps, found none"):
        perturb.replay(velocity, dataclasses.replace(clean, v=None), GRID, 0)
    with pytest.raises(ValueError, match="of all 5 steps, found 6"):
        perturb.replay(velocity, clean, grids.shifted(5, shift=1.0), 0)
