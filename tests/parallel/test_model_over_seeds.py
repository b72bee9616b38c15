"""The library's signature move: a sampler whose network averages a middle layer over seeds, wherever the seeds run."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax import lax

from vrjax.flow import Record, euler, grids, sample
from vrjax.models import wan
from vrjax.parallel import mesh, over_seeds, shardings

GRID = grids.shifted(2, 3.0)
CONFIG = dataclasses.replace(tiny.MODEL, patch=(1, 2, 2))


def think(key, dit, pool=True):
    """Two steps from one seed's noise; the residual stream after the first block is the mean over the seeds."""
    text, image = jnp.ones((2, 8)), jnp.ones((3, 4, 4, 4))
    edits = {"block.0": lambda h: lax.pmean(h, "seed")} if pool else {}
    x = jax.random.normal(key, (3, 4, 4, 3))
    return sample(
        dit.velocity(text, image=image, edits=edits), x, GRID, solver=euler(), record=Record(fields=("x0",))
    ).x0


@pytest.fixture(scope="module")
def dit():
    return tiny.dit(CONFIG)


@pytest.fixture(scope="module")
def reference(dit):
    """vmap over 16 seeds in two ensembles of 8."""
    keys = jax.random.split(jax.random.key(2), 16)
    return keys, np.asarray(over_seeds(think, keys, "vmap", 8, args=(dit,)))


@pytest.mark.parametrize("how", ["map", "pmap", "mesh"])
def test_pooled_layer_is_the_same_everywhere(dit, reference, how):
    keys, expected = reference
    np.testing.assert_allclose(over_seeds(think, keys[:8], how, args=(dit,)), expected[:8], atol=1e-5)


def test_the_documented_pmap(dit, reference):
    """Code that has its own pmap calls the same function, and gets the same videos."""
    keys, expected = reference
    finals = jax.pmap(think, axis_name="seed", in_axes=(0, None))(keys[:8], dit)
    assert len(finals.sharding.device_set) == 8
    np.testing.assert_allclose(finals, expected[:8], atol=1e-5)


def test_two_seeds_on_each_device(dit, reference):
    keys, expected = reference
    pooled = over_seeds(think, keys, "mesh", args=(dit,))  # one ensemble of 16: another result, and the right one
    np.testing.assert_allclose(pooled, over_seeds(think, keys, "vmap", args=(dit,)), atol=1e-5)
    assert np.abs(pooled - expected).max() > 1e-3


def test_seeds_beside_sharded_parameters(dit, reference):
    """Four seeds' worth of devices, and the parameters split two ways within each."""
    keys, expected = reference
    m = mesh({"seed": 4, "tensor": 2})
    placed = jax.device_put(dit, shardings(wan.logical_axes(CONFIG), m, like=dit, uneven="replicate"))
    out = over_seeds(think, keys[:8], "mesh", args=(placed,), mesh=m)
    np.testing.assert_allclose(out, expected[:8], atol=1e-5)


def test_the_pool_does_something(dit, reference):
    """Without it the seeds do not see each other, and the results differ: the tests above compare no constants."""
    keys, expected = reference
    alone = over_seeds(functools.partial(think, pool=False), keys[:8], "vmap", args=(dit,))
    assert np.abs(alone - expected[:8]).max() > 1e-2
    assert np.ptp(expected[:8], axis=0).max() > 1e-2
