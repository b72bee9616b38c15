"""Errors of a frozen reference on the bank's draws, computed once: training then holds one model in memory."""

import dataclasses
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from vrjax.align.bank import Bank
from vrjax.align.cache import Encoded
from vrjax.align.config import AlignConfig
from vrjax.align.step import Batch, batch_errors, make_bank
from vrjax.files.kept import key
from vrjax.parallel import processes
from vrjax.train.optim import path_name
from vrjax.train.state import Network, batch_sharding, compute_dtype
from vrjax.train.step import conditions

NAMES = ("reference_win", "reference_lose")


def measure(network: Network, bank: Bank, whole: Any = None) -> Any:
    """The compiled `(params, base, batch) -> (win (b, draws), lose (b, draws, losers))`.

    `batch` is that of the preference step with `pair` (b,); `params` the weights (or adapters) of the reference;
    `whole` a sharding that brings the results to every process.
    """

    def run(params: Any, base: Any, batch: Batch) -> tuple[Array, Array]:
        dit, shape = network.build(params, base), batch["latent"].shape[1:]

        def at(k: Array) -> tuple[Array, Array]:
            drawn = jax.vmap(lambda pair: bank.draw(pair, k, shape))(batch["pair"])
            errors = batch_errors(dit, batch, drawn, network.layout)
            return errors.win, errors.lose

        win, lose = jax.lax.map(at, jnp.arange(bank.draws))
        return win.swapaxes(0, 1), lose.swapaxes(0, 1)

    return jax.jit(run, out_shardings=whole)


def tables(
    network: Network, bank: Bank, params: Any, base: Any, batches: Any, pairs: int, whole: Any = None
) -> dict[str, Float[np.ndarray, "..."]]:
    """`reference_win` (pairs, draws) and `reference_lose` (pairs, draws, losers) over all batches of a data set.

    Args:
        batches: iterable of host batches that together hold every pair number 0 ... pairs - 1 (repeats do no harm).

    Raises:
        ValueError: a pair is missing.
    """
    run, found = measure(network, bank, whole), {}
    for batch in batches:
        numbers, given = batch.pop("number", batch["pair"]), conditions(network.config.model, batch)
        batch = {name: batch[name] for name in ("latent", "lose", "pair")} | given
        win, lose = jax.device_get(run(params, base, batch))
        found |= {int(p): (w, l) for p, w, l in zip(np.asarray(numbers), win, lose, strict=True)}
    missing = sorted(set(range(pairs)) - set(found))
    if missing:
        raise ValueError(
            f"stored reference errors: {len(missing)} of {pairs} pairs were not measured, first {missing[0]}"
        )
    win, lose = zip(*(found[p] for p in range(pairs)), strict=True)
    return {"reference_win": np.stack(win), "reference_lose": np.stack(lose)}


class Rows:
    """Encoded pairs with their stored reference errors."""

    def __init__(self, pairs: Encoded, tables: dict[str, np.ndarray]):
        self.pairs, self.tables = pairs, tables

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self.pairs[index] | {name: table[index] for name, table in self.tables.items()}


def added(pairs: Encoded, network: Network, params: Any, mesh: Mesh, held: tuple[int, ...]) -> Rows:
    """The pairs with the errors of weights `params` on the config's bank, measured now or read from the pairs' folder.

    All processes of a run call it; the first one writes.
    """
    config: AlignConfig = network.config  # type: ignore[assignment]
    whole = NamedSharding(mesh, PartitionSpec())
    weights = processes.to_first((params, network.base), whole)
    spec = {"objective": dataclasses.asdict(config.objective), "draws": config.reference.draws, "seed": config.seed}
    spec |= {"low": config.preference.low, "high": config.preference.high, "pairs": pairs.digest}
    spec |= {"weights": processes.from_first(lambda: digest(weights)), "dtype": compute_dtype(config)}
    at = {name: key(kind="errors", name=name, **spec) for name in NAMES}
    if not processes.any_of(not all(pairs.cache.path("errors", at[name]).is_file() for name in NAMES)):
        return Rows(pairs, {name: pairs.cache.read("errors", name, at[name]) for name in NAMES})
    bank, count, size, sharding = make_bank(config), len(pairs), config.data.batch, batch_sharding(config, mesh)
    assert bank is not None  # the config has been checked

    def batch(start: int) -> dict[str, Any]:
        numbers = np.minimum(np.arange(start, start + size), count - 1)
        rows = jax.tree.map(lambda *x: np.stack(x), *(pairs[int(numbers[i])] for i in held))
        placed = {name: processes.from_rows(sharding, held, value, size) for name, value in rows.items()}
        return placed | {"number": numbers}

    batches = map(batch, range(0, count, size))
    found = tables(network, bank, params, network.base, batches, count, whole)
    if processes.first():
        for name in NAMES:
            pairs.cache.put("errors", name, at[name], found[name], spec, dtype="float32")
        print(f"{config.name}: reference errors of {count} pairs at {bank.draws} draws each are stored")
    processes.wait("reference errors")
    return Rows(pairs, found)


def digest(tree: Any) -> str:
    """SHA-256 of the names and bits of all arrays."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        total.update(path_name(path).encode())
        total.update(np.ascontiguousarray(leaf).tobytes())
    return total.hexdigest()
