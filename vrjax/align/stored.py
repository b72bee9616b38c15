"""Errors of a frozen reference on the bank's draws, computed once: training then holds one model in memory."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vrjax.align.bank import Bank
from vrjax.align.step import Batch, batch_errors
from vrjax.train.state import Network
from vrjax.train.step import conditions


def measure(network: Network, bank: Bank) -> Any:
    """The compiled `(params, base, batch) -> (win (b, draws), lose (b, draws, losers))`.

    `batch` is that of the preference step with `pair` (b,); `params` the weights (or adapters) of the reference.
    """

    def run(params: Any, base: Any, batch: Batch) -> tuple[Array, Array]:
        dit, shape = network.build(params, base), batch["latent"].shape[1:]

        def at(k: Array) -> tuple[Array, Array]:
            drawn = jax.vmap(lambda pair: bank.draw(pair, k, shape))(batch["pair"])
            errors = batch_errors(dit, batch, drawn, network.layout)
            return errors.win, errors.lose

        win, lose = jax.lax.map(at, jnp.arange(bank.draws))
        return win.swapaxes(0, 1), lose.swapaxes(0, 1)

    return jax.jit(run)


def tables(
    network: Network, bank: Bank, params: Any, base: Any, batches: Any, pairs: int
) -> dict[str, Float[np.ndarray, "..."]]:
    """`reference_win` (pairs, draws) and `reference_lose` (pairs, draws, losers) over all batches of a data set.

    Args:
      batches: iterable of host batches that together hold every pair number 0 ... pairs - 1 (repeats do no harm).

    Raises:
      ValueError: a pair is missing.
    """
    run, found = measure(network, bank), {}
    for batch in batches:
        given = conditions(network.config.model, batch)
        batch = {name: batch[name] for name in ("latent", "lose", "pair")} | given
        win, lose = jax.device_get(run(params, base, batch))
        found |= {int(p): (w, l) for p, w, l in zip(np.asarray(batch["pair"]), win, lose, strict=True)}
    missing = sorted(set(range(pairs)) - set(found))
    if missing:
        raise ValueError(
            f"stored reference errors: {len(missing)} of {pairs} pairs were not measured, first {missing[0]}"
        )
    win, lose = zip(*(found[p] for p in range(pairs)), strict=True)
    return {"reference_win": np.stack(win), "reference_lose": np.stack(lose)}
