"""What the world-model study measures, on small untrained worlds: beside loops by hand and a push along a line."""

import dataclasses
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from world_tables import STUDY

from experiments.world_model import asking, chances, episodes, names, plans, roads, settled, strays, training
from experiments.world_model.config import Search, Trainings
from experiments.world_model.training import Trained
from tests.world.world_toys import NETWORK, SPEC, untrained
from vrjax import flow, world
from vrjax.reasoning.instruments import null
from vrjax.study.tables import Bench
from vrjax.train.config import Checkpoint, Data
from vrjax.world import learned
from vrjax.world.exact import drive, push
from vrjax.world.ladder import chance
from vrjax.world.learned import practice
from vrjax.world.protocol import step_key

KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def w():
    return untrained()


def test_how_far_a_world_strays_by_a_loop(w):
    """Film, actions, chance and distances of one episode, step by step."""
    found = jax.jit(strays.through(3))(w, {"key": KEY})
    acted, run = jax.random.split(KEY)
    film = jax.jit(lambda key: practice.film(w.spec.home, w.spec.names, key, 4, shoved=("blocks",)))(acted)
    film = jax.tree.map(np.asarray, film)
    state = jax.jit(w.encode)(film.frames[0])
    step = jax.jit(lambda s, a, k: (after := w.step(s, a, k), w.decode(after)))
    for t in range(3):
        state, told = step(state, film.actions[t + 1], step_key(run, t))
        places = np.stack([np.asarray(told["agent"]), np.asarray(told["blocks"][0])])
        far = np.linalg.norm(places - film.places[t + 1, :2], axis=-1)
        np.testing.assert_allclose(np.asarray(found["far"])[t], far, atol=1e-3)
        error = np.mean((np.asarray(w.render(state)) - film.frames[t + 1]) ** 2)
        assert float(found["frames"][t]) == pytest.approx(error, rel=1e-3)
    beside = jax.eval_shape(strays.beside(3), w, {"key": KEY})
    assert {name: value.shape for name, value in beside.items()} == {names.FROZEN: (3, 2), strays.READ: (3, 2)}


def test_a_walk_has_the_law_of_its_coins():
    """The agent comes a pixel for each coin that says go, whichever the others are, and touches nothing."""
    home: Any = push.push(blocks=1, walls=0, stay=0.3)
    coins, weights = chance.rows(3, 0.3)
    keys = jax.random.split(KEY, 32)
    state, actions, way = jax.jit(jax.vmap(lambda key: episodes.walked(home, key, 3)))(keys)
    states = jax.jit(jax.vmap(functools.partial(episodes.futures, home), (0, 0, None)))(state, actions, coins)
    moved = states.agent - state.agent[:, None, None]
    came = np.einsum("nktd,nd->nkt", moved, way)
    np.testing.assert_allclose(came, np.broadcast_to(np.cumsum(1 - coins, 1), came.shape), atol=1e-5)
    np.testing.assert_array_equal(states.blocks, np.broadcast_to(state.blocks[:, None, None], states.blocks.shape))
    assert {tuple(one) for one in np.abs(way).tolist()} == {(1, 0), (0, 1)}  # along either axis
    for probability, row in zip(weights, coins, strict=True):
        assert probability == pytest.approx(0.3 ** row.sum() * 0.7 ** (3 - row.sum()))


def test_goals_follow_each_other_with_room():
    begin = jnp.array([6.0, 9.0])
    found = np.asarray(jax.vmap(lambda key: episodes.goals(begin, key, 4))(jax.random.split(KEY, 16)))
    assert np.abs(found - push.SIZE / 2).max() <= push.MIDDLE
    before = np.concatenate([np.broadcast_to(begin, (16, 1, 2)), found[:, :-1]], 1)
    steps = np.linalg.norm(found - before, axis=-1)
    assert steps.min() >= episodes.APART and steps.std() > 0.3


def test_the_goal_of_a_cost_is_the_one_that_is_told():
    home = push.push(blocks=1, walls=0)
    state = home.make(KEY)
    decoded = jax.tree.map(lambda a: jnp.stack([a, a]), home.decode(state))
    told = episodes.to(decoded | {"goal": jnp.zeros((2, 2))}, state.goal)
    assert float(told) == pytest.approx(float(push.cost(decoded, episodes.BEHIND)))


