"""The pushing world against a statement of its rules in NumPy, float64, body by body."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vrjax import world
from vrjax.world import exact
from vrjax.world.exact import push

RUNS, STEPS, SLIP = 48, 24, 0.3
KEY = jax.random.key(0)


# ----------------------------------------------------------------------------------------------------------- reference


def leave(offset, half, radius):
    """Unit normal and overlap of two bodies, by cases."""
    sign = [-1.0 if o < 0 else 1.0 for o in offset]
    q = [abs(o) - h for o, h in zip(offset, half, strict=True)]
    if q[0] <= 0 and q[1] <= 0:
        normal = (sign[0], 0.0) if q[0] > q[1] else (0.0, sign[1])
        return np.array(normal), radius - max(q)
    out = [max(v, 0.0) for v in q]
    far = np.hypot(out[0], out[1])
    return np.array([s * v / far for s, v in zip(sign, out, strict=True)]), radius - far


def pressed(overlap):
    if overlap >= 0:
        return overlap + 0.25
    return (overlap + 0.5) ** 2 if overlap > -0.5 else 0.0


def reference(agent, blocks, walls, action, slips):
    """One step, and whether a half of it was refused."""
    agent, blocks, stuck = np.array(agent, float), np.array(blocks, float), False
    n = len(blocks)
    for _ in range(2):
        new = np.clip(agent + 0.5 * np.clip(action, -1, 1), 2, 14)
        moved = blocks.copy()
        for i in range(n):
            _, before = leave(blocks[i] - agent, (0.75, 0.75), 1.75)
            normal, now = leave(blocks[i] - new, (0.75, 0.75), 1.75)
            moved[i] += (2 if slips[i] else 1) * max(pressed(now) - pressed(before), 0) * normal
        apart = moved.copy()
        for i in range(n):
            for j in range(n):
                if i != j:
                    normal, overlap = leave(moved[i] - moved[j], (1.5, 1.5), 1.5)
                    apart[i] += 0.5 * max(overlap, 0) * normal
        for i in range(n):
            out = np.zeros(2)
            for wall in walls:
                normal, overlap = leave(apart[i] - wall[:2], wall[2:] + 0.75, 0.75)
                out += max(overlap, 0) * normal
            apart[i] = np.clip(apart[i] + out, 2.5, 13.5)
        for bodies, half, radius in ((apart, None, 1.75), (walls, "own", 1.0)):
            out = np.zeros(2)
            for body in bodies:
                normal, overlap = leave(new - body[:2], body[2:] if half else (0.75, 0.75), radius)
                out += max(overlap, 0) * normal
            new = new + out
        new = np.clip(new, 2, 14)
        worst = worst_of(new, apart, walls)
        if worst > push.TOLERANCE:
            stuck = True
        else:
            agent, blocks = new, apart
    return agent, blocks, stuck


def worst_of(agent, blocks, walls):
    depths = [leave(agent - wall[:2], wall[2:], 1.0)[1] for wall in walls]
    for i, block in enumerate(blocks):
        depths.append(leave(block - agent, (0.75, 0.75), 1.75)[1])
        depths += [leave(block - wall[:2], wall[2:] + 0.75, 0.75)[1] for wall in walls]
        depths += [leave(block - other, (1.5, 1.5), 1.5)[1] for other in blocks[:i]]
    return max(depths)


@functools.cache
def chased():
    """Layouts in which the agent runs after a block with noise: starts, actions, coins, and the states that follow."""
    w = exact.get("push", slip=SLIP)

    @jax.jit
    @jax.vmap
    def run(key):
        first, second, third = jax.random.split(key, 3)
        start = w.make(first)

        def one(state, t):
            shake, aim = jax.random.split(jax.random.fold_in(second, t))
            goes = state.blocks[t // (STEPS // 2)] - state.agent
            action = jnp.clip(goes + 0.7 * jax.random.normal(shake, (2,)), -1.2, 1.2)
            key = world.step_key(third, t)
            after = w.step(state, action, key)
            return after, (state, action, jax.random.bernoulli(key, SLIP, (2,)), after)

        return jax.lax.scan(one, start, jnp.arange(STEPS))[1]

    flat = lambda a: np.asarray(a).reshape(-1, *a.shape[2:])
    return jax.tree.map(flat, run(jax.random.split(KEY, RUNS)))


def row(state, i):
    return jax.tree.map(lambda a: a[i], state)


def test_the_rules():
    before, actions, coins, after = chased()
    worst, refused, touched, both = 0.0, 0, 0, 0
    for i in range(RUNS * STEPS):
        agent, blocks, stuck = reference(before.agent[i], before.blocks[i], before.walls[i], actions[i], coins[i])
        if abs(worst_of(agent, blocks, before.walls[i]) - push.TOLERANCE) < 1e-4:
            continue  # float32 may refuse what float64 does not
        worst = max(worst, np.abs(agent - after.agent[i]).max(), np.abs(blocks - after.blocks[i]).max())
        moved = np.abs(blocks - before.blocks[i]).max(-1) > 1e-3
        refused, touched, both = refused + stuck, touched + moved.any(), both + moved.all()
    assert worst < 2e-5
    assert touched > 300 and both > 10  # there was contact, also between blocks


def test_an_agent_stays_as_often_as_it_is_said():
    """Each step is one of the world in which it never stays, under the action or under none, whichever the action is;
    the coin says nothing of slips."""
    never, often = (exact.get("push", slip=0.5, stay=p) for p in (0.0, 0.3))
    touching = never.make(KEY)
    touching = touching._replace(agent=touching.blocks[0] - jnp.array([2.5, 0.0]))
    keys = jax.random.split(KEY, 2000)
    over = lambda w: jax.jit(jax.vmap(lambda action, key: w.step(touching, action, key), (None, 0)))
    flat = lambda state: np.concatenate([np.asarray(a).reshape(len(keys), -1) for a in state], 1)
    right, up = jnp.array([1.0, 0.0]), jnp.array([0.0, -0.7])
    none = flat(over(never)(jnp.zeros(2), keys))
    stayed = {}
    for name, action in (("right", right), ("up", up)):
        found, goes = flat(over(often)(action, keys)), flat(over(never)(action, keys))
        stayed[name] = (found == none).all(1)
        np.testing.assert_array_equal(found, np.where(stayed[name][:, None], none, goes))
    np.testing.assert_array_equal(stayed["right"], stayed["up"])
    assert stayed["up"].mean() == pytest.approx(0.3, abs=0.04)
    slipped = np.asarray(over(never)(right, keys).blocks)[:, 0, 0] > float(touching.blocks[0, 0]) + 1.2
    assert abs(np.corrcoef(slipped, stayed["up"])[0, 1]) < 0.08
    with pytest.raises(ValueError, match=r"stay must be a probability in \[0, 1\], found 1.5"):
        exact.get("push", stay=1.5)


def test_nothing_overlaps_and_what_is_not_touched_stays():
    before, _, _, after = chased()
    depths = [worst_of(after.agent[i], after.blocks[i], after.walls[i]) for i in range(RUNS * STEPS)]
    assert max(depths) <= push.TOLERANCE + 1e-4
    assert (after.blocks.min(), after.blocks.max()) >= (2.5, 2.5) and after.blocks.max() <= 13.5
    assert after.agent.min() >= 2 and after.agent.max() <= 14
    far = np.abs(after.blocks[:, 0] - after.blocks[:, 1]).max(-1) > 4
    gone = np.linalg.norm(before.blocks - before.agent[:, None], axis=-1) > 5
    alone = far[:, None] & gone
    assert alone.sum() > 100
    np.testing.assert_array_equal(after.blocks[alone], before.blocks[alone])
    for name in ("goal", "walls", "told"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


def test_layouts():
    """Of all first states: gaps, room behind the red block, and a way to go."""
    before = jax.tree.map(lambda a: a[::STEPS], chased()[0])
    for i in range(RUNS):
        state = row(before, i)
        assert worst_of(state.agent, state.blocks, state.walls) < -0.5 + 1e-5
        there = np.stack([state.goal, *state.blocks[1:]])
        assert worst_of(np.full(2, 99.0), there, state.walls) < -0.5 + 1e-5
        assert 2.5 <= np.linalg.norm(state.goal - state.blocks[0]) <= 6.5
        assert np.abs(state.blocks[0] - 8).max() <= push.MIDDLE
    assert len(np.unique(before.goal[:, 0])) == RUNS


# ----------------------------------------------------------------------------------------------------------- by hand

W = exact.get("push", blocks=1, walls=0)
STATE = push.State(
    jnp.array([5.0, 5.0]), jnp.array([[7.5, 5.0]]), jnp.array([10.0, 5.0]), jnp.zeros((0, 4)), jnp.int32(0)
)


def went(actions, **fields):
    return world.rollout(W, STATE._replace(**fields), jnp.array(actions, jnp.float32), KEY, record=("states",))


def test_a_single_push():
    """Touching, the block goes with the agent; from the cushion's edge it lags by known amounts; corners go askew."""
    right = [[1.0, 0.0]] * 3
    final, history = went(right)
    np.testing.assert_allclose(history.states.blocks[:, 0, 0], [8.5, 9.5, 10.5], atol=1e-5)
    np.testing.assert_allclose(history.states.blocks[:, 0, 1], 5.0, atol=1e-6)
    assert [bool(W.success(row(history.states, t))) for t in range(3)] == [False, False, False]
    # half a pixel away: 1/4 in the first half-step, then 1/2 - 1/16
    _, history = went(right, agent=jnp.array([4.5, 5.0]))
    np.testing.assert_allclose(history.states.blocks[0, 0, 0], 7.5 + 0.25 + 0.4375, atol=1e-5)
    # along the diagonal of the corner at distance 1.75
    at = STATE.blocks[0] - 0.75 - 1.75 / np.sqrt(2)
    final, _ = went([[0.6, 0.6]] * 3, agent=at)
    np.testing.assert_allclose(final.blocks[0], STATE.blocks[0] + 1.8, atol=1e-5)
    # at the edge nothing yields: the block's side at 15, the agent behind it
    final, _ = went([[1.0, 0.0]] * 3, agent=jnp.array([10.5, 5.0]), blocks=jnp.array([[13.0, 5.0]]))
    np.testing.assert_allclose((final.blocks[0, 0], final.agent[0]), (13.5, 11.0), atol=1e-5)
    # without a move, nothing moves; away from it, neither does the block
    final, _ = went([[0.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(final.blocks, STATE.blocks)


def test_success_is_within_half_a_pixel():
    for gap, reached in ((0.0, True), (0.499, True), (0.501, False), (-0.501, False)):
        assert bool(W.success(STATE._replace(blocks=STATE.goal[None] + jnp.array([0.0, gap])))) is reached


@pytest.mark.parametrize("weight", [0.1, 0.5])
def test_the_cost_by_hand(weight):
    """Two steps: the block 5 and 0.5 pixels from its place; the agent 2 pixels beside where it can push, then 4."""
    decoded = {
        "goal": np.array([[11.0, 8.0], [11.0, 8.0]]),
        "blocks": np.array([[[6.0, 8.0]], [[11.0, 7.5]]]),
        "agent": np.array([[6.0 - 2.5, 10.0], [15.0, 7.5 - 2.5]]),
    }
    first, second = 5 + weight * 2, 0.5 + weight * 4 * 0.5
    expected = 0.5 * ((first + second) / 2 + second)
    assert float(push.cost(decoded, weight)) == pytest.approx(expected, rel=1e-5)
    assert float(push.cost(decoded)) == pytest.approx(float(push.cost(decoded, 0.1)))


def test_gradients_are_difference_quotients_of_the_reference():
    """Of the block's last place, for every number of three actions that begin within the cushion."""
    actions = np.array([[0.8, 0.1], [0.7, -0.2], [0.6, 0.1]])
    weights = np.array([1.0, -0.7])

    def far(actions):
        agent, blocks = np.array([4.6, 5.9]), np.array(STATE.blocks, float)
        for action in actions:
            agent, blocks, _ = reference(agent, blocks, np.zeros((0, 4)), action, [False])
        return blocks[0] @ weights

    def last(actions):
        state = STATE._replace(agent=jnp.array([4.6, 5.9]))
        return world.rollout(W, state, actions, KEY, record=())[0].blocks[0] @ weights

    value, slope = jax.jit(jax.value_and_grad(last))(jnp.asarray(actions, jnp.float32))
    np.testing.assert_allclose(value, far(actions), atol=1e-5)
    h, quotient = 1e-6, np.zeros_like(actions)
    for at in np.ndindex(actions.shape):
        up, down = actions.copy(), actions.copy()
        up[at] += h
        down[at] -= h
        quotient[at] = (far(up) - far(down)) / (2 * h)
    assert np.abs(quotient).min() > 1e-3
    np.testing.assert_allclose(slope, quotient, atol=2e-4)


# ------------------------------------------------------------------------------------------------- other ways to say it


def test_a_trajectory_is_followed():
    """Round a corner, at what a step reaches: every waypoint is kept."""
    points = [[5.0, 5.0], [5.0, 9.0], [8.0, 9.0]]
    waypoints = world.follow(points, 8)
    assert waypoints.position.shape == (8, 2)
    np.testing.assert_allclose(np.diff(waypoints.position, axis=0)[-1], [0.875, 0], atol=1e-6)
    _, history = world.rollout(W, STATE, waypoints, KEY)
    np.testing.assert_allclose(history.decoded["agent"], waypoints.position, atol=1e-5)
    with pytest.raises(ValueError, match="points must be"):
        world.follow([[1.0, 2.0]], 3)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        world.follow(points, 0)


def test_instructions_are_carried_out():
    """By the simple pusher, in a room without walls and other blocks; judged by what happens, not by who did it."""
    said = [W.parse("push the red block to the goal"), W.parse("push the red block to the top, then go to the goal")]
    codes = jnp.stack([one.code for one in said])

    @jax.jit
    def run(keys):
        def one(key, code):
            state, told = W.make(key), world.Instruction(code)
            final, history = world.rollout(W, state, world.repeat(told, 60), KEY, record=("states",))
            first = jax.tree.map(lambda a: a[:4], history.states)
            return final.told, W.success(final), W.obeyed(state, history.states, told), W.obeyed(state, first, told)

        return jax.vmap(lambda code: jax.vmap(lambda key: one(key, code))(keys))(codes)

    told, success, obeyed, early = (np.asarray(a) for a in run(jax.random.split(KEY, 50)))
    assert (told[0] == 1).mean() >= 0.98 and (told[1] == 2).mean() >= 0.94
    np.testing.assert_array_equal(success[0], told[0] == 1)
    np.testing.assert_array_equal(obeyed, told)
    assert (early[0] < told[0]).mean() > 0.5


def test_words():
    two = exact.get("push")
    code = np.asarray(two.parse("Push the blue block to the left; go to the goal.").code)
    np.testing.assert_array_equal(code[:3], [[1, 1, 1], [2, 0, 0], [0, 0, 0]])
    for wrong in ("push the blue block to the goal", "push the yellow block to the left", "push it", "go to the door"):
        with pytest.raises(ValueError, match=f"push: cannot read '{wrong}', expected 'push the red|blue block"):
            two.parse(wrong)
    for options in ({"blocks": 0}, {"blocks": 4}, {"walls": 3}):
        with pytest.raises(ValueError, match=f"push: {next(iter(options))} must be"):
            exact.get("push", **options)
    with pytest.raises(ValueError, match="observation has"):
        two.encode({"agent": np.zeros(2)})
    with pytest.raises(ValueError, match=r"push: blocks must have shape \(2, 2\), found \(1, 2\)"):
        two.encode(STATE._asdict())


def test_pictures_show_what_is_there():
    """The covered share of pixels is the area of a shape within 5 %, wherever it lies between them."""
    draw = jax.jit(W.render, static_argnums=1)
    floor, ink = np.array(push.INKS["floor"]), {name: np.array(push.INKS[name]) for name in ("red", "wall", "pupil")}
    for shift in (0.0, 0.23, 0.5):
        state = STATE._replace(agent=jnp.array([5.0, 5.0]) + shift, blocks=jnp.array([[9.5, 9.5]]) + shift)
        shown = np.asarray(draw(state, "room"), np.float64)
        gone = np.asarray(draw(state._replace(blocks=jnp.array([[-9.0, -9.0]])), "room"), np.float64)
        area = ((shown - gone) @ (ink["red"] - floor)).sum() / ((ink["red"] - floor) ** 2).sum()
        assert area == pytest.approx(1.5**2 + 4 * 1.5 * 0.75 + np.pi * 0.75**2, rel=0.05)
    shown = np.asarray(draw(STATE._replace(agent=jnp.array([5.5, 5.5]), blocks=jnp.array([[10.5, 11.5]])), "room"))
    for place, name in (((11, 10), "red"), ((0, 7), "wall"), ((5, 5), "pupil")):
        np.testing.assert_allclose(shown[place], push.INKS[name], atol=0.25)
    near = np.asarray(draw(STATE, "agent"))
    np.testing.assert_allclose(near[8, 9], push.INKS["agent"], atol=0.25)  # the agent is in the middle
    np.testing.assert_allclose(near[8, 13], push.INKS["red"], atol=1e-6)  # the block, 2.5 pixels on, twice as large
