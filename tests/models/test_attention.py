"""Every attention path beside the definition in float64: values, gradients, groups, vmap."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.custom_batching import custom_vmap
from jax.extend.core import jaxprs_in_params

from vrjax.models.blocks import attention, stack, tiled
from vrjax.models.blocks.attention import attend


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


@pytest.mark.parametrize("shape", [(37, 11, 3, 4), (12, 5, 2, 6)])
def test_many_chunks_are_scanned(shape, monkeypatch):
    """More chunks than are unrolled: a scan over equal chunks, the last one filled up; its length is in the program."""
    monkeypatch.setattr(attention, "TILE", 3 * shape[1])
    monkeypatch.setattr(tiled, "UNROLLED", 2)
    args = draw(*shape)
    assert f"length={-(-shape[0] // 3)}" in str(jax.make_jaxpr(both("tiled"))(*args))
    for found, expected in zip(jax.jit(both("tiled"))(*args), reference(*args), strict=True):
        np.testing.assert_allclose(found, expected, atol=3e-6 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("impl", ["tiled", "xla"])
@pytest.mark.parametrize("case", CASES)
def test_keys_from_a_length_on_are_hidden(impl, case, monkeypatch):
    """Lengths that differ between examples: each is what the keys before its length alone give, gradients as well."""
    *shape, tile = case
    monkeypatch.setattr(attention, "TILE", tile)
    q, k, v, grad = draw(*shape, lead=(3,))
    lengths = np.array([1, (shape[1] + 1) // 2, shape[1]])

    def one(q, k, v, grad, length):
        out, pull = jax.vjp(lambda *a: attend(*a, length=length, impl=impl), q, k, v)
        return (out, *pull(grad))

    found = jax.jit(jax.vmap(one))(q, k, v, grad, lengths)
    for i, n in enumerate(lengths):
        out, d_q, d_k, d_v = reference(q[i], k[i, :n], v[i, :n], grad[i])
        behind = np.zeros((shape[1] - n, *shape[2:]))
        for a, b in zip(found, (out, d_q, np.r_[d_k, behind], np.r_[d_v, behind]), strict=True):
            np.testing.assert_allclose(a[i], b, atol=3e-6 * max(1, np.abs(b).max()))
        assert not np.asarray(found[2][i, n:]).any() and not np.asarray(found[3][i, n:]).any()


@pytest.mark.parametrize("impl", ["tiled", "xla"])
def test_a_length_that_is_known_costs_nothing_and_none_at_all_is_finite(impl):
    q, k, v, _ = draw(5, 8, 2, 6)
    program = lambda length: jax.make_jaxpr(lambda *a: attend(*a, length=length, impl=impl))(q, k, v)
    assert "5,8" not in str(program(3)) and "select_n" not in str(program(3))
    run = jax.jit(jax.grad(lambda q, n: attend(q, k, v, length=n, impl=impl).sum(), argnums=0))
    assert np.isfinite(run(q, 0)).all()
    nothing = jax.jit(lambda n: attend(q, k, v, length=n, impl=impl))(0)
    np.testing.assert_allclose(nothing, np.broadcast_to(v.mean(0), nothing.shape), atol=1e-6)
    with pytest.raises(ValueError, match="length 9, expected 1 to 8"):
        attend(q, k, v, length=9, impl=impl)


@pytest.mark.parametrize("shape", [(130, 70, 2, 128), (128, 256, 1, 64)])
def test_splash_interpreted(shape, monkeypatch):
    """JAX's TPU kernel, interpreted: sequences that do and do not fill whole blocks, several blocks, under vmap."""
    monkeypatch.setattr(attention, "SPLASH_BLOCK", 128)
    args = draw(*shape, lead=(2,))
    found = jax.jit(jax.vmap(both("splash")))(*args)
    for i in range(2):
        for a, b in zip(found, reference(*(x[i] for x in args)), strict=True):
            np.testing.assert_allclose(a[i], b, atol=2e-5 * max(1, np.abs(b).max()))


