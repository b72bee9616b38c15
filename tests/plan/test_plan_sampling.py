"""Guided runs on a mesh: equal to one device, sharded as promised, experts switched where the grid says."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from vrjax import flow, parallel
from vrjax.models import wan
from vrjax.models.pipeline import denoise
from vrjax.models.wan import WanConfig
from vrjax.plan.jobs import sampling
from vrjax.plan.jobs.sampling import SampleConfig

MODEL = WanConfig(
    dim=32, heads=2, ffn_dim=48, layers=2, in_channels=6, out_channels=4, text_dim=8, text_len=4, freq_dim=16
)
CONFIG = SampleConfig(name="s", model=MODEL, latent=(2, 4, 4, 4), seeds=2, steps=3, dtype="float32")


def test_a_mesh_changes_nothing_and_the_record_stays_divided():
    config = dataclasses.replace(CONFIG, mesh={"fsdp": 2, "context": 2}, boundary=0.9, record_steps=(0, 2))
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)
    inputs = denoise.Inputs({"text": draw(4, 8), "image": draw(2, 4, 4, 2)}, {"text": draw(4, 8)})
    noise, seeds = draw(2, 2, 4, 4, 4), np.arange(2, dtype=np.int32)
    plain = [wan.WanDiT(MODEL, rngs=nnx.Rngs(i)) for i in range(2)]
    for dit in plain:
        dit.head.kernel[...] = draw(*dit.head.kernel.shape) * 0.1  # it starts at zero

    out = {}
    for name, shape in (("one", {}), ("mesh", config.mesh)):
        sizes = {"devices": jax.devices()[: 4 if shape else 1]}
        mesh = parallel.mesh(shape, **sizes)
        run, arguments = sampling.make(dataclasses.replace(config, mesh=shape), mesh)
        dits = tuple(wan.shard(dit, mesh) for dit in plain)
        given = jax.tree.leaves((dits, inputs, noise, seeds))
        for found, expected in zip(given, jax.tree.leaves(arguments), strict=True):
            assert found.shape == expected.shape and found.dtype == expected.dtype
        out[name] = run(dits, inputs, noise, seeds)
    for a, b in zip(jax.tree.leaves(out["one"]), jax.tree.leaves(out["mesh"]), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    recorded = out["mesh"].v
    assert recorded.shape == (2, 2, 2, 4, 4, 4)
    assert recorded.addressable_shards[0].data.size * 4 == recorded.size


@pytest.mark.parametrize(("boundary", "shift", "high"), [(0.9, 5.0, 15), (0.875, 12.0, 26)])
def test_experts_switch_at_the_boundary(boundary, shift, high):
    """Wan 2.2: I2V-A14B takes 15 of 40 steps with the high-noise expert, T2V-A14B 26."""
    grid = sampling.grid(dataclasses.replace(CONFIG, steps=40, shift=shift, boundary=boundary))
    experts = (lambda x, level: x), (lambda x, level: -x)
    assert flow.experts(grid, *experts, boundary) == (flow.Phase(high, experts[0]), flow.Phase(40, experts[1]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"boundary": 1.5}, "boundary"),
        ({"solver": "magic"}, "magic"),
    ],
)
def test_errors(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):  # of a literal the tests' type checker speaks first
        dataclasses.replace(CONFIG, **changes)
