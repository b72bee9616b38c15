"""Linear CKA against a float64 NumPy reference, and its invariances; propagation maps where the truth is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrjax.flow import grids, sample
from vrjax.reasoning.instruments import cells, cka, perturb

linear_cka = jax.jit(cka.linear_cka)


def reference(x, y):
    """The definition through centred n x n kernels, in float64: HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    h = np.eye(len(x)) - 1.0 / len(x)
    hsic = lambda a, b: np.trace(h @ a @ h @ b)
    k, l = x @ x.T, y @ y.T
    return hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))


def tables(seed, n=12, p=3, q=5, mean=0.0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p)) + mean
    y = x @ rng.standard_normal((p, q)) + rng.standard_normal((n, q))
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


@pytest.mark.parametrize("shape", [(12, 3, 5), (4, 3, 9), (4, 30, 2)], ids=["feature form", "mixed", "gram form"])
def test_equals_the_definition(shape):
    """Both forms (through columns and through rows) are the same number."""
    x, y = tables(0, *shape)
    assert linear_cka(x, y) == pytest.approx(reference(x, y), abs=2e-6)
    assert linear_cka(y, x) == pytest.approx(reference(x, y), abs=2e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100.0), shift=st.floats(-10, 10))
def test_invariances(seed, scale, shift):
    """CKA(X, X) = 1; unchanged by a rotation, a uniform scale and a constant per column; within [0, 1]; symmetric."""
    x, y = tables(seed)
    value = float(linear_cka(x, y))
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((5, 5)))[0].astype(np.float32)
    assert float(linear_cka(x, x)) == pytest.approx(1.0, abs=1e-5)
    assert -1e-6 <= value <= 1 + 1e-5
    assert float(linear_cka(x, scale * (y @ rotation) + shift)) == pytest.approx(value, abs=1e-3)
    assert float(linear_cka(x, y)) == pytest.approx(reference(x, y), abs=1e-4)


def test_is_not_invariant_to_a_linear_map():
    """Only rotations leave it alone: a general invertible map changes it (the difference from CCA)."""
    x, y = tables(1)
    stretched = y * jnp.array([10.0, 1.0, 0.1, 1.0, 1.0])
    assert abs(float(linear_cka(x, y) - linear_cka(x, stretched))) > 0.02


def test_scales_beyond_the_square_root_of_float32():
    """Activations of 1e8 and of 1e-8: fourth powers of them do not fit float32, the ratio does."""
    x, y = tables(2)
    for scale in (1e8, 1e-8):
        assert float(linear_cka(scale * x, y)) == pytest.approx(reference(x, y), abs=1e-5)


def test_no_variance_is_undefined():
    x, _ = tables(3)
    assert np.isnan(linear_cka(x, jnp.ones_like(x)))


@pytest.mark.parametrize("rows", [(12, 11), (1, 1)])
def test_rows_must_match(rows):
    with pytest.raises(ValueError, match="CKA compares two or more equal rows"):
        cka.linear_cka(jnp.zeros((rows[0], 3)), jnp.zeros((rows[1], 3)))


def test_as_table_lays_out_rows_and_columns():
    """Rows in (t, h, w) order, columns the contents of the patch, for every choice of rows."""
    video = jnp.arange(2 * 4 * 6 * 3, dtype=jnp.float32).reshape(2, 4, 6, 3)
    tokens = cka.as_table(video, "tokens", (1, 2, 2))
    assert tokens.shape == (2 * 2 * 3, 12)
    np.testing.assert_array_equal(tokens[0], video[0, :2, :2].ravel())
    np.testing.assert_array_equal(tokens[5], video[0, 2:4, 4:6].ravel())
    np.testing.assert_array_equal(tokens[6], video[1, :2, :2].ravel())
    positions = cka.as_table(video, "positions")
    np.testing.assert_array_equal(positions[7], video[:, 1, 1].ravel())
    np.testing.assert_array_equal(cka.as_table(video, "frames"), video.reshape(2, -1))
    np.testing.assert_array_equal(cka.as_table(jnp.stack([video] * 3))[2], video.reshape(-1, 3))


def test_as_table_refuses():
    with pytest.raises(ValueError, match=r"patch \(1, 3, 2\) does not divide a video of 2 x 4 x 6"):
        cka.as_table(jnp.zeros((2, 4, 6, 3)), patch=(1, 3, 2))
    with pytest.raises(ValueError, match=r"rows must be one of \['frames', 'positions', 'tokens'\], found 'columns'"):
        cka.as_table(jnp.zeros((2, 4, 6, 3)), "columns")


def test_propagation_map_of_a_velocity_that_forgets():
    """v = (x - c) / sigma goes to c from anywhere: an injection at s shows at s and after it, and is gone at the end.

    The remembering velocity v = 0 keeps the injected noise to the end. Before the injection both maps are 0. With one
    program over all injection steps, and the same numbers from the recorded states.
    """
    grid, window = grids.shifted(4, shift=1.0), cells.allowed(4, 3)
    c, x = jax.random.normal(jax.random.key(0), (2, 3, 2, 2, 2))

    def maps(velocity):
        clean = sample(velocity, x, grid).x

        def run(step):
            return sample(velocity, x, grid, key=jax.random.key(1), edit=perturb.replace(cells.at_step(step, window))).x

        steps = jnp.arange(4)
        inside = perturb.sweep(lambda s: cka.divergence(run(s), clean), steps)
        return inside, jax.vmap(lambda x: cka.divergence(x, clean))(perturb.sweep(run, steps))

    for velocity, remembers in [(lambda x, level: (x - c) / level.sigma, False), (lambda x, level: 0.0 * x, True)]:
        inside, outside = jax.jit(maps, static_argnums=0)(velocity)
        for a, b in zip(inside, outside, strict=True):
            assert a.shape == (4, 5)
            np.testing.assert_allclose(a, b, atol=1e-5)
        for value in inside:
            before = np.tril(np.ones((4, 5), bool), -1)
            assert np.abs(value[before]).max() < 2e-6
            assert np.diag(np.asarray(value)).min() > 0.1
            assert np.all(np.asarray(value)[:, -1] > 0.1) if remembers else np.abs(value[:, -1]).max() < 1e-4


def test_sensitivity_is_the_mean_after_the_injection():
    table = jnp.array([[9.0, 0.5, 0.5, 0.2], [0.0, 0.0, 9.0, 0.3], [0.0, 0.0, 0.0, 9.0]])
    value = cka.sensitivity(table, jnp.array([0, 2, 3]))
    np.testing.assert_allclose(value[:2], [0.4, 0.3], rtol=1e-6)
    assert np.isnan(value[2])