def live(jaxpr):
    """Every equation of a program whose results are used, through inner programs."""
    for eqn in jaxpr.eqns:
        if eqn.outvars:
            yield eqn
            for inner in jaxprs_in_params(eqn.params):
                yield from live(inner)


@pytest.mark.parametrize(("policy", "forwards"), [("full", 2), ("attention", 1)])
def test_remat_policy_keeps_attention(policy, forwards):
    """Under "attention" the backward pass runs the TPU kernel's two halves, and not its forward again."""
    block = jax.checkpoint(functools.partial(attend, impl="splash"), policy=stack.REMAT[policy])
    args = [jax.ShapeDtypeStruct((128, 1, 128), jnp.float32)] * 3
    closed = jax.make_jaxpr(jax.grad(lambda *a: block(*a).sum(), argnums=(0, 1, 2)))(*args)
    kernels = [eqn.params["name"] for eqn in live(closed.jaxpr) if eqn.primitive.name == "pallas_call"]
    count = lambda name: sum(name in kernel for kernel in kernels)
    assert (count("mha_fwd"), count("mha_dq"), count("mha_dkv")) == (forwards, 1, 1)


def test_choice():
    """The table of `choice`, and that `target` and not the backend decides."""
    assert attention.choice(32760, 32760, 128) == "tiled"  # the tests run on CPU
    choice = attention.choice
    with attention.target("tpu"):
        assert choice(32760, 32760, 128, jnp.bfloat16) == choice(32760, 32760, 128) == "splash"
        assert choice(32760, 32760, 128, causal=True) == choice(32760, 32760, 96) == "tiled"
        assert choice(225, 225, 32) == "xla"
        assert choice(9, 9, 8, platform="cpu") == "tiled"
    assert choice(225, 225, 32, jnp.bfloat16, platform="gpu") == "cudnn"
    assert choice(225, 225, 32, jnp.bfloat16, platform="gpu", causal=True) == "xla"
    assert choice(225, 225, 32, platform="cuda") == "xla"
    for odd in ({"dtype": jnp.float32}, {"head_dim": 192}, {"head_dim": 20}, {"causal": True}):
        assert (
            choice(**{"n": 8192, "m": 8192, "head_dim": 64, "dtype": jnp.bfloat16, "platform": "gpu", **odd}) == "tiled"
        )


def test_accelerators_never_form_long_scores():
    """The largest array of a program for 8192 tokens on a GPU without cuDNN, forward and backward, is one tile."""
    args = [jax.ShapeDtypeStruct((8192, 2, 8), jnp.float32)] * 4
    with attention.target("gpu"):
        closed = jax.make_jaxpr(both("auto"))(*args)

    sizes = [np.prod(v.aval.shape) for eqn in live(closed.jaxpr) for v in eqn.outvars]
    assert max(sizes) == attention.ACCELERATOR_TILE < 8192 * 8192


@pytest.mark.parametrize("impl", ["tiled", "xla"])
@pytest.mark.parametrize("tile", [2**18, 40, 8])
def test_causal_groups(impl, tile, monkeypatch):
    monkeypatch.setattr(attention, "TILE", tile)
    monkeypatch.setattr(tiled, "UNROLLED", 4)  # tile 8: one query at a time, scanned
    groups = np.repeat([0, 1, 2], [3, 1, 4])
    args = draw(8, 8, 2, 6)
    found = jax.jit(both(impl, groups))(*args)
    for a, b in zip(found, reference(*args, groups=groups), strict=True):
        np.testing.assert_allclose(a, b, atol=3e-6 * max(1, np.abs(b).max()))


