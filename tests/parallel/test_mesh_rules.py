"""Meshes and logical-axis rules."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx
from jax.sharding import AxisType, PartitionSpec

from vrjax.models import wan
from vrjax.parallel import AXES, DEFAULT_RULES, UnevenSharding, batch, mesh, shardings, spec


@pytest.mark.parametrize(
    "shape, sizes",
    [
        (None, (1, 8, 1, 1, 1)),
        ({"seed": 2, "data": 1, "fsdp": 2, "context": 1, "tensor": 2}, (2, 1, 2, 1, 2)),
        ({"tensor": 2, "fsdp": -1}, (1, 1, 4, 1, 2)),
        ({"seed": 8, "data": -1}, (8, 1, 1, 1, 1)),
    ],
)
def test_mesh_has_five_auto_axes(shape, sizes):
    m = mesh(shape)
    assert tuple(m.shape.items()) == tuple(zip(AXES, sizes, strict=True))
    assert set(m.axis_types) == {AxisType.Auto}
    assert len(set(m.devices.flat)) == 8


def test_mesh_of_chosen_devices():
    assert mesh({"data": 2}, devices=jax.devices()[:2]).devices.size == 2


@pytest.mark.parametrize(
    "shape, words",
    [
        ({"model": 2}, r"unknown axes \['model'\].*'tensor'"),
        ({"data": -1, "seed": -1}, r"only one axis may be -1.*\['data', 'seed'\]"),
        ({"data": 0}, "'data' has size 0"),
        ({"data": True}, "'data' has size True"),
        ({"data": -1, "tensor": 3}, "take 3 devices, which does not divide 8"),
        ({"data": 4}, "takes 4 devices, found 8"),
        ({"data": 16}, "takes 16 devices, found 8"),
    ],
)
def test_wrong_meshes(shape, words):
    with pytest.raises(ValueError, match=words):
        mesh(shape)


@pytest.mark.parametrize(
    "axes, expected",
    [
        (("batch", "tokens", "embed"), PartitionSpec(("data", "fsdp"), "context")),  # fsdp is spent on the batch
        (("embed", "mlp"), PartitionSpec("fsdp", "tensor")),
        (("embed", "embed"), PartitionSpec("fsdp")),
        (("layers", None, "heads"), PartitionSpec(None, None, "tensor")),
        ((None, "layers"), PartitionSpec()),
        ((), PartitionSpec()),
        (None, PartitionSpec()),
    ],
)
def test_spec(axes, expected):
    assert spec(axes, DEFAULT_RULES) == expected


def test_spec_unknown_name():
    with pytest.raises(ValueError, match="'embedding' has no rule.*'embed'"):
        spec(("embedding",), DEFAULT_RULES)


def test_shardings_place_a_tree_and_compute_the_same():
    m = mesh({"fsdp": 4, "tensor": 2})
    params = {"in": {"w": jnp.arange(8 * 6.0).reshape(8, 6), "b": jnp.ones(6)}, "out": (jnp.arange(6.0),)}
    axes = {"in": {"w": ("embed", "mlp"), "b": ("mlp",)}, "out": ((None,),)}
    placed = jax.device_put(params, shardings(axes, m, like=params))
    assert {s.data.shape for s in placed["in"]["w"].addressable_shards} == {(2, 3)}
    assert {s.data.shape for s in placed["in"]["b"].addressable_shards} == {(3,)}
    assert placed["out"][0].sharding.is_fully_replicated
    f = jax.jit(lambda p, x: jnp.tanh(x @ p["in"]["w"] + p["in"]["b"]) @ p["out"][0])
    np.testing.assert_allclose(f(placed, jnp.ones(8) / 50), f(params, jnp.ones(8) / 50), rtol=1e-6)
    assert jax.tree.structure(shardings({"a": ("embed",), "b": None}, m)) == jax.tree.structure({"a": 0, "b": 0})


def test_shardings_of_a_flax_state():
    """A module's parameters beside nested dicts of axes: same paths, another container."""
    m = mesh({"fsdp": -1})
    layer = nnx.Linear(8, 3, rngs=nnx.Rngs(0))
    out = shardings({"bias": (None,), "kernel": ("embed", None)}, m, like=layer)
    assert isinstance(out, nnx.Linear)
    assert jax.device_put(layer, out).kernel[...].sharding.spec == PartitionSpec("fsdp")


