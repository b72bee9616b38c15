"""What works on rows frame by frame: smoothing, references and their corruption, frame rates, cameras."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation, Slerp

from tests.motion.motion_oracles import angle_between, recorded
from tests.motion.test_rep276 import FROM_276, TO_276, Z, clip, close, smooth_motion
from vrjax import motion
from vrjax.motion import camera, reference, resampling
from vrjax.motion.canonical import Placement, place
from vrjax.motion.smoothing import smooth

SMOOTH = jax.jit(smooth, static_argnames="padded")


def test_smoothing_as_recorded_on_the_padded_length():
    z = recorded("smoothing")
    for latent, final in zip(z["latent"], z["final"], strict=True):
        close(SMOOTH(latent, length=6, padded=True), final, 2e-6)
    assert np.abs(SMOOTH(z["latent"][1], length=6) - z["final"][1])[4:6].max() > 0.1


def test_smoothing_of_a_shorter_motion_is_that_of_its_own_length():
    rows = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    for length in (3, 4, 5, 9, 12):
        found = np.asarray(SMOOTH(rows, length=length))
        alone = gaussian_filter1d(rows[:length].astype(float), 1.0, axis=0, radius=2)
        alone[:2], alone[-2:] = rows[:2][:length], rows[:length][-2:]
        close(found[:length], alone, 1e-6)
        np.testing.assert_array_equal(found[length:], rows[length:])
    np.testing.assert_array_equal(SMOOTH(rows), found)


def test_the_138_columns():
    rows = np.arange(3 * 276.0).reshape(3, 276)
    expected = np.concatenate([rows[:, :126], rows[:, 258:270]], 1)
    np.testing.assert_array_equal(reference.reference(rows), expected)


def corrupted(clean, valid, d, dropout=0.02):
    """The sheet's words in loops over frames."""
    out, mask, frames = np.array(clean, np.float64), np.array(valid), len(clean)
    for t in np.flatnonzero(valid):
        before, after = clean[t - 1], clean[(t + 1) % frames]
        before = before if valid[t - 1] else clean[t]
        after = after if valid[(t + 1) % frames] else clean[t]
        if d.noise[t] < d.corrupt_rate:
            out[t] += float(d.noise_scale) * np.asarray(d.normal[t])
        if d.replace[t] < d.replace_rate:
            a = 0.5 + 0.3 * (float(d.alpha[t]) - 0.5)
            out[t] = a * before + (1 - a) * after
        if d.dropout[t] < dropout:
            out[t], mask[t] = 0, False
    return out, mask


@pytest.mark.parametrize("length", [40, 33])
def test_corruption_with_given_draws(length):
    clean = np.random.default_rng(1).normal(size=(40, 138)).astype(np.float32)
    valid = np.arange(40) < length
    clean[~valid] = 0
    draws = reference.draw(jax.random.key(0), 40)._replace(replace_rate=jnp.float32(0.4))
    # All three events at both ends, where the neighbours wrap around.
    draws = draws._replace(replace=draws.replace.at[jnp.array([0, 32, 39])].set(0.0))
    draws = draws._replace(dropout=draws.dropout.at[jnp.array([5, 36])].set(0.0))
    found, mask = jax.jit(reference.corrupt)(clean, valid, draws)
    close(reference.corrupt(clean, valid, draws, dropout=0)[1], valid, 0)
    expected, kept = corrupted(clean, valid, draws)
    close(found, expected, 1e-6)
    np.testing.assert_array_equal(mask, kept)
    assert not mask[5] and mask[:33].sum() > 25 and np.abs(found - clean).max() > 0.1
    np.testing.assert_array_equal(found[~valid], 0)


def test_draws_have_their_distributions():
    d = jax.jit(jax.vmap(lambda k: reference.draw(k, 16, 3)))(jax.random.split(jax.random.key(1), 2000))
    for found, low, high in ((d.corrupt_rate, 0, 0.4), (d.noise_scale, 0.05, 0.15), (d.replace_rate, 0.03, 0.08)):
        close(np.quantile(found, [0, 0.5, 1]), np.array([low, (low + high) / 2, high]), 0.04 * (high - low))
    uniform = np.stack([d.noise, d.replace, d.alpha, d.dropout])
    close(uniform.mean((1, 2)), 0.5, 0.01)
    close(np.corrcoef(uniform.reshape(4, -1)), np.eye(4), 0.03)
    close([d.normal.mean(), d.normal.std()], [0, 1], 0.02)


RESAMPLE = jax.jit(motion.resample, static_argnames=("fps", "to", "public"))


def test_resampling_at_an_equal_rate_changes_nothing():
    rows = TO_276(*clip(first_order=False))
    close(RESAMPLE(rows, 20), rows)


