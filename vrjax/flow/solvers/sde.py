"""A stochastic sampler with exact Gaussian transitions, in the two published forms used for reinforcement learning.

Every flow has a family of stochastic differential equations with the same marginals, one for each diffusion g:

    dx = [v + g^2 (x + (1 - sigma) v) / (2 sigma)] dsigma + g dW

since the score at level sigma is `-(x + (1 - sigma) v) / sigma`. One Euler-Maruyama step from sigma to sigma' with
d = sigma' - sigma < 0 is Gaussian:

    mean = x [1 + g^2 d / (2 sigma)] + v [1 + g^2 (1 - sigma) / (2 sigma)] d,     std = g sqrt(-d)

The published forms differ in g only:
- Flow-GRPO (Liu et al. 2025, arXiv 2505.05470; its public code): g = a sqrt(sigma / (1 - sigma)), a = 0.7; where
  sigma is 1 the denominator uses the grid's next sigma.
- DanceGRPO (Xue et al. 2025, arXiv 2505.07818; its public code): g = eta, constant, 0.25 to 0.3. It is written there as
  `x + v d - eta^2 score d / 2` with `score = -(x - (1 - sigma) x0) / sigma^2`, which is the line above.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vrjax.flow.core import Grid, Info, Solver
from vrjax.flow.varying import vary_as

_ETA = {"flow_grpo": 0.7, "dance_grpo": 0.3}


@functools.cache
def sde(
    kind: str = "flow_grpo",
    *,
    eta: float | None = None,
    window: tuple[int, int] | None = None,
    noisy_end: bool = False,
    reduce: str = "mean",
) -> Solver:
    """The stochastic solver; needs `key`. Offers `log_prob`, `mean`, `std` and `noise` to `Record`.

    Args:
        kind: "flow_grpo" or "dance_grpo".
        eta: noise level, Flow-GRPO's a or DanceGRPO's eta; by default 0.7 and 0.3. With 0 this is Euler.
        window: first and one past the last stochastic step, the others being Euler steps (as MixGRPO and Flow-GRPO-Fast
            do); None for all.
        noisy_end: whether the step to sigma 0 is stochastic too. Both published codes draw noise there but train on
            earlier steps only, and DanceGRPO decodes the data estimate; so by default that step is exact: x0 itself.
        reduce: of `log_prob` over elements, "mean" as published (their clip ranges assume it) or "sum", the density.

    A deterministic step has std 0, noise as drawn but unused, and log_prob 0. The gradient of `log_prob` holds the
    outcome fixed and reaches the network through the mean, as in policy-gradient methods.

    Raises:
        ValueError: for an unknown kind or reduction, a negative eta, an empty window.
    """
    if kind not in _ETA:
        raise ValueError(f"sde: kind must be one of {', '.join(_ETA)}, found {kind!r}")
    eta = _ETA[kind] if eta is None else float(eta)
    if not (math.isfinite(eta) and eta >= 0):
        raise ValueError(f"sde: eta must be finite and not negative, found {eta}")
    if reduce not in ("mean", "sum"):
        raise ValueError(f"sde: reduce must be 'mean' or 'sum', found {reduce!r}")
    if window is not None and not (len(window) == 2 and 0 <= window[0] < window[1]):
        raise ValueError(f"sde: window must be (first step, one past the last), found {window}")
    plan = functools.partial(_plan, kind=kind, eta=eta, window=window, noisy_end=noisy_end)
    total = jnp.mean if reduce == "mean" else jnp.sum
    return Solver(
        plan=plan,
        init=lambda x: (),
        step=functools.partial(_step, total=total),
        replay=functools.partial(_replay, total=total),
        stochastic=True,
    )


def _plan(grid: Grid, *, kind: str, eta: float, window, noisy_end: bool) -> dict[str, np.ndarray]:
    sigma, end = grid.sigmas[:-1], grid.sigmas[1:]
    if window is not None and window[1] > grid.steps:
        raise ValueError(f"sde: window {window} reaches beyond the grid's {grid.steps} steps")
    dt = end - sigma
    if kind == "flow_grpo":
        g = eta * np.sqrt(sigma / (1 - np.where(sigma == 1, grid.sigmas[1], sigma)))
    else:
        g = np.full_like(sigma, eta)
    step = np.arange(grid.steps)
    if window is not None:
        g = np.where((step >= window[0]) & (step < window[1]), g, 0.0)
    if not noisy_end:
        g = np.where(end == 0, 0.0, g)
    std = g * np.sqrt(-dt)
    random = std > 0
    return {
        "x": 1 + g**2 * dt / (2 * sigma),
        "v": (1 + g**2 * (1 - sigma) / (2 * sigma)) * dt,
        "std": std,
        # Inverse and normaliser of a step without noise are 0: its log-density is 0, with gradient 0.
        "inverse_std": np.divide(1.0, std, out=np.zeros_like(std), where=random),
        "log_norm": np.where(random, np.log(np.where(random, std, 1.0)) + 0.5 * math.log(2 * math.pi), 0.0),
    }


def _step(evaluate, x, state, row, key, *, total):
    prediction = evaluate(x)
    mean = _mean(x, prediction.v, row)
    noise = jax.random.normal(key, x.shape, x.dtype)
    x_next = mean + row["std"] * noise
    log_prob = _log_density(x, prediction.v, x_next, row, total)
    return x_next, state, Info(prediction, {"log_prob": log_prob, "mean": mean, "std": row["std"], "noise": noise})


def _replay(evaluate, x, row, x_next, *, total):
    prediction = evaluate(x)
    return Info(prediction, {"log_prob": _log_density(x, prediction.v, x_next, row, total)})


def _mean(x, v, row):
    return row["x"] * x + row["v"] * v


def _log_density(x, v, x_next, row, total):
    """Log-density of a diagonal Gaussian at a fixed outcome, its mean or sum over elements; 0 for a step without noise.

    The branch is also what makes a ratio exactly 1: XLA compiles it as a computation of its own, so that a rollout
    and its replay cannot fuse (and round) it differently. An optimisation barrier does not do that on CPU.
    """

    def density():
        z = (lax.stop_gradient(x_next) - _mean(x, v, row)) * row["inverse_std"]
        return total(-0.5 * (z * z) - row["log_norm"])

    like = jax.eval_shape(density)
    return lax.cond(row["std"] > 0, density, lambda: vary_as(jnp.zeros((), x.dtype), like))
