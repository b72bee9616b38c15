"""What every world must do. A new exact world is one file: its `example()` is held to these laws, and its coin to its
stated odds by one row in COINS."""

import dataclasses
import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.interpreters import partial_eval
from scipy.stats import binomtest

from tests.world.world_toys import Echo, untrained
from vrjax import world
from vrjax.drive.state import CROSSING
from vrjax.world import exact, rollouts

STEPS, MANY = 6, 1_000
KEY = jax.random.key(3)
TOYS: dict[str, Any] = {"echo": Echo, "learned": untrained}
WORLDS = (*exact.names(), *TOYS)
each_world = pytest.mark.parametrize("name", WORLDS)


class Case:
    """A world, actions, and what a rollout makes of them: one program for all tests."""

    def __init__(self, w):
        self.w = w
        space = w.inputs["action"]
        draw = jax.random.uniform(KEY, (MANY, *space.shape), minval=space.low, maxval=space.high)
        self.actions = np.asarray(draw)
        self.state = jax.jit(w.make)(jax.random.key(1))
        self.final, self.history = self.run(self.actions[:STEPS])

    def run(self, actions, state=None, key=KEY, **options):
        state = self.state if state is None else state
        told: Any = {"record": ("states", "frames")} | options
        return world.rollout(self.w, state, actions, key, **told)


@functools.cache
def case(name) -> Any:
    return Case(TOYS[name]() if name in TOYS else exact.example(name))


def same(a, b):
    """Bit for bit, dtypes included."""
    chex.assert_trees_all_equal(a, b, strict=True)


def near(a, b):
    chex.assert_trees_all_close(a, b, rtol=0, atol=1e-5)


@each_world
def test_frames(name):
    c = case(name)
    frames = np.asarray(c.history.frames)
    assert frames.shape == (STEPS, *c.w.frame) and frames.dtype == np.float32
    assert np.abs(frames).max() <= 1 and np.ptp(frames) > 0
    assert len(c.w.cameras) == len(set(c.w.cameras)) >= 1
    with pytest.raises(ValueError, match=f"{c.w.name}: unknown camera 'moon'"):
        c.w.render(c.state, "moon")


@each_world
def test_equal_keys_give_equal_bits(name):
    c = case(name)
    same(c.run(c.actions[:STEPS]), (c.final, c.history))
    same(jax.tree.map(lambda a: a[-1], c.history.states), c.final)


@each_world
def test_a_step_is_traced_once_and_a_scan_is_a_loop(name):
    c = case(name)
    chex.clear_trace_counter()  # it counts by name
    step = jax.jit(chex.assert_max_traces(lambda w, s, a, key: w.step(s, a, key), n=1))
    key_of = jax.jit(world.step_key)
    state, loop = c.state, []
    for t in range(MANY):
        state = step(c.w, state, c.actions[t], key_of(KEY, t))
        if t < STEPS:
            loop.append(state)
    near(jax.tree.map(lambda *a: jnp.stack(a), *loop), c.history.states)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, c.state)
    chex.assert_tree_all_finite(state)


@each_world
def test_vmap_is_a_loop(name):
    """Over keys and over actions at once."""
    c = case(name)
    actions = np.stack([c.actions[:STEPS], c.actions[STEPS : 2 * STEPS], -c.actions[:STEPS]])
    keys = jax.random.split(KEY, 3)
    finals, histories = jax.vmap(lambda a, key: c.run(a, key=key))(actions, keys)
    for i in range(3):
        final, history = c.run(actions[i], key=keys[i])
        near(jax.tree.map(lambda a, at=i: a[at], finals), final)
        near(jax.tree.map(lambda a, at=i: a[at], histories.states), history.states)


@each_world
def test_cut_and_gone_on_with_is_as_if_in_one_go(name, tmp_path):
    """Also where the State was on disk, or in NumPy, between."""
    c = case(name)
    half = STEPS // 2
    there, first = c.run(c.actions[:half])
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", {"state": there})
        checkpointer.wait_until_finished()
        kept = checkpointer.restore(tmp_path / "state", jax.eval_shape(lambda: {"state": there}))["state"]
    same(kept, there)
    for between in (there, kept, jax.tree.map(np.asarray, there)):
        final, second = c.run(c.actions[half:STEPS], between, start=half)
        same(final, c.final)
        same(jax.tree.map(lambda *a: jnp.concatenate(a), first, second), c.history)
    # the step's number matters, where anything is left to chance: without it the coins of the first half fall again
    starts = [world.step_key(KEY, t) for t in (0, half)]
    assert (jax.random.key_data(starts[0]) != jax.random.key_data(starts[1])).any()


