"""Projection against homogeneous matrices, and the cameras' frames against a chain of frames."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.drive.drive_oracles import HEIGHT, WIDTH, double, extrinsics, six
from vrjax import drive
from vrjax.drive.cameras import MOUNTS


def test_project_is_a_product_of_matrices():
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.linalg.det(rotation)
    centre, points = rng.normal(size=3), rng.normal(size=(300, 3)) * 10
    K = np.array([[50.0, 0.3, 31.0], [0, 60.0, 20.0], [0, 0, 1]])
    matrix = K @ np.concatenate([rotation, -(rotation @ centre)[:, None]], 1)
    seen = np.concatenate([points, np.ones((300, 1))], 1) @ matrix.T
    uv, depth = map(np.asarray, jax.jit(drive.project)(points, rotation, centre, K))
    np.testing.assert_allclose(depth, seen[:, 2], atol=2e-5)
    front = seen[:, 2] > 0.05
    assert 0.3 < front.mean() < 0.7
    expected = seen[:, :2] / seen[:, 2:]
    np.testing.assert_allclose(uv[front], expected[front], rtol=2e-5, atol=2e-3)
    assert np.isnan(uv[seen[:, 2] < -1e-3]).all() and np.isfinite(uv[front]).all()


def test_points_at_and_behind_the_camera_have_no_place():
    points = jnp.array([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, -2.0], [0.0, 0.0, 5e-7]])
    uv, depth = drive.project(points, jnp.eye(3), jnp.zeros(3), jnp.diag(jnp.array([10.0, 10.0, 1.0])))
    assert np.isfinite(uv[0]).all() and np.isnan(uv[1:]).all()
    np.testing.assert_allclose(depth, [1, 0, -2, 5e-7])
    slope = jax.grad(lambda p: jnp.nansum(drive.project(p, jnp.eye(3), jnp.zeros(3), jnp.eye(3))[0]))(points)
    assert np.isfinite(slope).all()


def test_cameras_stand_where_the_chain_of_frames_says():
    ego = np.array([12.0, -7.0, 2.3, 0.0, 0.0])
    rotation, centre = map(np.asarray, drive.extrinsics(six(), jnp.asarray(ego)))
    for i, name in enumerate(six().names):
        matrix = extrinsics(ego, MOUNTS[name])
        np.testing.assert_allclose(rotation[i], matrix[:3, :3], atol=1e-6)
        np.testing.assert_allclose(centre[i], np.linalg.inv(matrix)[:3, 3], atol=5e-6)
    # Forwards, ahead: the front camera sees it in the middle column. Left of the car: the left half of its picture.
    point = np.array([[20.0, 0.0, 1.65], [20.0, 3.0, 1.65], [20.0, 0.0, 0.0]])
    world = point.copy()
    c, s = np.cos(ego[2]), np.sin(ego[2])
    world[:, :2] = point[:, :2] @ np.array([[c, s], [-s, c]]) + ego[:2]
    uv, depth = drive.project(world, rotation[1], centre[1], six().intrinsics[1])
    np.testing.assert_allclose(uv[0], [WIDTH / 2, HEIGHT / 2], atol=1e-4)
    assert uv[1, 0] < WIDTH / 2 - 1 and uv[2, 1] > HEIGHT / 2 + 1
    np.testing.assert_allclose(depth, 20 - 1.95, rtol=1e-6)


def test_rays_go_through_their_pixels_and_neighbours_overlap():
    rig = six()
    rays = double(rig.rays)
    for i in range(6):
        rotation, K = double(rig.rotation[i]), double(rig.intrinsics[i])
        assert K[0, 0] == K[1, 1] == pytest.approx(WIDTH / 2 / np.tan(np.radians(37.5)), rel=1e-6)
        local = np.einsum("ij,jshw->ishw", rotation, rays[:, :, i])
        np.testing.assert_allclose(local[2], 1, atol=1e-6)
        uv = np.einsum("ij,jshw->ishw", K, local)[:2]
        np.testing.assert_allclose(uv[:, 4, 3, 5], [5.5, 3.5], atol=1e-4)
        np.testing.assert_allclose(uv[:, :4].mean(1), uv[:, 4], atol=1e-4)
        np.testing.assert_allclose(uv[:, 0, 3, 5], [5.25, 3.25], atol=1e-4)
    yaw = np.degrees(np.arctan2(rays[1, 4, :, 0, [0, -1]], rays[0, 4, :, 0, [0, -1]]))
    for left, right in zip(range(6), [1, 2, 3, 4, 5, 0], strict=True):
        gap = (yaw[1, left] - yaw[0, right] + 180) % 360 - 180
        assert gap == pytest.approx(-15 + 75 / WIDTH, abs=1.0)  # the right edge of one is beyond the left of the next


def test_bad_cameras():
    with pytest.raises(ValueError, match="cameras must be some of CAM_FRONT_LEFT.*found CAM_ROOF"):
        drive.cameras(names=("CAM_ROOF",))
    with pytest.raises(ValueError, match="at least 1 x 1 pixel, found 0 x 80"):
        drive.cameras(height=0)
    assert drive.cameras(4, 6, names=["CAM_BACK"]).rays.shape == (3, 5, 1, 4, 6)
