"""Every attention path beside the definition in float64: values, gradients, groups, vmap."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vrjax.models import attention
from vrjax.models.attention import attend


def reference(q, k, v, grad, groups=None):
    """Values and gradients by hand in float64 NumPy: (out, d_q, d_k, d_v)."""
    q, k, v, grad = (np.swapaxes(np.asarray(a, np.float64), 0, 1) for a in (q, k, v, grad))
    scale = q.shape[-1] ** -0.5
    scores = q @ np.swapaxes(k, 1, 2) * scale
    if groups is not None:
        scores = np.where(groups[None, :] <= groups[:, None], scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    d_weights = grad @ np.swapaxes(v, 1, 2)
    d_scores = weights * (d_weights - (d_weights * weights).sum(-1, keepdims=True)) * scale
    d_k, d_v = np.swapaxes(d_scores, 1, 2) @ q, np.swapaxes(weights, 1, 2) @ grad
    return tuple(np.swapaxes(a, 0, 1) for a in (weights @ v, d_scores @ k, d_k, d_v))


def draw(n, m, heads, d, lead=()):
    rng = np.random.default_rng(n * m)
    shapes = [(n, heads, d), (m, heads, d), (m, heads, d), (n, heads, d)]
    return tuple(rng.standard_normal((*lead, *s)).astype(np.float32) for s in shapes)


def both(impl, groups=None):
    def run(q, k, v, grad):
        out, pull = jax.vjp(lambda *a: attend(*a, causal_groups=groups, impl=impl), q, k, v)
        return (out, *pull(grad))

    return run


# queries, keys, heads, head size, elements of a tile: all in one tile; several heads to a tile; one head to a tile;
# queries in uneven chunks; a single key.
CASES = [(13, 7, 3, 10, 2**18), (12, 12, 6, 8, 300), (9, 31, 2, 6, 290), (37, 11, 1, 4, 60), (5, 1, 2, 6, 2**18)]


@pytest.mark.parametrize("impl", ["tiled", "xla"])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients(impl, case, monkeypatch):
    *shape, tile = case
    monkeypatch.setattr(attention, "TILE", tile)
    args = draw(*shape)
    for found, expected in zip(jax.jit(both(impl))(*args), reference(*args), strict=True):
        np.testing.assert_allclose(found, expected, atol=3e-6 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("impl", ["tiled", "xla"])
@pytest.mark.parametrize("tile", [2**18, 40])
def test_causal_groups(impl, tile, monkeypatch):
    monkeypatch.setattr(attention, "TILE", tile)
    groups = np.repeat([0, 1, 2], [3, 1, 4])
    args = draw(8, 8, 2, 6)
    found = jax.jit(both(impl, groups))(*args)
    for a, b in zip(found, reference(*args, groups=groups), strict=True):
        np.testing.assert_allclose(a, b, atol=3e-6 * max(1, np.abs(b).max()))


@pytest.mark.parametrize("tile", [2**18, 90])
def test_nested_vmap_folds(tile, monkeypatch):
    """Two vmapped axes, the outer one absent from the keys: equal to a loop."""
    monkeypatch.setattr(attention, "TILE", tile)
    q, k, v, grad = draw(6, 5, 3, 4, lead=(2, 3))
    run = jax.jit(jax.vmap(jax.vmap(both("tiled")), in_axes=(0, None, 0, 0)))
    found = run(q, k[0], v, grad)
    for i in range(2):
        for j in range(3):
            expected = reference(q[i, j], k[0, j], v[i, j], grad[i, j])
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a[i, j], b, atol=3e-6 * max(1, np.abs(b).max()))


def test_large_scores_stay_finite():
    q, k, v, grad = draw(5, 9, 1, 4)
    for a in jax.jit(both("tiled"))(q * 1e3, k * 1e3, v, grad):
        assert np.isfinite(a).all()


def test_half_precision_keeps_dtype():
    q, k, v, grad = (jnp.asarray(a, jnp.bfloat16) for a in draw(6, 5, 2, 8))
    found = jax.jit(both("tiled"))(q, k, v, grad)
    for a, b in zip(found, reference(q, k, v, grad), strict=True):
        assert a.dtype == jnp.bfloat16
        np.testing.assert_allclose(np.asarray(a, np.float64), b, atol=0.03 * max(1, np.abs(b).max()))


def test_backward_keeps_no_weights():
    """What the tiled forward pass leaves for the backward grows like n, not n^2."""
    n = 64
    residuals = lambda impl: jax.eval_shape(lambda *a: jax.vjp(functools.partial(attend, impl=impl), *a)[1], *args)
    args = [jax.ShapeDtypeStruct((n, 2, 4), jnp.float32)] * 3
    size = lambda impl: sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(residuals(impl)))
    assert size("tiled") <= n * 2 * (4 * 4 + 1) < 2 * n * n <= size("xla")


def test_errors():
    q, k, v, _ = draw(4, 3, 2, 4)
    with pytest.raises(ValueError, match="unknown impl 'flash'.*tiled"):
        attend(q, k, v, impl="flash")
    with pytest.raises(ValueError, match="causal_groups"):
        attend(q, k, v, causal_groups=np.zeros(4, int))
    with pytest.raises(ValueError, match="causal_groups"):
        attend(q, q, q, causal_groups=np.array([0, 1, 0, 1]))
    with pytest.raises(ValueError, match="cudnn"):
        attend(q, q, q, causal_groups=np.zeros(4, int), impl="cudnn")
