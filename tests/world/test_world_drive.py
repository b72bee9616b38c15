"""The driving world: what it says of itself against geometry by hand, what a driver does who is told, and events."""

import dataclasses
import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vrjax import drive as minidrive
from vrjax import world
from vrjax.drive.state import CROSSING, PEDESTRIAN, WALKING
from vrjax.world import exact
from vrjax.world.exact import drive

KEY = jax.random.key(5)
SMALL: Any = {"actors": 1, "static": 4, "pedestrians": 1, "height": 12, "width": 20, "hazard": 0.0}
STEP = jax.jit(lambda w, state, inputs, key: w.step(state, inputs, key))
TOLD = jax.jit(lambda w, state: w.decode(state))


@functools.cache
def lone(kind) -> Any:
    """A world with nobody but a pedestrian who never crosses, and a State of it."""
    w = exact.get("drive", kind=kind, **SMALL)
    return w, jax.jit(w.make)(KEY)


def bicycle(pose, accel, steer, dt, parts=2000):
    """Heun's rule in float64, in many parts; at rest at zero speed."""
    x, y, yaw, v = map(float, pose[:4])
    h = dt / parts
    for _ in range(parts):
        after = max(v + accel * h, 0.0)
        turned = yaw + h * (v + after) / 2 * np.tan(steer) / 2.7
        x += h * (v * np.cos(yaw) + after * np.cos(turned)) / 2
        y += h * (v * np.sin(yaw) + after * np.sin(turned)) / 2
        yaw, v = turned, after
    return x, y, yaw, v


def test_actions_are_shares_of_what_a_car_can_do():
    w, state = lone("straight")
    for action, physical in (((0.5, -0.5), (2.0, -0.3)), ((-0.25, 0.1), (-2.0, 0.06)), ((9.0, 9.0), (4.0, 0.6))):
        after = STEP(w, state, jnp.array(action), KEY)
        np.testing.assert_allclose(after.ego[:4], bicycle(state.ego, *physical, 0.1), rtol=0, atol=3e-5)
        assert float(after.ego[4]) == pytest.approx(physical[1])
    assert float(after.time) == pytest.approx(0.1)
    # a step of 0.2 s is two of 0.1 s, in the same program: dt is a leaf
    once = jax.jit(chex.assert_max_traces(lambda w, state, action: w.step(state, action, KEY), 1))
    action = jnp.array([0.4, 0.3])
    two = once(w, once(w, state, action), action)
    one = once(dataclasses.replace(w, dt=jnp.float32(0.2)), state, action)
    np.testing.assert_allclose(one.ego, two.ego, rtol=0, atol=3e-5)


def test_what_is_decoded_is_geometry():
    """On a straight road the route is one line: place, side, heading and edges are inner products."""
    w, state = lone("straight")
    points = np.asarray(minidrive.route(w.scene(state)), np.float64)
    first, last = points[0], points[-1]
    ahead = (last - first) / np.linalg.norm(last - first)
    left = np.array([-ahead[1], ahead[0]])
    yaw = np.arctan2(ahead[1], ahead[0])

    def at(s, side, turned=0.0):
        place = first + s * ahead + side * left
        return state._replace(ego=jnp.array([*place, yaw + turned, 3.0, 0.0], jnp.float32))

    for s, side, turned in ((50.0, 0.0, 0.0), (120.5, 0.7, 0.2), (80.0, -0.6, -0.1)):
        told = TOLD(w, at(s, side, turned))
        found = [float(told[name]) for name in ("route_along", "route_left", "route_yaw")]
        np.testing.assert_allclose(found, (s, side, turned), atol=2e-4)
        assert float(told["route_length"]) == pytest.approx(240.0, abs=1e-2)
    # lanes are 3.5 m wide and the ego 1.9 m: from the lane's middle the kerb is 0.8 m away on the right
    assert [bool(TOLD(w, at(60, side))["on_road"]) for side in (0.0, -0.79, -0.81, 3.5, 4.31)] == [1, 1, 0, 1, 0]
    goal = jax.jit(w.success)
    assert [bool(goal(at(*place))) for place in ((231.0, 0), (233.0, 0), (233.0, 1.9))] == [False, True, False]
    # a box in front of the bumper, and one in it
    for gap, hit in ((0.05, False), (-0.05, True)):
        far = 60 + 1.35 + 2.3 + gap + float(state.actors.size[0, 0]) / 2
        actors = state.actors._replace(
            position=jnp.asarray([[*(first + far * ahead), 0.9]], jnp.float32), yaw=jnp.array([yaw], jnp.float32)
        )
        told = TOLD(w, at(60, 0)._replace(actors=actors))
        assert bool(told["hit_actors"][0]) is hit and not told["hit_static"].any()


