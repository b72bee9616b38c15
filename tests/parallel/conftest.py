"""One small DiT for all tests here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vrjax.models import wan


@pytest.fixture(scope="session")
def config():
    return wan.WanConfig(
        dim=16, ffn_dim=32, heads=2, layers=2, in_channels=7, out_channels=3, text_dim=8, freq_dim=16, gate_init=1.0
    )


@pytest.fixture(scope="session")
def dit(config):
    """Random weights everywhere, so that nothing is zero as it is before training."""
    rng = np.random.default_rng(1)
    abstract = jax.eval_shape(lambda: wan.WanDiT(config, rngs=nnx.Rngs(0)))
    return jax.tree.map(lambda a: jnp.asarray(0.2 * rng.standard_normal(a.shape), a.dtype), abstract)
