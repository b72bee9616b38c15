"""One program over many devices: chains over the mesh axis "seed"."""

import jax
import numpy as np

from tests.inverse import inverse_posteriors as exact
from tests.inverse.inverse_posteriors import MODES
from vrjax import parallel
from vrjax.inverse import latent
from vrjax.parallel import over_seeds

STEPS = 50


def test_particles_on_eight_devices_are_alike():
    """Tempered SMC: one run a device. Powers, resampling and moves of all 50 rows, and the evidence."""

    def run(key, args):
        start, run = jax.random.split(key)
        return latent.tempered_smc(run, exact.log_likelihood, jax.random.normal(start, (64, 2)), STEPS, args=args)

    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(7), 8)
        one = over_seeds(run, keys, args=(MODES.args,))
        many = over_seeds(run, keys, "mesh", args=(MODES.args,), mesh=parallel.mesh({"seed": 8}))
        assert len(many.z.sharding.device_set) == 8 and one.z.shape == (8, 64, STEPS, 2)
        assert (np.asarray(one.info.tempering)[:, -1] == 1).all() and len(np.unique(one.info.tempering)) > 8
        for name in ("acceptance", "finite"):
            np.testing.assert_array_equal(getattr(one.info, name), getattr(many.info, name))
        for name in ("tempering", "log_evidence", "ess"):
            np.testing.assert_allclose(getattr(one.info, name), getattr(many.info, name), rtol=1e-9, err_msg=name)
        np.testing.assert_allclose(one.z, many.z, rtol=0, atol=1e-9)
