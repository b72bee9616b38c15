"""How times are taken: alternating pairs of calls, and the median of their ratios with its interval."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Timer = Callable[[], tuple[float, float]]  # one call: wall seconds and CPU seconds


def timer(call: Callable[[], Any], pause: float = 0.0) -> Timer:
    """Times one call, after `pause` seconds; the call waits for its results."""

    def once() -> tuple[float, float]:
        time.sleep(pause)
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        return time.perf_counter() - wall, time.process_time() - cpu

    return once


def pairs(first: Timer, second: Timer, count: int) -> dict[str, np.ndarray]:
    """Wall and CPU seconds (count, 2) of alternating calls, after one warm-up call of each."""
    both = (first, second)
    for once in both:
        once()
    rows = []
    for i in range(count):
        order = (0, 1) if i % 2 == 0 else (1, 0)  # neither always comes first
        taken = {which: both[which]() for which in order}
        rows.append([taken[0], taken[1]])
    found = np.asarray(rows)
    return {"wall": found[..., 0], "cpu": found[..., 1]}


def ratios(first: Callable[[], Any], second: Callable[[], Any], count: int) -> np.ndarray:
    """Wall time of `first` over that of `second`, of calls in this process."""
    wall = pairs(timer(first), timer(second), count)["wall"]
    return wall[:, 0] / wall[:, 1]


def repeated(update: Callable, state: Any, *arguments: Any) -> Callable[[], Any]:
    """Calls an update again and again on one batch: its state is donated, so it is carried along."""
    import jax

    held = [state]

    def call() -> Any:
        held[0], metrics = update(held[0], *arguments)
        return jax.block_until_ready(metrics)

    return call


def order_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Distribution-free interval of the median from order statistics: the narrowest symmetric pair that covers it
    with probability `level` under independent draws; the range where there are too few of them."""
    ordered = np.sort(values)
    n = len(ordered)
    tail = lambda k: sum(math.comb(n, i) for i in range(k)) / 2**n  # P(fewer than k below the median)
    k = max((k for k in range(1, n // 2 + 1) if 1 - 2 * tail(k) >= level), default=1)
    return float(ordered[k - 1]), float(ordered[n - k])


def row(name: str, values: np.ndarray | Sequence[float], **more: Any) -> dict[str, Any]:
    """A line of the table: median and its interval."""
    low, high = order_interval(np.asarray(values))
    return {"name": name, "ratio": float(np.median(values)), "low": low, "high": high, "pairs": len(values), **more}
