"""All paths and their believer, the entrant's memory, goals swapped: on runs whose answer is known."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from flax import nnx

from experiments.chain_of_steps import disturbed, doses, goals, memory, paths
from vrjax import tasks
from vrjax.flow import grids
from vrjax.models import wan
from vrjax.models.embedded import shipped
from vrjax.reasoning.instruments import arms
from vrjax.reasoning.instruments.ensemble import AXIS
from vrjax.study import subjects
from vrjax.study.tables import Bench

GRID = {"steps": 9, "shift": 3.0}
CFG = shipped.load("worlds").cfg


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("tables"), group=6)


@pytest.fixture(scope="module")
def mazes():
    return subjects.suite("maze", "test", 18, 2, CFG)


@pytest.fixture(scope="module")
def exact(bench, mazes):
    return paths.read(bench, subjects.NULL, mazes, **GRID, beta=3.0)


MAZE = ["RRD", "RDD", "RR."]  # (0,0)-(0,1)-(0,2)-(1,2)-(2,2)-(2,1)-(2,0); (1,0)-(1,1)-(2,1)


def test_branches_and_what_is_behind_a_wall():
    layout = {"maze": MAZE, "start": [0, 0], "goals": [[1, 2]], "speed": 3, "frames": 9}
    assert len(paths.drawable(layout)) == 8
    assert paths.branches(layout) == {(2, 2): (1, 4), (2, 1): (2, 4), (2, 0): (3, 4), (1, 1): (3, 4), (1, 0): (4, 4)}
    branch, placebo = paths.regions(layout)
    cells = lambda table: [{tuple(c) for c in np.argwhere(at).tolist()} for at in table]
    assert cells(branch) == [{(2, 2), (1, 1)}, {(2, 1), (2, 0)}, set()] and cells(placebo) == [{(1, 0)}, set(), set()]
    assert list(paths.drawable(layout))[paths.doubted(layout)] == (1, 1)


def test_every_path_of_every_maze(mazes):
    every = paths.every_path(mazes)
    assert every.films.shape[:2] == every.mask.shape and (every.mask.sum(1) == 24).all()
    assert (every.right.sum(1) == 1).all() and not (every.right & ~every.mask).any()
    for films, right, solution in zip(every.films, every.right, mazes.rows["solution"], strict=True):
        assert np.array_equal(films[right.argmax()], solution)


def test_the_exact_posterior_neither_corrects_itself_nor_draws_off_the_path(exact, mazes):
    assert exact["right"].all() and exact["right"].shape == (18, 2, 9)
    assert not paths.correction(exact["right"]).any()
    off = paths.off_path(exact)
    assert off.shape == (18,) and np.isfinite(off).any() and np.nanmax(np.abs(off)) < 1e-3
    assert np.array_equal(np.isnan(off), [_lacks(clip.meta["layout"]) for clip in mazes.clips])
    wrong = exact | {"right": exact["right"] & (np.arange(9) > 0)}  # drawn alone, a wrong answer is not several
    assert np.isnan(paths.off_path(wrong)).all()


def _lacks(layout):
    return not any(branch.any() and placebo.any() for branch, placebo in zip(*paths.regions(layout), strict=True))


def test_positive_controls_are_seen(exact, mazes):
    assert paths.correction(exact["planted_right"]).mean() >= 0.9
    assert np.nanmean(paths.planted(exact)) >= 0.1


def test_a_believer_gains_nothing_by_changing_its_mind(bench, mazes):
    """Beliefs that are right as often as they say: the first choice is right at least as often as where it ends."""
    rng = np.random.default_rng(0)
    weight = rng.dirichlet(np.full(24, 0.2), size=4000).astype(np.float32)
    mask = np.ones_like(weight, bool)
    belief = np.asarray(paths.believed(weight, mask, 6.0), np.float64)
    draw = lambda: (belief.cumsum(1) > rng.random((len(belief), 1)) * belief.sum(1, keepdims=True)).argmax(1)
    truth, ends = draw(), draw()  # an exact posterior ends in proportion to its prior
    assert (ends == truth).mean() < (belief.argmax(1) == truth).mean() - 0.05
    # the sharpness under which they were drawn is found again
    table = {"weight": weight[:, None], "mask": mask, "truth": np.eye(24, dtype=bool)[truth]}
    assert abs(np.log(paths.calibrate(table) / 6.0)) < 0.15


def test_believers_of_a_network(bench, mazes):
    subject, held = subjects.Subject("worlds", shipped.load("worlds")), subjects.suite("maze", "val", 6, 2, CFG)
    table = paths.measure(bench, subject, mazes.only(range(6)), held=held, **GRID)
    assert table["right"].shape == table["believer_right"].shape == (6, 2, 9) and "weight" not in table
    assert table["beta"] in paths.BETAS and (table["second"] <= 0.5).all()
    # it starts with what the network believes, and, unsure, ends elsewhere
    assert np.array_equal(table["believer_right"][..., 0], table["right"][..., 0])
    assert (table["believer_second"][..., -1] < 0.01).all() and (table["second"][..., 0] > 0.01).any()


# ------------------------------------------------------------------------------------------------------------- memory


@pytest.fixture(scope="module")
def remembered(bench):
    suite = subjects.suite("entrant", "test", 24, 2, CFG)
    return memory.measure(bench, subjects.NULL, suite, steps=20, shift=3.0, at=(0, 10, 17))


def test_the_exact_posterior_of_looks(remembered):
    assert remembered["solved"].all() and remembered["soft_exit"].shape == (24, 20)
    kept = memory.pairs(remembered)
    assert 0.5 < kept.mean() < 1
    for at in range(3):
        assert np.nanmean(memory.donated(remembered, "ends", at)) == 1
        assert np.nanmean(memory.moved(remembered, "hidden", at)) == 0
        assert memory.unreadable(remembered, "emptied", at) == 0
        together = memory.agreement(remembered, "emptied", at)
        assert np.isfinite(together).all() and together.mean() > 0.6
    early, late = (np.nanmean(memory.lost(remembered, "emptied", at)) for at in (0, 2))
    assert late < 0.2 < early  # late, the exit holds its own
    assert np.array_equal(remembered["clean_exit"] >= 0, np.ones(24, bool))


def test_independent_ends_agree_by_chance():
    rng = np.random.default_rng(0)
    looks = rng.integers(-1, 12, size=(2, 4000, 1))
    table = {"emptied_entrance": looks[0], "emptied_exit": looks[1], "colours": np.arange(12) // 2}
    table |= {"solved": np.ones((4000, 2), bool), "clean_exit": rng.integers(0, 12, 4000)}
    found = memory.agreement(table, "emptied", 0)
    assert abs(np.nanmean(found)) < 0.02 and np.isnan(found).mean() == memory.unreadable(table, "emptied", 0) > 0.1
    assert abs(np.nanmean(memory.lost(table, "emptied", 0)) - 5 / 6) < 0.03
    table |= {"emptied_exit": looks[0]}
    assert abs(np.nanmean(memory.agreement(table, "emptied", 0)) - 5 / 6) < 0.02


def test_memory_wants_the_entrant(bench, mazes):
    with pytest.raises(ValueError, match="clips of the entrant"):
        memory.measure(bench, subjects.NULL, mazes, **GRID)


# -------------------------------------------------------------------------------------------------------------- goals


def test_another_goal_is_another_question(mazes):
    task = tasks.Maze()
    for clip in mazes.clips:
        layout = clip.meta["layout"]
        goal = goals.other_goal(task, layout)
        if goal is None:
            continue
        found, own = paths.drawable(layout)[goal], paths.drawable(layout)[tuple(layout["goals"][0])]
        assert found[0] == own[0] and own[-1] not in found and goal not in own


def test_goals_swapped(bench, mazes):
    subject = subjects.Subject("worlds", shipped.load("worlds"))
    table = goals.measure(bench, subject, mazes.only(range(6)), steps=6, shift=3.0)
    kept = table["usable"]
    assert kept.mean() > 0.5 and table["flip"].shape == (len(kept), 8)
    assert table["kept"][kept, 0].all() and not table["flip"][kept, 0].any()  # nothing swapped
    assert table["flip"][kept, 1].mean() >= 0.8  # every block
    assert np.array_equal(np.isnan(goals.early_blocks(table)), ~kept)
    with pytest.raises(ValueError, match="a network and clips of the maze"):
        goals.measure(bench, subjects.NULL, mazes, steps=8, shift=3.0)


# -------------------------------------------------------------------------------------------------- ensembles, noise


def test_doses_are_the_arms_of_the_library(bench):
    """One program with masks gives what every arm gives in a program of its own."""
    dit, steps = wan.WanDiT(dataclasses.replace(CFG, dim=16, ffn_dim=16, freq_dim=8), rngs=nnx.Rngs(0)), 5
    subject = subjects.untrained(subjects.Subject("small", dit))
    suite = subjects.suite("maze", "test", 1, 3, CFG)
    finals = []

    class Seen(Bench):
        def over(self, *given):
            finals.append(super().over(*given))
            return finals[-1]

    doses.measure(Seen(bench.folder, group=1), subject, suite, steps=steps, shift=3.0)
    row = jax.tree.map(lambda a: a[0], suite.rows)
    model = lambda edits: subject.velocity(subject.weights, row, {}, edits)
    problem = arms.Problem(model, functools.partial(grids.shifted, shift=3.0))
    rows = doses.doses(CFG.layers)
    library = {arm.name: arm for arm in arms.arms(steps, CFG.layers, early=doses.FIRSTS)}
    assert len(set(library) & {dose.name for dose in rows}) >= 6
    for dose, found in zip(rows, finals[0][0], strict=True):
        if (arm := library.get(dose.name)) is None:
            continue
        run = lambda x, arm=arm: arms.run(arm, problem, x, None).final
        np.testing.assert_allclose(found, jax.vmap(run, axis_name=AXIS)(row["noise"]), atol=2e-4, err_msg=dose.name)
    assert len({f.tobytes() for f in finals[0][0]}) == len(rows)  # no two arms are the same


def test_the_exact_posterior_on_disturbed_mazes(bench):
    """With one answer nothing changes it; with several, noise early does and late does not."""
    how = {"steps": 8, "shift": 3.0}
    unique = disturbed.measure(bench, subjects.NULL, subjects.suite("maze", "test", 6, 1, CFG), **how)
    for name in disturbed.CONDITIONS:
        assert np.array_equal(unique[name], np.broadcast_to(unique["clean"][:, None], unique[name].shape))
    several = disturbed.measure(bench, subjects.NULL, subjects.suite("maze_goals", "test", 18, 1, CFG), **how)
    curve = disturbed.turned(several).mean(0)
    assert several["step"].shape == (18, 8) and several["frame"].shape == (18, 8) and (several["clean"] >= 0).all()
    assert curve[:2].min() > 0.3 and curve[-1] == 0
    assert disturbed.peak(several, 0).mean() < 0 < disturbed.peak(several, 2).mean()


def test_answers_that_cannot_be_read():
    """After a disturbance they are lost, not turned; where the undisturbed run shows none, nothing can be said."""
    table = {"renoise": np.array([[-1, 0, 1], [1, 1, 1]], np.int8), "clean": np.array([0, -1], np.int8)}
    np.testing.assert_array_equal(disturbed.turned(table), [[0, 0, 1], [np.nan] * 3])
    np.testing.assert_array_equal(disturbed.peak(table, 2), [-1, np.nan])
    table |= {"step": np.array([[-1, 1]] * 2, np.int8), "frame": np.array([[0, 1]] * 2, np.int8)}
    np.testing.assert_array_equal(disturbed.step_over_frame(table), [0.5, np.nan])
    np.testing.assert_array_equal(disturbed.step_over_frame(table, lost=False), [0, np.nan])


def test_the_dose_is_the_best_on_validation():
    names = np.array([dose.name for dose in doses.doses(6)])
    tables = [{"arms": names, "solved": np.zeros((len(names), 4, 3), bool)} for _ in range(2)]
    assert doses.best(tables) == "hidden mean, first blocks, first 1"  # first of equals
    tables[0]["solved"][4], tables[1]["solved"][5, :2], tables[0]["solved"][0] = True, True, True
    assert doses.best(tables) == names[4]
