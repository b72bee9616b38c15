"""The parameter-free text encoder and video codec of the embedded worlds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrjax.models.embedded import conditions
from vrjax.parallel.mesh import reuse_host_memory


def test_words_are_the_same_everywhere():
    """Equal words have equal rows in any place and case; the numbers are pinned, as checkpoints depend on them."""
    rows = conditions.text("Red maze, red goal", length=8, dim=32)
    assert rows.shape == (8, 32) and rows.dtype == np.float32
    np.testing.assert_array_equal(rows[0], rows[3])
    assert not (rows[0] == rows[1]).any() and not rows[5:].any()
    np.testing.assert_allclose(np.linalg.norm(rows[:5], axis=1), np.sqrt(32), rtol=1e-5)
    np.testing.assert_allclose(rows[0, :4], PINNED, atol=1e-6)


PINNED = [0.5252310037612915, 0.10294900089502335, -0.18599599599838257, 0.6415669918060303]


def test_different_words_are_nearly_orthogonal():
    vectors = np.stack([conditions.embed(f"word{i}", 64) for i in range(100)])
    cosines = vectors @ vectors.T - np.eye(100)
    assert np.abs(cosines).max() < 0.6 and abs(cosines.mean()) < 0.01


def test_words_errors():
    with pytest.raises(ValueError, match="5 words, expected at most length=4"):
        conditions.text("one two three four five", length=4)
    with pytest.raises(ValueError, match="positive"):
        conditions.text("", length=0)
    assert not conditions.text("", length=3).any()


@settings(max_examples=20, deadline=None)
@given(st.text(max_size=30))
def test_words_take_any_string(text):
    rows = conditions.text(text, length=40, dim=4)
    assert np.isfinite(rows).all() and rows[: len(conditions.tokenize(text))].any(axis=1).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_codec_is_exact_on_blocks(factor, seed):
    """Both round trips bit for bit, whatever the colours."""
    blocks = conditions.blocks(factor)
    latent = np.random.default_rng(seed).standard_normal((2, 3, 2, 3)).astype(np.float32)
    video = blocks.decode(latent)
    assert video.shape == (2, 3 * factor, 2 * factor, 3)
    np.testing.assert_array_equal(blocks.encode(video), latent)
    np.testing.assert_array_equal(blocks.decode(blocks.encode(video)), video)


def test_codec_means_and_errors():
    blocks = conditions.blocks(4)
    assert blocks.factor == 4
    video = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (3, 8, 12, 3)), jnp.float32)
    expected = np.asarray(video, np.float64).reshape(3, 2, 4, 3, 4, 3).mean((2, 4))
    np.testing.assert_allclose(jax.jit(blocks.encode)(video), expected, atol=1e-6)
    assert blocks.encode(video[0]).shape == (2, 3, 3)
    with pytest.raises(ValueError, match="not divisible by the factor 4"):
        blocks.encode(video[:, :6])
    with pytest.raises(ValueError, match="factor"):
        conditions.blocks(0)


def test_host_memory():
    """Harmless at any time: returns whether the allocator listened."""
    assert reuse_host_memory() in (True, False)


def test_first_frame():
    latent = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    image = conditions.first_frame(latent, 4)
    assert image.shape == (4, 2, 2, 4)
    np.testing.assert_array_equal(image[..., 0], np.array([1, 0, 0, 0])[:, None, None] * np.ones((2, 2)))
    np.testing.assert_array_equal(image[..., 1:], np.broadcast_to(latent, (4, 2, 2, 3)))
