"""The stream of any set of rows: once per epoch, in a new order, restartable, divided over processes."""

import json

import numpy as np
import pytest

from vrjax.data.batches import Shuffled, pipeline, stack


class Numbers:
    def __len__(self):
        return 10

    def __getitem__(self, i):
        return {"pair": np.asarray(i)}


def numbers(seed, rows=None):
    return pipeline(Shuffled(Numbers(), seed, "pairs"), batch=4, rows=rows)


def test_every_row_once_per_epoch_in_a_new_order_and_restartable():
    stream = numbers(3)
    batches = [next(stream)["pair"].tolist() for _ in range(10)]
    flat = sum(batches, [])
    epochs = [flat[i : i + 10] for i in range(0, 40, 10)]
    assert all(sorted(e) == list(range(10)) for e in epochs) and len({tuple(e) for e in epochs}) == 4
    again = numbers(3)
    for _ in range(3):
        next(again)
    state = json.loads(json.dumps(again.get_state()))
    fresh = numbers(3)
    fresh.set_state(state)
    assert [next(fresh)["pair"].tolist() for _ in range(4)] == batches[3:7]
    halves = [numbers(3, rows) for rows in ((0, 1), (2, 3))]
    assert [sum((next(h)["pair"].tolist() for h in halves), []) for _ in range(5)] == batches[:5]
    with pytest.raises(ValueError, match="expected some of the 4 rows"):
        numbers(0, (4,))
    with pytest.raises(ValueError, match="no pairs"):
        Shuffled([], 0, "pairs")


def test_rows_that_do_not_stack_are_named():
    with pytest.raises(ValueError, match="must have the same arrays, found \['b'\] in some only"):
        stack([{"a": np.zeros(2)}, {"a": np.zeros(2), "b": np.zeros(2)}])
    with pytest.raises(ValueError, match=r"one shape of a, found \[\(2,\), \(3,\)\]"):
        stack([{"a": np.zeros(2)}, {"a": np.zeros(3)}])
