"""The exploratory list on planted runs whose answer is known, on exact posteriors, and on an untrained network."""

import dataclasses
import inspect
import types

import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx

from experiments.chain_of_steps import (
    config,
    ensembles,
    exploratory,
    goals,
    layers,
    lengths,
    listings,
    perturbations,
    readings,
    swaps,
    trajectories,
    verdicts,
)
from vrjax.flow import Prediction
from vrjax.models import wan
from vrjax.reasoning.instruments import null
from vrjax.study import registration, subjects
from vrjax.study.tables import Bench

RNG = np.random.default_rng(0)
CFG = dataclasses.replace(tiny.SPECIALIST, layers=3)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("tables"), group=6)


@pytest.fixture(scope="module")
def model():
    """A network that knows nothing: it does for what must hold of any."""
    return subjects.untrained(subjects.Subject("any", wan.WanDiT(CFG, rngs=nnx.Rngs(0))))


@pytest.fixture(scope="module")
def mazes():
    return subjects.suite("maze", "test", 12, 3, CFG)


def guess(weights, row, taps={}, edits={}):  # noqa: B006
    """The exact posterior of one who takes wrong paths for as likely as the right one: the noise decides."""
    return null.velocity(row["candidates"], jnp.ones(len(row["candidates"])))


def grow(weights, row, taps={}, edits={}):  # noqa: B006
    """Tokens of the path grow by a factor e in each of six blocks, and so do those of frame 3, which are no path."""

    def velocity(x, level):
        place = 0.5 * (jnp.arange(225) // 25 == 3)
        size = jnp.exp(jnp.arange(6.0)[:, None] * (row["own"] + place))
        h = size[..., None] * jnp.eye(4)[0]
        return Prediction(jnp.zeros_like(x), {site: jnp.stack([tap(one) for one in h]) for site, tap in taps.items()})

    return velocity


@pytest.fixture(scope="module")
def measured(bench, model, mazes):
    """A small table of every part."""
    looks, exact = subjects.suite("entrant", "test", 12, 3, CFG), subjects.NULL
    guesser = subjects.Subject("guesser", None, "null", guess)
    arms = ["single", "noise-free start", "re-noised at 2", "re-noised at 4", "majority of 3"]
    solved = np.zeros((5, 4, 3), bool)
    solved[1] = solved[3] = True
    few, shift = {"steps": 3, "shift": 3.0}, {"shift": 3.0}
    return {
        "maze/trajectories": trajectories.measure(bench, exact, mazes, steps=6, **shift),
        "entrant/trajectories": trajectories.measure(bench, exact, looks, steps=6, **shift),
        "maze/paths": {"second": RNG.random((4, 2, 6)), "believer_second": RNG.random((4, 2, 6))},
        "maze/lengths": lengths.measure(bench, exact, mazes, steps=(1, 2), **shift),
        "maze/frames": lengths.fewer(bench, exact, mazes, steps=2, **shift),
        "maze_goals/perturbations": perturbations.measure(bench, guesser, mazes.only(range(6)), steps=8, **shift),
        "maze/transplants": perturbations.transplants(bench, guesser, mazes, steps=4, **shift),
        "maze/energy": layers.energy(bench, subjects.Subject("grows", None, velocity=grow), mazes, **few),
        "maze/swaps": swaps.measure(bench, model, mazes.only(range(6)), first=(1, 3), **few),
        "maze/ablation": {"solved": np.ones((4, CFG.layers), bool)},
        "maze/probes": layers.probed(bench, model, subjects.suite("maze", "test", 14, 1, CFG), recorded=1, **few),
        "maze/rivals": {"arms": np.array(arms), "solved": solved, "nfe": np.full(5, 8)},
    }


# ------------------------------------------------------------------------------------------------- along the steps


def test_each_frame_settles_when_it_reads_the_same_to_the_end():
    rasters = np.zeros((1, 2, 6, 3, 2, 2), np.uint8)  # [instance, noise, step, frame, h, w]
    rasters[0, 0, :4, 1, 0, 0] = 1  # frame 1 changes once, before step 4
    rasters[0, 0, [0, 2], 2] = 2  # frame 2 goes back and forth, for the last time before step 3
    rasters[0, 1, 5, 0] = 3  # only the last step is what it ends with
    np.testing.assert_array_equal(trajectories.settled(rasters), [[[0, 4, 3], [5, 0, 0]]])


def test_the_step_at_which_either_door_is_decided():
    suite = subjects.suite("entrant", "test", 2, 1, CFG)
    films = suite.rows["candidates"]  # [clip, look, t, h, w, c]; look = 2 ink + shape
    mean, x0 = films.mean(1), np.empty((2, 1, 5, *films.shape[2:]), np.float32)
    x0[:] = films[:, 4][:, None, None]  # what both end with
    x0[0, 0, :3, :5], x0[0, 0, 0, 5:] = films[0, 5, :5], films[0, 5, 5:]  # other shape: at the entrance until step 3
    x0[1, 0, :2, :5], x0[1, 0, :4, 5:] = films[1, 2, :5], mean[1, 5:]  # other ink, and at the exit all looks at once
    x0[1, 0, 0, 5:] = suite.rows["solution"][1, :1]  # and before, nothing
    found = trajectories.doors(suite, x0)
    decided = lambda door, what: readings.decided(found, door, what)[:, 0].tolist()
    assert decided("entrance", "look") == [3, 2] and decided("entrance", "colour") == [0, 2]
    assert decided("entrance", "shape") == [3, 0] and decided("exit", "look")[0] == 1
    assert found["there"][1, 0, :, 1].tolist() == [False, True, True, True, True]
    assert readings.placed(found)[:, 0].tolist() == [0, 1]
    one = {"entrant/trajectories": found}
    assert readings.perception(one)[0, 0] == 1 - 3
    assert readings.perception_of_place(one)[:, 0].tolist() == [0 - 3, 1 - 2]
    never = {"there": np.zeros((1, 1, 5, 2), bool)}
    assert readings.placed(never) == 5


def test_the_exact_posterior_along_the_steps(measured):
    """It solves a unique maze from the first step on; of looks, it decides for both doors at once."""
    table, looks = measured["maze/trajectories"], measured["entrant/trajectories"]
    assert table["solved"].all() and (table["score"] == 1).all() and not table["settled"].any()
    assert np.abs(table["ink_off"]).max() < 1e-3
    assert looks["solved"][..., -1].all() and looks["settled"].any()
    lead = readings.perception(measured)
    assert np.median(lead) == 0 and abs(lead.mean()) < 0.5  # not all 0: blurs at doors of two colours read unlike
    assert not readings.placed(looks).any() and not readings.placed(looks, 0).any()


def test_frames_that_settle_together_and_apart():
    one = lambda settled: {"maze_goals/trajectories": {"settled": settled}}
    common = np.repeat(RNG.integers(0, 20, (200, 3, 1)), 9, axis=-1)
    apart = RNG.integers(0, 20, (200, 3, 9))
    apart[..., 5:] += 40  # frames that are always late are no spread of runs
    assert not readings.within(one(common)["maze_goals/trajectories"]).any()
    assert readings.together(one(common)).mean() > 4
    assert abs(readings.together(one(apart)).mean()) < 0.2


def test_paths_held_at_once():
    second = np.zeros((2, 1, 9))
    second[0, 0, 2], second[1, 0, 3] = 0.3, 0.5  # within, and after the first third
    table = {"second": second, "believer_second": np.stack([second[0], np.full((1, 9), 0.21)])}
    assert readings.held({"maze/paths": table})[:, 0].tolist() == [0, -1]


def test_wrong_paths_that_fade():
    table = {"branch_ink": np.full((2, 1, 6), 0.2), "placebo_ink": np.full((2, 1, 6), 0.1)}
    table["branch_ink"][:, :, :2] = 0.5
    table["branch_ink"][1] = np.nan  # a maze that has no such branch
    np.testing.assert_allclose(readings.fades({"maze/paths": table})[:, 0], [0.3, np.nan])


# -------------------------------------------------------------------------------------------- disturbed and shortened


def test_a_transplanted_state_repeats_its_donor(measured):
    table = measured["maze/transplants"]
    assert len(table["instance"]) and table["solved"].shape[1:] == (3, 4)
    assert table["solved"][:, 0].all() and not table["reverse_solved"][:, 0].any()
    assert exploratory.CONTROLS["a succeeding run's whole state: solved"][1](measured) == 1
    late = np.zeros((2, 3, 6), bool)
    late[:, 1, :3] = True
    assert readings.saved({"maze/transplants": {"solved": late}}).tolist() == [1, 1]


def test_noise_at_a_step_reaches_what_comes_after(measured):
    """With the exact posterior over right and wrong paths, noise at an early step is another draw."""
    table = measured["maze_goals/perturbations"]
    assert table["step"].shape == (6, 8) and table["shuffled"].shape == (6, 8)
    assert (table["clean"] >= 0).all() and (table["far"][:, :4] > 0.1).all()
    changed = (table["step"] != table["clean"][:, None]).mean(0)
    assert changed[:4].mean() > 0.3
    spared = {"clean": np.zeros(2, int), "step_equal": np.eye(2, 4, dtype=int), "shuffled": np.zeros((2, 3), int)}
    assert readings.over_cells({"maze_goals/perturbations": spared}).tolist() == [0.25, 0.25]


def test_more_steps_for_longer_paths():
    solved = np.zeros((5, 1, 3), bool)
    solved[..., 2] = True
    solved[:2, :, 0] = True  # 4 steps are enough for two of them
    table = {"solved": solved, "steps": np.array([4, 8, 20]), "length": np.array([5, 7, 9, 16, 5])}
    found = readings.steps_for_length({"maze/lengths": table})[:, 0]
    assert found.tolist() == [1, 0]  # (5, 16): from 0 to 1; (5, 9): both 1
    table["length"] = np.full(5, 7)
    assert np.isnan(readings.steps_for_length({"maze/lengths": table})).all()


def test_lengths_and_films_of_fewer_frames(measured, mazes):
    table, fewer = measured["maze/lengths"], measured["maze/frames"]
    assert table["solved"].all() and table["solved"].shape == (12, 3, 2)
    assert table["length"].tolist() == [len(clip.answer) for clip in mazes.clips]
    found = lengths.films(9, 16, 3)
    assert found["every second"] == (0, 2, 4, 6, 8) and found["the first"] == tuple(range(7))
    few = lengths.thinned(mazes, found["every second"])
    twice = [mazes.task.film(clip.meta["layout"] | {"frames": 5, "speed": 6}, None) for clip in mazes.clips]
    assert few.rows["solution"].shape[1] == len(twice[0]) and few.rows["noise"].shape[2] == 5
    assert fewer["solved"].all() and fewer["frames"].tolist()[:3] == [9, 5, 3]
    assert not readings.fewer_frames(measured).any()
    with pytest.raises(ValueError, match="leave out"):
        lengths.thinned(mazes, (0, 1))
    with pytest.raises(ValueError, match="leave out"):
        lengths.thinned(subjects.suite("entrant", "test", 1, 1, CFG), range(0, 9, 4))


# ----------------------------------------------------------------------------------------------------------- blocks


def test_energy_of_a_foreground_that_grows(measured):
    table = measured["maze/energy"]
    assert table["own"].shape == (12, 3, 6)
    np.testing.assert_allclose(table["own"][..., 0], 0, atol=1e-5)
    assert (readings.foreground(measured) > 0.5).all()
    same = {"own": table["other"], "other": table["other"]}
    assert not readings.foreground({"maze/energy": same}).any()


def test_doses_of_swaps_end_where_all_steps_are_swapped(bench, model, mazes, measured):
    table, few = measured["maze/swaps"], mazes.only(range(6))
    whole = goals.measure(bench, model, few, steps=3, shift=3.0)
    np.testing.assert_array_equal(table["tokens_flip"][:, 1], whole["flip"])
    np.testing.assert_array_equal(table["usable"], whole["usable"])
    with pytest.raises(ValueError, match="doses of 1 to 2"):
        swaps.measure(bench, model, few, steps=2, shift=3.0, first=(4,))


def test_the_first_step_swapped():
    flip = np.zeros((2, 2, 5), bool)  # [pair, dose, condition]: none, all, block 0, 1, 2
    flip[:, 1, 1:] = flip[0, 0, 3] = True
    one = {"maze/swaps": {"stream_flip": flip, "usable": np.array([True, False]), "first": np.array([1, 8])}}
    np.testing.assert_array_equal(readings.first_step(one), [0.5, np.nan])
    assert exploratory.CONTROLS["all blocks swapped in all steps: flipped"][1](one) == 1


def test_probes_beside_an_untrained_network(measured):
    table = measured["maze/probes"]
    assert table["walls_untrained"].min() > table["walls_chance"] + 0.3  # they are in the input
    assert table["answer"].shape == table["answer_untrained"].shape == (1, CFG.layers)
    np.testing.assert_allclose(table["walls"], table["walls_untrained"], atol=0.02)  # the model is untrained itself
    np.testing.assert_allclose(readings.answer_gain(measured), np.zeros(4), atol=0.05)


def test_blocks_that_are_skipped():
    solved = np.array([[True, True, False, False, True, False]])
    assert readings.ablated({"maze/ablation": {"solved": solved}}).tolist() == [0.75]


# --------------------------------------------------------------------------------------------------------- ensembles


def test_rivals_are_all_different():
    rows = ensembles.rivals(8, 6, 3)
    names = [row.name for row in rows]
    assert len(set(names)) == len(names) and len({row.program for row in rows}) == len(rows) - 2
    assert [row.nfe for row in rows[:3]] == [8, 2, 4]


def test_reading_arms(measured):
    hidden = {"arms": np.array(["hidden mean"]), "solved": np.ones((1, 4, 3), bool)}
    one = measured | {"maze/ensembles": hidden, "dose": "hidden mean"}
    assert (readings.noise_free(one) == 1).all() and (readings.renoised(one) == 0.5).all()
    assert (readings.over_majority(one) == 1).all()


# -------------------------------------------------------------------------------------------------------- what is shown


def test_every_table_is_shown(measured):
    """For two seeds, with one of the others beside."""
    models = {part: [table, table] for part, table in measured.items()}
    others = {"null": {part: tables[:1] for part, tables in models.items() if part.endswith("trajectories")}}
    shown = exploratory.tables(None, types.SimpleNamespace(models=models, others=others))
    assert set(shown) == set(listings.TITLES)
    assert all(len({tuple(row) for row in rows}) == 1 for rows in shown.values())
    rows = {row["arm"]: row for row in shown["Rivals of the ensemble"]}
    assert rows["noise-free start"]["minus single"] == "+1.000 [+1.000, +1.000]"
    assert [row["who"] for row in shown["Entrant: look and place"]] == ["model", "null model"]
    assert {row["who"] for row in shown["Estimates that hold several paths"]} == {"model", "calibrated believer"}
    assert not exploratory.tables(None, types.SimpleNamespace(models={}, others={}))


def test_parts_and_claims():
    """Every measure takes what its part gives it; every exploratory claim is read by one that is there."""
    study = config.ChainOfSteps(
        name="tiny",
        trajectories=1,
        paths=1,
        memory=1,
        disturbed=1,
        swapped=1,
        ensembles=1,
        explored=1,
        explored_swaps=1,
    )
    parts = exploratory.parts(study)
    for part in parts:
        inspect.signature(part.measure).bind(None, None, None, **part.given)
    names = [part.name for part in verdicts.parts(study)]
    assert len(set(names)) == len(names)
    assert not exploratory.parts(dataclasses.replace(study, explored=0))
    assert not any(part.split for part in exploratory.parts(dataclasses.replace(study, split="val")))
    asked = registration.read(exploratory.__file__).claims
    mine = [claim for claim in asked if str(claim["how"]["measure"]) in exploratory.MEASURES]
    assert {claim["how"]["measure"] for claim in mine} == set(exploratory.MEASURES)
    assert all(claim["role"] == "exploratory" and claim["gate"] for claim in mine)
    assert {c["control"]["what"] for c in mine if c["control"]} == set(exploratory.CONTROLS)
