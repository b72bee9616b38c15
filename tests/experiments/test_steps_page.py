"""The page of Chain-of-Steps: what the scrubber says of a clip, and curves whose values are known."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.chain_of_steps import drawing, memory, page, study
from vrjax import tasks
from vrjax.flow import grids, sample
from vrjax.models.embedded import shipped
from vrjax.study import page as common
from vrjax.study import subjects
from vrjax.tasks.core import block_mean

STEPS, NONE = 5, {}


def measured(models, null=NONE):
    return types.SimpleNamespace(
        models=models, others={"null": null}, gates={}, dose="hidden mean, first blocks, first 1"
    )


def test_what_was_not_measured_is_not_drawn():
    nothing = measured({})
    assert drawing.curves(nothing, 50) == drawing.maps(nothing) == drawing.forests(nothing, 50) == []
    one = {"maze/paths": [{"right": np.ones((4, 2, STEPS), bool)}]}  # the believer is missing: a line without its null
    assert drawing.curves(measured(one), 50) == []


def test_forced_choice_stands_beside_the_believer():
    right = np.zeros((3, 6, 2, STEPS), bool)
    right[..., 2:] = True
    right[1, :3, :, 1] = True  # of the second seed's clips half are right a step earlier
    right[2, :3, :, 1] = right[2, :, 0, 1] = True  # and of the third's three quarters
    table = [{"right": r, "believer_right": np.zeros_like(r)} for r in right]
    (curve,) = drawing.curves(measured({"maze/paths": table}), 50)
    model, null = curve.series
    np.testing.assert_allclose(model.y, [0, 5 / 12, 1, 1, 1])
    assert null.y.tolist() == [0] * 5
    assert (model.role, null.role) == ("model", "null")
    assert np.isfinite(null.high).all() and (null.high > 0).all()  # none of 12 is no proof of none
    exact = {"maze/trajectories": [{"solved": r} for r in right]}
    (curve,) = drawing.curves(measured({"maze/paths": table} | exact), 50)
    assert [s.name for s in curve.series][-1] == "model, read exactly"


def test_two_seeds_have_a_mean_and_no_band():
    """Student's t with one degree of freedom says nothing; a control of two seeds is drawn as a line."""
    rows = np.random.default_rng(0).random((3, 6, 2, STEPS))
    two, three = (common.band("noise", list(rows[:n]), 50, "control") for n in (2, 3))
    np.testing.assert_allclose(two.y, rows[:2].mean((0, 1, 2)))
    assert two.low is None and two.high is None and (three.low < three.y).all() and (three.y < three.high).all()


def test_clips_without_a_region_are_left_out():
    branch = np.full((1, 5, 2, STEPS), 0.5)
    branch[0, 1] = np.nan
    (curve,) = drawing.curves(
        measured({"maze/paths": [{"branch_ink": branch[0], "placebo_ink": np.zeros((5, 2, STEPS))}]}), 50
    )
    assert curve.series[0].y.tolist() == [0.5] * STEPS
    with pytest.raises(ValueError, match="ink: no instance"):
        common.band("ink", [np.full((3, 2, STEPS), np.nan)], 50)


def test_doors_agree_beyond_other_clips():
    colours = np.arange(12) // 2
    looks = np.array([0, 2, 4, 6])[:, None].repeat(2, axis=1)  # four colours
    table = {"colours": colours, "soft_entrance": looks, "soft_exit": looks + np.array([0, 1])}
    table["soft_exit"][0] = 11, 1  # step 0: another colour; step 1: the same colour, another shape
    own, chance = memory.same_colour(table, "soft")
    assert own.tolist() == [[0, 1], [1, 1], [1, 1], [1, 1]] and chance.tolist() == [[0, 0]] * 4
    table["soft_entrance"][:, 0] = 2
    assert memory.same_colour(table, "soft")[1][:, 0].tolist() == [0, 1, 0, 0]
    (curve,) = drawing.curves(measured({"entrant/memory": [table]}), 50)
    assert curve.series[0].y.tolist() == [0.25, 1.0]


def test_what_is_drawn_again_over_the_step_of_emptying():
    colours, looks = np.arange(12) // 2, np.arange(6) * 2
    table = {"colours": colours, "at": np.array([10, 2]), "solved": np.ones((6, 2), bool)}
    table |= {"clean_entrance": looks, "clean_exit": looks}
    ends = np.stack([np.roll(looks, 1), looks], axis=1)  # at step 10 all choose anew, at step 2 none
    table |= {"emptied_entrance": ends, "emptied_exit": ends}
    (curve,) = drawing.curves(measured({"entrant/memory": [table] * 2}), 50)
    agree, lost = curve.series
    assert agree.x.tolist() == [2, 10] and agree.y.tolist() == [1, 1] and lost.y.tolist() == [0, 1]
    one = table | {"at": np.array([10]), "emptied_entrance": ends[:, :1], "emptied_exit": ends[:, :1]}
    assert drawing.curves(measured({"entrant/memory": [one]}), 50) == []


def test_tables_are_readable():
    rows = [{"arm": "single", "chosen": False, "per_seed": [0.5, 0.25], "difference": 0.0, "low": 0.0, "high": 0.0}]
    rows += [{"arm": "mean", "chosen": True, "per_seed": [1, 0], "difference": 0.1, "low": -0.1, "high": 0.2, "of": 1}]
    first, second = page.readable(rows)
    assert second == {
        "arm": "mean",
        "chosen": "yes",
        "per seed": "1.000, 0.000",
        "difference": "0.100",
        "95 %": "[-0.100, +0.200]",
        "of": 1,
    }
    assert list(first) == list(second) and first["of"] == "" and first["chosen"] == ""