@each_world
def test_an_action_conditions_exactly_the_frame_that_follows_it(name):
    """Another action at t changes frame t and nothing before; if it changes nothing there, it never does."""
    c = case(name)
    changed = 0
    for t in range(STEPS):
        actions = c.actions[:STEPS].copy()
        actions[t] = -actions[t]
        _, history = c.run(actions)
        differ: Any = np.asarray(history.frames != c.history.frames).reshape(STEPS, -1).any(1)
        states: Any = [
            np.asarray(a != b).reshape(STEPS, -1).any(1) for a, b in _pairs(history.states, c.history.states)
        ]
        assert not differ[:t].any() and not any(s[:t].any() for s in states)
        assert differ[t] or not any(s.any() for s in states)
        changed += differ[t]
    assert changed >= 2


def _pairs(a, b):
    return list(zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def _program_of_states(c, camera, run):
    """What is computed for the States of a rollout that a camera films, letter for letter: all but its frames."""
    traced, shapes = jax.make_jaxpr(functools.partial(run, camera), return_shape=True)(c.state, c.actions[:STEPS])
    used = [".frames" not in jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(shapes)]
    assert used.count(False) == 1
    text = str(partial_eval.dce_jaxpr_consts(traced.jaxpr, used)[0])
    # JAX 0.12 notes on a scan what its arguments were before any were left out.
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("ft_in=", "ft_out=")))


def _rolled(c, camera, state, actions):
    """`world.rollout` as it is traced, so that what only a camera needs can be left out of it."""
    told: Any = {"record": ("states", "frames"), "camera": camera}
    return rollouts._rollout.__wrapped__(c.w, state, actions, KEY, jnp.int32(0), **told)


@each_world
def test_no_camera_alters_what_comes(name):
    """Two compiled programs may round differently, so it is the programs before their compiler that are compared, and
    their numbers to rounding."""
    c = case(name)
    first, *others = c.w.cameras
    rolled = functools.partial(_rolled, c)
    for camera in others:
        assert _program_of_states(c, camera, rolled) == _program_of_states(c, first, rolled)
        final, history = c.run(c.actions[:STEPS], camera=camera)
        near((final, history.states), (c.final, c.history.states))
        assert (np.asarray(history.frames) != np.asarray(c.history.frames)).any()
    same(c.w.render(c.final), c.w.render(c.final, first))


def test_a_camera_that_alters_what_comes_is_seen():
    """Even where it adds nothing to any number."""
    c = case("push")
    first, other = c.w.cameras

    def bent(camera, state, actions):
        final, history = _rolled(c, camera, state, actions)
        return jax.tree.map(lambda a: a + (0 * history.frames.sum()).astype(a.dtype), final), history

    assert _program_of_states(c, first, bent) != _program_of_states(c, other, bent)


@pytest.mark.parametrize("name", sorted({*WORLDS} - {"learned"}))  # which encodes what is seen
def test_what_is_decoded_can_be_encoded(name):
    """Nothing of a State is lost on the way, so that the futures are the same."""
    c = case(name)
    told = jax.tree.map(np.asarray, jax.jit(c.w.decode)(c.final))
    assert all(isinstance(key, str) for key in told)
    same(jax.tree.map(np.asarray, c.w.encode(told, KEY)), jax.tree.map(np.asarray, c.final))


@each_world
def test_inputs_that_are_refused(name):
    c = case(name)
    action = c.actions[0]

    def line(match, call):
        with pytest.raises(ValueError, match=match) as error:
            call()
        assert "\n" not in str(error.value) and str(error.value).startswith(f"{c.w.name}:")

    size = action.size
    line(
        rf"action must have shape \({size}\), found \({size + 1},\)",
        lambda: c.w.step(c.state, np.append(action, 0.0), KEY),
    )
    line(rf"action must have shape \({size}\), found \(1, {size}\)", lambda: c.w.step(c.state, action[None], KEY))
    bad = action.copy()
    bad[0] = np.nan
    line(rf"action must be finite, found 1 of {size}", lambda: c.w.step(c.state, bad, KEY))
    line(rf"action must have shape \(steps, {size}\)", lambda: c.run(action))
    line("action must be finite", lambda: c.run(np.stack([action, np.full_like(action, np.inf)])))
    if name in TOYS:
        line("unknown input 'trajectory'", lambda: c.w.step(c.state, world.Waypoint(action), KEY))
    with pytest.raises(ValueError, match="unknown record 'frame', did you mean 'frames'"):
        c.run(c.actions[:STEPS], record=("frame",))