@pytest.mark.parametrize("hidden", ["groups", "length"])
@pytest.mark.parametrize("tile", [2**18, 8])
def test_hidden_keys_in_a_branch_of_each_example(tile, hidden, monkeypatch):
    """vmap turns it into a selection and gives all that a branch holds the axis: `perturb.replay` of a causal model."""
    monkeypatch.setattr(attention, "TILE", tile)
    q, k, v, _ = draw(12, 12, 2, 6)
    how = {"causal_groups": np.arange(12) // 3} if hidden == "groups" else {"length": jnp.float32(7)}
    attended = lambda q: attend(q, k, v, **how, impl="tiled").sum()
    chosen = lambda there, q: jax.lax.cond(there, attended, lambda q: (q**2).sum(), q)
    there, batch = jnp.array([True, False, True]), jnp.stack([q, 2 * q, 3 * q])
    value, grad = jax.jit(jax.vmap(jax.value_and_grad(chosen, 1)))(there, batch)
    wanted = [jax.value_and_grad(chosen, 1)(bool(t), x) for t, x in zip(there, batch, strict=True)]
    np.testing.assert_allclose(value, [w[0] for w in wanted], rtol=1e-5)
    np.testing.assert_allclose(grad, np.stack([w[1] for w in wanted]), rtol=1e-4, atol=1e-5)


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


def test_cudnn_gets_the_axis_of_seeds_on_every_argument(monkeypatch):
    """JAX's rule for its cuDNN kernel reads the batch off the queries; seeds that share a prompt share keys."""
    plain = lambda q, k, v: attend(q, k, v, impl="xla")
    kernel = custom_vmap(plain)

    @kernel.def_vmap
    def rule(size, batched, *args):
        assert batched == [True] * 3 and {len(a) for a in args} == {size}
        return jax.vmap(plain)(*args), True

    q, k, v, _ = draw(4, 3, 2, 4)
    queries = jnp.stack([q, 2 * q, -q])
    over = lambda impl: jax.vmap(lambda q, k: attend(q, k, v, impl=impl), (0, None))
    monkeypatch.setattr(jax.nn, "dot_product_attention", lambda q, k, v, implementation: kernel(q, k, v))
    np.testing.assert_allclose(over("cudnn")(queries, k), over("xla")(queries, k), rtol=1e-5, atol=1e-6)
    twice = lambda impl: jax.vmap(lambda k: over(impl)(queries, k))(jnp.stack([k, 3 * k]))
    np.testing.assert_allclose(twice("cudnn"), twice("xla"), rtol=1e-5, atol=1e-6)
    monkeypatch.setattr(jax.nn, "dot_product_attention", lambda q, k, v, implementation: plain(q, k, v))
    slope = lambda impl: jax.grad(lambda k: jnp.sum(over(impl)(queries, k) ** 2))(k)
    np.testing.assert_allclose(slope("cudnn"), slope("xla"), rtol=1e-5, atol=1e-5)


def test_errors():
    q, k, v, _ = draw(4, 3, 2, 4)
    with pytest.raises(ValueError, match="unknown impl 'flash'.*splash"):
        attend(q, k, v, impl="flash")
    with pytest.raises(ValueError, match="causal_groups"):
        attend(q, k, v, causal_groups=np.zeros(4, int))
    with pytest.raises(ValueError, match="causal_groups"):
        attend(q, q, q, causal_groups=np.array([0, 1, 0, 1]))
    for impl in ("cudnn", "splash"):
        with pytest.raises(ValueError, match=impl):
            attend(q, q, q, causal_groups=np.zeros(4, int), impl=impl)


def test_the_choice_is_logged_once(caplog, monkeypatch):
    monkeypatch.setattr(attention, "_told", set())
    x = jax.ShapeDtypeStruct((6, 2, 4), jnp.float32)
    trace = lambda: jax.eval_shape(lambda q, k, v: attend(q, k, v), x, x, x)
    trace()
    assert not caplog.messages
    with caplog.at_level("INFO", logger="vrjax"):
        for _ in range(2):
            trace()
        with attention.target("tpu"):
            trace()
    assert caplog.messages == [f"attention of 6 x 6 tokens, 2 heads of 4, float32: {impl}" for impl in ("tiled", "xla")]
