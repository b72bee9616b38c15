"""Batches of rows behind a Grain iterator: one stream for worlds, encoded clips and pairs.

    data = pipeline(Shuffled(clips, seed, "clips"), batch=32, rows=local)
    next(data), data.get_state(), data.set_state(state)

A source is random access without an end: row number i is a function of i, whoever asks and in whatever order. Resuming,
prefetching and splitting over hosts are therefore only arithmetic on i.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import grain

ENDLESS = 2**53  # rows of a stream without end: no run gets there, and every reader of JSON can hold the number


def stack(rows: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Rows as one batch; ValueError where they do not have the same arrays of the same shapes."""
    for row in rows:
        if row.keys() != rows[0].keys():
            few = sorted(row.keys() ^ rows[0].keys())
            raise ValueError(f"rows of one batch must have the same arrays, found {few} in some only")
    for name in rows[0]:
        shapes = sorted({row[name].shape for row in rows})
        if len(shapes) > 1:
            raise ValueError(f"rows of one batch must have one shape of {name}, found {shapes}; encode them alike")
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def pipeline(
    source: Any,
    *,
    batch: int,
    rows: Sequence[int] | None = None,
    prefetch: int = 2,
    stack: Callable[[Sequence[Any]], dict[str, Any]] = stack,
) -> "grain.DatasetIterator":
    """An endless iterator of batches.

    Args:
        source: random access to rows, without an end.
        batch: rows in a batch over all processes.
        rows: which rows of each batch this process makes (`vrjax.parallel.processes.local_rows`); processes may share
            rows (their devices divide each clip) or hold scattered ones. By default all.
        prefetch: batches made ahead of time by a background thread.
        stack: rows -> batch.

    Returns:
        A Grain iterator of batches, with `get_state` (JSON-able; it counts batches) and `set_state`, which goes on
        right there, in any process.

    Raises:
        ValueError: rows that a batch does not have; from `next`, rows that do not stack.
    """
    import grain  # here, so that streams of clips need no Grain

    chosen = tuple(range(batch)) if rows is None else tuple(rows)
    if not chosen or not set(chosen) <= set(range(batch)):
        raise ValueError(f"batch={batch}, rows={chosen}: expected some of the {batch} rows of a batch")
    dataset = grain.MapDataset.source(_Held(source, batch, chosen)).batch(len(chosen), batch_fn=stack)
    # One thread: rendering holds the GIL, more would only contend. Grain's default would keep 500 batches.
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=max(1, prefetch))))


def place(number: int, count: int, seed: Callable[[int], int]) -> int:
    """Which of `count` rows stands at a place of an endless stream: all of them once per epoch, in the order of
    `seed(epoch)`, 32 bits. A permutation that needs no memory."""
    import grain

    epoch, here = divmod(number, count)
    if count == 1:
        return 0
    return grain.experimental.index_shuffle(here, max_index=count - 1, seed=seed(epoch), rounds=4)


class Shuffled:
    """A set of rows as an endless source: every row once per epoch, in an order that changes with the epoch.

    Args:
        rows: random access, with a length.
        seed: of the order.
        name: what the rows are, which the order depends on too.

    Raises:
        ValueError: there are none.
    """

    def __init__(self, rows: Any, seed: int, name: str):
        if not len(rows):
            raise ValueError(f"no {name}")
        self.rows, self.seed, self.name = rows, seed, name

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        return self.rows[place(number, len(self.rows), lambda epoch: digest(self.seed, self.name, epoch, size=4))]

    def __repr__(self) -> str:
        return f"{self.name}({len(self.rows)})"


def digest(*parts: object, size: int = 8) -> int:
    """Bits (`size` bytes) that depend on all parts, the same on every machine and Python."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=size).digest(), "little")


class _Held:
    """The rows of each batch that belong to one process, as a source of their own."""

    def __init__(self, source: Any, batch: int, rows: tuple[int, ...]):
        self.source, self.batch, self.rows = source, batch, rows

    def __len__(self) -> int:
        return ENDLESS // self.batch * len(self.rows)

    def __getitem__(self, index: int) -> Any:
        step, row = divmod(int(index), len(self.rows))
        return self.source[step * self.batch + self.rows[row]]

    def __repr__(self) -> str:
        return repr(self.source)