def test_a_planner_sees_what_it_is_shown(w):
    """One pixel from the goal, the agent behind the block: there in a moment, unless another layout is shown."""
    home: Any = w.spec.home
    state = jax.jit(home.make)(KEY)
    state = state._replace(blocks=jnp.array([[8.0, 8.0]]), agent=jnp.array([5.5, 8.0]), goal=jnp.array([9.0, 8.0]))
    other = state._replace(agent=jnp.array([11.0, 8.0]), goal=jnp.array([4.0, 8.0]))  # to the left
    search = Search(horizon=2, candidates=16, iterations=2)
    run = jax.jit(lambda other: plans.towards(w, state, search, KEY, 4, 2, names.EXACT, other))
    assert np.asarray(run(state)[1]).any() and not np.asarray(run(other)[1]).any()
    for through in (None, names.EXACT):
        shape = jax.eval_shape(plans.program(STUDY.planning, 3, through), w, {"key": KEY})
        assert shape.shape == (3,) and shape.dtype == bool


def test_calls_are_those_that_plans_count():
    for pair in STUDY.methods.pairs:
        assert {plans.calls(search) for search in pair} == {12 * 16}
    search = Search(horizon=2, candidates=4, iterations=3, elites=2)
    toy = push.push(blocks=1, walls=0)
    counted = lambda: world.plan(toy, toy.make(KEY), push.cost, KEY, **search.options).calls
    assert plans.calls(search) == 2 * 4 * 3 == int(jax.jit(counted)())


def test_driving_wants_a_world_that_decodes_it(w):
    """Its program traces on a small exact world; the learned pushing world says nothing of a car."""
    home, spec = drive.example(), roads.Driving(steps=2, search=Search(horizon=2, candidates=4, iterations=1, elites=2))
    told = jax.eval_shape(roads.program(spec), (home, None), KEY)
    assert told["ok"].shape == () and told["aside"].shape == (2,)
    with pytest.raises(ValueError, match="learned decodes no ego, route_left"):
        roads.check(w)


def test_no_level_is_below_those_of_training(w):
    """By a search over shifts; the usual two steps are left alone."""
    for steps in (4, 8, 12):
        levels = asking.asked(w, steps=steps, least=0.26).spec.grid.sigmas
        assert len(levels) == steps + 1 and levels[-2] == pytest.approx(0.26)
        less = [s for s in np.arange(1, 6, 0.01) if flow.grids.shifted(steps, s).sigmas[-2] < 0.26]
        assert w.spec.asked_in(steps, 0.26).shift == pytest.approx(max(less) + 0.01, abs=0.011)
        assert w.spec.asked_in(steps).grid.sigmas[-2] == pytest.approx(w.spec.grid.sigmas[-2])  # its own lowest
    assert asking.asked(w, steps=2, least=0.26).spec == w.spec
    for steps, least in ((0, 0.2), (2, 1.0)):
        with pytest.raises(ValueError, match=f"asked in {steps} steps, least={least}: expected"):
            w.spec.asked_in(steps, least)
    with pytest.raises(ValueError, match="lowest=0.1 of slippery, expected 0.200, its recipe's"):
        training.recipe_of(Trainings(lowest=(0.26, 0.1)), names.SLIPPERY)


def test_exact_denoisers_end_in_a_frame_that_there_is(w):
    latents = jax.random.normal(KEY, (2, 4, 4, 6))
    many = asking.asked(w, steps=8)
    run = jax.jit(lambda key: settled.denoised(many, null.velocity(latents, jnp.array([0.7, 0.3])), key))
    x0 = np.asarray(run(KEY))
    mean = 0.7 * latents[0] + 0.3 * latents[1]
    np.testing.assert_allclose(x0[0], mean, atol=1e-5)  # of noise alone nothing is known
    assert np.abs(x0[-1] - np.asarray(latents)).max((1, 2, 3)).min() < 1e-4
    told = jax.eval_shape(settled.watched(3), many, {"key": KEY})
    assert set(told) == set(settled.ARMS) and told[names.LAW]["where"].shape == (8,)


def test_a_shorter_memory_changes_nothing_before_it_is_full(w):
    """Behind one frame a window of 2 is one of 3, and a window of 1 is not."""
    frame = jax.random.uniform(KEY, (1, 16, 16, 3), minval=-1, maxval=1)

    def after(window):
        less = asking.asked(w, window=window)
        return np.asarray(jax.jit(lambda v, f: v.step(v.encode(f), jnp.zeros(2), KEY).latent)(less, frame))

    three = after(3)
    np.testing.assert_allclose(after(2), three, atol=1e-5)
    assert np.abs(after(1) - three).max() > 1e-3
    with pytest.raises(ValueError, match="a window of 4, expected at most 3"):
        asking.asked(w, window=4)


