"""Readouts on hand-made estimates whose answer is known, on the null model's own posterior, and against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from vrjax.flow import grids, sample
from vrjax.reasoning.instruments import null, readout

RNG = np.random.default_rng(0)
CANDIDATES = RNG.standard_normal((4, 3, 4, 4, 2)).astype(np.float32)
MASK = np.array([True, True, True, False])


def jitted(fn):
    """The readout compiled, from NumPy to NumPy, numbers in float32."""
    compiled = jax.jit(fn)
    cast = lambda a: jnp.asarray(np.asarray(a, None if np.asarray(a).dtype == bool else np.float32))
    return lambda *arguments: jax.tree.map(np.asarray, compiled(*map(cast, arguments)))


def put(array, *where_and_what):
    """A copy with `array[where] = what` for each pair given."""
    array = np.array(array)
    for where, what in zip(where_and_what[::2], where_and_what[1::2], strict=True):
        array[where] = what
    return array


distances = jitted(readout.squared_distances)
mixture, explore = jitted(readout.mixture_weights), jitted(readout.explore)
ink, off_solution_ink = jitted(readout.ink), jitted(readout.off_solution_ink)
explained = jitted(readout.explained)
still_and_moving, memory = jitted(readout.still_and_moving), jitted(readout.memory)
first_reach = jitted(lambda progress: readout.first_reach(progress, 0.5))


def mixed(*weights):
    return np.tensordot(np.asarray(weights, np.float32), CANDIDATES, 1)


# Which candidates ----------------------------------------------------------------------------------------------------


def test_squared_distances_with_leading_axes():
    x0 = RNG.standard_normal((2, 5, 3, 4, 4, 2)).astype(np.float32)
    expected = np.square(x0[:, :, None] - CANDIDATES).sum((3, 4, 5, 6))
    np.testing.assert_allclose(distances(x0, CANDIDATES), expected, rtol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3).filter(lambda w: sum(w) > 0.1))
def test_mixture_weights_recover_a_mixture(weights):
    weights = np.array([*weights, 0.0]) / sum(weights)
    found = mixture(mixed(*weights), CANDIDATES, MASK)
    np.testing.assert_allclose(found, weights, atol=2e-4)
    assert found[3] == 0.0


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_mixture_weights_are_the_constrained_least_squares_solution(seed):
    """For an estimate far outside the hull, SciPy's constrained minimiser (SLSQP) reaches no smaller residual."""
    x0 = np.random.default_rng(seed).standard_normal((3, 4, 4, 2)) * 2
    c = np.asarray(CANDIDATES, np.float64).reshape(4, -1)
    loss = lambda w: float(np.square(x0.ravel() - w @ c).sum())
    gradient = lambda w: -2 * c @ (x0.ravel() - w @ c)
    best = optimize.minimize(
        loss, np.full(4, 0.25), jac=gradient, bounds=[(0, 1)] * 4, method="SLSQP",
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(4)},
        options={"ftol": 1e-12, "maxiter": 300},
    )  # fmt: skip
    found = np.asarray(mixture(x0, CANDIDATES), np.float64)
    assert abs(found.sum() - 1) < 1e-5 and found.min() >= 0
    assert loss(found) <= best.fun + 1e-4 * abs(best.fun)


def test_mixture_weights_of_nearly_equal_candidates():
    """Candidates that share most of their path, as mazes do (Gram condition number ~ 500): still the true weights."""
    base = RNG.standard_normal((3, 4, 4, 2))
    c = np.stack([base] * 4)
    for k, cells in enumerate([24, 12, 4, 1]):
        c[k].reshape(-1)[16 * k : 16 * k + cells] += 1.0
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    found = mixture(np.tensordot(weights, c, 1), c)
    np.testing.assert_allclose(found, weights, atol=5e-3)


def test_the_mixture_of_the_null_model_is_its_posterior():
    """The readout sees, in x0_hat alone, the probabilities that the null model computed: at every step of a run."""
    prior = jnp.array([0.5, 0.3, 0.2, 0.0])
    c = jnp.asarray(0.25 * CANDIDATES)

    @jax.jit
    def go():
        x = jax.random.normal(jax.random.key(3), c.shape[1:])
        run = sample(null.velocity(c, prior), x, grids.shifted(12, shift=5.0))
        return run, readout.explore(run.x0, c, jnp.asarray(MASK))

    run, found = go()
    np.testing.assert_allclose(found.weights, run.taps["posterior"], atol=2e-3)
    np.testing.assert_allclose(found.effective, np.exp(run.taps["entropy"]), atol=2e-2)
    assert float(found.effective[0]) == pytest.approx(np.exp(run.taps["entropy"][0]), abs=1e-2)
    assert float(found.effective[0]) > 2.7 and float(found.effective[-1]) == pytest.approx(1.0, abs=1e-3)
    assert found.residual.max() < 1e-4
    assert found.leader[-1] == run.taps["posterior"][-1].argmax()


