"""Generators of fields: `u = mean + Phi_r T(z)`, with Phi_r the leading principal components of the training fields.

A white latent has no limit as the grid is refined; coloured through Phi_r it has one. The fit is done in the r
coordinates, exactly: for fields u = mean + Phi_r c, `|u - x|^2 = |c - Phi_r' (x - mean)|^2 + rest(x)`, so the plan is
the same and `W2^2` is that of the coordinates and the mean rest, which no T can reduce.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vrjax.inverse.distances import checks
from vrjax.inverse.generators.core import Generator, Report
from vrjax.inverse.generators.fitting import fit, statistical


class Basis(NamedTuple):
    """Principal components of fields, float64 on the host.

    Attributes:
        mean: (D,) of flattened fields.
        components: (D, r), orthonormal, the largest variance first.
        rest: the mean over fields of the squared norm that the components leave out.
    """

    mean: np.ndarray
    components: np.ndarray
    rest: float


def pca(fields: Float[Array | np.ndarray, "n ..."], rank: int) -> tuple[Basis, Float[np.ndarray, "n r"]]:
    """Principal components of fields (n, ...) and the fields' coordinates in them.

    Raises:
        ValueError: fields that are not finite, or a rank that is not within 1 ... min(n, D).
    """
    fields = np.asarray(fields, np.float64)
    checks.finite("pca", "fields", fields)
    flat = fields.reshape(len(fields), -1)
    if not 1 <= rank <= min(flat.shape):
        raise ValueError(f"pca: rank must lie in 1 to {min(flat.shape)} for fields {fields.shape}, found {rank}")
    mean = flat.mean(0)
    _, _, rows = np.linalg.svd(flat - mean, full_matrices=False)
    components = rows[:rank].T
    coordinates = (flat - mean) @ components
    rest = np.mean(np.sum((flat - mean) ** 2, 1) - np.sum(coordinates**2, 1))
    return Basis(mean, components, max(float(rest), 0.0)), coordinates


@functools.cache
def field(inner: Generator, shape: tuple[int, ...]) -> Generator:
    """The generator of fields of a shape whose coordinates are `inner`'s. Its parameters are `inner`, `mean` (D,) and
    `components` (D, r); `init(key, fields)` makes the components from fields (n, ...), which it needs."""

    def init(key, data=None):
        if data is None:
            raise ValueError(
                "field: init needs the fields whose components it shall take, init(key, fields), found none"
            )
        basis, coordinates = pca(data, inner.output[0])
        return {
            "inner": inner.init(key, coordinates),
            "mean": jnp.asarray(basis.mean),
            "components": jnp.asarray(basis.components),
        }

    def apply(params, z):
        mean, components = jax.lax.stop_gradient((params["mean"], params["components"]))
        return (mean + components @ inner.apply(params["inner"], z)).reshape(shape)

    return Generator(init, apply, inner.latent, shape)


def fit_field(
    key: Key[Array, ""],
    fields: Float[Array | np.ndarray, "n ..."],
    inner: Generator,
    *,
    truth: Callable[[Any, int], Any] | None = None,
    **options: Any,
) -> tuple[Any, Report]:
    """Fit `field(inner, shape)` to fields: `fit` in the coordinates of the leading components.

    Args:
        key: of the fit, split once.
        fields: (n, ...), the training fields.
        inner: a generator of the r coordinates, such as `mlp(64, widths=(256, 256))`.
        truth: `truth(key, number) -> (number, ...)`, a sampler of true fields.
        options: of `fit`: `mode`, `latents`, `steps` ... `best_known` counts whole fields.

    Returns:
        parameters of `field(inner, fields.shape[1:])`, and the report in the norm of whole fields: every W2 has the
        norm that the components leave out in it (but the curve, which is of the coordinates).

    Raises:
        ValueError: as `pca` and `fit`.
    """
    basis, coordinates = pca(fields, inner.output[0])
    one, two = jax.random.split(key)
    if (known := options.pop("best_known", None)) is not None:
        options["best_known"] = float(np.sqrt(max(known**2 - basis.rest, 0.0)))
    params, report = fit(one, coordinates, inner, **options)
    whole = lambda w2: float(np.sqrt(w2**2 + basis.rest))
    restarts = np.sqrt(report.restarts**2 + basis.rest)
    approximation, term = whole(report.approximation), float("nan")
    if truth is not None:
        flat = np.asarray(fields).reshape(len(fields), -1)
        term = statistical(two, flat, lambda key, number: np.reshape(truth(key, number), (number, -1)))
    report = report._replace(
        train_w2=whole(report.train_w2),
        optimisation_gap=float(np.median(restarts)) - approximation + 0.0 * report.optimisation_gap,  # NaN stays
        approximation=approximation,
        statistical=term,
        fresh_w2=whole(report.fresh_w2),
        restarts=restarts,
    )
    return {"inner": params, "mean": jnp.asarray(basis.mean), "components": jnp.asarray(basis.components)}, report
