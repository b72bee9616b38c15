"""Worlds over time: shapes, exogenous randomness at the stated rates, traffic that keeps its distance."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from scipy import stats

from tests.drive.drive_oracles import MAKE, SCAN, STEP, at, courses, few, world, worlds
from vrjax import drive
from vrjax.drive import lanes, traffic
from vrjax.drive.maps import KINDS
from vrjax.drive.state import CROSSED, PEDESTRIAN, VEHICLE, WALKING


def raw(state):
    """Leaves as arrays of numbers, keys as their data."""
    return [
        jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x for x in jax.tree.leaves(state)
    ]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(raw(a), raw(b), strict=True))


def test_all_kinds_have_one_shape_and_kind_names_the_map():
    shapes = [jax.eval_shape(lambda key, kind=kind: drive.make(key, kind=kind), jax.random.key(0)) for kind in KINDS]
    told = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), shape) for shape in shapes]
    assert all(one == told[0] for one in told) and len(jax.tree.leaves(shapes[0])) == len(raw(world("t")))
    for one in shapes:
        assert one.ego.shape == (5,) and one.actors.position.shape == (12, 3) and one.static.size.shape == (16, 3)
    mixed = worlds()
    bends = (np.asarray(mixed.roads.curvature) != 0).any(-1)
    counts = np.array([*np.bincount(np.asarray(mixed.roads.arms).sum(-1), minlength=5)[[3, 4]], bends.sum()])
    assert stats.chisquare([*counts, 256 - counts.sum()]).pvalue > 1e-4

    @jax.jit
    def small(key):
        made = drive.make(key, kind="curve", actors=3, static=5, pedestrians=1, rain=0.5)
        return made.roads.curvature, made.weather.rain, made.actors.kind, made.static.id

    curvature, rain, kinds, ids = small(jax.random.key(3))
    assert (np.asarray(curvature) != 0).any() and float(rain) == 0.5
    assert list(kinds) == [VEHICLE, VEHICLE, PEDESTRIAN] and list(ids) == [4, 5, 6, 7, 8]


def test_a_scan_is_a_loop_is_a_batch():
    state = world("crossing")
    action = jnp.array([0.5, 0.05])
    actions = jnp.broadcast_to(action, (60, 2))
    scanned, looped = SCAN(state, actions), state
    for _ in range(60):
        looped = STEP(looped, action)
    assert int(looped.tick) == 60
    # Positions are read off lanes and roads anew in each step, and compilers may round that in two ways; what goes from
    # step to step is equal to the last bit.
    np.testing.assert_allclose(scanned.actors.position, looped.actors.position, rtol=0, atol=8e-6)
    forget = lambda state: state._replace(actors=state.actors._replace(position=jnp.zeros(())))
    assert same(forget(scanned), forget(looped))
    batch = courses(0.5, 0.05)
    alone = SCAN(at(few(128), 2), actions)
    for a, b in zip(raw(jax.tree.map(lambda leaf: leaf[2, -1], batch)), raw(alone.actors), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=2e-5)


def test_a_step_is_traced_once():
    once = jax.jit(chex.assert_max_traces(lambda state, action: drive.step(state, action), 1))
    state = world("t")
    for i in range(5):
        state = once(state, jnp.array([0.1 * i, 0.0]))
    for kind in KINDS:
        once(world(kind), jnp.zeros(2))


def test_the_ego_is_the_bicycle_and_its_inputs_are_clipped():
    state = world("straight")
    after = STEP(state, jnp.array([1.5, -0.2]))
    np.testing.assert_allclose(after.ego[:4], drive.bicycle(state.ego[:4], 1.5, -0.2, 0.1), rtol=1e-6)
    assert float(after.ego[4]) == np.float32(-0.2) and float(after.time) == np.float32(0.1)
    hard = STEP(state, jnp.array([100.0, 3.0]))
    np.testing.assert_allclose(hard.ego[:4], drive.bicycle(state.ego[:4], 4.0, 0.6, 0.1), rtol=1e-6)


def test_counterfactual_pairs_share_everything_that_the_ego_does_not_cause():
    batch, calm, fast = few(128), courses(0.5, 0.05), courses(-6.0, 0.1)
    walk = np.asarray(batch.actors.kind == PEDESTRIAN)[:, None]
    for name in ("position", "yaw", "mode", "v", "active"):
        a, b = (np.asarray(getattr(held, name)) for held in (calm, fast))
        mask = np.broadcast_to(walk, a.shape[:3])
        np.testing.assert_array_equal(a[mask], b[mask])
    # A vehicle that passed the same lanes has chosen the same turns; some vehicles are held up by the ego.
    turns_a, turns_b = np.asarray(calm.turns)[:, -1], np.asarray(fast.turns)[:, -1]
    equal = turns_a == turns_b
    for name in ("lane", "successor"):
        a, b = (np.asarray(getattr(held, name))[:, -1] for held in (calm, fast))
        np.testing.assert_array_equal(a[equal], b[equal])
    moved = np.abs(np.asarray(calm.position - fast.position)).max((1, 3)) > 0.5
    assert 0 < moved.sum() < 0.4 * moved.size and not moved[walk[:, 0]].any()


def test_pedestrians_start_to_cross_with_the_stated_probability():
    """Over 128 worlds of 60 steps: each walking pedestrian and step is one independent trial of the hazard."""
    batch = few(128)
    modes = np.asarray(courses(0.5, 0.05).mode)
    people = np.asarray(batch.actors.active & (batch.actors.kind == PEDESTRIAN))
    before = np.concatenate([np.zeros_like(modes[:, :1]), modes[:, :-1]], 1)
    trials = (before == WALKING) & people[:, None]
    began = trials & (modes != WALKING)
    hazard = float(batch.hazard[0])
    low, high = stats.binom.interval(0.999, trials.sum(), hazard)
    assert trials.sum() > 20_000 and low <= began.sum() <= high and (high - low) / began.sum() < 0.5
    slots = began.sum((0, 1))[8:]
    assert stats.chisquare(slots).pvalue > 1e-4
    assert (np.diff(np.where(people[:, None], modes, 0), axis=1) >= 0).all()
    one = jax.jit(jax.vmap(lambda state, dt: traffic.starts(state, dt), (0, None)))
    rate = np.mean(
        [np.asarray(one(batch._replace(hazard=jnp.full(128, 0.1), tick=batch.tick + k), 0.2)) for k in range(8)]
    )
    assert abs(rate - (1 - 0.9**2)) < 4 * np.sqrt(0.19 * 0.81 / (8 * 128 * 12))


def test_pedestrians_go_straight_over_at_their_pace():
    batch, held = few(128), courses(0.5, 0.05)
    mode, position = np.asarray(held.mode), np.asarray(held.position)[..., :2]
    crossing = (mode[:, 1:] == 1) & (mode[:, :-1] == 1)
    step = np.linalg.norm(np.diff(position, axis=1), axis=-1)
    pace = np.broadcast_to(np.asarray(batch.actors.pace)[:, None], mode[:, 1:].shape)
    assert crossing.sum() > 500
    np.testing.assert_allclose(step[crossing], 0.1 * pace[crossing], atol=2e-4)
    walking = (mode[:, 1:] == 0) & np.asarray(batch.actors.active & (batch.actors.kind == PEDESTRIAN))[:, None]
    np.testing.assert_allclose(step[walking], 0.1 * pace[walking], atol=2e-3)


def test_every_pedestrian_ends_on_the_other_side_and_walks_on():
    state = few(64)
    state = state._replace(hazard=jnp.ones(64))
    alone = lambda state: jax.lax.fori_loop(0, 110, lambda _, held: traffic.pedestrians(held, 0.1), state)
    before, after = state.actors, jax.jit(jax.vmap(alone))(state).actors
    people = np.asarray(before.active & (before.kind == PEDESTRIAN))
    assert (np.asarray(after.mode)[people] == CROSSED).all()
    np.testing.assert_allclose(np.asarray(after.left)[people], -np.asarray(before.left)[people], rtol=1e-6)
    assert (np.abs(np.asarray(after.along - before.along))[people] > 0.2).mean() > 0.9


def test_vehicles_turn_with_the_stated_probabilities():
    """Every vehicle on the way into a crossing has chosen one of three: right 0.3, straight on 0.4, left 0.3."""
    batch = worlds()
    lane, after = np.asarray(batch.actors.lane), np.asarray(batch.actors.successor)
    comes = np.asarray(batch.actors.active & (batch.actors.kind == VEHICLE)) & (lane < 4)
    comes &= (np.asarray(batch.roads.arms).sum(-1) == 4)[:, None]
    which = (after - 8 - 3 * lane)[comes]
    assert len(which) > 120 and set(which) <= {0, 1, 2}
    counts = np.bincount(which, minlength=3)
    assert stats.chisquare(counts, len(which) * np.array([0.3, 0.4, 0.3])).pvalue > 1e-4
    crossing = world("crossing").lanes
    draws = jax.vmap(lambda u: lanes.choice(crossing, 0, u))(jnp.linspace(0, 1, 1000, endpoint=False))
    np.testing.assert_allclose(np.bincount(np.asarray(draws) - 8) / 1000, [0.3, 0.4, 0.3], atol=2e-3)
    assert int(lanes.choice(crossing, 4, 0.5)) == -1


@pytest.fixture(scope="module")
def jam():
    """64 worlds without pedestrians whose ego stands in its lane for half a minute."""
    batch = few(64)
    people = batch.actors.kind == PEDESTRIAN
    batch = batch._replace(
        ego=batch.ego.at[:, 3].set(0.0), actors=batch.actors._replace(active=batch.actors.active & ~people)
    )

    def one(state, _):
        state = drive.step(state, jnp.array([-8.0, 0.0]))
        boxes = jnp.concatenate([state.actors.position[:, :2], state.actors.size[:, :2], state.actors.yaw[:, None]], 1)
        there = state.actors.active
        hits = jax.vmap(lambda a: jax.vmap(lambda b: drive.overlap(a, b)[0])(boxes))(boxes)
        hits &= there & there[:, None] & ~jnp.eye(len(there), dtype=bool)
        return state, (drive.collisions(state).actors, hits.any(), state.actors.v, there)

    return batch, jax.jit(jax.vmap(lambda state: jax.lax.scan(one, state, length=300)))(batch)


def test_traffic_stops_behind_a_standing_ego(jam):
    batch, (last, (hits, between, speeds, there)) = jam
    assert not np.asarray(hits).any()
    assert not np.asarray(between).any()
    behind = np.asarray(last.actors.active & (last.actors.lane == batch.route[:, :1]) & (last.actors.v < 0.01))
    assert behind.sum() > 20
    gap = np.linalg.norm(np.asarray(last.actors.position)[..., :2] - np.asarray(last.ego)[:, None, :2], axis=-1)
    near = np.where(behind, gap, np.inf).min(1)
    # The model rests at s0 = 2 m, bumper to bumper: boxes are 4 to 7 m long, the ego's tail is 0.95 m behind its axle.
    assert (near[np.isfinite(near) & (near < 8)] > 2.9).all()
    assert np.asarray(speeds).min() >= 0 and np.asarray(speeds).max() < 11.1


def test_vehicles_stop_at_red_and_leave_at_the_end(jam):
    _, (last, (_, _, speeds, there)) = jam
    assert (np.diff(np.asarray(there).astype(int), axis=1) <= 0).all()
    assert np.asarray(there)[:, 0].sum() - np.asarray(there)[:, -1].sum() > 50
    state = world("crossing")
    green = jax.vmap(lambda t: lanes.green(state.lanes, t))(jnp.arange(0, 32, 0.5))
    assert (np.asarray(green).sum(1) <= 1).all()
    np.testing.assert_array_equal(np.asarray(green).sum(0), 10)
    assert (
        not np.asarray(lanes.green(world("straight").lanes, 1.0)).any() or int(world("straight").lanes.signal.max()) < 0
    )


def test_the_route_leads_on():
    for kind in KINDS:
        state = world(kind)
        points = np.asarray(drive.route(state))
        _, away, _ = lanes.nearest(points, jnp.arange(len(points), dtype=jnp.float32), *state.ego[:2])
        assert float(away) < 0.2
        gaps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        assert gaps.max() < 105 and gaps.sum() > 150 and points.shape == (72, 2)


def test_a_state_survives_storage(tmp_path):
    state = world("t")
    held = dict(enumerate(map(np.asarray, raw(state))))
    held = {str(k): v for k, v in held.items()}
    with ocp.StandardCheckpointer() as saver:
        saver.save(tmp_path / "state", held)
        saver.wait_until_finished()
        back = saver.restore(tmp_path / "state", held)
    leaves, tree = jax.tree.flatten(state)
    wrap = lambda old, new: jax.random.wrap_key_data(new) if jnp.issubdtype(old.dtype, jax.dtypes.prng_key) else new
    again = jax.tree.unflatten(tree, [jnp.asarray(wrap(old, back[str(i)])) for i, old in enumerate(leaves)])
    assert same(STEP(again, jnp.zeros(2)), STEP(state, jnp.zeros(2)))


def test_equal_keys_make_equal_worlds():
    assert same(worlds(), MAKE(jax.random.split(jax.random.key(0), 256)))
    assert len(np.unique(np.asarray(worlds().ego), axis=0)) == 256


def test_the_view_from_above():
    state = world("crossing")
    above = np.asarray(jax.jit(lambda state: drive.raster(state, 60, 60.0))(state))
    layer = {name: above[..., i] for i, name in enumerate(drive.LAYERS)}
    assert above.shape == (60, 60, 9) and set(np.unique(above)) <= {0.0, 1.0}
    # The ego's box reaches from 0.95 m behind the axle to 3.65 m ahead, 0.95 m to both sides: 5 x 2 cells of 1 m.
    rows, columns = np.nonzero(layer["ego"])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (26, 30, 29, 30)
    assert (layer["drivable"][layer["ego"] > 0] == 1).all()
    assert (layer["route"][10:28, 28:32].sum(1) > 0).all() and (layer["drivable"] >= layer["lane"]).all()
    assert (layer["lane"] >= layer["route"]).all()
    c, s = np.cos(float(state.ego[2])), np.sin(float(state.ego[2]))
    for i in range(12):
        dx, dy = np.asarray(state.actors.position[i, :2] - state.ego[:2])
        row, column = 30 - (c * dx + s * dy), 30 - (c * dy - s * dx)
        if bool(state.actors.active[i]) and 1 < row < 59 and 1 < column < 59 and int(state.actors.kind[i]) == VEHICLE:
            assert layer["vehicle"][int(row), int(column)] == 1
    with pytest.raises(ValueError, match="1 cell or more and metres above 0, found 0 and 10"):
        drive.raster(state, 0, 10.0)


def test_what_is_wrong_is_said():
    key, state = jax.random.key(0), world("t")
    with pytest.raises(ValueError, match=r"action must have shape \(2,\).*found \(3,\)"):
        drive.step(state, jnp.zeros(3))
    with pytest.raises(ValueError, match="action must be finite, found"):
        drive.step(state, jnp.array([0.0, np.nan]))
    with pytest.raises(ValueError, match="dt must be a finite number of seconds above 0, found 0"):
        drive.step(state, jnp.zeros(2), 0)
    with pytest.raises(
        ValueError, match="kind must be one of straight, curve, t, crossing or None, found 'roundabout'"
    ):
        drive.make(key, kind="roundabout")
    with pytest.raises(ValueError, match="1 to 32 actors and 1 to 64 static boxes, found 0 and 16"):
        drive.make(key, actors=0)
    with pytest.raises(ValueError, match="pedestrians must be 0 to 12, the number of actors, found 13"):
        drive.make(key, pedestrians=13)
    with pytest.raises(ValueError, match=r"hazard must lie in \[0, 1\], found 1.5"):
        drive.make(key, hazard=1.5)


def test_who_stands_at_a_red_signal_waits():
    """Of those who pass a stop line, in the traffic of six crossings, nobody does it at red but who could not stop."""

    @jax.jit
    def watched(keys):
        def one(key):
            def move(state, _):
                after = drive.step(state, jnp.array([-8.0, 0.0]))
                now = state.actors
                front = state.lanes.along[now.lane, -1] - now.along - now.size[:, 0] / 2
                go = lanes.green(state.lanes, state.time)[state.lanes.signal[now.lane]]
                return after, (
                    front - lanes.STOP,
                    now.lane,
                    now.v,
                    now.active & (state.lanes.signal[now.lane] >= 0),
                    go,
                )

            made = drive.make(key, kind="crossing", actors=8, static=1, pedestrians=0)
            return jax.lax.scan(move, made, length=320)[1]

        return jax.vmap(one)(keys)

    line, lane, v, there, go = (np.asarray(held) for held in watched(jax.random.split(jax.random.key(4), 6)))
    passed = (line[:, :-1] >= -0.25) & (line[:, 1:] < -0.25) & (lane[:, :-1] == lane[:, 1:]) & there[:, 1:]
    assert passed.sum() >= 5
    assert go[:, 1:][passed & (v[:, 1:] < 4.0)].all()
    stood = (v < 0.01) & there & ~go & (np.abs(line) < 0.5)
    assert stood.any()
