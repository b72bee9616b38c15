"""Optimiser, moving average and adapters: pytrees in, pytrees out."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from vrjax.models import wan
from vrjax.train import ema, lora, optim, state

CONFIG = tiny.config()
PARAMS = jax.eval_shape(lambda: state.fresh_weights(CONFIG))
TREE = {
    "blocks": {"q": {"kernel": jax.random.normal(jax.random.key(0), (3, 8, 4)), "bias": jnp.ones((3, 4))}},
    "head": {"kernel": jax.random.normal(jax.random.key(1), (8, 5))},
}


def names(tree, keep):
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda x: x is None or hasattr(x, "reduction_axis"))
    return {optim.path_name(p) for p, leaf in leaves if keep(leaf)}


def test_muon_takes_the_hidden_matrices_and_nothing_else():
    chosen = names(optim.muon_dimensions(PARAMS), lambda d: d is not None)
    kernels = {f"blocks.{a}.{m}.kernel" for a in ("self_attn", "cross_attn") for m in "qkvo"}
    assert chosen == kernels | {"blocks.ffn_in.kernel", "blocks.ffn_out.kernel", "time_projection.kernel"}
    dims = optim.muon_dimensions(PARAMS)["blocks"]["ffn_in"]["kernel"]
    assert (dims.reduction_axis, dims.output_axis) == (1, 2)  # axis 0 counts blocks


def test_muon_orthogonalises_each_block_by_itself_and_adam_the_rest():
    tx = optim.make(kind="muon", lr=1e-2, steps=10, warmup=0, weight_decay=0.0, clip=None)
    grad = jax.tree.map(lambda x: jax.random.normal(jax.random.key(2), x.shape), TREE)
    update, _ = tx.update(grad, tx.init(TREE), TREE)
    for block in np.asarray(update["blocks"]["q"]["kernel"]):
        # Newton-Schulz brings singular values near 1; they are scaled by lr * 4 * 0.2 * sqrt(max side).
        singular = np.linalg.svd(block, compute_uv=False) / (1e-2 * 4 * 0.2 * np.sqrt(8))
        assert np.all((singular > 0.6) & (singular < 1.3)), singular
    # Adam's first step is lr * sign(gradient); Nesterov's look-ahead makes it b1 (1 - b1) / (1 - b1^2) + 1 times that.
    first = 1 + 0.9 * 0.1 / 0.19
    for path in (("blocks", "q", "bias"), ("head", "kernel")):
        u, g = update, grad
        for key in path:
            u, g = u[key], g[key]
        np.testing.assert_allclose(u, -1e-2 * first * np.sign(g), rtol=1e-3)


def test_schedule():
    rate = optim.schedule(2.0, 100, 10, 0.1)
    np.testing.assert_allclose([rate(0), rate(5), rate(10), rate(55), rate(100)], [0, 1, 2, 1.1, 0.2], rtol=1e-6)
    assert optim.schedule(2.0, 1, 10, 0.1)(0) == 2.0  # a warm-up longer than the run is cut


def test_clip_and_weight_decay():
    tx = optim.make(kind="adamw", lr=1.0, steps=10, warmup=0, weight_decay=0.5, clip=1.0)
    zero = jax.tree.map(jnp.zeros_like, TREE)
    update, _ = tx.update(zero, tx.init(TREE), TREE)
    np.testing.assert_allclose(update["head"]["kernel"], -0.5 * TREE["head"]["kernel"], rtol=1e-6)
    np.testing.assert_allclose(update["blocks"]["q"]["bias"], -0.5 * TREE["blocks"]["q"]["bias"], rtol=1e-6)
    with pytest.raises(ValueError, match="unknown optimiser 'sgd'"):
        optim.make(kind="sgd", steps=10)
    with pytest.raises(ValueError, match="positive, found -1.0"):
        optim.make(lr=-1.0, steps=10)


def test_ema_formula():
    a, p = {"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([3.0, 6.0])}
    for step, d in ((0, 0.1), (8, 0.5), (10_000, 0.9)):  # (1 + t) / (10 + t), capped
        np.testing.assert_allclose(ema.decay_at(step, 0.9), d, rtol=1e-6)
        np.testing.assert_allclose(ema.update(a, p, step, 0.9)["w"], d * a["w"] + (1 - d) * p["w"], rtol=1e-6)
    np.testing.assert_allclose(ema.decay_at(0, 0.9, ramp=False), 0.9)
    half = ema.init({"w": jnp.ones(2, jnp.bfloat16)})
    assert half["w"].dtype == jnp.float32
    with pytest.raises(ValueError, match="found 1.1"):
        ema.decay_at(0, 1.1)


def test_lora_starts_as_the_base_and_adds_the_product():
    adapter = lora.init(TREE, jax.random.key(3), rank=2)
    assert set(adapter) == {"blocks.q.kernel"}
    assert adapter["blocks.q.kernel"]["a"].shape == (3, 8, 2)
    same = lora.merge(TREE, adapter)
    jax.tree.map(np.testing.assert_array_equal, same, TREE)
    adapter["blocks.q.kernel"]["b"] = jax.random.normal(jax.random.key(4), (3, 2, 4))
    merged = lora.merge(TREE, adapter, alpha=6.0)
    a, b = np.asarray(adapter["blocks.q.kernel"]["a"]), np.asarray(adapter["blocks.q.kernel"]["b"])
    expected = np.asarray(TREE["blocks"]["q"]["kernel"]) + 3.0 * np.einsum("lir,lro->lio", a, b)
    np.testing.assert_allclose(merged["blocks"]["q"]["kernel"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(merged["head"]["kernel"], TREE["head"]["kernel"])


def test_lora_gradient_reaches_b_first():
    adapter = lora.init(TREE, jax.random.key(3), rank=2)
    x = jax.random.normal(jax.random.key(5), (8,))

    def loss(adapter):
        w = lora.merge(TREE, adapter)["blocks"]["q"]["kernel"]
        return jnp.sum(jnp.square(jnp.einsum("i,lio->lo", x, w)))

    grad = jax.grad(loss)(adapter)["blocks.q.kernel"]
    np.testing.assert_array_equal(grad["a"], jnp.zeros_like(grad["a"]))  # b is zero
    assert jnp.all(jnp.abs(grad["b"]).sum((1, 2)) > 0)  # in every block
    stepped = optax.apply_updates(adapter, jax.tree.map(lambda g: -1e-3 * g, jax.grad(loss)(adapter)))
    assert loss(stepped) < loss(adapter)
    assert jnp.any(jax.grad(loss)(stepped)["blocks.q.kernel"]["a"] != 0)


def test_lora_errors_name_the_path():
    with pytest.raises(ValueError, match="no matrix matches"):
        lora.init(TREE, jax.random.key(0), rank=2, patterns=("nothing",))
    with pytest.raises(ValueError, match=r"rank 9 does not fit blocks\.q\.kernel"):
        lora.init(TREE, jax.random.key(0), rank=9)
    with pytest.raises(ValueError, match=r"\['blocks.x.kernel'\]"):
        lora.merge(TREE, {"blocks.x.kernel": {"a": jnp.ones((3, 8, 2)), "b": jnp.ones((3, 2, 4))}})
    with pytest.raises(ValueError, match="do not fit the weight"):
        lora.merge(TREE, {"blocks.q.kernel": {"a": jnp.ones((8, 2)), "b": jnp.ones((2, 4))}})


def test_adapters_fit_the_model():
    assert len(lora.targets(PARAMS)) == 10
    assert set(wan.logical_axes(CONFIG.model)) == set(PARAMS)  # one tree, two views
