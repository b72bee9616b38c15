"""The matcher: what it sees of a motion, a plain statement of both encoders, and its file."""

import jax
import numpy as np
import pytest
from flax import nnx
from scipy.spatial.transform import Rotation

from vrjax.models.embedded import captions, matcher

FRAMES = 9


@pytest.fixture(scope="module")
def match():
    """Untrained."""
    return matcher.Matcher(nnx.Rngs(0))


@pytest.fixture(scope="module")
def joints():
    """Two motions that turn a little, each about a pose of its own."""
    rng = np.random.default_rng(0)
    turns = Rotation.from_euler("z", 0.1 * np.arange(FRAMES)[:, None]).as_matrix()
    drift = 0.02 * np.arange(FRAMES)[:, None, None] * rng.normal(size=(2, 1, 22, 3))
    return np.einsum("tij,ntkj->ntki", turns, rng.normal(size=(2, 1, 22, 3)) + drift).astype(np.float32)


COLUMNS = jax.jit(matcher.columns)


def gelu(x):
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2


def layer(linear, x):
    return x @ np.asarray(linear.kernel, np.float64) + np.asarray(linear.bias, np.float64)


def ended(layers, mean, most):
    out = layer(layers[1], gelu(layer(layers[0], np.concatenate([mean, most]))))
    return out / np.linalg.norm(out)


def test_columns_are_the_joints_in_their_heading(joints):
    rows = np.asarray(COLUMNS(joints[0]), np.float64)
    steps = np.linalg.norm(np.diff(joints[0].astype(np.float64), axis=0), axis=-1)
    np.testing.assert_allclose(np.linalg.norm(rows[:, 67:].reshape(-1, 22, 3), axis=-1), 10 * steps, rtol=2e-4)
    heights = joints[0, :-1, :, 2] - joints[0, ..., 2].min()
    np.testing.assert_allclose(rows[:, 3], heights[:, 0], atol=1e-5)
    np.testing.assert_allclose(rows[:, 5:67:3], heights[:, 1:], atol=1e-5)
    assert rows.shape == (FRAMES - 1, matcher.COLUMNS)


def test_where_a_motion_is_drawn_does_not_matter(match, joints):
    turned = joints @ Rotation.from_euler("z", 0.7).as_matrix().T + [3.0, -2.0, 0.5]
    found = match.motions(joints)
    np.testing.assert_allclose(match.motions(turned), found, atol=2e-4)
    assert np.abs(found[0] - found[1]).max() > 0.02
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_features_of_motions_are_the_plain_statement(match, joints):
    for row, motion in zip(match.motions(joints), joints, strict=True):
        h = gelu(layer(match.frames, np.asarray(COLUMNS(motion), np.float64)))
        for over in match.over_time:
            ends = (
                [h[max(i - 1, 0)] for i in range(0, len(h), 2)],
                [h[min(i + 1, len(h) - 1)] for i in range(0, len(h), 2)],
            )
            h = gelu(layer(over, np.concatenate([ends[0], h[::2], ends[1]], 1)))
        np.testing.assert_allclose(row, ended(match.of_frames, h.mean(0), h.max(0)), atol=2e-5)


def test_any_number_of_motions(match, joints):
    """Groups are filled up, and what they are filled with is cut off."""
    many = np.concatenate([joints] * 33)[:65]
    found = match.motions(many)
    assert found.shape == (65, matcher.FEATURES) and match.motions(many[:0]).shape == (0, matcher.FEATURES)
    np.testing.assert_allclose(found, np.concatenate([match.motions(joints)] * 33)[:65], atol=1e-6)


def test_motions_of_another_body_are_one_line(match, joints):
    with pytest.raises(ValueError, match="to_263: joints"):
        match.motions(joints[:, :, :21])
    with pytest.raises(ValueError, match="to_263: joints has 1 frames, expected at least 2"):
        match.motions(joints[:, :1])


def test_features_of_captions_are_the_plain_statement(match):
    said = ["a person walks forward", "someone waves with the left hand while the right leg kicks", "a"]
    for row, caption in zip(match.texts(said), said, strict=True):
        words = captions.rows(caption, len(caption.split()), matcher.TEXT[1]).astype(np.float64)
        h = gelu(layer(match.words, words))
        most = np.maximum(h.max(0), 0) if len(h) < matcher.TEXT[0] else h.max(0)  # the padding is zero
        np.testing.assert_allclose(row, ended(match.of_words, h.mean(0), most), atol=2e-5)
    sides = match.texts(["waves the left hand , kicks the right leg", "waves the right hand , kicks the left leg"])
    assert np.abs(sides[0] - sides[1]).max() > 1e-3
    assert np.isfinite(match.texts([""])).all()
    with pytest.raises(ValueError, match="at most length=24"):
        match.texts(["walks " * 25])
    with pytest.raises(ValueError, match="texts: expected captions, found none"):
        match.texts([])


def test_a_file_holds_it_in_half_precision(match, joints, tmp_path):
    matcher.save(match, tmp_path / "a" / "b", {"seed": "3"})
    found = matcher.load(tmp_path / "a" / "b")
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(match), strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, np.asarray(theirs).astype(np.float16).astype(np.float32))
    np.testing.assert_allclose(found.motions(joints), match.motions(joints), atol=5e-3)
    assert (tmp_path / "a" / "b" / matcher.FILE).stat().st_size < 600_000


def test_files_of_others_are_one_line(match, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=matcher.FILE):
        matcher.load(tmp_path)
    matcher.save(match, tmp_path, {})
    whole = (tmp_path / matcher.FILE).read_bytes()
    (tmp_path / matcher.FILE).write_bytes(whole[:-9])
    with pytest.raises(ValueError, match=rf"{matcher.FILE}: torn"):
        matcher.load(tmp_path)
    (tmp_path / matcher.FILE).write_bytes(whole)
    monkeypatch.setattr(matcher, "FEATURES", 16)
    with pytest.raises(ValueError, match=r"matcher.safetensors: of_.*is \(.*32.*\), expected \(.*16.*\) of program-m"):
        matcher.load(tmp_path)
