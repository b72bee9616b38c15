"""What every benchmark of `vrjax.bench` must do. A new one is one file, and one row here: how to make a small one."""

import types
from collections.abc import Callable

import pytest

from tests.bench.test_babyvision import folder
from tests.bench.test_humanml3d import small_folder
from tests.bench.test_mbench import small_list
from tests.bench.test_vbvr_kit import tree
from vrjax import bench


def scores_of_vbvr(items):
    """A truth that is right everywhere, stills that are not, a row between them."""
    from vrjax.bench import vbvr

    def make(value):
        each = enumerate(items)
        return [vbvr.Score(i.split, i.task, i.index, i.task[0], value / (n + 1), None) for n, i in each]

    return {vbvr.TRUTH: make(1.0), vbvr.FIRST: make(0.1), vbvr.FINAL: make(0.9), "mine": make(0.25)}


def scores_of_mbench(items):
    from vrjax.bench import mbench

    make = lambda scale: [mbench.Score(item, scale * n, 2 * scale * n) for n, item in enumerate(items)]
    return {"mine": make(0.25), mbench.FROZEN: make(0.0), mbench.TRUTH: make(0.1)}


def scores_of_humanml3d(items):
    """One replication for each caption: the protocol's scores are of replications, over all captions."""
    from vrjax.bench import humanml3d

    make = lambda v: [humanml3d.Score(n, v / (n + 1), v, v, 1 - v, 2.0, 3.0, None) for n, _ in enumerate(items)]
    return {humanml3d.TRUTH: make(0.9), "mine": make(0.3)}


def scores_of_babyvision(items):
    """One row that is right every second time, one that never is."""
    from vrjax.bench import babyvision

    make = lambda each: [babyvision.Score(i.task_id, i.type, i.subtype, n % each == 0) for n, i in enumerate(items)]
    return {"mine": make(2), "other": make(3)}


# name -> (makes a small benchmark in a folder, scores of its items)
ROWS: dict[str, tuple[Callable, Callable]] = {
    "vbvr": (tree, scores_of_vbvr),
    "mbench": (small_list, scores_of_mbench),
    "humanml3d": (small_folder, scores_of_humanml3d),
    "babyvision": (folder, scores_of_babyvision),
}


def obeys(found, make, score, tmp_path):
    """The law of `bench.Benchmark`."""
    assert isinstance(found, types.ModuleType) and isinstance(found, bench.Benchmark)
    root = make(tmp_path / "bench")
    items = list(found.read(root))
    assert items and items == list(found.read(root))
    assert len(set(items)) == len(items)
    with pytest.raises((FileNotFoundError, ValueError), match="elsewhere"):
        found.read(tmp_path / "elsewhere")
    scores = score(items)
    rows = found.summary(scores)
    assert rows == found.summary(scores), "a summary must repeat"
    assert rows == found.summary({row: each[::-1] for row, each in scores.items()}), "no order decides"
    with pytest.raises(ValueError):
        found.summary({row: each[1:] if i else each for i, (row, each) in enumerate(scores.items())})


def test_every_benchmark_has_its_row():
    assert set(ROWS) == set(bench.names())
    with pytest.raises(ValueError, match="unknown benchmark 'olympics', expected one of .*vbvr"):
        bench.get("olympics")


@pytest.mark.parametrize("name", ROWS)
def test_a_benchmark_reads_and_sums_up(name, tmp_path):
    obeys(bench.get(name), *ROWS[name], tmp_path)