def test_resampling_equals_interpolated_frames():
    """40 -> 20 is every second frame; other rates are linear in place and steady in turn between the true frames."""
    there = smooth_motion(3, 13)
    rows = TO_276(*there, canonical=False)
    close(RESAMPLE(rows, 40), TO_276(*(x[::2] for x in there), canonical=False), 2e-5)
    found = FROM_276(RESAMPLE(rows, 29.97), equal_length=True)
    times = np.arange(9) * 29.97 / 20
    low = np.minimum(times.astype(int), 11)
    part = (times - low)[:, None, None]
    joints = np.asarray(there.joints, float)
    close(found.joints, (1 - part) * joints[low] + part * joints[low + 1])
    steady = Slerp(np.arange(13), Rotation.from_matrix(np.asarray(there.root, float)))(times)
    close(angle_between(found.root, steady.as_matrix()), 0, 2e-5)


@pytest.mark.parametrize(
    "fps, to, count", [(16, 20, 15), (30, 20, 8), (24, 20, 10), (29.97, 29.97, 12), (50, 20, 4), (20, 60, 36)]
)
def test_how_many_rows(fps, to, count):
    """floor(12 to / fps), and never one less by rounding."""
    rows = jax.ShapeDtypeStruct((12, 276), jnp.float32)
    assert jax.eval_shape(lambda x: motion.resample(x, fps, to), rows).shape == (count, 276)


def test_resampling_as_the_public_code_does_it():
    torch_like = np.random.default_rng(2).normal(size=(16, 138)).astype(np.float32)
    found = RESAMPLE(torch_like, 16, public=True)
    assert found.shape == (20, 138)
    for column in (0, 70, 137):
        close(found[:, column], np.interp(np.linspace(0, 15, 20), np.arange(16), torch_like[:, column]), 1e-6)


def test_resampling_joints():
    joints = np.random.default_rng(4).normal(size=(31, 22, 3)).astype(np.float32)
    found = resampling.resample_joints(joints, 30)
    assert found.shape == (21, 22, 3)
    close(found[::2], joints[::3], 1e-6)
    close(found[1], (joints[1] + joints[2]) / 2, 1e-6)
    close(resampling.resample_joints(joints[:1], 30), joints[:1], 0)


@pytest.mark.parametrize("rate", [0, -20, float("nan"), float("inf")])
def test_rates_that_are_none(rate):
    with pytest.raises(ValueError, match="fps must be a positive number of frames a second, found"):
        motion.resample(Z["rep_floor"], rate)
    with pytest.raises(ValueError, match="to must be a positive number"):
        resampling.resample_joints(Z["joints"], 20, rate)


def test_too_short_to_resample():
    with pytest.raises(ValueError, match="rows has 2 frames, too few for one at 20 a second"):
        motion.resample(Z["rep_floor"][:2], 60)


def in_camera():
    """The recorded clip as OpenCV's camera would have it: 4 m ahead, upright."""
    return jax.jit(place)(clip(first_order=False), camera.TO_WORLD.T, jnp.array([0.3, 0.2, 4.0]))


def test_camera_to_world():
    """What is estimated in camera space stands on the floor, and its extrinsics bring it back before the camera."""
    seen = in_camera()
    rows = TO_276(*seen, canonical=False)
    out = jax.jit(camera.camera_to_world)(rows, focal_length=500.0, width=640.0, height=480.0)
    assert out.rows.shape == rows.shape and out.extrinsic.shape == (30, 9)
    np.testing.assert_array_equal(out.extrinsic, np.broadcast_to(out.extrinsic[0], (30, 9)))
    # Turning up a camera that looks horizontally gives the clip that was put before it.
    close(out.rows, TO_276(*jax.jit(camera.camera_motion)(seen), floor=True))
    world = FROM_276(out.rows).joints
    close(world[..., 2].min(), 0, 2e-5)
    x, y, z = np.moveaxis(np.asarray(seen.joints[:-1], np.float64), -1, 0)
    close(jax.jit(camera.view)(world, out.extrinsic[0]), np.stack([-x, -y, z], -1))
    pixels = jax.jit(camera.project)(world, out.extrinsic[0], out.intrinsic)
    close(pixels, np.stack([500 * x / z + 320, 500 * y / z + 240], -1), 5e-3)


def test_the_camera_as_the_sheet_words_it():
    """R = R_inv [[1,0,0],[0,0,-1],[0,1,0]]; T = -(delta @ R_inv), axes (0, 2, 1), the last negated."""
    turn = Z["R_inv"] @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    shift = -(Z["delta_floor"] @ Z["R_inv"])[[0, 2, 1]] * [1, 1, -1]
    found = camera.extrinsic(Placement(jnp.asarray(Z["R_inv"]), jnp.asarray(Z["delta_floor"])))
    close(found, np.concatenate([turn[:, :2].reshape(6), shift]), 1e-6)


def test_intrinsics():
    close(camera.intrinsic(500, 640, 480), np.array([[500, 0, 320], [0, 500, 240], [0, 0, 1]]), 0)
    close(camera.intrinsic(None, None, None), np.eye(3), 0)
    with pytest.raises(ValueError, match=r"width, height = \(500, None, 480\), expected all three or none"):
        camera.intrinsic(500, None, 480)