def test_effective_number_counts():
    weights = jnp.array([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4])
    np.testing.assert_allclose(readout.effective_number(weights), [1, 2, 4], rtol=1e-6)


def test_superposition_is_zero_at_candidates_one_at_the_mean_and_blind_to_unrelated_noise():
    c = np.eye(4, 8).reshape(4, 1, 2, 2, 2)  # equidistant
    noise = put(np.zeros((1, 2, 2, 2)), np.s_[0, 1, 1], 3.0)  # in no direction of a candidate
    found = explore(np.stack([c[2], c.mean(0), c[2] + noise, c.mean(0) + noise, (c[0] + c[1]) / 2]), c)
    # |(c0 + c1) / 2 - c0|^2 = 1/2 and V = 3/4.
    np.testing.assert_allclose(found.superposition, [0, 1, 0, 1, 2 / 3], atol=1e-5)
    np.testing.assert_allclose(found.residual, np.array([0, 0, 18, 18, 0]) / 0.75, atol=1e-4)
    np.testing.assert_array_equal(found.leader[[0, 2]], 2)
    np.testing.assert_allclose(found.effective, [1, 4, 1, 4, 2], atol=1e-3)


def test_padded_candidates_do_not_count():
    """With a padded row of any content, everything equals the shorter set."""
    x0 = mixed(0.2, 0.5, 0.3, 0.0)
    padded = explore(x0, put(CANDIDATES, 3, x0), MASK)
    short = explore(x0, CANDIDATES[:3])
    np.testing.assert_allclose(padded.weights[:3], short.weights, atol=1e-4)
    for name in ("effective", "superposition", "residual", "leader"):
        np.testing.assert_allclose(getattr(padded, name), getattr(short, name), atol=1e-3)


# What is drawn -------------------------------------------------------------------------------------------------------

RED, WHITE, BLACK = np.array([1.0, -1, -1]), np.ones(3), -np.ones(3)


def scene():
    """A white floor of 4 x 4 with a black wall column; the solution inks the top row in frames 1 and 2."""
    background = put(np.ones((4, 4, 3)), np.s_[:, 3], BLACK)
    solution = put([background] * 3, np.s_[1:, 0, :3], RED)
    return background, solution


