"""Ensembles over seeds without training, and the rivals that an honest table needs beside them.

A coupled run is an ordinary run under an axis named "seed" (`over_seeds`, `jax.vmap(..., axis_name="seed")`, pmap or a
mesh), in which an edit or a velocity combinator takes a mean over that axis.

| coupling | is | the coupled step |
| --- | --- | --- |
| `hidden_mean(blocks)` | model edits | residual stream after the blocks <- its mean |
| `x0_mean(velocity)` | velocity combinator | clean estimate <- its mean |
| `latent_mean(step)` | sampler edit | state <- its mean (noise std shrinks by sqrt(M): a low temperature) |
| `latent_mean(step, restore=...)` | sampler edit | the same with the noise std put back |

The mean is taken relative to the first member, so that equal members give exactly that member: an ensemble of identical
seeds equals the single run bit for bit, and one of a single member is a no-op.

`vote` combines decoded answers instead of states. `vrjax.reasoning.instruments.arms` makes one table of
all of them, with the temperatures, re-noising and step counts that need no coupling.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int

from vrjax.flow import Grid, Level, Phase, Prediction, Velocity

AXIS = "seed"

# ------------------------------------------------------------------------------------------------------- couplings


def mean(x: Array, axis: str = AXIS) -> Array:
    """Mean over a named axis, exact where all members are equal: `x_0 + mean_i (x_i - x_0)`.

    `lax.pmean` rounds: three equal float32 numbers summed and divided by three need not give the number back. Taken in
    at least float32; every member holds the same result.
    """
    members = lax.all_gather(x, axis)
    wide = members.astype(jnp.promote_types(x.dtype, jnp.float32))
    return (wide[0] + (wide - wide[0]).mean(axis=0)).astype(x.dtype)


def hidden_mean(blocks: Sequence[int], axis: str = AXIS) -> dict[str, Callable[[Array], Array]]:
    """Edits for a model: the residual stream after each of these blocks becomes its mean over seeds."""
    average = lambda h: mean(h, axis)
    return {f"block.{int(b)}": average for b in blocks}  # one function object: one branch in a scanned stack


def _split(out: Any) -> tuple[Array, dict]:
    return (out.v, out.taps) if isinstance(out, Prediction) else (out, {})


def x0_mean(velocity: Velocity, axis: str = AXIS) -> Velocity:
    """Velocity combinator: every member steers to the mean clean estimate, `v <- (x - mean(x0_hat)) / sigma`.

    Written as `v + [(x - mean(x)) - sigma (v - mean(v))] / sigma`: the bracket is exactly 0 for equal members, however
    the compiler rounds x0_hat, so they keep their v to the bit. At sigma 0, where x is data and the quotient has no
    limit, v itself is returned: values and gradients stay finite.
    """

    def combined(x: Array, level: Level) -> Prediction:
        v, taps = _split(velocity(x, level))
        sigma = jnp.asarray(level.sigma, x.dtype)
        apart = (x - mean(x, axis)) - sigma * (v - mean(v, axis))
        safe = jnp.where(sigma > 0, sigma, 1)  # a cond under vmap computes both branches
        # The branch also keeps XLA from fusing this into the solver's update and rounding that differently.
        return Prediction(v + lax.cond(sigma > 0, lambda a: a / safe, jnp.zeros_like, apart), taps)

    return combined


def latent_mean(
    step: int, *, restore: Velocity | None = None, grid: Grid | None = None, axis: str = AXIS
) -> Callable[[Array, Array, Any], Array]:
    """Sampler edit: at one step the states become their mean, optionally with the noise's standard deviation restored.

    Averaging M independent noises divides their std by sqrt(M). To put it back, the state is split by the prediction at
    hand into x = (1 - sigma) x0_hat + sigma eps_hat, eps_hat = x + (1 - sigma) v, and the mean noise is scaled to the
    members' root mean square:

        x <- mean(x) + sigma (c - 1) mean(eps_hat),    c^2 = mean_i |eps_hat_i|^2 / |mean(eps_hat)|^2

    c is about sqrt(M) for independent members, exactly 1 for equal ones. With a deterministic solver all members are
    the same run from this step on, which is why a window of several steps would be the same edit.

    Args:
        step: where, before the network sees the state.
        restore: a velocity for eps_hat, evaluated once more at this step; not called where sigma is 1 (there x is the
        noise). grid: of the run; needed with `restore`.

    Raises:
        ValueError: `restore` without `grid`, or a step the grid does not have.
    """
    if restore is not None and (grid is None or not 0 <= step < grid.steps):
        found = "none" if grid is None else f"{grid.steps} steps and step {step}"
        raise ValueError(f"latent_mean: restore needs the grid of the run and one of its steps, found {found}")

    def average(x: Array) -> Array:
        centre = mean(x, axis)
        if restore is None:
            return centre
        assert grid is not None
        sigma = jnp.asarray(grid.sigmas[step], x.dtype)
        noise = x
        if grid.sigmas[step] < 1:
            v, _ = _split(restore(x, Level(sigma, jnp.asarray(grid.times[step], x.dtype))))
            noise = x + (1 - sigma) * v
        shared = mean(noise, axis)
        power = mean(jnp.square(noise).mean(), axis)
        scale = jnp.sqrt(power / jnp.maximum(jnp.square(shared).mean(), jnp.finfo(x.dtype).tiny))
        return centre + sigma * (scale - 1) * shared

    return lambda at, x, key: lax.cond(at == step, average, lambda x: x, x)


def window(inside: Velocity, outside: Velocity, start: int, stop: int, steps: int) -> tuple[Phase, ...]:
    """Phases that use `inside` for the steps start .. stop - 1 and `outside` before and after."""
    if not 0 <= start <= stop <= steps:
        raise ValueError(f"window: expected 0 <= start <= stop <= {steps} steps, found {start}, {stop}")
    if start == stop:
        return (Phase(steps, outside),)
    parts = (Phase(start, outside), Phase(stop, inside), Phase(steps, outside))
    return tuple(p for p, before in zip(parts, (0, start, stop), strict=True) if p.stop > before)


# ------------------------------------------------------------------------------------------------- voting, pass@k


def codes(answers: Sequence[Any]) -> np.ndarray:
    """Whole numbers for decoded answers on the host: equal answers, equal numbers; an undecodable one (None) equals no
    other.

    Answers may be hashable, NumPy arrays, or lists and dicts of those.
    """

    def frozen(a: Any) -> Hashable:
        if isinstance(a, dict):
            return ("dict", tuple(sorted((repr(k), frozen(v)) for k, v in a.items())))
        if isinstance(a, (list, tuple)):
            return ("list", tuple(frozen(v) for v in a))
        if isinstance(a, (np.ndarray, jax.Array)):
            return ("array", np.shape(a), tuple(np.asarray(a).ravel().tolist()))
        return a

    seen: dict[Hashable, int] = {}
    numbers = [-1 - i if a is None else seen.setdefault(frozen(a), len(seen)) for i, a in enumerate(answers)]
    return np.asarray(numbers)


def vote(answers: Int[Array | np.ndarray, "members *answer"]) -> Int[Array, " members"]:
    """Whose answer wins the majority, once for every seed that could have come first.

    Args:
        answers: decoded answers as whole numbers (`codes` on the host, a label map on the device).

    Returns:
        For each rotation r the index of the winner: the answer with most votes; among equals the first of r, r + 1, ...
        So without any agreement rotation r gives member r, the single run.
    """
    flat = jnp.asarray(answers)
    flat = flat.reshape(len(flat), -1)
    members = len(flat)
    votes = (flat[:, None] == flat[None]).all(axis=-1).sum(axis=1)
    order = (jnp.arange(members)[:, None] + jnp.arange(members)) % members  # [rotation, place in line]
    first = jnp.argmax(votes[order], axis=1)  # argmax takes the first of equals
    return jnp.take_along_axis(order, first[:, None], axis=1)[:, 0]