def test_what_follows_need_not_be_encoded():
    w, state = lone("straight")
    told = TOLD(w, state)
    again = jax.jit(w.encode)({name: told[name] for name in state._fields})
    chex.assert_trees_all_equal(again, state)
    with pytest.raises(ValueError, match=r"drive: actors.yaw must have shape \(1,\), found \(2,\)"):
        w.encode(told | {"actors": state.actors._replace(yaw=np.zeros(2))})
    with pytest.raises(ValueError, match="drive: actors must be a Actors, found list"):
        w.encode(told | {"actors": []})
    with pytest.raises(ValueError, match="drive: observation has"):
        w.encode(told | {"moon": 1.0})


def test_a_trajectory_is_followed():
    """Along an arc at the speed that the ego has every waypoint is kept; another speed is caught up with."""
    w, state = lone("straight")
    x, y, yaw, v = (float(a) for a in state.ego[:4])
    curvature = 0.05

    def waypoints(speed, steps):
        s = speed * 0.1 * np.arange(1, steps + 1)
        turn = curvature * s
        ahead, left = np.sin(turn) / curvature, (1 - np.cos(turn)) / curvature
        c, sn = np.cos(yaw), np.sin(yaw)
        return world.Waypoint(jnp.asarray(np.stack([x + c * ahead - sn * left, y + sn * ahead + c * left], 1), "f4"))

    path = waypoints(v, 30)
    _, history = world.rollout(w, state, path, KEY, record=("states",))
    np.testing.assert_allclose(history.states.ego[:, :2], path.position, atol=2e-3)
    path = waypoints(0.8 * v, 30)
    _, history = world.rollout(w, state, path, KEY, record=("states",))
    away = np.linalg.norm(np.asarray(history.states.ego[:, :2] - path.position), axis=1)
    assert away[0] > 0.01 and away[15:].max() < 0.01
    np.testing.assert_allclose(history.states.ego[-1, 3], 0.8 * v, rtol=1e-2)
    behind = world.Waypoint(jnp.array([x - 5 * np.cos(yaw), y - 5 * np.sin(yaw)], jnp.float32))
    assert float(STEP(w, state, behind, KEY).ego[3]) == pytest.approx(v - 0.8, abs=1e-5)


SAID = ("turn right", "go straight on", "turn left", "keep the lane, then stop", "go to the goal")


@functools.cache
def obedient():
    """Ten worlds with a crossing, each told each sentence for 60 s, which lets every signal turn green."""
    w, _ = lone("crossing")
    codes = jnp.stack([w.parse(text).code for text in SAID])

    @jax.jit
    def run(w, keys):
        def one(key, code):
            state, told = w.make(key), world.Instruction(code)
            final, history = world.rollout(w, state, world.repeat(told, 600), KEY, record=("states",))
            obeyed = w.obeyed(state, history.states, told)
            return state.ego, history.states.ego, final.told, obeyed, w.success(final), final.lane

        return jax.vmap(lambda code: jax.vmap(lambda key: one(key, code))(keys))(codes)

    return w, jax.tree.map(np.asarray, run(w, jax.random.split(KEY, 10)))


def test_instructions_are_carried_out():
    """Judged by headings: a turn is a quarter of a circle; and as the world judges, which need not know who drove."""
    _, (start, egos, told, obeyed, success, _) = obedient()
    turned = egos[:, :, -1, 2] - start[:, :, 2]
    quarter = np.pi / 2
    for row, angle in enumerate((-quarter, 0.0, quarter)):
        np.testing.assert_allclose(turned[row], angle, atol=0.05)
        assert (told[row] == 1).all()
    assert (told[3] == 2).all() and (egos[3, :, -1, 3] < drive.REST).all()
    driven = np.linalg.norm(egos[3, :, -1, :2] - start[3, :, :2], axis=1)
    assert (driven > 0.5).all() and (driven < 25).all()
    np.testing.assert_array_equal(obeyed, told)
    np.testing.assert_array_equal(success[4], told[4] == 1)
    assert success[4].all()