def test_ink_is_the_share_of_the_way_to_the_colour():
    background, solution = scene()
    half = (solution + background) / 2
    np.testing.assert_allclose(ink(solution, background, RED)[1, 0], [1, 1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(ink(half, background, RED)[1, 0], [0.5, 0.5, 0.5, 0], atol=1e-6)
    grey = put(background, np.s_[2, 2], -0.5 * WHITE)  # a darker cell is ink only as far as it points to red
    assert float(ink(grey[None], background, RED)[0, 2, 2]) == pytest.approx(0.75)
    assert float(ink(2 * WHITE * np.ones((1, 4, 4, 3)), background, RED)[0, 0, 0]) == 0.0
    np.testing.assert_array_equal(ink(np.full((1, 1, 1, 3), 0.3), RED * np.ones((1, 1, 3)), RED), 0.0)


def test_off_solution_ink_counts_cells_off_the_solution_only():
    background, solution = scene()
    x0 = put(solution, np.s_[1, 3, 0], RED, np.s_[2, 3, :2], (RED + WHITE) / 2, np.s_[2, 3, 3], RED)
    found = off_solution_ink(np.stack([solution, x0]), solution, background, RED)
    np.testing.assert_allclose(found, [[0, 0, 0], [0, 1, 2]], atol=1e-6)
    floor = np.broadcast_to(np.arange(4) < 3, (3, 4, 4))
    on_floor = off_solution_ink(x0, solution, background, RED, floor)
    np.testing.assert_allclose(on_floor, [0, 1, 1], atol=1e-6)


# What is known, and when ---------------------------------------------------------------------------------------------


def test_explained_share():
    target, baseline = CANDIDATES[0], CANDIDATES[1]
    x0 = np.stack([baseline, target, (baseline + target) / 2, 2 * baseline - target])
    np.testing.assert_allclose(explained(x0, target, baseline), [0, 1, 0.75, -3], atol=1e-5)
    region = put(np.zeros((3, 4, 4), bool), 1, True)
    elsewhere = put(target, 0, 9.0)
    assert float(explained(elsewhere, target, baseline, region)) == pytest.approx(1.0)
    assert np.isnan(explained(target, target, target))


def moving_scene():
    """A still 2-cell object and a 1-cell agent that walks one column a frame; black where there is nothing."""
    blank = -np.ones((4, 4, 1))
    still = put(blank, np.s_[3, :2], 1.0)
    video = np.stack([put(still, np.s_[0, f], 0.5) for f in range(4)])
    return blank, video


def test_still_and_moving_content_separate():
    """A frozen first frame holds all that is still and nothing that moves; motion without the object, the reverse."""
    blank, video = moving_scene()
    frozen = np.broadcast_to(video[:1], video.shape)
    no_object = np.where(np.arange(4)[None, :, None, None] == 3, -1.0, video)
    empty = np.broadcast_to(blank, video.shape)
    found = still_and_moving(np.stack([video, frozen, no_object, empty]), video, blank)
    np.testing.assert_allclose(found.still, [1, 1, 0, 0], atol=1e-6)
    # Seen from the frozen frame, the empty one has the agent's start right (3 of 6 cells, equal heights).
    np.testing.assert_allclose(found.moving, [1, 0, 1, 0.5], atol=1e-6)
    # A cell of the object that the agent covers for one frame is not still in any frame: losing it there costs nothing.
    covered = put(video, np.s_[2, 3, 1], 0.5)
    lost = put(covered, np.s_[1, 3, 1], -1.0)
    assert still_and_moving(lost, covered, blank).still == 1.0
    unmoved = still_and_moving(frozen, frozen, blank)
    assert unmoved.still == 1.0 and np.isnan(unmoved.moving)


def test_first_reach_is_the_step_from_which_it_stays():
    progress = np.array([[0.1, 0.9, 0.0, np.nan, 0.9], [0.6, 0.2, 0.0, 0.7, 0.9], [0.5, 0.5, 0.0, 0.8, 0.1]])
    np.testing.assert_array_equal(first_reach(progress), [1, 2, 3, 1, 3])


def test_memory_reads_the_trace_of_a_hidden_object():
    """A textured object behind a wall: the trace of a fraction of it, of another object, and of none at all."""
    absent = put(np.zeros((3, 4, 4, 1)), np.s_[:, :, 2:], 0.7)
    where = put(np.zeros((3, 4, 4), bool), np.s_[1, 1:3, 2:], True)
    texture = np.array([[1.0, -1.0], [0.5, 0.2]])[..., None]
    other = np.array([[-1.0, -0.5], [0.5, -0.7]])[..., None]
    present = put(absent, np.s_[1, 1:3, 2:], 0.7 + texture)
    trace = lambda amount, content: put(absent, np.s_[1, 1:3, 2:], 0.7 + amount * content)
    outside = put(trace(0.4, texture), 0, 5.0)  # cells outside the region are not looked at
    x0 = np.stack([present, trace(0.4, texture), outside, trace(1.0, other), trace(0.3, 1.0)])
    found = memory(x0, present, absent, where)
    t, o = np.ravel(texture), np.ravel(other)
    expected = [1, 0.4, 0.4, t @ o / (t @ t), 0.3 * t.sum() / (t @ t)]
    np.testing.assert_allclose(found.coefficient, expected, atol=1e-6)
    np.testing.assert_allclose(found.correlation[:4], [1, 1, 1, np.corrcoef(t, o)[0, 1]], atol=1e-5)
    none = memory(absent, present, absent, where)
    assert none.coefficient == 0.0 and np.isnan(none.correlation)


def test_memory_is_unbiased_under_noise():
    """Independent noise on the estimate moves the coefficient by its standard error only (1 / |content|)."""
    absent = np.zeros((3, 4, 4, 1))
    content = RNG.standard_normal((3, 4, 4, 1))
    x0 = 0.6 * content + RNG.standard_normal((4000, *content.shape))
    found = memory(x0, absent + content, absent, np.ones((3, 4, 4), bool))
    error = 1.0 / np.linalg.norm(content)
    assert abs(float(found.coefficient.mean()) - 0.6) < 4 * error / np.sqrt(4000)
    assert float(found.coefficient.std()) == pytest.approx(error, rel=0.06)