def test_swaps_and_noise_at_a_step():
    flip = np.zeros((4, 2 + 3), bool)
    flip[:, 1], flip[:3, 3], flip[3, 4] = True, True, True
    usable = np.array([True, True, True, False])
    goals = {"maze/goals": [{"flip": flip, "usable": usable}] * 2}
    (curve,) = drawing.curves(measured(goals), 50)
    alone, everywhere, nowhere = curve.series
    assert alone.y.tolist() == [0, 1, 0] and everywhere.y.tolist() == [1] * 3 and nowhere.y.tolist() == [0] * 3
    assert "6 pairs" in curve.caption
    assert drawing.curves(measured({"maze/goals": [{"flip": flip, "usable": ~usable & False}]}), 50) == []

    table = {"clean": np.array([0, 1, 1]), "renoise": np.array([[0, 1], [0, -1], [1, 0]])}
    part = "maze_goals/disturbed"
    (curve,) = drawing.curves(measured({part: [table]}, {part: [table]}), 50)
    model, null = curve.series
    assert model.y == pytest.approx([1 / 3, 2 / 3]) and null.role == "null"
    blind = table | {"clean": np.full(3, -1)}  # no undisturbed run shows an answer
    assert drawing.curves(measured({part: [table, blind]}, {part: [table]}), 50) == []


def test_doses_are_differences_to_the_single_run():
    solved = np.zeros((3, 10, 2))
    solved[0, :4], solved[1, :6] = 1, 1
    arms = np.array(["single", "hidden mean, first blocks, first 1", "temperature 1/sqrt(M)"])
    (forest,) = drawing.forests(measured({"maze/ensembles": [{"solved": solved, "arms": arms}] * 2}), 50)
    hidden, cold = forest.arms
    assert (hidden.estimate, cold.estimate) == pytest.approx((0.2, -0.4))
    assert (hidden.role, cold.role) == ("model", "control") and hidden.name.endswith("(best on validation)")


def test_the_entrant_is_told_by_both_doors():
    task = tasks.get("entrant")
    suite = subjects.suite("entrant", "test", 1, 2, shipped.load("entrant").cfg)
    layout, labels = suite.clips[0].meta["layout"], task.looks
    films = [block_mean(task.paint(task.film(layout, look))).astype(np.float32) for look in labels]
    shown = np.stack([films[1]] * (2 * STEPS)).reshape(1, 2, STEPS, *films[0].shape)  # the doors show through a slash
    shown[0, 0, 0, -1] = films[3][-1]  # the first seed starts with another look at the exit
    shown[0, 1, :, -1] = films[0][0]  # the second never lets it out
    table = {"effective": np.ones((1, 2, STEPS))}
    case = page.case(suite, {"x0": shown}, table, steps=STEPS, shift=3.0, note="First.")
    own, other = (" ".join(labels[k]) for k in (1, 3))
    assert case.outcomes == (f"solved: {own} in, {own} out", f"not solved: {own} in, nothing clear out")
    assert case.solved == (True, False) and case.truth is None and "stands in no condition" in case.note
    assert [[g.kind for g in run] for run in case.guesses] == [["other"] + ["right"] * 4, ["unreadable"] * 5]
    (event,) = case.events
    assert (event.step, event.label, event.seed) == (1, "commits", 0)
    turned = page.case(suite, {"x0": shown}, table, steps=STEPS, shift=3.0, first=1, note="First.")
    assert turned.seeds == ("seed 1", "seed 0") and turned.outcomes == case.outcomes[::-1]
    assert turned.guesses == case.guesses[::-1] and turned.events[0].seed == 1
    np.testing.assert_array_equal(turned.noisy, case.noisy[::-1])
    apart = next(c for c in case.curves if c.title.startswith("How far both doors")).series[0].y
    assert apart[0, 0] > 0.1 and apart[0, 1:] == pytest.approx(0) and other != own


def test_a_maze_has_its_truth_beside_it():
    suite = subjects.suite("maze", "test", 1, 1, shipped.load("entrant").cfg)
    shown = suite.rows["solution"][:, None, None].repeat(STEPS, axis=2)
    case = page.case(suite, {"x0": shown}, {}, steps=STEPS, shift=3.0, note="First.")
    assert case.truth is not None and case.solved == (True,) and case.curves == () and case.events == ()


def test_clips_are_chosen_by_a_rule():
    """A page opens with the seed of which its sentence speaks."""
    solved = np.ones((4, 3, STEPS), bool)
    solved[2, 1, :2] = False  # corrects itself
    solved[1, 2, -1] = False  # fails
    said = study.telling({"solved": solved}, 3)
    assert [(clip, seed) for clip, seed, _ in said] == [(2, 1), (1, 2), (0, 0)]
    assert "a seed, 1, ends right" in said[0][2] and "some seed, 2, does not" in said[1][2]
    solved[2, 0, -1] = solved[1, 2, -1] = True
    solved[2, 0, -1] = False  # the clip that corrects itself is the one that fails
    assert [clip for clip, *_ in study.telling({"solved": solved}, 2)] == [2, 0]


def test_the_states_are_those_that_were_sampled():
    rng, grid = np.random.default_rng(0), grids.shifted(6, shift=5.0)
    noise, goal = rng.normal(size=(2, 3, 4)), rng.normal(size=(3, 4)).astype(np.float32)
    run = lambda x: sample(lambda x, level: jnp.tanh(x) * level.sigma - goal, x, grid)
    traj = jax.vmap(run)(jnp.asarray(noise, jnp.float32))
    np.testing.assert_allclose(page.states(noise, np.asarray(traj.x0), grid.sigmas), traj.x[:, :-1], atol=2e-5)
