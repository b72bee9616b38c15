"""One update: accumulation, sharding, adapters, data of other dtypes. Few programs, one tiny model."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from vrjax import parallel
from vrjax.train import state, step, update
from vrjax.train.config import Lora, Objective

SHAPE = (4, 2, 10, 10)


def batch(seed=0, n=4):
    keys = jax.random.split(jax.random.key(seed), 3)
    t, h, w = SHAPE[1:]
    return {
        "latent": jax.random.uniform(keys[0], (n, t, h, w, 3), minval=-1, maxval=1),
        "image": jax.random.normal(keys[1], (n, t, h, w, 4)),
        "text": jax.random.normal(keys[2], (n, 16, 8)),
    }


def prepared(config, start=None):
    optim = dataclasses.replace(config.optim, lr=1e-2, warmup=0)
    config = dataclasses.replace(config, steps=10, optim=optim)
    mesh = parallel.run_mesh(config.mesh)
    network, first, shardings = state.make(config, mesh)
    run = step.make(network, mesh, shardings)
    key = jax.device_put(state.run_key(config, state.STEP), shardings.step)
    data = jax.device_put(batch(), state.batch_sharding(config, mesh))
    return network, first, run, data, key


@pytest.fixture(scope="module")
def plain():
    """Two updates on one device: states as NumPy, and metrics."""
    network, current, update, data, key = prepared(tiny.config())
    out = []
    for _ in range(2):
        current, metrics = update(current, network.base, data, key)
        out.append(jax.device_get((current, metrics)))
    return out


def close(found, expected, atol):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=atol), found, expected)


def test_another_batch_and_other_numbers_are_the_same_program():
    config = tiny.config()
    mesh, key = parallel.run_mesh(config.mesh), state.run_key(config, state.STEP)
    network, current, shardings = state.make(config, mesh)
    body = chex.assert_max_traces(step.body(network), n=1)
    run = jax.jit(body, out_shardings=(shardings, shardings.step))
    for seed, rate in ((0, 1e-2), (1, 2e-2)):
        data = jax.device_put(batch(seed), state.batch_sharding(config, mesh))
        current, _ = run(current, network.base, data, key, {"optim.lr": rate})


def test_accumulation_equals_the_big_batch():
    config = tiny.config()
    network, first, _, data, key = prepared(config)
    # The head starts at zero: give it weights, so that every gradient is alive.
    head = jax.random.normal(jax.random.key(9), first.params["head"]["kernel"].shape)
    params = {**first.params, "head": {**first.params["head"], "kernel": 0.3 * head}}
    data, drawn = step.draw(config, key, data)
    error = lambda p, b, d: (step.batch_error(network, p, {}, b, d), None)
    run = lambda parts: jax.jit(lambda p, *rows: update.gradient(error, p, rows, parts=parts))(params, data, drawn)
    (loss, _, grad), (loss4, _, grad4) = run(1), run(4)
    assert min(float(jnp.abs(g).max()) for g in jax.tree.leaves(grad)) > 0
    np.testing.assert_allclose(loss, loss4, atol=1e-6)
    scale = max(1.0, max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grad)))
    close(grad4, grad, 1e-6 * scale)


def test_the_first_update(plain):
    (one, metrics), (two, _) = plain
    assert one.step == 1 and two.step == 2
    assert abs(metrics["relative"] - 1) < 0.25  # a fresh model predicts zero
    np.testing.assert_allclose(metrics["lr"], 1e-2, rtol=1e-6)
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), one.params, two.params)
    assert all(jax.tree.leaves(moved))
    # the average after the first update keeps a tenth of the start, after the second 2/11 of the first
    expected = jax.tree.map(lambda a, p: 2 / 11 * a + 9 / 11 * p, one.ema, two.params)
    close(two.ema, expected, 1e-6)


def test_sharded_update_equals_one_device(plain):
    """2 x 2 devices: batches over both axes, weights over fsdp, two micro-batches of nothing but the default rules."""
    network, current, update, data, key = prepared(tiny.config(mesh={"data": 2, "fsdp": 2}))
    assert len(data["latent"].sharding.device_set) == 4
    kernel = current.params["blocks"]["ffn_in"]["kernel"]
    layers, rows, columns = kernel.shape
    assert kernel.sharding.shard_shape(kernel.shape) == (layers, rows // 2, columns)
    moments = [x for x in jax.tree.leaves(current.optimizer) if x.shape == kernel.shape]
    assert moments and all(m.sharding == kernel.sharding for m in moments)
    for at, (one_device, metrics) in enumerate(plain):
        current, sharded_metrics = update(current, network.base, data, key)
        np.testing.assert_allclose(sharded_metrics["loss"], metrics["loss"], atol=1e-5)
        np.testing.assert_allclose(sharded_metrics["grad_norm"], metrics["grad_norm"], rtol=1e-5)
        close(jax.device_get(current.params["head"]), one_device.params["head"], 1e-5)
        if at == 0:
            close(jax.device_get((current.params, current.ema)), (one_device.params, one_device.ema), 1e-5)
    # Before the second update the head is zero, and no other weight has a gradient; at it some are small still.
    for name in ("params", "ema"):
        found, expected = (dataclasses.replace(s, params=getattr(s, name)) for s in (current, one_device))
        tiny.same_updates([jax.device_get(found)], [expected], share=0.85)


def test_lora_trains_adapters_of_a_frozen_base(tmp_path):
    from vrjax.models import wan

    config = tiny.config()
    dit = state.Network(config, {}).build(state.fresh_weights(config), {})
    wan.save_dit(dit, tmp_path / "base")
    config = tiny.config(start=str(tmp_path / "base"), lora=Lora(rank=2, patterns=(r"ffn_.*kernel$",)))
    network, first, update, data, key = prepared(config)
    assert set(first.params) == {"blocks.ffn_in.kernel", "blocks.ffn_out.kernel"}
    before = jax.device_get(network.base)
    same = network.build(first.params, network.base)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(same.blocks), jax.device_get(dit.blocks))
    second, _ = update(first, network.base, data, key)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(network.base), before)
    assert set(second.params) == set(before and first.params)


def test_wrong_sizes_are_named(tmp_path):
    with pytest.raises(ValueError, match="needs 64 devices, found 8"):
        parallel.run_mesh({"data": 64})
    config = tiny.config(mesh={"data": 4}, accumulate=2)
    with pytest.raises(ValueError, match="micro-batch of 2 examples cannot be divided over 4 devices"):
        state.batch_sharding(config, parallel.run_mesh(config.mesh))
    with pytest.raises(ValueError, match="rules for unknown logical axes"):
        state.rules(tiny.config(rules={"widht": "fsdp"}))
    from vrjax.models import wan

    narrow = tiny.config(model=dataclasses.replace(tiny.MODEL, ffn_dim=8))
    wan.save_dit(state.Network(narrow, {}).build(state.fresh_weights(narrow), {}), tmp_path / "narrow")
    with pytest.raises(ValueError, match=r"blocks\.ffn_in\.bias is \(2, 8\), the config's model has \(2, 16\)"):
        prepared(tiny.config(start=str(tmp_path / "narrow")))


@pytest.mark.parametrize(("rates", "gone"), [((1.0, 0.0), "text"), ((0.0, 1.0), "image")])
def test_what_guidance_withholds_is_dropped_by_itself(rates, gone):
    """The family names the prompt: `drop` is its rate, `drop_others` that of the first frame."""
    config = tiny.config(objective=Objective(drop=rates[0], drop_others=rates[1]))
    batch = jax.tree.map(np.ones_like, {name: tiny.batch(4)[name] for name in ("latent", "text", "image")})
    found, *_ = step.drop(config, jax.random.key(0), batch)
    assert {name for name, value in found.items() if not np.any(value)} == {gone}
    assert all(np.all(np.asarray(found[name]) == 1) for name in {*batch} - {gone})