def test_uneven_dimensions_are_kept_whole_and_said():
    m = mesh({"data": 2, "fsdp": 2, "tensor": 2})
    like = {"x": jax.ShapeDtypeStruct((6, 5), jnp.float32)}
    axes = {"x": ("batch", "mlp")}
    with pytest.warns(UnevenSharding, match=r"x \(6, 5\): 'batch' of size 6 .*4 ways.*'mlp' of size 5") as caught:
        out = shardings(axes, m, like=like)
    assert len(caught) == 1
    assert out["x"].spec == PartitionSpec("data", None)  # the minor axis is dropped, the major one divides
    with pytest.raises(ValueError, match="'mlp' of size 5"):
        shardings(axes, m, like=like, uneven="error")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert shardings(axes, m, like=like, uneven="replicate") == out


@pytest.mark.parametrize(
    "axes, like, words",
    [
        ({"x": ("embed",)}, {"x": jnp.ones((2, 2))}, r"x: 1 logical axes.*\(2, 2\)"),
        ({"x": ("embed",)}, {"y": jnp.ones(2)}, r"without logical axes: \['y'\].*without an array: \['x'\]"),
        ({"x": ("embed",)}, {"x": jnp.ones(2), "y": jnp.ones(2)}, r"without logical axes: \['y'\]"),
        ({"x": "embed"}, {"x": jnp.ones(2)}, "x: found 'embed', expected a tuple"),
    ],
)
def test_wrong_trees(axes, like, words):
    with pytest.raises(ValueError, match=words):
        shardings(axes, mesh(), like=like)


def test_rule_for_an_axis_the_mesh_lacks():
    with pytest.raises(ValueError, match=r"name mesh axes \['fsdp'\]; the mesh has \['seed'\]"):
        shardings({"x": ("embed",)}, jax.make_mesh((8,), ("seed",)))


def test_default_rules_shard_a_wan_dit():
    config, dit = tiny.MODEL, tiny.dit()
    """Every logical axis the model names has a rule, and the placed model computes what it did before."""
    m = mesh({"data": 2, "fsdp": 2, "tensor": 2})
    placed = jax.device_put(dit, shardings(wan.logical_axes(config), m, like=dit))
    split = [p for p in jax.tree.leaves(placed) if not p.sharding.is_fully_replicated]
    assert sum(p.size for p in split) > 0.9 * sum(p.size for p in jax.tree.leaves(placed))
    x, image, text = jnp.ones((2, 10, 10, 3)), jnp.ones((2, 10, 10, 4)), jnp.ones((3, 8))
    run = jax.jit(lambda d: d(x, 500.0, text, image=image).v)
    expected = run(dit)
    np.testing.assert_allclose(run(placed), expected, rtol=1e-5, atol=1e-5 * float(jnp.abs(expected).max()))


def test_a_batch_of_one_needs_no_batch_axis():
    """Values of `jax.vmap`; traced without it where there is one example, with it where there are more."""

    def fn(x, scale):
        return {"y": jax.lax.cumsum(x) * scale, "sum": x.sum()}

    x = jnp.arange(6.0).reshape(2, 3)
    for rows, inside in ((x[:1], (3,)), (x, (2, 3))):
        run = batch(None, fn, in_axes=(0, None))
        expected = jax.vmap(fn, in_axes=(0, None))(rows, 2.0)
        jax.tree.map(np.testing.assert_array_equal, run(rows, 2.0), expected)
        (shape,) = {
            e.outvars[0].aval.shape for e in jax.make_jaxpr(run)(rows, 2.0).eqns if e.primitive.name == "cumsum"
        }
        assert shape == inside
    across = batch(None, lambda x: x.sum(), in_axes=1)
    np.testing.assert_array_equal(across(x[:, :1]), [3.0])
