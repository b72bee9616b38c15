"""Posteriors on the vrjax side: `vrjax.inverse.latent` as its users call it, chains divided over the CPU's devices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench.posteriors import Arrays, Posterior
from vrjax import parallel
from vrjax.inverse import darcy, latent


def build(case: Posterior) -> Callable[[], Arrays]:
    """The timed call: all chains, `z` (C, K, r); of the elliptic problem also `mode` and `deviation` (r,)."""
    devices = jax.device_count()
    how: dict[str, Any] = {}
    if devices > 1 and case.chains % devices == 0:
        how = {"how": "mesh", "mesh": parallel.mesh({"seed": -1})}
    given = {name: jnp.asarray(value, jnp.float32) for name, value in case.arrays().items()}
    return (_mixture if case.work == "mixture" else _darcy)(case, given, how)


def _mixture(case: Posterior, given: dict[str, Any], how: dict[str, Any]) -> Callable[[], Arrays]:
    def log_likelihood(x, weights, means, std, y, noise_std):
        logs = jnp.log(weights) - 0.5 * jnp.sum((x - means) ** 2, -1) / std**2
        seen = -0.5 * (y - x[0]) ** 2 / noise_std**2
        return jax.nn.logsumexp(logs) + seen + 0.5 * jnp.sum(x**2)

    def run() -> Arrays:
        start, key = jax.random.split(jax.random.key(0))
        z0 = jax.random.normal(start, (case.chains, 2))
        args = tuple(given.values())
        return {"z": np.asarray(latent.pcn(key, log_likelihood, z0, case.steps, args=args, beta=case.beta, **how).z)}

    return run


def _darcy(case: Posterior, given: dict[str, Any], how: dict[str, Any]) -> Callable[[], Arrays]:
    operator = darcy.operator(case.cells, case.arrays()["points"])

    def residual(z, operator, basis, y, std):
        return (y - operator.apply((basis @ z).reshape(operator.in_shape))) / std

    def log_likelihood(z, *args):
        return -0.5 * jnp.sum(residual(z, *args) ** 2)

    def whitened(w, mode, root, *args):
        z = mode + root @ w
        return log_likelihood(z, *args) - 0.5 * jnp.sum(z**2) + 0.5 * jnp.sum(w**2)

    @jax.jit
    def program(key, *args):
        start, key = jax.random.split(key)
        search = {"args": args, "residual": residual, "iterations": case.search}
        found = latent.laplace(log_likelihood, jnp.zeros(case.latent), **search)
        root = jnp.linalg.cholesky(found.covariance)
        w0 = jax.random.normal(start, (case.chains, case.latent))
        options = {"args": (found.mode, root, *args), "beta": case.beta, **how}
        w = latent.pcn(key, whitened, w0, case.steps, **options).z
        return {"z": found.mode + w @ root.T, "mode": found.mode, "deviation": jnp.sqrt(jnp.diagonal(found.covariance))}

    args = (operator, given["basis"], given["y"], given["noise_std"])
    return lambda: jax.tree.map(np.asarray, program(jax.random.key(0), *args))
