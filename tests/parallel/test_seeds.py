"""over_seeds: four places to run, one result, with a collective inside; oracles written out in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from vrjax.parallel import mesh, over_seeds

HOWS = ("map", "vmap", "pmap", "mesh")


def walk(key, pull=0.5):
    """A scan with a collective in its body: like a sampler whose edit averages over seeds."""
    x = jax.random.normal(key, (4,))

    def body(x, _):
        x = jnp.sin(2 * x) + pull * (lax.pmean(x, "seed") - x)
        return x, x

    last, path = lax.scan(body, x, None, length=5)
    return {"last": last, "path": path, "index": lax.axis_index("seed"), "constant": jnp.ones(())}


def reference(keys, group, pull=0.5):
    """The same in numpy, one group of seeds after the other."""
    x = np.stack([np.asarray(jax.random.normal(k, (4,)), np.float64) for k in keys]).reshape(-1, group, 4)
    path = []
    for _ in range(5):
        x = np.sin(2 * x) + pull * (x.mean(1, keepdims=True) - x)
        path.append(x.reshape(-1, 4))
    return np.stack(path, 1)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("seeds, group", [(8, None), (16, 8), (8, 2), (6, 3)])
def test_all_hows_equal_the_written_out_loop(how, seeds, group):
    keys = jax.random.split(jax.random.key(3), seeds)
    out = over_seeds(walk, keys, how, group)
    np.testing.assert_allclose(out["path"], reference(keys, group or seeds), atol=1e-5)
    np.testing.assert_allclose(out["last"], out["path"][:, -1], atol=0)
    np.testing.assert_array_equal(out["index"], np.arange(seeds) % (group or seeds))
    np.testing.assert_array_equal(out["constant"], np.ones(seeds))


@pytest.mark.parametrize("how", ["map", "vmap", "mesh"])
def test_collective_spans_all_seeds_when_there_are_more_than_devices(how):
    keys = jax.random.split(jax.random.key(4), 16)
    out = over_seeds(walk, keys, how)
    np.testing.assert_allclose(out["path"], reference(keys, 16), atol=1e-5)
    if how == "mesh":  # ... and the work is really spread: two seeds on each of the eight devices
        assert {s.data.shape for s in out["path"].addressable_shards} == {(2, 5, 4)}
        assert len(out["path"].sharding.device_set) == 8


@pytest.mark.parametrize("seeds", [8, 16])
def test_mesh_with_other_axes_and_sharded_arguments(seeds):
    """The function shards its own work over another axis of the same mesh; arguments keep their sharding."""
    four = mesh({"seed": 4, "tensor": 2})
    weight = jax.random.normal(jax.random.key(0), (6, 8))
    placed = jax.device_put(weight, jax.NamedSharding(four, jax.P(None, "tensor")))

    def fn(key, weight):
        h = lax.with_sharding_constraint(
            jax.random.normal(key, (6,)) @ weight, jax.NamedSharding(four, jax.P("tensor"))
        )
        return h - lax.pmean(h, "seed")

    keys = jax.random.split(jax.random.key(5), seeds)
    h = np.stack([np.asarray(jax.random.normal(k, (6,)) @ weight) for k in keys])
    for args in (placed, weight):
        out = over_seeds(fn, keys, "mesh", args=(args,), mesh=four)
        np.testing.assert_allclose(out, h - h.mean(0), atol=1e-5)


@pytest.mark.parametrize("how", HOWS)
def test_under_jit_with_arguments_gradients_and_raw_keys(how):
    keys = jax.random.split(jax.random.key(6), 8)

    def total(pull, keys):
        return jnp.sum(over_seeds(walk, keys, how, args=(pull,))["last"] ** 2)

    value, slope = jax.jit(jax.value_and_grad(total))(0.3, keys)
    eps = 1e-4
    numeric = [np.sum(reference(keys, 8, 0.3 + e)[:, -1] ** 2) for e in (-eps, 0.0, eps)]
    np.testing.assert_allclose(value, numeric[1], rtol=1e-5)
    np.testing.assert_allclose(slope, (numeric[2] - numeric[0]) / (2 * eps), rtol=1e-3)
    raw = over_seeds(lambda k: jax.random.normal(k, (4,)), jax.random.key_data(keys), how)
    np.testing.assert_allclose(raw, np.stack([jax.random.normal(k, (4,)) for k in keys]), atol=1e-6)


def test_group_of_map_bounds_what_runs_at_once():
    """The point of "map": temporaries of one group only."""
    keys = jax.random.split(jax.random.key(0), 8)

    def heavy(key):
        return jnp.sum(jnp.sort(jax.random.normal(key, (4096,))))

    def temp(group):
        program = jax.jit(lambda k: over_seeds(heavy, k, "map", group)).lower(keys).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert temp(2) < 0.5 * temp(8)


@pytest.mark.parametrize(
    "kwargs, words",
    [
        (dict(how="tmap"), "'tmap'.*'map', 'vmap', 'pmap', 'mesh'"),
        (dict(group=3), "group=3.*8 seeds"),
        (dict(group=0), "group=0"),
        (dict(how="map", group=5), "group=5"),
        (dict(how="mesh", mesh=jax.make_mesh((8,), ("data",))), "axis 'seed'"),
    ],
)
def test_wrong_arguments(kwargs, words):
    with pytest.raises(ValueError, match=words):
        over_seeds(walk, jax.random.split(jax.random.key(0), 8), **kwargs)


def test_wrong_counts():
    with pytest.raises(ValueError, match="group=16, local devices 8"):
        over_seeds(walk, jax.random.split(jax.random.key(0), 16), "pmap")
    with pytest.raises(ValueError, match="6 seeds on a mesh"):
        over_seeds(walk, jax.random.split(jax.random.key(0), 6), "mesh", mesh=mesh({"seed": 4, "data": -1}))
    with pytest.raises(ValueError, match="0 seeds"):
        over_seeds(walk, jax.random.split(jax.random.key(0), 1)[:0])
