"""Pictures against rays that are cast one by one in float64, flow against points that are projected twice."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.drive.drive_oracles import (
    HEIGHT,
    STEP,
    VIEWS,
    WIDTH,
    at,
    boxes,
    cast,
    double,
    drivable,
    extrinsics,
    few,
    six,
    turn,
    world,
)  # fmt: skip
from vrjax import drive
from vrjax.drive import roads, texture
from vrjax.drive.cameras import MOUNTS
from vrjax.drive.maps import KINDS

PIXELS = np.stack(np.meshgrid(np.arange(0, WIDTH, 4), np.arange(0, HEIGHT, 2)), -1).reshape(-1, 2)


@functools.cache
def pair(kind):
    """A world in motion and the same one half a second later, and views of the first with flow to the second."""
    before = world(kind)
    after = before
    for _ in range(5):
        after = STEP(after, jnp.array([1.0, 0.15]))
    return before, after, VIEWS(before, six(), after)


@pytest.mark.parametrize("kind", KINDS)
def test_depth_and_labels_are_those_of_rays_cast_one_by_one(kind):
    state, _, views = pair(kind)
    rows, columns = PIXELS[:, 1], PIXELS[:, 0]
    seen = set()
    for i, name in enumerate(six().names):
        ids, labels, depth, points = cast(state, MOUNTS[name], PIXELS + 0.5)
        near = [cast(state, MOUNTS[name], PIXELS + 0.5 + np.array(d))[0] for d in ((0.02, 0.02), (-0.02, -0.02))]
        plain = (near[0] == ids) & (near[1] == ids)
        assert plain.mean() > 0.9
        np.testing.assert_array_equal(np.asarray(views.instance[i])[rows, columns][plain], ids[plain])
        found = np.asarray(views.depth[i])[rows, columns]
        assert (np.isinf(found) == np.isinf(depth))[plain].all()
        here = plain & np.isfinite(depth)
        np.testing.assert_allclose(found[here], depth[here], rtol=1e-5)
        semantic = np.asarray(views.semantic[i])[rows, columns]
        np.testing.assert_array_equal(semantic[plain & (ids > 0)], labels[plain & (ids > 0)])
        assert (semantic[plain & np.isinf(depth)] == drive.SEMANTIC.index("sky")).all()
        # The ground's labels, from polygons; points within 5 mm of an edge may fall on either side.
        ground = plain & (ids == 0) & np.isfinite(depth) & (depth < 80)
        names = np.array(drive.SEMANTIC)[semantic[ground]]
        on = points[ground, :2]
        sure = drivable(state.roads, on, 5e-3) == drivable(state.roads, on, -5e-3)
        assert (np.isin(names, ["road", "marking"]) == drivable(state.roads, on))[sure].all()
        walk = drivable(state.roads, on, 2.4)
        sure &= drivable(state.roads, on, 2.405) == drivable(state.roads, on, 2.395)
        assert ((names != "terrain") == walk)[sure].all()
        seen |= set(ids[plain])
    assert len(seen) >= 5


@pytest.mark.parametrize("kind", KINDS)
def test_flow_is_where_the_same_point_is_after(kind):
    before, after, views = pair(kind)
    rows, columns = PIXELS[:, 1], PIXELS[:, 0]
    focal = WIDTH / 2 / np.tan(np.radians(75) / 2)
    moved, behind = 0, 0
    poses = {number: (centre, yaw) for number, _, centre, _, yaw in boxes(after)}
    old = {number: (centre, yaw) for number, _, centre, _, yaw in boxes(before)}
    for i, name in enumerate(six().names):
        ids, _, depth, points = cast(before, MOUNTS[name], PIXELS + 0.5)
        same = np.asarray(views.instance[i])[rows, columns] == ids
        matrix = extrinsics(double(after.ego), MOUNTS[name])
        rays = np.linalg.inv(extrinsics(double(before.ego), MOUNTS[name]))[:3, :3]
        flow = np.asarray(views.flow[i])[rows, columns]
        for k in np.flatnonzero(same):
            u, v = PIXELS[k] + 0.5
            if np.isinf(depth[k]):
                camera = matrix[:3, :3] @ rays @ [(u - WIDTH / 2) / focal, (v - HEIGHT / 2) / focal, 1]
            else:
                point = points[k].copy()
                if ids[k] in old:
                    (c0, yaw0), (c1, yaw1) = old[ids[k]], poses[ids[k]]
                    point[:2] = turn(yaw1 - yaw0) @ (point[:2] - c0[:2]) + c1[:2]
                camera = (matrix @ np.append(point, 1))[:3]
            if camera[2] <= 1e-6:
                assert np.isnan(flow[k]).all()
                behind += 1
                continue
            if camera[2] < 0.3:
                continue
            expected = camera[:2] / camera[2] * focal + [WIDTH / 2, HEIGHT / 2] - [u, v]
            np.testing.assert_allclose(flow[k], expected, rtol=1e-4, atol=2e-3)
            moved += np.abs(expected).max() > 0.5
    assert moved > 100


def test_flow_of_who_leaves_and_of_nothing():
    state = world("crossing")
    views = VIEWS(state, six(), state)
    assert np.nanmax(np.abs(views.flow)) < 2e-3
    number = int(np.unique(views.instance)[1])
    gone = state._replace(actors=state.actors._replace(active=state.actors.active.at[number - 1].set(False)))
    left = VIEWS(state, six(), gone)
    mine = np.asarray(left.instance) == number
    assert (
        mine.any() and np.isnan(np.asarray(left.flow)[mine]).all() and np.isfinite(np.asarray(left.flow)[~mine]).all()
    )
    assert not (np.asarray(VIEWS(gone, six(), gone).instance) == number).any()


def test_shapes_ranges_and_that_weather_changes_colours_only():
    state = world("t")
    wet = state._replace(weather=state.weather._replace(rain=jnp.float32(1.0), darkness=jnp.float32(0.9)))
    dry = state._replace(weather=state.weather._replace(rain=jnp.float32(0.0), darkness=jnp.float32(0.0)))
    a, b = VIEWS(wet, six(), wet), VIEWS(dry, six(), dry)
    for views in (a, b):
        assert views.rgb.shape == (6, HEIGHT, WIDTH, 3) and views.flow.shape == (6, HEIGHT, WIDTH, 2)
        assert views.instance.dtype == views.semantic.dtype == jnp.int32 and views.depth.dtype == jnp.float32
        assert np.abs(views.rgb).max() <= 1 and np.isfinite(views.rgb).all()
    for name in ("depth", "instance", "semantic", "flow"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert np.mean(b.rgb) - np.mean(a.rgb) > 0.3


def test_a_vehicle_has_its_own_colour_and_the_road_its_lines():
    state = world("straight")
    calm = state.weather._replace(rain=jnp.float32(0.0), darkness=jnp.float32(0.0))
    # The ego on its lane 10 m behind another that is painted pure red, and nobody else.
    x, y, yaw = (float(part) for part in roads.place(state.roads, 0, 60.0, -1.75))
    ahead = jnp.array([x + 12 * np.cos(yaw), y + 12 * np.sin(yaw), 0.75])
    alone = state.actors._replace(
        position=state.actors.position.at[0].set(ahead),
        size=state.actors.size.at[0].set(jnp.array([4.4, 1.8, 1.5])),
        yaw=state.actors.yaw.at[0].set(yaw),
        colour=state.actors.colour.at[0].set(jnp.array([1.0, 0.0, 0.0])),
        active=jnp.arange(12) == 0,
    )
    state = state._replace(ego=jnp.array([x, y, yaw, 0.0, 0.0]), actors=alone, weather=calm)
    views = VIEWS(state, six(), state)
    rgb, front = np.asarray(views.rgb), np.asarray(views.instance[1]) == 1
    columns = np.flatnonzero(front.any(0))
    assert abs(columns.mean() + 0.5 - WIDTH / 2) < 0.6 and front.sum() > 10
    red, green, blue = rgb[1][front].mean(0)
    assert red > green + 0.3 and red > blue + 0.3
    # The edge's line is 3.25 m to the right of the centre line, of which the dashes are 4 m of 8: here 56 to 60 m.
    side = np.array([[x, y]]) + np.array([[np.sin(yaw), -np.cos(yaw)]]) * np.array([[1.5], [1.0], [1.9], [-1.75]])
    spots = side + np.array([[0, 0], [0, 0], [0, 0], [-np.cos(yaw), -np.sin(yaw)]])
    labels, colour = texture.ground(state.roads, jnp.asarray(spots[:, 0]), jnp.asarray(spots[:, 1]))
    assert [drive.SEMANTIC[i] for i in labels] == ["marking", "road", "pavement", "marking"]
    assert float(colour[2][0]) > 0.9 and float(colour[0][3]) - float(colour[2][3]) > 0.5  # white, and yellow


def test_a_batch_of_worlds_is_each_of_them():
    """Of an odd number, and of a batch of batches; without `after` nothing moves."""
    batch = few(3)
    many = jax.jit(jax.vmap(drive.render, (0, None)))(batch, six())
    nested = jax.tree.map(lambda a: jnp.stack([a, a[::-1]]), batch)
    twice = jax.jit(jax.vmap(jax.vmap(lambda state: drive.render(state, six()).rgb)))(nested)
    for i in (0, 2):
        one = VIEWS(at(batch, i), six(), at(batch, i))
        for name in ("rgb", "depth", "instance", "semantic"):
            np.testing.assert_array_equal(getattr(many, name)[i], getattr(one, name), err_msg=name)
        np.testing.assert_array_equal(twice[0, i], one.rgb)
        np.testing.assert_array_equal(twice[1, 2 - i], one.rgb)
    alone = jax.eval_shape(jax.vmap(lambda state: drive.render(state, six())), jax.tree.map(lambda a: a[:1], batch))
    assert alone.rgb.shape == (1, 6, HEIGHT, WIDTH, 3)
    assert many.flow.shape == (3, 6, HEIGHT, WIDTH, 2) and (np.asarray(many.flow) == 0).all()
