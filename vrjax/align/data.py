"""Batches of encoded pairs: a shuffled, endless, restartable stream behind a Grain iterator."""

import hashlib
from collections.abc import Sequence
from typing import Any

import grain
import numpy as np

from vrjax.align import separability
from vrjax.align.cache import Encoded
from vrjax.align.config import AlignConfig
from vrjax.models import family
from vrjax.parallel import processes

_ENDLESS = 2**53
CHECKED = 64  # pairs looked at before training


def pairs(config: AlignConfig) -> Encoded:
    """The encoded pairs of a run, with the image condition that its model takes.

    Raises:
        ValueError: pairs of another model, or winners that differ from losers in something trivial.
    """
    assert config.pairs is not None
    row = Encoded(config.pairs, losers=0, condition=False)[0]
    channels, given = row["latent"].shape[-1], row["image"].shape[-1]
    wanted = family.of(config.model).conditions(config.model, row["latent"].shape).get("image", (0,))[-1]
    if wanted != given and (given or wanted != channels + 1):
        raise ValueError(
            f"config {config.name!r}: the model's image condition has {wanted} channels, the pairs in {config.pairs} "
            f"have {channels} channels and {given} of a stored condition: expected {given}"
            + (f", or {channels + 1} for the first frame and its mask" if not given else "")
        )
    found = Encoded(config.pairs, losers=config.clips - 1, condition=wanted != given)
    if found.losers and len(found) > 1:
        rows = (found[i] for i in range(min(len(found), CHECKED)))
        apart = separability.check((row["latent"], row["lose"]) for row in rows)
        for note in apart.notes if processes.first() else ():
            print(f"{config.name}: {note}")
        if not config.allow_separable:
            separability.refuse(apart, f"config {config.name!r}, pairs {config.pairs}")
    return found


def pipeline(
    pairs: Any,
    *,
    batch: int,
    seed: int,
    held: Sequence[int] | None = None,
    prefetch: int = 2,
) -> grain.DatasetIterator:
    """An endless iterator of batches of pairs; every pair once per epoch, in an order that changes with the epoch.

    Args:
      pairs: random access to rows, as `vrjax.align.cache.Encoded`.
      batch: pairs in a batch over all processes.
      seed: of the order.
      held: which rows of each batch this process makes (`vrjax.parallel.processes.local_rows`); by default all.
      prefetch: batches made ahead of time.

    Returns:
      A Grain iterator of dicts of stacked rows, with `get_state` (JSON-able) and `set_state`.

    Raises:
      ValueError: rows that a batch does not have, or no pairs.
    """
    chosen = tuple(range(batch)) if held is None else tuple(held)
    if not chosen or not set(chosen) <= set(range(batch)):
        raise ValueError(f"held={chosen}: expected some of the {batch} rows of a batch")
    if not len(pairs):
        raise ValueError("no pairs")
    rows = _Rows(pairs, seed, batch, chosen)
    dataset = grain.MapDataset.source(rows).batch(len(chosen), batch_fn=_stack)
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=max(1, prefetch))))


class _Rows:
    def __init__(self, pairs: Any, seed: int, batch: int, held: tuple[int, ...]):
        self.pairs, self.seed, self.batch, self.held = pairs, seed, batch, held

    def __len__(self) -> int:
        return _ENDLESS // self.batch * len(self.held)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        step, row = divmod(int(index), len(self.held))
        epoch, place = divmod(step * self.batch + self.held[row], len(self.pairs))
        return self.pairs[self.order(epoch, place)]

    def order(self, epoch: int, place: int) -> int:
        """Which pair stands at a place of an epoch: a permutation that needs no memory."""
        if len(self.pairs) == 1:
            return 0
        digest = hashlib.blake2b(repr((self.seed, "pairs", epoch)).encode(), digest_size=4).digest()
        key = int.from_bytes(digest, "little")
        return grain.experimental.index_shuffle(place, max_index=len(self.pairs) - 1, seed=key, rounds=4)

    def __repr__(self) -> str:
        return f"pairs({len(self.pairs)})"


def _stack(rows: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    names = set(rows[0])
    for row in rows:
        if set(row) != names:
            raise ValueError(
                f"pairs of one set must have the same arrays, found {sorted(names ^ set(row))} in some only"
            )
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
