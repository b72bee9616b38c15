"""Self-forcing: training videos are what the model itself rolls out from its own cache (Huang et al., 2506.08009).

    made = self_forcing(calls, noise, grids.self_forcing((1000, 500)), key).latents
    loss = dmd(real, fake, made, ...)                    # any loss of whole videos

What training meets is thus what sampling meets: each chunk sees the frames that the model made before it, mistakes
included. As in the public code, one step is drawn for all chunks at which every chunk ends, and it alone has a
gradient: steps before it, the states and the refresh of the cache have none, so memory does not grow with steps.
"""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Key

from vrjax.flow import Grid, Level, words
from vrjax.models.cached import Calls
from vrjax.train.objectives.flow import noisy
from vrjax.train.objectives.levels import level_of


class Rolled(NamedTuple):
    """A video that the model made.

    Attributes:
        latents: (g + G, ...), given frames in front.
        step: at which every chunk ended.
    """

    latents: Float[Array, "f *n"]
    step: Int[Array, ""]

    __repr__ = words.line


def self_forcing(
    calls: Calls,
    noise: Float[Array, "G *n"],
    grid: Grid,
    key: Key[Array, ""],
    *,
    given: Float[Array, "g *n"] | None = None,
    step: Any = None,
    context_sigma: Any = 0.0,
) -> Rolled:
    """Rolls out one video; its gradient reaches the weights through one denoising step of each chunk.

    Args:
        calls: of the network, its conditions closed over; its chunks are those of all g + G frames.
        noise: of the frames to be made.
        grid: the levels of a chunk's steps, which end at 0. Between them noise joins anew (`flow.renoise`).
        key: of that noise: chunk c at step k draws from `fold_in(fold_in(key, c), k)`; and of the step, where none is
            given.
        given: whole chunks in front, shown as they are.
        step: at which chunks end, 0 ... grid.steps - 1; None: drawn, uniformly. A batch shares one: give it.
        context_sigma: level at which a finished chunk is remembered, with fresh noise.

    Returns:
        The video, and the step.

    Raises:
        ValueError: given frames that are not whole chunks; chunks that are not all frames; a grid that ends above 0.
    """
    before = 0 if given is None else len(given)
    ends = [0, *itertools.accumulate(calls.chunks)]
    if before not in ends or ends[-1] != before + len(noise):
        raise ValueError(
            f"self_forcing: {before} given frames and {len(noise)} of noise, expected chunks that end at {ends}"
        )
    if grid.sigmas[-1] != 0:
        raise ValueError(f"self_forcing: the grid ends at sigma {grid.sigmas[-1]}, expected 0")
    sigmas, times = (jnp.asarray(row, jnp.float32) for row in (grid.sigmas, grid.times))
    at = jax.random.randint(jax.random.fold_in(key, len(calls.chunks)), (), 0, grid.steps) if step is None else step
    at, frozen = jnp.asarray(at, jnp.int32), calls.frozen()
    noise = lax.stop_gradient(noise)

    def show(state: Any, row: Any) -> tuple[Any, Any]:
        x, start, _ = row
        return frozen.after(state, x, level_of(0.0), start), x

    def make(state: Any, row: Any) -> tuple[Any, Any]:
        x, start, number = row
        own = jax.random.fold_in(key, number)

        def denoised(which: Calls, k: Any, x: Array) -> Array:
            return x - sigmas[k] * which.chunk(state, x, Level(sigmas[k], times[k]), start).v

        def one(k: Any, x: Array) -> Array:
            fresh = jax.random.normal(jax.random.fold_in(own, k), x.shape, x.dtype)
            return noisy(denoised(frozen, k, x), fresh, sigmas[k + 1])

        x = lax.stop_gradient(lax.fori_loop(0, at, one, x))
        made = denoised(calls, at, x)
        fresh = jax.random.normal(jax.random.fold_in(own, grid.steps), x.shape, x.dtype)
        shown = noisy(lax.stop_gradient(made), fresh, context_sigma)
        return lax.stop_gradient(frozen.after(state, shown, level_of(context_sigma), start)), made

    state, out = frozen.begin(), []
    whole = noise if given is None else jnp.concatenate([lax.stop_gradient(given).astype(noise.dtype), noise])
    for (_, known), run in itertools.groupby(range(len(calls.chunks)), lambda i: (calls.chunks[i], ends[i] < before)):
        numbers = list(run)
        start, end = ends[numbers[0]], ends[numbers[-1] + 1]
        x = whole[start:end].reshape(len(numbers), -1, *noise.shape[1:])
        rows = (x, jnp.asarray([ends[i] for i in numbers]), jnp.asarray(numbers))
        state, made = lax.scan(show if known else make, state, rows)
        out.append(made.reshape(-1, *noise.shape[1:]))
    return Rolled(jnp.concatenate(out), at)