def test_nobody_passes_the_line_at_red():
    """Arms have green in turn, 5 s in 8 s; who is too near to stop when it ends passes within another 1.3 s."""
    w, (_, egos, *_) = obedient()
    made = jax.jit(jax.vmap(w.make))(jax.random.split(KEY, 10))
    at = lambda held, i: np.asarray(held)[i, int(made.lane[i])]
    arms = []
    for i in range(10):
        yaw = at(made.lanes.yaw, i)[-1]
        for row in range(3):
            front = (egos[row, i, :, :2] - at(made.lanes.points, i)[-1]) @ [np.cos(yaw), np.sin(yaw)] + 1.35 + 2.3
            # The stop line is 5.4 m before the junction; who stops stands at it.
            time = 0.1 * (1 + int(np.argmax(front > -5.4 + 0.2)))
            assert int(time // 8) % 4 == int(at(made.lanes.signal, i)) and time % 8 < 5 + 1.3
            arms.append(int(time // 8) % 4)
    assert len(set(arms)) >= 3


def test_a_turn_that_is_not_there_is_never_done():
    w, state = lone("straight")
    told = world.Instruction(w.parse("turn left").code)
    final, _ = world.rollout(w, state, world.repeat(told, 40), KEY, record=())
    assert int(final.told) == 0 and bool(TOLD(w, final)["on_road"])
    with pytest.raises(ValueError, match="drive: cannot read 'fly', expected one of 'keep the lane', "):
        w.parse("fly")


def test_events():
    """Rain changes what is seen; the pedestrian is a slot's, and on the road ahead of the ego a second later."""
    w, state = lone("crossing")
    rain = w.happen(state, "rain")
    assert float(rain.weather.rain) == 1.0
    chex.assert_trees_all_equal(rain._replace(weather=state.weather), state)
    out = jax.jit(lambda state: w.happen(state, "pedestrian"))(state)
    chex.assert_trees_all_equal(out._replace(actors=state.actors), state)
    assert int(state.actors.mode[0]) == WALKING and int(out.actors.kind[0]) == PEDESTRIAN
    assert int(out.actors.mode[0]) == CROSSING and bool(out.actors.active[0])
    to = np.asarray(out.actors.position[0, :2] - state.ego[:2])
    c, s = np.cos(state.ego[2]), np.sin(state.ego[2])
    assert to @ [c, s] == pytest.approx(drive.STEPS_OUT, abs=0.5)
    assert abs(to @ [-s, c]) == pytest.approx(1.75 + 1.4, abs=0.1)  # the lane's middle, the kerb, where they walk
    later, _ = world.rollout(w, out, jnp.tile(jnp.array([-1.0, 0.0]), (20, 1)), KEY, record=())
    to = np.asarray(later.actors.position[0, :2] - state.ego[:2])
    assert abs(to @ [-s, c]) == pytest.approx(1.75 + 1.4 - 1.4 * 2.0, abs=0.1)
    with pytest.raises(ValueError, match="drive: unknown event 'snow', expected one of rain, pedestrian"):
        w.happen(state, "snow")
    push = exact.example("push")
    with pytest.raises(ValueError, match="push: unknown event 'rain'"):
        push.happen(None, "rain")


def test_cameras():
    """Frames are those of MiniDrive; from above the ego is where the middle of its box is, and on the road."""
    w, state = lone("crossing")
    assert w.cameras[0] == "CAM_FRONT" and len(w.cameras) == 7 and w.frame == (12, 20, 3)
    six = jax.jit(lambda w, state: minidrive.render(w.scene(state), w.views).rgb)(w, state)
    back = jax.jit(w.render, static_argnums=1)(state, "CAM_BACK")
    np.testing.assert_array_equal(back, six[w.views.names.index("CAM_BACK")])
    above = np.asarray(jax.jit(w.render, static_argnums=1)(state, "BEV"))
    # 80 m over 20 columns; the rear axle 9 rows down, between columns 9 and 10
    white = np.argwhere((above == drive.INKS["ego"]).all(-1))
    assert len(white) == 0 or (abs(white - [8.5, 9.5]) <= 1).all()
    large = exact.get("drive", **(SMALL | {"height": 48, "width": 80}))
    above = np.asarray(jax.jit(large.render, static_argnums=1)(state, "BEV"))
    white = np.argwhere((above == drive.INKS["ego"]).all(-1))
    assert 6 <= len(white) <= 12  # 4.6 m x 1.9 m, in cells of 1 m
    np.testing.assert_allclose(white.mean(0), [36 - 0.5 - 1.35, 39.5], atol=0.6)
    assert large.frames_of_steps(state) is None


def test_what_is_refused():
    for options, told in (
        ({"kind": "loop"}, "unknown kind 'loop', expected one of straight"),
        ({"actors": 0}, "actors must be 1 to 32, found 0"),
        ({"pedestrians": 13}, "pedestrians must be 0 to 12, found 13"),
        ({"dt": 0.0}, "dt must be a finite number of seconds above 0"),
        ({"rain": 2.0}, "rain must be a probability"),
        ({"cameras": ("BEV",)}, "cameras must have one on the car, found BEV"),
        ({"cameras": ("CAM_FRONT", "MOON")}, "cameras must be different ones of CAM_FRONT, .*, found 'MOON'"),
        ({"height": 0}, "height must be 1 to 4096"),
    ):
        with pytest.raises(ValueError, match=f"drive: {told}"):
            exact.get("drive", **options)


def test_the_cost():
    """By hand: two steps, one of them perfect."""
    flags = np.zeros((2, 3), bool)
    told = {"ego": np.array([[0, 0, 0, 8.0, 0], [0, 0, 0, 4.0, 0]]), "route_left": np.array([0.0, 0.875]),
            "on_road": np.array([True, False]), "hit_actors": flags, "hit_static": flags | [[0], [1]]}  # fmt: skip
    told = jax.tree.map(jnp.asarray, told)
    assert float(drive.cost(told)) == pytest.approx((0.25 + 0.25 + 4 + 8) / 2)
    assert float(drive.cost(jax.tree.map(lambda a: a[:1], told))) == 0.0
