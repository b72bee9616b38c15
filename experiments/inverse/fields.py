"""Random fields of the elliptic problem: the true law and its data, what a field is told by, priors made of fields.

The true log-permeability is the two-layer field `darcy.prior`: neither Gaussian nor stationary, and an exact map of
white noise. All other priors are `generators.field`s of one shape, so that one program serves them all: the network
fitted in Wasserstein-2; the Gaussian of the data's principal components, which is where that fit begins; and the
stationary Matern field, by the leading components of its covariance. Lengths of fields are of L2 on the unit square.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from experiments.inverse import names
from experiments.inverse.config import Elliptic, Inverse
from experiments.inverse.keys import FIXED, data_sets
from vrjax.flow import draws
from vrjax.inverse import darcy, distances, generators
from vrjax.inverse.darcy import elliptic
from vrjax.inverse.operators import Operator
from vrjax.study.tables import Tables

SCALARS = ("u(1/2, 1/2)", "mean of exp(-u)", "share of the outflow at x = 1")
TRUTHS, MATERN = 0, 1
"""In a size's place: what keys are drawn for beside data sets, which have 4 points and more."""
BATCH = 64
"""Fields at once: more no longer fit a cache."""


class Problem(NamedTuple):
    """Of a seed: t truths with their data.

    Attributes:
        operator: from a log-permeability on the grid of the inversion to the sensors.
        y: (t, 36). noise_std: (t,). truth: (t, n, n), means of the fine truth over cells.
    """

    operator: Operator
    y: Any
    noise_std: Any
    truth: Any


class Frame(NamedTuple):
    """What fields are compared in: principal components (D, r) of the true law around its mean (D,), so scaled that
    a coordinate is one in L2 of the unit square, and directions (k, r) of sliced distances."""

    mean: Any
    components: Any
    directions: Any


def split(study: Inverse, seed: int, size: int) -> Key[Array, "3"]:
    """Keys of a data set of that size, or of what else stands in its place: of fields, of what else is drawn to make a
    prior or data of them, and of chains."""
    with draws.settled(True):
        return jax.random.split(data_sets(study, names.ELLIPTIC, seed, size, 1)[0], 3)


def problem(study: Inverse, seed: int) -> Problem:
    """The truths of a seed, drawn of the true law on the fine grid, and their data."""
    sizes = study.elliptic
    where, noise, _ = split(study, seed, TRUTHS)
    fine = drawn(where, darcy.prior(sizes.fine), sizes.truths)
    with draws.settled(True):
        made = [
            darcy.problem(one, truth, sizes.cells, noise=sizes.noise)
            for one, truth in zip(jax.random.split(noise, sizes.truths), fine, strict=True)
        ]
    truth = np.stack([np.asarray(darcy.coarsen(one, sizes.cells)) for one in fine])
    y, std = (np.stack([np.asarray(getattr(one, name)) for one in made]) for name in ("y", "noise_std"))
    return Problem(made[0].operator, y, std, truth)


def data_set(study: Inverse, seed: int, size: int) -> Float[np.ndarray, "m n n"]:
    """Training fields of the true law."""
    return drawn(split(study, seed, size)[0], darcy.prior(study.elliptic.cells), size)


def true(study: Inverse) -> Tables:
    """The true law, the same for all seeds.

    Returns:
        `mean`, `components`, `directions` of the `Frame`; `coordinates` (m, r) and `scalars` (m, 3) of fields that
        are independent of those that gave the components; `variance` (), the mean of |u - mean|^2; `left` (), the
        share of it that the components leave out.
    """
    sizes = study.elliptic
    basis, held, sides = split(study, FIXED, TRUTHS)
    prior = darcy.prior(sizes.cells)
    found, _ = generators.pca(drawn(basis, prior, sizes.fields), sizes.rank)
    with draws.settled(True):
        directions = np.asarray(distances.directions(sides, sizes.directions, sizes.rank))
    scaled = np.asarray(found.components / sizes.cells, np.float32)
    frame = Frame(np.asarray(found.mean, np.float32), scaled, directions)
    fields = drawn(held, prior, sizes.fields)
    coordinates, scalars = told(frame, fields)
    variance = float(np.var(fields, 0, dtype=np.float64).mean())
    left = found.rest / sizes.cells**2 / variance
    told_of = {"coordinates": coordinates, "scalars": scalars, "variance": variance, "left": left}
    return {name: np.asarray(value) for name, value in (frame._asdict() | told_of).items()}


