"""`fit`: a generator whose law is nearest to the data in Wasserstein-2."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vrjax.files import named
from vrjax.inverse import distances
from vrjax.inverse.distances import checks
from vrjax.inverse.generators import modes
from vrjax.inverse.generators.core import Generator, Report, push, sobol

MODES = "vrjax.inverse.generators.modes"
SAMPLE = 1 << 16  # of the true law on the line
PAIRS = 1 << 22  # of points in a plan against the true law


def fit(
    key: Key[Array, ""],
    data: Float[Array | np.ndarray, "..."],
    generator: Generator,
    *,
    mode: str = "plan",
    latents: int = 512,
    steps: int = 800,
    inner: int = 20,
    learning_rate: float | None = None,
    epsilon: float | None = None,
    restarts: int = 2,
    best_known: float | None = None,
    truth: Callable[[Any, int], Any] | None = None,
) -> tuple[Any, Report]:
    """Fit a generator to data by minimum Wasserstein-2 (Hosseini & Huang 2026, arXiv 2601.17374: its criterion; the
    optimisers are ours).

    Adam with a cosine from the learning rate to 0, always on the full data and on fixed latent points: minibatches of
    optimal transport would bias the fit toward the mean. Compiled once for a generator and numbers of latent points and
    steps ("sinkhorn": and of data), whatever the data, rate and restart. It talks to the host: no jit around it.

    Args:
        key: of latent points and restarts, split once.
        data: (n,) or (n, d).
        generator: of output (d,), such as `mlp(d)`. The same object is compiled once.
        mode: "sorted" (the line only, exact), "plan" (exact, POT on the host), "sinkhorn" (ott-jax, `epsilon`).
        latents: m, the number of fixed latent points; a power of two except in "sorted". Of a class that can tell them
            all apart, the train W2 is bounded below by what m points can say of n.
        steps: of Adam in all, rounded up to whole rounds in "plan".
        inner: steps between two plans.
        learning_rate: at the start; 1e-2 ("sorted") or 3e-3.
        epsilon: of "sinkhorn", in squared units of the data.
        restarts: runs from different starts, the best of which (by train W2) is returned.
        best_known: a W2 that the class is known to reach on these data, for the optimisation gap.
        truth: `truth(key, number) -> (number, d)`, a sampler of the true law, for the statistical error.

    Returns:
        parameters, and the `Report` of approximation, statistical and optimisation error.

    Raises:
        ValueError: data that are not points of the generator's output or not finite, an unknown mode, a mode that does
            not fit, epsilon missing or in a mode without one, sizes below 1, a fit that ends with numbers that are not
            finite.
        ImportError: without POT or ott-jax, where the mode needs it.
    """
    data = np.asarray(checks.points("fit", "data", data), np.float64)
    way = named.module(MODES, mode, "mode")
    _check(data, generator, mode, epsilon, dict(latents=latents, steps=steps, inner=inner, restarts=restarts))
    rate = way.RATE if learning_rate is None else learning_rate
    if not (np.isfinite(rate) and rate > 0):
        raise ValueError(f"fit: learning_rate must be finite and above 0, found {rate}")
    place, start, fresh, true = jax.random.split(key, 4)
    z = way.latents(place, latents, generator)
    options = modes.Options(steps, inner, rate, epsilon)
    runs = [
        way.run(generator, generator.init(one, data), data, z, options) for one in jax.random.split(start, restarts)
    ]
    reached = np.asarray([_w2(generator, run.params, z, data) for run in runs])
    if not np.isfinite(reached).all():
        raise ValueError(
            f"fit: mode {mode!r} ended with numbers that are not finite in {np.sum(~np.isfinite(reached))} of "
            f"{restarts} restarts; lower the learning rate ({rate:g}) or raise epsilon ({epsilon})"
        )
    params = runs[int(np.argmin(reached))].params
    known = [] if best_known is None else [float(best_known)]
    if generator.best is not None and mode == "sorted":
        wanted = jnp.asarray(way.targets(data, latents)[0], jnp.float32)
        known.append(_w2(generator, generator.best(jnp.asarray(z, jnp.float32), wanted), z, data))
    best = float(min([*reached, *known]))
    told = restarts > 1 or bool(known)
    unseen = sobol(fresh, 1 << max(latents - 1, 1).bit_length(), generator.latent)
    return params, Report(
        train_w2=float(reached.min()),
        optimisation_gap=float(np.median(reached)) - best if told else float("nan"),
        approximation=best,
        statistical=float("nan") if truth is None else statistical(true, data, truth),
        fresh_w2=_w2(generator, params, unseen, data),
        restarts=reached,
        curve=np.stack([run.curve for run in runs]),
        unsolved=sum(run.unsolved for run in runs),
    )


def statistical(key: Key[Array, ""], data: Float[Array | np.ndarray, "..."], truth: Callable[[Any, int], Any]) -> float:
    """`2 W2(nu_n, nu)`, the statistical term of T4, against a sample of the true law in place of the law.

    The sample has 65,536 points on the line; else as many as the data, and up to 4 times as many (at least 1,024) while
    the plan has no more than four million pairs. By Jensen's inequality the mean over samples is not below the term.

    Args:
        key: of the sample.
        data: (n,) or (n, d).
        truth: `truth(key, number) -> (number, d)`.

    Raises:
        ValueError: a sampler that returns another shape.
    """
    data = np.asarray(checks.points("statistical", "data", data), np.float64)
    n, d = data.shape
    number = SAMPLE if d == 1 else max(n, min(max(4 * n, 1024), PAIRS // n))
    drawn = np.asarray(truth(key, number), np.float64)
    if drawn.shape != (number, d) and drawn.shape != (number,) * (d == 1):
        raise ValueError(f"statistical: truth must return ({number}, {d}), found shape {drawn.shape}")
    return 2.0 * float(distances.w2(data, drawn.reshape(number, d)))


def _w2(generator: Generator, params: Any, z: np.ndarray, data: np.ndarray) -> float:
    """Exact W2 of the pushed latent points to the data; NaN if a point is not finite."""
    made = np.asarray(push(generator, params, jnp.asarray(z, jnp.float32)), np.float64)
    return float(distances.w2(made, data)) if np.isfinite(made).all() else float("nan")


def _check(data: np.ndarray, generator: Generator, mode: str, epsilon: float | None, sizes: dict[str, int]) -> None:
    if generator.output != data.shape[1:]:
        raise ValueError(f"fit: data must be (n, d) with d the generator's {generator.output}, found {data.shape}")
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"fit: {name} must be at least 1, found {size}")
    if (epsilon is None) == (mode == "sinkhorn"):
        raise ValueError(f"fit: epsilon is of mode 'sinkhorn', which needs it, found {epsilon} in mode {mode!r}")
    if epsilon is not None and not (np.isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"fit: epsilon must be finite and above 0, found {epsilon}")