# ------------------------------------------------------------------------------------------------------------ trainings


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A seed whose bases are there: untrained worlds."""
    recipe: Any = dataclasses.replace(
        training.recipe_of(STUDY.trainings, names.PLAIN), model=NETWORK, spec=SPEC, patch=4, steps=2, frames=3,
        data=Data(batch=2), checkpoint=Checkpoint(every=2), context=0.15, reading=2, dtype="float32", diverged=1e3,
    )  # fmt: skip
    study = dataclasses.replace(STUDY, trainings=Trainings(extra=2, regressor=2))

    plain = training.train.run

    def base(config, root):
        if config.start is not None:
            return plain(config, root=root)
        folder = root / config.name / "world"
        if not folder.exists():
            learned.save(untrained(spec=config.spec), folder)
        return learned.load(folder)

    with pytest.MonkeyPatch.context() as other:
        other.setattr(training.train, "run", base)
        other.setattr(training, "recipe_of", lambda trainings, base: recipe)
        yield Trained(study, tmp_path_factory.mktemp("worlds"), 5)


def test_the_regressor_goes_on_from_the_slippery_world(trained, tmp_path):
    """Same squares and reader, other weights, no noise; read and not trained again the next time."""
    first, found = trained.world(names.SLIPPERY), trained.world(names.OF_REGRESSOR)
    assert dict(first.spec.options)["stay"] == 0.5 and found.spec.regression and found.spec.steps == 1
    np.testing.assert_array_equal(found.patches.basis, first.patches.basis)
    assert int(found.mark) != int(first.mark)
    step = jax.jit(lambda key: found.step(found.make(KEY), jnp.zeros(2), key).latent)
    np.testing.assert_array_equal(step(KEY), step(jax.random.key(9)))
    assert training.curve(trained.root / "seed5-slippery-regressor").shape[0] >= 1
    about = trained.root / "seed5-slippery-regressor" / "world" / "world.json"
    written = about.stat().st_mtime_ns
    marks = {names.OF_REGRESSOR: int(found.mark)}
    assert Trained(trained.study, trained.root, 5).mark(names.OF_REGRESSOR) == marks
    assert about.stat().st_mtime_ns == written
    # Where the world is not, its number says of what tables are that were brought from elsewhere.
    elsewhere = tmp_path / "worlds"
    elsewhere.mkdir()
    (elsewhere / "seed5-marks.json").write_bytes((trained.root / "seed5-marks.json").read_bytes())
    assert Trained(trained.study, elsewhere, 5).mark(names.OF_REGRESSOR) == marks
    assert [path.name for path in elsewhere.iterdir()] == ["seed5-marks.json"]


def test_what_goes_on_is_told_apart(trained):
    root, trainings = trained.root, trained.study.trainings
    more = training.longer(trainings, 5, names.PLAIN, root)
    forced = training.self_forced(trainings, 5, names.PLAIN, root)
    assert (more.steps, more.seed, more.name) == (2, forced.seed, "seed5-plain-longer")
    assert forced.few == SPEC.steps and forced.steps == more.steps
    assert forced.start is None and str(pathlib.Path(forced.world) / "network") == more.start  # the world's own weights
    assert "stay" not in dict(more.spec.options)
    shorter = dataclasses.replace(trainings, slippery=1)
    assert [training.config_of(shorter, 5, base).steps for base in training.BASES] == [2, 1]
    for strange in ("plain, forever", "icy"):
        with pytest.raises(ValueError, match="no training is called"):
            trained.world(strange)


def test_tables_are_kept_by_the_weights_they_are_of(trained, tmp_path):
    """The law of a calibration, whatever is drawn: one program of tiny sizes, kept and read again."""
    here = Bench(tmp_path, {}, 2)
    slippery = trained.world(names.SLIPPERY)
    small = dataclasses.replace(
        trained.study, calibration=dataclasses.replace(STUDY.calibration, situations=2, draws=3, steps=1)
    )
    law = chances.exactly(small, here, 5, slippery)
    assert law["outcomes"].shape == (2, 2, 2) and law["weights"] == pytest.approx([0.5, 0.5])
    assert np.isin(law[names.EXACT], law["outcomes"]).all()
