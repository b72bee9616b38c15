"""Boxes against clipped polygons; the drivable area against polygons of thousands of corners."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.drive.drive_oracles import area, clipped, drivable, rectangle, world, worlds
from vrjax import drive
from vrjax.drive import lanes, roads
from vrjax.drive.maps import KINDS

OVERLAP = jax.jit(jax.vmap(drive.overlap))
MARGIN = jax.jit(roads.margin)


def pairs(count, seed):
    rng = np.random.default_rng(seed)
    draw = lambda: np.concatenate(
        [rng.uniform(-4, 4, (count, 2)), rng.uniform(0.5, 6, (count, 2)), rng.uniform(-7, 7, (count, 1))], 1
    ).astype(np.float32)
    return draw(), draw()


def test_overlap_is_what_clipped_polygons_say():
    a, b = pairs(600, 0)
    hit, depth = map(np.asarray, OVERLAP(a, b))
    shared = np.array([area(clipped(rectangle(p), rectangle(q))) for p, q in zip(a, b, strict=True)])
    away = (shared > 1e-3) | (shared == 0)
    assert away.mean() > 0.97 and 0.3 < hit.mean() < 0.8
    np.testing.assert_array_equal(hit[away], shared[away] > 0)
    assert (depth[~hit] == 0).all() and (depth[hit] > 0).all()


def test_penetration_is_the_least_that_takes_boxes_apart():
    a, b = pairs(200, 1)
    hit, depth = map(np.asarray, OVERLAP(a, b))
    angles = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    for one, other, far in zip(a[hit][:40], b[hit][:40], depth[hit][:40], strict=True):
        ways = np.concatenate([angles, one[4] + np.arange(4) * np.pi / 2, other[4] + np.arange(4) * np.pi / 2])
        moved = lambda by, one=one, ways=ways: np.concatenate(
            [one[:2] + by * np.stack([np.cos(ways), np.sin(ways)], -1), np.tile(one[2:], (len(ways), 1))], 1
        ).astype(np.float32)
        against = np.tile(other, (len(ways), 1))
        assert np.asarray(OVERLAP(moved(far - 2e-3), against)[0]).all()
        assert not np.asarray(OVERLAP(moved(far + 1e-3), against)[0]).all()


def test_touching_is_no_overlap():
    box = jnp.array([0.0, 0.0, 4.0, 2.0, 0.0])
    for other in ([4.0, 0, 4, 2, 0], [0, 2.0, 4, 2, 0], [4.0, 2.0, 4, 2, 0]):
        assert not bool(drive.overlap(box, jnp.array(other))[0])
    hit, depth = drive.overlap(box, jnp.array([3.5, 0.5, 4.0, 2.0, 0.0]))
    assert bool(hit) and float(depth) == 0.5
    assert float(drive.overlap(box, jnp.array([0.0, 0.0, 1.0, 1.0, np.pi / 4]))[1]) == pytest.approx(
        1 + np.sqrt(0.5), rel=1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_drivable_area_is_that_of_polygons(kind):
    state = world(kind)
    rng = np.random.default_rng(0)
    near = np.asarray(state.lanes.points).reshape(-1, 2)
    points = (near[rng.integers(0, len(near), 2_000)] + rng.normal(size=(2_000, 2)) * [3.0, 3.0]).astype(np.float32)
    points = np.concatenate([points, rng.uniform(-14, 14, (1_000, 2)).astype(np.float32)])
    found = np.asarray(MARGIN(state.roads, points[:, 0], points[:, 1]))
    truth = drivable(state.roads, points.astype(np.float64))
    clear = drivable(state.roads, points.astype(np.float64), 2e-3) == drivable(
        state.roads, points.astype(np.float64), -2e-3
    )
    # Strips that are made wider are not made longer, so their ends are left out by hand.
    ends = np.abs(found) < 2e-3
    assert 0.2 < truth.mean() < 0.9 and clear.mean() > 0.95
    np.testing.assert_array_equal((found >= 0)[clear & ~ends], truth[clear & ~ends])


@pytest.mark.parametrize("kind", KINDS)
def test_every_lane_lies_on_the_road(kind):
    state = world(kind)
    real = np.asarray(state.lanes.along[:, -1]) > 0
    points, yaw = np.asarray(state.lanes.points)[real], np.asarray(state.lanes.yaw)[real]
    normal = np.stack([-np.sin(yaw), np.cos(yaw)], -1)
    for side in (-1.0, 1.0):
        edge = points + side * float(state.lanes.half_width[0]) * 0.9999 * normal
        assert np.asarray(MARGIN(state.roads, edge[..., 0], edge[..., 1])).min() > -1e-3


def test_lanes_join_and_probabilities_sum_to_one():
    held = worlds().lanes
    after, there = np.asarray(held.successors), np.asarray(held.successors) >= 0
    total = np.asarray(held.probability).sum(-1)
    np.testing.assert_allclose(total[there.any(-1)], 1, atol=1e-6)
    assert (total[~there.any(-1)] == 0).all() and (np.asarray(held.probability)[~there] == 0).all()
    batch, lane, slot = np.nonzero(there)
    points, yaw = np.asarray(held.points), np.asarray(held.yaw)
    into = after[batch, lane, slot]
    np.testing.assert_allclose(points[batch, lane, -1], points[batch, into, 0], atol=2e-4)
    bend = yaw[batch, lane, -1] - yaw[batch, into, 0]
    np.testing.assert_allclose(np.cos(bend), 1, atol=1e-6)
    steps = np.linalg.norm(np.diff(points, axis=2), axis=-1).sum(-1)
    np.testing.assert_allclose(held.along[..., -1], steps, rtol=1e-5)


def test_a_point_of_a_lane_and_the_nearest_one_are_inverses():
    state = world("curve")
    rng = np.random.default_rng(0)
    for s in rng.uniform(1, float(state.lanes.along[1, -1]) - 1, 8):
        x, y, yaw = lanes.at(state.lanes, 1, s)
        back, away, _ = lanes.nearest(
            state.lanes.points[1], state.lanes.along[1], x + 1.2 * np.sin(yaw), y - 1.2 * np.cos(yaw)
        )
        assert abs(float(away) - 1.2) < 2e-3 and abs(float(back) - s) < 0.1


def test_on_road_and_collisions():
    state = world("straight")
    assert bool(drive.on_road(state))
    flags = jax.jit(lambda ego: (drive.on_road(state._replace(ego=ego)), drive.collisions(state._replace(ego=ego))))
    x, y, heading = (float(part) for part in roads.place(state.roads, 0, 100.0, -1.75))
    # From the lane's centre to where the front right corner stands on the edge: 1.75 - 0.95 m to the right.
    for right, yaw, there in ((0.79, 0, True), (0.81, 0, False), (0.0, 0.25, True), (0.0, -0.25, False)):
        ego = jnp.array([x + right * np.sin(heading), y - right * np.cos(heading), heading + yaw, 0.0, 0.0])
        corners = rectangle(np.asarray(drive.ego_box(ego), np.float64))
        assert bool(flags(ego)[0]) == there == drivable(state.roads, corners).all()
    for held in (state.actors, state.static):
        i = int(np.argmax(np.asarray(held.active)))
        spot = jnp.array([*held.position[i, :2], held.yaw[i], 0.0, 0.0])
        hits = flags(spot)[1]
        mine = hits.actors if held is state.actors else hits.static
        assert bool(mine[i]) and bool(hits.any)
    assert not bool(flags(jnp.array([900.0, 900.0, 0.0, 0.0, 0.0]))[1].any)
    gone = state._replace(actors=state.actors._replace(active=jnp.zeros(12, bool)), ego=spot)
    assert not np.asarray(drive.collisions(gone).actors).any()


def test_nobody_overlaps_anybody_at_the_start():
    """In 256 worlds: the ego, vehicles and pedestrians against each other, posts, buildings and hedges."""

    def clear(state):
        boxes = [
            jnp.concatenate([h.position[:, :2], h.size[:, :2], h.yaw[:, None]], 1) for h in (state.actors, state.static)
        ]
        everyone = jnp.concatenate([drive.ego_box(state.ego)[None], *boxes])
        there = jnp.concatenate([jnp.ones(1, bool), state.actors.active, state.static.active])
        hits = jax.vmap(lambda a: jax.vmap(lambda b: drive.overlap(a, b)[0])(everyone))(everyone[:13])
        hits &= there & there[:13, None] & ~jnp.eye(13, len(there), dtype=bool)
        return jnp.any(hits), drive.on_road(state), drive.collisions(state).any

    hits, road, collided = jax.jit(jax.vmap(clear))(worlds())
    assert not np.asarray(hits).any() and not np.asarray(collided).any() and np.asarray(road).all()
    active = np.asarray(worlds().actors.active).sum(1)
    assert active.min() >= 8 and active.mean() > 11.5 and np.asarray(worlds().static.active).sum(1).mean() > 14