@pytest.mark.parametrize("name", exact.names())
def test_every_kind_of_input_keeps_the_state_as_it_is(name):
    """Shapes and dtypes; what the kinds do is in the tests of each world."""
    c = case(name)
    kinds = {"action": lambda a: a, "trajectory": world.Waypoint, "instruction": world.Instruction}
    assert set(c.w.inputs) == set(kinds)
    for kind, space in c.w.inputs.items():
        inputs = kinds[kind](np.full(space.shape, space.low, np.int32 if space.whole else np.float32))
        assert world.kind(inputs) == kind
        after = jax.eval_shape(c.w.step, c.state, inputs, KEY)
        chex.assert_trees_all_equal_shapes_and_dtypes(after, c.state)
    with pytest.raises(ValueError, match=f"{name}: an instruction has 1 to 10 parts, found 11"):
        c.w.parse(", ".join(["go to the goal"] * 11))
    with pytest.raises(ValueError, match=f"{name}: cannot read 'sing'"):
        c.w.parse("sing")
    assert c.w.parse("Go to the goal.").code.shape == c.w.inputs["instruction"].shape


def _pushed(w):
    """An agent that touches a lone block and pushes it to the right: it has slipped where it runs ahead."""
    state = jax.jit(w.make)(KEY)
    far = jnp.asarray(state.blocks).at[:, 0].set(12.5).at[:, 1].set(jnp.linspace(3.0, 13.0, len(state.blocks)))
    walls = state.walls.at[:, :2].set(jnp.array([4.0, 12.0]))
    blocks = far.at[0].set(jnp.array([7.5, 5.0]))
    state = state._replace(agent=jnp.array([5.0, 5.0]), blocks=blocks, walls=walls)
    return state, jnp.array([1.0, 0.0]), lambda after: after.blocks[0, 0] - 7.5 > 1.25


def _walked(w):
    """An agent with a free cell on its right: it has slipped where it stays."""
    state = jax.jit(w.make)(KEY)
    state = state._replace(agent=jnp.array([1, 1]), walls=state.walls.at[1, 2].set(False), door=jnp.array([4, 4]))
    return state, jnp.array([1.0, 0.0]), lambda after: after.agent[0] == 1


def _crossed(w):
    """A pedestrian on the pavement: the coin has fallen where that one starts to cross."""
    state = jax.jit(w.make)(KEY)
    return state, jnp.zeros(2), lambda after: after.actors.mode[-1] == CROSSING


COINS = {"push": ("slip", _pushed), "grid": ("slip", _walked), "drive": ("hazard", _crossed)}
TOSSES = 4_000


@pytest.mark.parametrize("name", exact.names())
def test_coins_fall_as_often_as_is_said(name):
    w: Any = exact.example(name)
    coin, toss = COINS[name]
    state, action, fell = toss(w)

    @jax.jit
    def count(w, keys):
        return jax.vmap(lambda key: fell(w.step(state, action, key)))(keys).sum()

    keys = jax.random.split(jax.random.key(11), TOSSES)
    odds = float(getattr(w, coin))
    found = {p: int(count(dataclasses.replace(w, **{coin: jnp.float32(p)}), keys)) for p in (0.0, odds, 1.0)}
    assert found[0.0] == 0 and found[1.0] == TOSSES
    assert binomtest(found[odds], TOSSES, odds).pvalue > 0.01
    assert binomtest(found[odds], TOSSES, odds + 0.05).pvalue < 1e-6  # it could have told
    for wrong in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=f"{name}: {coin} must be a probability"):
            exact.get(name, **{coin: wrong})


def test_an_unknown_world():
    with pytest.raises(ValueError, match="unknown world 'gird', did you mean 'grid'?"):
        exact.get("gird")
