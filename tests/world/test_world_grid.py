"""The key-and-door grid against its rules cell by cell, and shortest ways against a search over those rules."""

import collections
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vrjax import world
from vrjax.world import exact
from vrjax.world.exact import grid

W = exact.get("grid")
KEY = jax.random.key(2)
LAYOUTS, STEPS, SLIP = 40, 40, 0.25
RIGHT, LEFT, DOWN, UP = (1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)


def reference(layout, at, move):
    """The rules: `at` is (x, y, held, opened), a move is a pair of -1, 0, 1; returns where that leads."""
    x, y, held, opened = at
    to = (x + move[0], y + move[1])
    if layout["walls"][to[1]][to[0]] or (to == tuple(layout["door"]) and not held and not opened):
        to = (x, y)
    return (*to, held or to == tuple(layout["key"]), opened or to == tuple(layout["door"]))


def search(layout, at):
    """Fewest steps to the goal, breadth first; None where there is no way."""
    seen, queue = {at: 0}, collections.deque([at])
    while queue:
        now = queue.popleft()
        if now[:2] == tuple(layout["goal"]):
            return seen[now]
        for move in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            then = reference(layout, now, move)
            if then not in seen:
                seen[then] = seen[now] + 1
                queue.append(then)
    return None


@functools.cache
def layouts():
    """Drawn states, their tables of steps left, and each as a dict of NumPy arrays."""
    states, tables = jax.jit(jax.vmap(lambda key: (state := W.make(key), grid.steps_left(state))))(
        jax.random.split(KEY, LAYOUTS)
    )
    states = jax.tree.map(np.asarray, states)
    return states, np.asarray(tables), [jax.tree.map(lambda a, i=i: a[i], states)._asdict() for i in range(LAYOUTS)]


@functools.cache
def lengths() -> Any:
    return [search(one, (*one["agent"].tolist(), False, False)) for one in layouts()[2]]


def test_steps_left_are_those_of_a_search():
    """From every free cell, without and with the key; a cell from which there is no way counts as FAR."""
    _, tables, dicts = layouts()
    reached = 0
    for one, table in zip(dicts[:12], tables, strict=False):
        for y, x in np.argwhere(~one["walls"]):
            for held in (False, True):
                if (x, y) == tuple(one["door"]) and not held:
                    continue  # nobody stands there
                found = search(one, (int(x), int(y), held or (x, y) == tuple(one["key"]), False))
                assert table[int(held), y, x] == (grid.FAR if found is None else found)
                reached += found is not None
    assert reached > 400


def test_every_layout_has_a_way_that_needs_the_key():
    states, _, dicts = layouts()
    for one, n in zip(dicts, lengths(), strict=True):
        assert n is not None and 4 <= n < 40
        assert search(one | {"key": np.array([-1, -1])}, (*one["agent"].tolist(), False, False)) is None
        places = {tuple(one[name]) for name in ("agent", "key", "door", "goal")}
        assert len(places) == 4 and not any(one["walls"][y, x] for x, y in places)
    assert len(set(lengths())) > 5 and states.walls.sum((1, 2)).std() > 0


def test_the_rules():
    """Random walks with slips, whose coins are read off the keys; every number equal."""
    w = exact.get("grid", slip=SLIP)
    states, _, dicts = layouts()
    actions = np.asarray(jax.random.uniform(KEY, (LAYOUTS, STEPS, 2), minval=-1.0, maxval=1.0))
    keys = jax.random.split(jax.random.key(5), LAYOUTS)

    @jax.jit
    @jax.vmap
    def run(state, actions, key):
        coins = jax.vmap(lambda t: jax.random.bernoulli(world.step_key(key, t), SLIP))(jnp.arange(STEPS))
        return world.rollout(w, state, actions, key)[1].decoded, coins

    told, coins = jax.tree.map(np.asarray, run(states, actions, keys))
    held = 0
    for i, one in enumerate(dicts):
        at = (*one["agent"].tolist(), False, False)
        for t, (a, b) in enumerate(actions[i]):
            move = (0, 0)
            if max(abs(a), abs(b)) >= 0.5 and not coins[i, t]:
                move = (int(np.sign(a)), 0) if abs(a) >= abs(b) else (0, int(np.sign(b)))
            at = reference(one, at, move)
            found = (*told["agent"][i, t].tolist(), bool(told["held"][i, t]), bool(told["opened"][i, t]))
            assert found == at
        held += at[2]
    assert held > 5 and told["opened"][:, -1].sum() >= 1  # keys were found, and a door was opened


