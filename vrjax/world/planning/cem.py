"""The cross-entropy method (Rubinstein 1999): sample plans, keep the best, fit a normal law to them, sample again."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from vrjax.world.planning._core import BACKWARD, Judge, Method, adam, propose, still

LEAST = 0.02
"""The smallest standard deviation, so that no number of a plan is settled before the others."""


def cem(
    *,
    candidates: int,
    elites: int | None = None,
    std: Any = 0.5,
    inertia: Any = 0.1,
    refine: int = 0,
    rate: Any = 0.1,
) -> Method:
    """CEM with one normal law per number of the plan.

    Candidates that are not finite are never elites: where fewer than `elites` are finite, the law is fitted to those
    that are, and it stays as it is where none is.

    Args:
        candidates: plans per iteration; the first is the mean of the law.
        elites: how many are kept; None: a tenth, at least two.
        std: the first standard deviation, in units of the input.
        inertia: share of the old law in the new one, in [0, 1).
        refine: steps of Adam that each elite takes before the law is fitted to the best point of each (Bharadhwaj, Xie
            & Shkurti 2020). "gradient+cem" is this method with 20 of them.
        rate: the length of a step of Adam, in units of the input.

    Raises:
        ValueError: elites that are not 1 to `candidates`; a negative `refine`.
    """
    kept = min(candidates, max(2, candidates // 10)) if elites is None else elites
    if not 1 <= kept <= candidates:
        raise ValueError(f"cem: elites must be 1 to {candidates}, found {kept}")
    if refine < 0:
        raise ValueError(f"cem: refine must be at least 0, found {refine}")

    def init(start, key):
        del key
        return start, jnp.full_like(start, std)

    def step(judge, carry, best, key):
        mean, spread = carry
        draw, chance = jax.random.split(key)
        inputs = propose(judge, mean, spread, draw, candidates)
        costs = judge.costs(inputs, chance)
        best = best.among(inputs, costs)
        order = jnp.argsort(costs)[:kept]
        chosen, told = inputs[order], costs[order]
        if refine:
            chosen, told = descend(judge, chosen, told, chance, refine, rate)
            best = best.among(chosen, told)
        fine = jnp.isfinite(told).astype(chosen.dtype)
        average = lambda x: jnp.tensordot(fine, x, 1) / jnp.maximum(fine.sum(), 1)
        centre = average(chosen)
        wide = jnp.maximum(jnp.sqrt(average((chosen - centre) ** 2)), LEAST)
        mix = jnp.where(fine.sum() > 0, 1 - inertia, 0.0)
        carry = mean + mix * (centre - mean), spread + mix * (wide - spread)
        return carry, best, jnp.isfinite(costs).mean()

    return Method(init, step, candidates + refine * kept * (1 + BACKWARD))


def descend(judge: Judge, inputs: Any, costs: Any, key: Any, steps: int, rate: Any) -> tuple[Any, Any]:
    """Adam on each candidate by itself, under one chance: the best points seen, and their costs.

    The point after the last step is not looked at: each step costs one gradient.
    """

    def one(carry, _):
        x, moments, best, least = carry
        now, slope = judge.descent(x, key)
        better = now < least
        best, least = jnp.where(better.reshape(-1, *[1] * (x.ndim - 1)), x, best), jnp.where(better, now, least)
        return (*adam(judge, x, slope, moments, rate), best, least), None

    (_, _, best, least), _ = lax.scan(one, (inputs, still(inputs), inputs, costs), None, length=steps)
    return best, least
