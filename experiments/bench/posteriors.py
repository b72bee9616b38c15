"""Posteriors that vrjax and a plain NumPy/SciPy loop sample alike: what both sides read, and what they must agree in.

Two problems. **mixture**: a prior of three Gaussians in the plane of which the first coordinate is seen; the posterior
is a mixture in closed form. **darcy**: the log-permeability of a plate, a Gaussian field through its leading
components, from the pressure at 36 sensors; data come from a grid twice as fine.

Both sides run the preconditioned Crank-Nicolson sampler, which asks for the likelihood once a step, so that their
numbers of evaluations are equal. The elliptic posterior is sampled around its mode (Gauss-Newton, Jacobian by adjoint
solves), which is searched for within the timed call. Nothing here imports JAX.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from experiments.bench.sides import Failed

Arrays = dict[str, np.ndarray]
SCORE = 3.0  # standard errors: the root mean square, over all that is compared, of how far two sides may be apart
SEARCH = 1e-2  # relative: of the mode that was found and of the deviations there; one side is in float32


@dataclasses.dataclass(frozen=True)
class Posterior:
    """One timed piece of work, a run of all chains.

    Attributes:
        name: the row's.
        work: "mixture" or "darcy".
        plain: how the NumPy side does it. Of the mixture, "loop" (chain after chain) or "vectorised" (all chains in
            every step); of the elliptic problem, chain after chain with the factorisation "splu" (sparse) or "banded"
            (Cholesky's, LAPACK).
        chains, steps: of the sampler.
        beta: its step size.
        cells: a side of the grid.
        latent: components of the field.
        search: Gauss-Newton steps.
    """

    name: str
    work: str
    plain: str
    chains: int = 64
    steps: int = 1000
    beta: float = 0.9
    cells: int = 32
    latent: int = 64
    search: int = 10

    beside = "numpy"

    def arrays(self) -> Arrays:
        """The problem, in float64."""
        return mixture() if self.work == "mixture" else darcy(self.cells, self.latent)

    @property
    def units(self) -> int:
        """Evaluations of the likelihood in a call, those of the search left out."""
        return self.chains * self.steps


def table() -> tuple[Posterior, ...]:
    """The rows: seconds each, minutes with all pairs."""
    field: dict[str, Any] = dict(chains=8, steps=125, beta=0.5)
    return (
        Posterior("mixture_loop", "mixture", "loop"),
        Posterior("mixture_vectorised", "mixture", "vectorised"),
        Posterior("darcy_splu", "darcy", "splu", **field),
        Posterior("darcy_banded", "darcy", "banded", **field),
    )


def mixture() -> Arrays:
    """Prior `sum_k weights[k] N(means[k], std^2 I)`, and `y = x[0] + noise_std xi`."""
    return {
        "weights": np.array([0.5, 0.3, 0.2]),
        "means": np.array([[-1.0, -1.0], [1.0, 1.0], [1.0, -1.0]]),
        "std": np.array(0.25),
        "y": np.array(0.6),
        "noise_std": np.array(0.3),
    }


def exactly(given: Arrays) -> np.ndarray:
    """Of the mixture's posterior: mean (2), second moments (2), and the probability that x[1] is above 0 (1, but for
    1e-4 that the components' tails share)."""
    weights, means, std, y, noise_std = given.values()
    seen = std**2 + noise_std**2
    share = weights * np.exp(-0.5 * (y - means[:, 0]) ** 2 / seen)
    share = share / share.sum()
    first = means[:, 0] + std**2 / seen * (y - means[:, 0])
    centre = np.stack([first, means[:, 1]], 1)
    spread = np.array([std**2 * noise_std**2 / seen, std**2])
    return np.r_[share @ centre, share @ (centre**2 + spread), share @ (means[:, 1] > 0)]


@functools.cache
def darcy(n: int, r: int) -> Arrays:
    """An elliptic problem on n x n cells.

    Returns:
        `basis` (n n, r): the field is `basis @ z`, z standard normal: the leading components of `s (kappa^2 -
        Laplace)^-2 kappa^3` of white noise, kappa from 6 to 24 along x, of deviation 0.5 at the centre; `points`
        (36, 2) of the sensors; `y` (36,), of a field on 2n x 2n cells, and `noise_std`, 3 % of its largest pressure.
    """
    at = np.arange(1, 7) / 7
    points = np.stack(np.meshgrid(at, at, indexing="ij"), -1).reshape(-1, 2)
    rng, m = np.random.default_rng(0), 2 * n
    truth = _field(m)(rng.standard_normal(m * m)).reshape(m, m)
    grid = Grid(m)
    pressure = np.asarray(scipy.sparse.linalg.spsolve(grid.matrix(truth), np.full(m * m, grid.source / m**2)))
    noise_std = 0.03 * pressure.max()
    y = readings(m, points) @ pressure.ravel() + noise_std * rng.standard_normal(36)
    left, singular, _ = np.linalg.svd(_field(n)(np.eye(n * n)))
    return {"basis": left[:, :r] * singular[:r], "points": points, "y": y, "noise_std": np.array(noise_std)}


def _field(n: int) -> Any:
    """The map of white noise (n n,) to the prior's field."""
    kappa = np.repeat(6 + 18 * (np.arange(n) + 0.5) / n, n)
    laplace = n**2 * Grid(n).matrix(np.zeros((n, n)))
    solve = scipy.sparse.linalg.splu((laplace + scipy.sparse.diags_array(kappa**2)).tocsc()).solve
    centre = np.zeros(n * n)
    centre[n // 2 * (n + 1)] = 1.0
    scale = 0.5 / np.linalg.norm(kappa**3 * solve(solve(centre)))
    colour = scipy.sparse.diags_array(kappa**3)
    return lambda w: scale * solve(solve(colour @ w))


class Grid:
    """Cell-centred finite volumes of `-div(exp(u) grad p) = f`, p = 0 on the boundary, for matrices made again and
    again: where each face goes in compressed columns is found once."""

    source = 10.0

    def __init__(self, n: int):
        self.n = n
        number = np.arange(n * n).reshape(n, n)
        down, right = (number[:-1].ravel(), number[1:].ravel()), (number[:, :-1].ravel(), number[:, 1:].ravel())
        rows = np.concatenate([number.ravel(), *down, *right])
        columns = np.concatenate([number.ravel(), *down[::-1], *right[::-1]])
        order = scipy.sparse.csc_array((np.arange(1.0, len(rows) + 1), (rows, columns)), (n * n, n * n))
        order.sort_indices()
        self.indices, self.indptr, self.order = order.indices, order.indptr, order.data.astype(int) - 1

    def faces(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Transmissibilities across both axes, (n + 1, n) and (n, n + 1): harmonic means, half a cell at the border."""
        half = 0.5 * np.exp(-u)
        x, y = np.empty((self.n + 1, self.n)), np.empty((self.n, self.n + 1))
        x[1:-1], x[0], x[-1] = half[1:] + half[:-1], half[0], half[-1]
        y[:, 1:-1], y[:, 0], y[:, -1] = half[:, 1:] + half[:, :-1], half[:, 0], half[:, -1]
        return 1 / x, 1 / y

    def matrix(self, u: np.ndarray) -> scipy.sparse.csc_array:
        """The equation's matrix, symmetric and positive definite."""
        x, y = self.faces(u)
        diagonal = x[1:] + x[:-1] + y[:, 1:] + y[:, :-1]
        inner = (-x[1:-1].ravel(), -y[:, 1:-1].ravel())
        values = np.concatenate([diagonal.ravel(), inner[0], inner[0], inner[1], inner[1]])[self.order]
        return scipy.sparse.csc_array((values, self.indices, self.indptr), (self.n**2, self.n**2))

    def bands(self, u: np.ndarray) -> np.ndarray:
        """The lower bands (n + 1, n n) of the same, as LAPACK stores them."""
        x, y = self.faces(u)
        out = np.zeros((self.n + 1, self.n**2))
        out[0] = (x[1:] + x[:-1] + y[:, 1:] + y[:, :-1]).ravel()
        beside = np.zeros((self.n, self.n))
        beside[:, :-1] = -y[:, 1:-1]
        out[1] = beside.ravel()
        out[self.n, : self.n * (self.n - 1)] = -x[1:-1].ravel()
        return out


def readings(n: int, points: np.ndarray) -> np.ndarray:
    """The matrix (k, n n) that reads the pressure at points, bilinear between cell centres, 0 on the boundary."""
    at = points * n - 0.5
    steep = np.where((at < 0) | (at > n - 1), 2.0, 1.0)[:, :, None]
    weights = np.maximum(1 - steep * np.abs(at[:, :, None] - np.arange(n)), 0)
    return np.einsum("ki,kj->kij", weights[:, 0], weights[:, 1]).reshape(len(points), -1)


def compare(case: Posterior, ours: Arrays, theirs: Arrays) -> float:
    """How far the two sides' draws are apart, in standard errors: the root mean square over what is compared.

    Of the mixture each side's means, second moments and the weight of a mode are compared with the exact ones. Of the
    elliptic problem, the means of the latent between the sides, after the mode and the deviations there.

    Raises:
        Failed: they did not sample the same posterior, or one of them not the exact one.
    """
    shape = (case.chains, case.steps, 2 if case.work == "mixture" else case.latent)
    for side in (ours, theirs):
        if side["z"].shape != shape or not np.isfinite(side["z"]).all():
            raise Failed(f"{case.name}: draws of shape {side['z'].shape}, expected finite ones of shape {shape}")
    if case.work == "mixture":
        exact = exactly(case.arrays())
        apart = max(_score(*_means(side), exact, 0.0) for side in (ours, theirs))
    else:
        for name in ("mode", "deviation"):
            off = np.linalg.norm(ours[name] - theirs[name]) / np.linalg.norm(theirs[name])
            if not off <= SEARCH:
                raise Failed(f"{case.name}: {name} differs by {off:.2g} of its norm, expected at most {SEARCH}")
        apart = _score(*_means(ours), *_means(theirs))
    if not apart <= SCORE:
        raise Failed(f"{case.name}: draws are {apart:.2g} standard errors apart, expected at most {SCORE}")
    return float(apart)


def _means(side: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Means of the second half of the chains, and their variances, from how far the chains are apart."""
    z = np.asarray(side["z"], np.float64)[:, side["z"].shape[1] // 2 :]
    told = np.concatenate([z, z**2, z[..., 1:] > 0], -1).mean(1) if z.shape[-1] == 2 else z.mean(1)
    return told.mean(0), told.var(0, ddof=1) / len(told)


def _score(mean: np.ndarray, variance: np.ndarray, other: np.ndarray, variance_of_other: Any) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):  # where no chain differs from another: infinite, or NaN
        return float(np.sqrt(np.mean((mean - other) ** 2 / (variance + variance_of_other))))
