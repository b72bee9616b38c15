"""One program over many devices: chains over the mesh axis "seed", the field of a posterior over "data"."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from tests.inverse import inverse_posteriors as exact
from tests.inverse.inverse_elliptic import cells
from tests.inverse.inverse_guided import Dense, Gaussian
from tests.inverse.inverse_posteriors import GAUSSIAN, MODES, NEAR
from vrjax import parallel
from vrjax.flow import grids
from vrjax.inverse import darcy, guided, latent
from vrjax.parallel import over_seeds

STEPS, N = 50, 8


def alike(one, many, rows=STEPS):
    """Equal decisions, and states and log-densities to 1e-9, of the first rows of the same chains in float64."""
    assert one.z.dtype == np.float64 and one.z.shape[1] == STEPS
    for name in ("evaluations", "finite", "divergent"):
        if getattr(one.info, name) is not None:
            a, b = (np.asarray(getattr(run.info, name))[:, :rows] for run in (one, many))
            np.testing.assert_array_equal(a, b, err_msg=name)
    for a, b in ((one.info.acceptance, many.info.acceptance), (one.z, many.z), (one.log_density, many.log_density)):
        np.testing.assert_allclose(a[:, :rows], b[:, :rows], rtol=0, atol=1e-9)


def test_trajectories_turn_back_alike_on_eight_devices():
    """NUTS: equal numbers of leapfrog steps in every trajectory, after a warm-up of each chain's own.

    All 50 rows of a Gaussian posterior. Between modes trajectories amplify rounding, here until after some 40 rows a
    decision falls otherwise: of a mixture the first ten rows are compared.
    """
    with jax.enable_x64(True):
        mesh = parallel.mesh({"seed": 8})
        run = functools.partial(latent.nuts, jax.random.key(6), exact.log_likelihood, exact.starts(8), STEPS)
        for case, rows in ((GAUSSIAN, STEPS), (NEAR, 10)):
            options = {"args": case.args, "burn": 20, "doublings": 3}
            one, many = run(**options), run(how="mesh", mesh=mesh, **options)
            assert len(many.z.sharding.device_set) == 8
            # trajectories of unlike length: there was something to decide
            assert len(np.unique(one.info.evaluations[:, :rows])) > 1
            alike(one, many, rows)
            np.testing.assert_allclose(one.info.step_size, many.info.step_size, rtol=1e-9)


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


def test_guided_methods_on_eight_devices_are_alike():
    """Every method by its name, all in one program, in float32; `smc` couples the devices at every step."""
    prior, operator = Gaussian([0.3, -0.5], [[1.0, 0.4], [0.4, 0.6]]), Dense(np.array([[1.0, -0.5]]))
    quick = {"d_flow": {"iterations": 2, "memory": 2}, "daps": {"langevin_steps": 4, "lr": 0.03, "tau": 0.3}}

    def run(key, y):
        x = jax.random.normal(key, (2,))
        options = {name: quick.get(name, {}) for name in guided.names()}
        options |= {name: {"step": "normalised"} for name, traits in guided.table().items() if traits.normalised}
        one = lambda name: guided.run(name, prior.v, operator, y, 0.5, x, grids.shifted(4), key=key, **options[name])
        return {
            name: (found := one(name)).final * jnp.where(found.stats["finite"].all(), 1, jnp.nan) for name in options
        }

    keys, y = jax.random.split(jax.random.key(8), 8), jnp.array([1.2])
    one = over_seeds(run, keys, args=(y,))
    many = over_seeds(run, keys, "mesh", args=(y,), mesh=parallel.mesh({"seed": 8}))
    for name, final in one.items():
        assert final.dtype == np.float32 and np.isfinite(final).all()
        assert len(many[name].sharding.device_set) == 8
        np.testing.assert_allclose(many[name], final, rtol=1e-5, atol=1e-5, err_msg=name)


def log_likelihood(z, prior, operator, y, noise_std, rows=None):
    """Of a field; `rows`, where there is one, says over which mesh axis its rows lie."""
    u = prior(z.reshape(prior.shape))
    if rows is not None:
        u = jax.lax.with_sharding_constraint(u, rows)
    return -0.5 * jnp.sum(((y - operator.apply(u)) / noise_std) ** 2)


@functools.cache
def cut(mesh):
    """`log_likelihood` with the field cut into rows over the mesh axis "data"; one object, one program."""
    return functools.partial(log_likelihood, rows=NamedSharding(mesh, PartitionSpec("data")))


def test_a_posterior_of_fields_over_two_mesh_axes():
    """Chains over "seed" (4), rows of the permeability and of the pressure's equation over "data" (2)."""
    mesh = parallel.mesh({"seed": 4, "data": 2})
    rows = NamedSharding(mesh, PartitionSpec("data"))
    with jax.enable_x64(True):
        problem = darcy.problem(jax.random.key(0), cells(2 * N), N, noise=0.1)
        prior = darcy.varying(N)
        args = (prior, problem.operator, problem.y, problem.noise_std)
        z0 = jax.random.normal(jax.random.key(1), (8, N * N))
        one = latent.pcn(jax.random.key(2), log_likelihood, z0, STEPS, args=args, beta=0.2)
        # what is a field lies in rows; what is not, everywhere
        prior = jax.tree.map(lambda a: jax.device_put(a, rows) if jnp.ndim(a) == 2 else a, prior)
        given = (prior, *args[1:])
        many = latent.pcn(jax.random.key(2), cut(mesh), z0, STEPS, args=given, beta=0.2, how="mesh", mesh=mesh)
        assert 0.1 < float(one.info.acceptance.mean()) < 0.9  # there was something to decide
        alike(one, many)
        assert many.z.sharding.mesh == mesh and many.z.sharding.spec[0] == "seed"
        # the field is in parts indeed: half of its rows on a device, borders exchanged
        parts, form = jax.tree.flatten(given)
        each = jax.vmap(cut(mesh), (0, *[None] * len(given)), spmd_axis_name="seed")
        over = jax.device_put(z0, NamedSharding(mesh, PartitionSpec("seed")))
        text = jax.jit(lambda z, *parts: each(z, *form.unflatten(parts))).lower(over, *parts).compile().as_text()
        assert "collective-permute(" in text and f"f64[2,{N // 2},{N}]" in text
