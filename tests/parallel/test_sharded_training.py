"""One update on a mesh equals one device, whichever way it is divided; and the same from shapes alone."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import tiny

from vrjax import parallel
from vrjax.train import state, step
from vrjax.train.config import Lora

SIZE = (2, 10, 10)  # 8 tokens
MESHES = {
    "ulysses": dict(mesh={"data": 2, "fsdp": 2, "context": 2}),
    "tensor": dict(mesh={"data": 2, "tensor": 2, "context": 2}),
    "ring": dict(
        mesh={"fsdp": 2, "context": 4},
        model=dataclasses.replace(tiny.MODEL, sequence="ring", remat="full"),
        rules={"embed": ("fsdp", "context")},
    ),
}


def batch():
    keys = jax.random.split(jax.random.key(0), 3)
    return {
        "latent": jax.random.uniform(keys[0], (4, *SIZE, 3), minval=-1, maxval=1),
        "image": jax.random.normal(keys[1], (4, *SIZE, 4)),
        "text": jax.random.normal(keys[2], (4, 16, 8)),
    }


def update(config):
    """State and metrics after one update from weights that are nowhere zero."""
    config = dataclasses.replace(config, optim=dataclasses.replace(config.optim, warmup=0))
    mesh = parallel.run_mesh(config.mesh)
    network, first, shardings = state.make(config, mesh)
    rng = np.random.default_rng(0)
    alive = lambda p: p + jax.device_put(0.1 * rng.standard_normal(p.shape).astype(np.float32), p.sharding)
    first = dataclasses.replace(first, params=jax.tree.map(alive, first.params))
    run = step.make(network, mesh, shardings)
    key = jax.device_put(state.run_key(config, state.STEP), shardings.step)
    data = jax.device_put(batch(), state.batch_sharding(config, mesh))
    after, metrics = run(first, network.base, data, key)
    return jax.device_get(after), jax.device_get(metrics), after.params


@functools.cache
def one_device():
    return update(tiny.pod())


@pytest.mark.parametrize("name", MESHES)
def test_an_update_equals_one_device(name):
    expected, expected_metrics, _ = one_device()
    found, metrics, params = update(tiny.pod(**MESHES[name]))
    for key, value in expected_metrics.items():
        np.testing.assert_allclose(metrics[key], value, rtol=1e-5, err_msg=key)
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5)
    jax.tree.map(close, found.params, expected.params)
    jax.tree.map(close, found.ema, expected.ema)
    kernel = params["blocks"]["ffn_in"]["kernel"]
    parts = {"ulysses": (2, 12, 16), "tensor": (2, 24, 8), "ring": (2, 3, 16)}
    assert kernel.sharding.shard_shape(kernel.shape) == parts[name]


def test_the_update_from_shapes_alone():
    """The same program as with arrays: what a plan for a pod compiles is what the run executes."""
    config = tiny.pod(**MESHES["tensor"])
    mesh = parallel.run_mesh(config.mesh)
    shape_only, args = step.abstract(config, mesh, (*SIZE, 3))
    assert all(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(args))
    network, first, shardings = state.make(config, mesh)
    assert jax.tree.map(lambda x: (x.shape, x.dtype, x.sharding), first) == jax.tree.map(
        lambda x: (x.shape, x.dtype, x.sharding), args[0]
    )
    key = jax.device_put(state.run_key(config, state.STEP), shardings.step)
    data = jax.device_put(batch(), state.batch_sharding(config, mesh))
    real = step.make(network, mesh, shardings).lower(first, network.base, data, key).as_text()
    assert shape_only.lower(*args).as_text() == real


def test_adapters_from_shapes_alone():
    """A LoRA run's base is divided like weights, its adapters are on every device; nothing is read."""
    config = tiny.pod(start="not/there", lora=Lora(rank=2), **MESHES["tensor"])
    _, (first, base, data, _) = step.abstract(config, parallel.run_mesh(config.mesh), (*SIZE, 3))
    assert base["blocks"]["ffn_in"]["kernel"].sharding.shard_shape((2, 24, 16)) == (2, 24, 8)
    assert all(x.sharding.is_fully_replicated for x in jax.tree.leaves(first.params))
    assert data["image"].shape == (4, *SIZE, 4) and data["text"].shape == (4, 16, 8)
