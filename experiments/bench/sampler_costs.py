"""What the sampler's promises cost: recording everything beside nothing, and compiling 200 steps beside 10.

    python -m experiments.bench.sampler_costs            a quarter of a minute on two cores

Prints ratios of times measured in alternating pairs in one process, median and range, on the shipped model and one
maze (225 tokens, 20 Euler steps), and writes `runs/sampler_costs/results.json`.
"""

import argparse
import pathlib
import time
from collections.abc import Callable

import jax
import numpy as np

from vrjax import tasks
from vrjax.data import worlds
from vrjax.flow import Record, Trajectory, grids, sample
from vrjax.models.embedded import shipped
from vrjax.report import claims


def seconds(fn: Callable[[], object]) -> float:
    """Wall time of one call, results awaited."""
    start = time.perf_counter()
    jax.block_until_ready(fn())
    return time.perf_counter() - start


def ratio(a: Callable[[], object], b: Callable[[], object], pairs: int) -> dict[str, float]:
    """Median and range of time(a) / time(b) over alternating pairs, after one warm-up of each."""
    seconds(a)
    seconds(b)
    values = [seconds(a) / seconds(b) for _ in range(pairs)]
    return {"ratio": float(np.median(values)), "low": min(values), "high": max(values), "pairs": pairs}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/sampler_costs"))
    parser.add_argument("--pairs", type=int, default=11)
    options = parser.parse_args()
    dit = shipped.load("worlds")
    clip = tasks.get("maze").make(0, "test")
    given = worlds.example(clip, text_len=dit.cfg.text_len, text_dim=dit.cfg.text_dim)
    noise = jax.random.normal(jax.random.key(0), given["latent"].shape)

    def program(steps: int, record: Record) -> Callable:
        def run(dit, noise) -> Trajectory:
            return sample(
                dit.velocity(given["text"], given["image"]), noise, grids.shifted(steps, shift=3.0), record=record
            )

        return run

    everything, nothing = Record(), Record(steps=())
    full, bare = (jax.jit(program(20, r)).lower(dit, noise).compile() for r in (everything, nothing))
    rows = {
        "time, recording x, v and x0 of every step / nothing": ratio(
            lambda: full(dit, noise), lambda: bare(dit, noise), options.pairs
        )
    }

    def returned(compiled) -> int:
        analysis = compiled.memory_analysis()
        assert analysis is not None  # None on backends that do not report it
        return analysis.output_size_in_bytes

    kept = returned(full) - returned(bare)
    due = (21 + 20 + 20) * noise.size * 4
    rows["memory, bytes returned more / bytes of what is recorded"] = {
        "ratio": kept / due,
        "low": kept / due,
        "high": kept / due,
    }

    def compiling(steps: int) -> Callable[[], object]:
        def fresh() -> object:
            jax.clear_caches()
            return jax.jit(program(steps, everything)).lower(dit, noise).compile() and 0

        return fresh

    rows["compile time, 200 steps / 10 steps"] = ratio(compiling(200), compiling(10), max(3, options.pairs // 3))
    for name, row in rows.items():
        print(f"{name:<58} {row['ratio']:.3f}  [{row['low']:.3f}, {row['high']:.3f}]")
    options.out.mkdir(parents=True, exist_ok=True)
    claims.write(options.out, [], details={"rows": [{"name": n, **r} for n, r in rows.items()]})


if __name__ == "__main__":
    main()