def drawn(key: Key[Array, ""], prior: Any, number: int) -> Float[np.ndarray, "m n n"]:
    """Fields of a map of white noise, `prior(w)` with w of `prior.shape`.

    Raises:
        ValueError: one of them is not finite.
    """
    with draws.settled(True):
        fields = over(lambda few: _drawn(prior, few), jax.random.split(key, number))
    if bad := int(np.sum(~np.isfinite(fields).all((1, 2)))):
        raise ValueError(f"elliptic: {bad} of {number} fields are not finite: conjugate gradients did not converge")
    return fields


def told(frame: Frame, fields: Float[np.ndarray, "m n n"]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (m, r) and `SCALARS` (m, 3) of fields."""
    return over(lambda few: _told(frame, few), np.asarray(fields, np.float32))


def made(apply: Any, params: Any, z: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m n n"]:
    """Fields `apply(params, z)` of latents."""
    return over(lambda few: _made(apply, params, few), np.asarray(z, np.float32))


def over(run: Callable[[Any], Any], rows: Any) -> Any:
    """`run` over rows, `BATCH` at a time, so that any number of them is one program; the last batch is filled up."""
    found = []
    for start in range(0, len(rows), BATCH):
        at = np.minimum(np.arange(start, start + BATCH), len(rows) - 1)
        found.append(jax.tree.map(np.asarray, run(rows[at])))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(rows)], *found)


def generator(sizes: Elliptic) -> generators.Generator:
    """The class of all priors but the true one."""
    return generators.field(_inner(sizes), (sizes.cells, sizes.cells))


def fitted(study: Inverse, seed: int, data: Float[np.ndarray, "m n n"], latents: int) -> tuple[Any, generators.Report]:
    """The network fitted to training fields in Wasserstein-2; its report is in norms of L2 of the unit square."""
    sizes, prior = study.elliptic, darcy.prior(study.elliptic.cells)
    params, report = generators.fit_field(
        split(study, seed, len(data))[1],
        data,
        _inner(sizes),
        truth=(lambda key, number: drawn(key, prior, number)) if len(data) <= sizes.known_to else None,
        mode="plan",
        latents=latents,
        steps=sizes.steps,
        restarts=sizes.restarts,
    )
    told = {name: getattr(report, name) / sizes.cells for name in report._fields if name not in ("curve", "unsolved")}
    return _single(params), report._replace(**told)


def gaussian(sizes: Elliptic, data: Float[np.ndarray, "m n n"]) -> Any:
    """Parameters of the Gaussian of the data's mean and leading principal components: the network before its fit."""
    return _single(generator(sizes).init(draws.key(0), data))


def matern(sizes: Elliptic) -> tuple[Any, float]:
    """Parameters of the stationary field by its leading components, and the share of variance that these leave out."""
    prior = darcy.matern(sizes.cells)
    white = jnp.eye(sizes.cells**2).reshape(-1, *prior.shape)
    matrix = np.asarray(jax.jit(jax.vmap(prior))(white), np.float64).reshape(len(white), -1).T
    components, scales, _ = np.linalg.svd(matrix)
    params = generator(sizes).init(draws.key(0), np.zeros((sizes.rank, sizes.cells, sizes.cells)))
    params["components"] = components[:, : sizes.rank]
    params["inner"]["root"] = np.diag(scales[: sizes.rank])
    return _single(params), float(np.sum(scales[sizes.rank :] ** 2) / np.sum(scales**2))


def _inner(sizes: Elliptic) -> generators.Generator:
    return generators.mlp(sizes.rank, widths=sizes.widths)


def _single(params: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), params)


@jax.jit
def _drawn(prior: Any, keys: Any) -> Any:
    return jax.vmap(lambda key: prior(jax.random.normal(key, prior.shape, jnp.float32)))(keys)


@jax.jit(static_argnames="apply")
def _made(apply: Any, params: Any, z: Any) -> Any:
    return jax.vmap(apply, (None, 0))(params, z)


@jax.jit
def _told(frame: Frame, fields: Any) -> tuple[Any, Any]:
    def one(u: Any) -> tuple[Any, Any]:
        n = u.shape[0]
        across, _ = elliptic.transmissibilities(u)
        leaves = jnp.sum(across[-1] * elliptic.solve(u)[-1]) / elliptic.SOURCE
        middle = jnp.mean(u[(n - 1) // 2 : n // 2 + 1, (n - 1) // 2 : n // 2 + 1])
        coordinates = jnp.matmul(u.reshape(-1) - frame.mean, frame.components, precision="highest")
        return coordinates, jnp.stack([middle, jnp.mean(jnp.exp(-u)), leaves])

    return jax.vmap(one)(fields)
