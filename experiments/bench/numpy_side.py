"""The NumPy side: samplers of posteriors as one writes them with care in NumPy and SciPy, in float64.

Random numbers of a chain are drawn in one go before its steps; matrices are filled into a pattern that is found once;
one factorisation serves the pressure and all adjoint solves.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse.linalg

from experiments.bench import posteriors
from experiments.bench.posteriors import Arrays, Posterior


def start(cores: int, devices: int) -> None:
    """Nothing to set: the environment says how many threads BLAS may use."""


def build(case: Posterior, folder: pathlib.Path, compiled: bool) -> Callable[[], Arrays]:
    """The timed call: all chains, `z` (C, K, r); of the elliptic problem also `mode` and `deviation` (r,)."""
    del folder, compiled
    make = {"mixture": _mixture, "darcy": _darcy}[case.work]
    return make(case)


def pcn(
    rng: np.random.Generator, log_likelihood: Callable[[np.ndarray], Any], z: np.ndarray, steps: int, beta: float
) -> np.ndarray:
    """States (steps, ...) of the preconditioned Crank-Nicolson sampler; z is one chain (r,) or all of them (C, r)."""
    fresh = beta * rng.standard_normal((steps, *z.shape))
    coins = -rng.standard_exponential((steps, *z.shape[:-1]))
    kept, stay = np.empty((steps, *z.shape)), np.sqrt((1 - beta) * (1 + beta))
    value = log_likelihood(z)
    for step in range(steps):
        proposal = stay * z + fresh[step]
        there = log_likelihood(proposal)
        moved = coins[step] < there - value
        if z.ndim > 1:
            z, value = np.where(moved[:, None], proposal, z), np.where(moved, there, value)
        elif moved:
            z, value = proposal, there
        kept[step] = z
    return kept


def _mixture(case: Posterior) -> Callable[[], Arrays]:
    weights, means, std, y, noise_std = case.arrays().values()
    log_weights, precision, seen = np.log(weights), 0.5 / std**2, 0.5 / noise_std**2

    def log_likelihood(x: np.ndarray) -> Any:
        """Log of the posterior's density over the standard normal's, (...) of x (..., 2), up to a constant."""
        logs = log_weights - precision * np.square(x[..., None, :] - means).sum(-1)
        top = logs.max(-1)
        mixed = top + np.log(np.exp(logs - top[..., None]).sum(-1))
        return mixed - seen * (y - x[..., 0]) ** 2 + 0.5 * np.square(x).sum(-1)

    def run() -> Arrays:
        rng = np.random.default_rng(0)
        z = rng.standard_normal((case.chains, 2))
        if case.plain == "vectorised":
            return {"z": pcn(rng, log_likelihood, z, case.steps, case.beta).swapaxes(0, 1)}
        return {"z": np.stack([pcn(rng, log_likelihood, one, case.steps, case.beta) for one in z])}

    return run


class Plate:
    """The elliptic problem: data, prior and the factorisation that solves it."""

    def __init__(self, given: Arrays, cells: int, plain: str):
        self.basis, self.y, self.std = given["basis"], given["y"], float(given["noise_std"])
        self.grid, self.plain = posteriors.Grid(cells), plain
        self.reading = posteriors.readings(cells, given["points"])
        self.inflow = np.full(cells**2, self.grid.source / cells**2)

    def solver(self, u: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Solves with the matrix of a field, for right-hand sides (n n,) or (n n, k)."""
        if self.plain == "banded":
            factor = scipy.linalg.cholesky_banded(self.grid.bands(u), lower=True, overwrite_ab=True, check_finite=False)
            return functools.partial(scipy.linalg.cho_solve_banded, (factor, True), check_finite=False)
        options = {"SymmetricMode": True}
        matrix = self.grid.matrix(u)
        return scipy.sparse.linalg.splu(matrix, "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options).solve

    def field(self, z: np.ndarray) -> np.ndarray:
        return (self.basis @ z).reshape(self.grid.n, self.grid.n)

    def log_likelihood(self, z: np.ndarray) -> float:
        missing = self.y - self.reading @ self.solver(self.field(z))(self.inflow)
        return -0.5 * float(missing @ missing) / self.std**2

    def linearised(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The whitened residual (k,) and its Jacobian (k, r), by k adjoint solves."""
        u = self.field(z)
        solve, n = self.solver(u), self.grid.n
        p, adjoint = solve(self.inflow), solve(self.reading.T).T.reshape(-1, n, n)
        x, y = self.grid.faces(u)
        jump = lambda a, axis: np.diff(a, axis=axis, prepend=0.0, append=0.0)
        # A face's derivative by the log-permeability of a cell beside it is transmissibility^2 / (2 permeability).
        across = x**2 * jump(p.reshape(n, n), 0) * jump(adjoint, 1)
        along = y**2 * jump(p.reshape(n, n), 1) * jump(adjoint, 2)
        by_u = 0.5 * np.exp(-u) * (across[:, 1:] + across[:, :-1] + along[:, :, 1:] + along[:, :, :-1])
        return (self.y - self.reading @ p) / self.std, by_u.reshape(len(self.y), -1) @ self.basis / self.std

    def laplace(self, r: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Mode (r,) and covariance (r, r), by the damped Gauss-Newton steps of `vrjax.inverse.latent.laplace`."""
        z, damping, eye = np.zeros(r), 1.0, np.eye(r)
        height = lambda z: 0.5 * z @ z - self.log_likelihood(z)
        least, (residual, jacobian) = height(z), self.linearised(z)
        for _ in range(steps):
            gradient, bend = z + jacobian.T @ residual, jacobian.T @ jacobian + eye
            there = z - np.linalg.solve(bend + damping * eye, gradient)
            value = height(there)
            better = value < least
            damping = np.clip(damping / 5 if better else damping * 5, 1e-8, 1e8)
            if better:
                z, least, (residual, jacobian) = there, value, self.linearised(there)
        return z, np.linalg.inv(jacobian.T @ jacobian + eye)


def _darcy(case: Posterior) -> Callable[[], Arrays]:
    plate = Plate(case.arrays(), case.cells, case.plain)

    def run() -> Arrays:
        rng = np.random.default_rng(0)
        mode, covariance = plate.laplace(case.latent, case.search)
        root = np.linalg.cholesky(covariance)

        def whitened(w: np.ndarray) -> float:
            z = mode + root @ w
            return plate.log_likelihood(z) - 0.5 * float(z @ z) + 0.5 * float(w @ w)

        starts = rng.standard_normal((case.chains, case.latent))
        w = np.stack([pcn(rng, whitened, one, case.steps, case.beta) for one in starts])
        return {"z": mode + w @ root.T, "mode": mode, "deviation": np.sqrt(np.diagonal(covariance))}

    return run