def test_the_door_needs_the_key():
    state = jax.tree.map(jnp.asarray, row(0))
    x, y = 3, 3
    walls = np.ones((8, 8), bool)
    walls[3, 1:7] = False
    state = state._replace(walls=jnp.asarray(walls), agent=jnp.array([x - 1, y]), key=jnp.array([1, 3]))
    state = state._replace(door=jnp.array([x, y]), goal=jnp.array([5, 3]))
    actions = jnp.array([RIGHT, RIGHT, LEFT, RIGHT, RIGHT, UP, (0.4, -0.4), RIGHT, RIGHT])
    final, history = world.rollout(W, state, actions, KEY)
    np.testing.assert_array_equal(history.decoded["agent"][:, 0], [2, 2, 1, 2, 3, 3, 3, 4, 5])
    np.testing.assert_array_equal(history.decoded["held"], [0, 0, 1, 1, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(history.decoded["opened"], [0, 0, 0, 0, 1, 1, 1, 1, 1])
    assert bool(W.success(final)) and not bool(W.success(state))


def row(i):
    return jax.tree.map(lambda a: a[i], layouts()[0])


def test_instructions_take_the_shortest_way():
    """Each layout is solved by three parts in exactly the steps that the search needs; single steps are as said."""
    states = layouts()[0]
    told = W.parse("take the key, then open the door, then go to the goal")

    @jax.jit
    @jax.vmap
    def run(state):
        final, history = world.rollout(W, state, world.repeat(told, STEPS), KEY, record=("states",))
        there = jax.vmap(W.success)(history.states)
        return jnp.argmax(there) + 1, final.told, W.obeyed(state, history.states, told)

    steps, done, obeyed = (np.asarray(a) for a in run(states))
    np.testing.assert_array_equal(steps, lengths())
    assert (done == 3).all() and (obeyed == 3).all()
    code = np.asarray(W.parse("go left, go up; go down then go right").code)
    np.testing.assert_array_equal(code[:, 0], [5, 7, 6, 4, 0, 0, 0, 0, 0, 0])
    with pytest.raises(ValueError, match="grid: cannot read 'go home', expected one of 'take the key'"):
        W.parse("go home")


def test_control_takes_the_shortest_way():
    """CEM over three steps with the exact table of steps left: the first plan's cost is the least there is, and the
    goal is reached in as many steps as the search needs."""
    i = int(np.argmin(lengths()))
    n, state = lengths()[i], jax.tree.map(jnp.asarray, row(i))
    assert n >= 4
    args = (grid.steps_left(state),)
    options = {"horizon": 3, "candidates": 128, "iterations": 3, "args": args}
    found = world.control(W, state, grid.cost, KEY, steps=n, **options)
    assert float(found.cost[0]) == pytest.approx(n - 2)  # the mean of n - 1, n - 2, n - 3
    left = [int(args[0][int(h), y, x]) for h, (x, y) in zip(found.states.held, found.states.agent, strict=True)]
    assert left == list(range(n - 1, -1, -1)) and bool(W.success(found.final))
    assert int(found.calls) == n * 3 * 128 * 3


def test_what_is_usual_is_the_shortest_way():
    """As many steps as are left, by the search's count; at the goal one stays."""
    states, tables, _ = layouts()

    @jax.jit
    def walked(state):
        step = lambda s, _: (after := W.step(s, W.usual(s), KEY), W.success(after))
        return jax.lax.scan(step, state, length=STEPS)

    final, there = jax.vmap(walked)(states)
    count = np.argmax(np.asarray(there), 1) + 1
    first = tables[np.arange(LAYOUTS), 0, states.agent[:, 1], states.agent[:, 0]]
    np.testing.assert_array_equal(count, first)
    assert np.all(np.asarray(there)[:, -1]) and np.all(np.asarray(final.held))


def test_where_the_key_is_seen():
    state = jax.jit(W.make)(KEY)
    np.testing.assert_array_equal(W.decode(state)["item"], state.key)
    np.testing.assert_array_equal(W.decode(state._replace(held=jnp.array(True)))["item"], state.agent)
    again = W.encode(W.decode(state))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(state), strict=True))


def test_pictures_show_what_is_there():
    """Each cell its own glyph; small pictures are means of large ones."""
    state = jax.tree.map(jnp.asarray, row(0))
    large, small = (np.asarray(exact.get("grid", pixels=p).render(state), np.float64) for p in (8, 2))
    assert small.shape == (16, 16, 3)
    np.testing.assert_allclose(large.reshape(16, 4, 16, 4, 3).mean((1, 3)), small, atol=1e-6)
    cell = lambda picture, place, k: picture[place[1] * k : (place[1] + 1) * k, place[0] * k : (place[0] + 1) * k]
    looks = [cell(small, getattr(state, name), 2).ravel() for name in ("agent", "key", "door", "goal")]
    looks += [cell(small, (0, 0), 2).ravel()]
    apart = [np.abs(a - b).max() for i, a in enumerate(looks) for b in looks[:i]]
    assert min(apart) > 0.3
    gone = np.asarray(W.render(state._replace(held=jnp.array(True), opened=jnp.array(True))))
    differ = np.abs(gone - small).max(-1).reshape(8, 2, 8, 2).max((1, 3)) > 1e-6
    assert sorted(map(tuple, np.argwhere(differ)[:, ::-1].tolist())) == sorted(
        [tuple(np.asarray(state.key).tolist()), tuple(np.asarray(state.door).tolist())]
    )
    with pytest.raises(ValueError, match="grid: pixels must be 1, 2, 4 or 8, found 3"):
        exact.get("grid", pixels=3)
