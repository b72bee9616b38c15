"""Losers from the model itself, sampled inside the program that takes the step.

RealDPO's winners are real clips and its losers are samples of the base model for the same condition. `losers` is a pure
function of weights and key, so the preference step calls it between its data and its gradient.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from vrjax import flow, parallel
from vrjax.align.config import Rollout
from vrjax.flow import words
from vrjax.models.pipeline import denoise


class Losers(NamedTuple):
    """Sampled losers of a batch.

    Attributes:
        latents: (b, losers, ...).
        weight: (b,): of each pair, the share of its losers that are far enough from the winner to be losers.
        distance: (b, losers): mean squared latent difference to the winner.
    """

    latents: Any
    weight: Any
    distance: Any

    __repr__ = words.line


def sample_batch(
    model: Any,
    noise: Float[Array, "b k ..."],
    conditions: Mapping[str, Any],
    rollout: Rollout,
    layout: parallel.Layout | None = None,
    *,
    edits: Mapping[str, Callable] = denoise.NONE,
) -> Float[Array, "b k ..."]:
    """Final samples from given noises, k per condition: Euler, shifted grid, guidance against conditions of zeros.

    `edits` rewrite sites of the network; inside them the axis "seed" is the k samples of one condition.
    """
    recipe = denoise.Recipe(flow.grids.shifted(rollout.steps, shift=rollout.shift), "euler", (rollout.guidance,))
    run = denoise.run(recipe, record=flow.Record(steps=(), fields=()), edits=edits)

    def one(noise: Any, given: dict[str, Any]) -> Any:
        negative = {name: jnp.zeros_like(given[name]) for name in model.cfg.GUIDED}
        inputs = denoise.Inputs(given, negative)
        return run((model,), inputs, noise, jnp.arange(len(noise))).final

    return parallel.batch(layout, one)(noise, dict(conditions))


def losers(
    model: Any,
    winners: Float[Array, "b ..."],
    conditions: Mapping[str, Any],
    key: Array,
    rollout: Rollout,
    count: int,
    *,
    score: Callable[[Array, Array], Array] | None = None,
    layout: parallel.Layout | None = None,
) -> Losers:
    """Samples `count` losers for each winner; no gradient flows through them.

    Args:
        model: the network that makes them (policy or reference).
        winners: real clips, latents.
        conditions: theirs by name, (b, ...).
        key: fresh noise; row i draws from `fold_in(key, i)`.
        rollout: grid, guidance, how many candidates are sampled and which are too close to the winner to be losers.
        count: losers to keep.
        score: `score(winner, sample) -> scalar`, higher is better: of the candidates the `count` worst are kept. By
            default minus the mean squared difference to the winner: the farthest are kept.
        layout: that of the network the module was built from; winners are divided over the mesh.
    """
    b, *shape = winners.shape
    k = max(rollout.candidates, count)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(b))
    noise = jax.vmap(lambda key: jax.random.normal(key, (k, *shape), jnp.float32))(keys)
    samples = lax.stop_gradient(sample_batch(model, noise, conditions, rollout, layout)).astype(winners.dtype)
    difference = samples.astype(jnp.float32) - winners[:, None].astype(jnp.float32)
    distance = jnp.mean(jnp.square(difference), tuple(range(2, samples.ndim)))
    if k > count:
        value = (
            -distance if score is None else jax.vmap(lambda w, s: jax.vmap(lambda x: score(w, x))(s))(winners, samples)
        )
        worst = jnp.argsort(value, 1)[:, :count]
        samples = jnp.take_along_axis(samples, worst.reshape(b, count, *(1,) * len(shape)), 1)
        distance = jnp.take_along_axis(distance, worst, 1)
    weight = jnp.mean((distance > rollout.closest) if rollout.closest else jnp.ones_like(distance), 1)
    return Losers(samples, weight.astype(jnp.float32), distance)
