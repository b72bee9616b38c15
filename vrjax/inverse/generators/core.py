"""What a generator is, what a fit reports, and the latent points that a fit keeps."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key


class Generator(NamedTuple):
    """A generator as pure functions: the law of T(z) for z ~ N(0, I).

    Attributes:
        init: `init(key, data=None) -> params`; data (n, ...) give its scale, where the generator has one.
        apply: `apply(params, z (r,)) -> (...)`, one example; batches by vmap.
        latent: r, the dimension of z.
        output: the shape of an example, `(d,)` of those that `fit` fits.
        best: `best(z (m, r), targets (m, d)) -> params`, the least squares fit to given targets in closed form, where
            the class has one.
    """

    init: Callable[..., Any]
    apply: Callable[[Any, Any], Any]
    latent: int
    output: tuple[int, ...]
    best: Callable[[Any, Any], Any] | None = None


@functools.partial(jax.jit, static_argnames="generator")
def push(generator: Generator, params: Any, z: Float[Array | np.ndarray, "m r"]) -> Float[Array, "m ..."]:
    """Outputs (m, ...) of latent points (m, r), compiled once for a generator and a shape."""
    return jax.vmap(generator.apply, (None, 0))(params, z)


class Report(NamedTuple):
    """What a fit is worth: approximation, statistical and optimisation error apart.

    With nu the true law, nu_n the data and T the fit, the triangle inequality says
    `W2(T, nu) <= train_w2 + W2(nu_n, nu)`, and `train_w2 = approximation + optimisation_gap` (oracle inequality T4,
    with what was found in place of the infimum). All W2 are exact, not squared, in the units of the data.

    Attributes:
        train_w2: W2 between the fit on its fixed latent points and all the data. The fit is the best of the restarts.
        optimisation_gap: what a typical run of this optimiser loses: median over restarts of their train W2, less
            `approximation`. An upper estimate of the loss of the fit that is returned, relative to what is known; NaN
            (not known) after one restart with neither a closed form nor `best_known`.
        approximation: the best train W2 that is known of this class on these data: the least of all restarts, of its
            closed form where there is one, and of `best_known`. An upper bound of the class's infimum.
        statistical: `2 W2(nu_n, nu)`, estimated against a larger sample of the true sampler, so a little too large
            (W2 grows with the noise of that sample); NaN without a sampler.
        fresh_w2: W2 between the fit on latent points it has not seen and the data: far above train_w2, it has learned
            its latent points and no law.
        restarts: (restarts,) train W2 of each.
        curve: (restarts, k) of the optimiser: exact W2 before each step ("sorted"), or before each round and at the
            end ("plan"); the divergence in squared units before each step ("sinkhorn").
        unsolved: Sinkhorn problems that did not converge, summed over steps and restarts; 0 in the exact modes.
    """

    train_w2: float
    optimisation_gap: float
    approximation: float
    statistical: float
    fresh_w2: float
    restarts: np.ndarray
    curve: np.ndarray
    unsolved: int


def midpoints(number: int) -> Float[np.ndarray, "m 1"]:
    """The normal's quantiles at (i - 1/2) / m: the fixed latent points on the line, float64."""
    from scipy.special import ndtri

    if number < 1:
        raise ValueError(f"midpoints: number must be at least 1, found {number}")
    return ndtri((np.arange(number) + 0.5) / number)[:, None]


def sobol(key: Key[Array, ""], number: int, dimension: int) -> Float[np.ndarray, "m r"]:
    """Scrambled Sobol points through the normal's quantile function, float64: a fixed quasi-random N(0, I).

    Raises:
        ValueError: a number that is no power of two, for which the points are not balanced.
    """
    from scipy.special import ndtri
    from scipy.stats import qmc

    if number < 1 or number & (number - 1):
        raise ValueError(f"sobol: number of latent points must be a power of two, found {number}")
    seed = np.random.default_rng(np.asarray(jax.random.bits(key, (4,), "uint32")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of more than 2^30 points
        points = qmc.Sobol(dimension, scramble=True, bits=30, rng=seed).random(number)
    # A coordinate may be 0, the edge of the lowest cell: its middle is meant.
    return ndtri(np.maximum(points, 2.0**-31))
