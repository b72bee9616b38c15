"""Where the time of a row of `experiments.bench` goes, on both sides.

    python -m experiments.bench.profile                    the training step, a minute on two cores
    python -m experiments.bench.profile --row forward --calls 5 --top 30

Each side runs alone, in a process of its own, under its own profiler (`jax.profiler`, `torch.profiler`), after a call
that warms it up. Times are of single operations, summed over threads, in milliseconds a call; a profiler slows what it
watches, so that shares say more than sums. Needs the `parity` extra.
"""

import argparse
import collections
import glob
import multiprocessing
import pathlib
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.bench import cases as tables
from experiments.bench.cases import Case
from experiments.bench.study import SIDES

Times = dict[str, tuple[float, float]]
"""Operation -> (milliseconds, how often) of one call."""

# The first pattern that an operation's name matches says what it is.
KINDS = {
    "vrjax": (
        ("products and sums by YNN", r"ynn"),
        ("products by Eigen", r"dot"),
        ("copies and layouts", r"(wrapped_)?(copy|transpose|slice|bitcast|concatenate|pad|dynamic)"),
        ("elementwise", r""),
    ),
    "torch": (
        ("matrix products", r"aten::(addmm|mm|bmm|baddbmm|matmul|linear)"),
        ("attention kernels", r"aten::.*(flash|scaled_dot|efficient)_attention"),
        ("optimiser", r"Optimizer|aten::_(fused|foreach)"),
        ("copies and layouts", r"aten::(copy_|clone|contiguous|cat|fill_|zero_|slice|as_strided|to|_to_copy)"),
        ("elementwise", r""),
    ),
}


def kinds(side: str, times: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Milliseconds by kind of operation, largest first."""
    total: dict[str, float] = collections.defaultdict(float)
    for name, (spent, _) in times.items():
        total[next(kind for kind, pattern in KINDS[side] if re.match(pattern, name))] += spent
    return dict(sorted(total.items(), key=lambda item: -item[1]))


def under_jax(call: Callable[[], Any], calls: int) -> Times:
    """XLA's operations, without those that contain others."""
    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(calls):
                call()
        (path,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        data = jax.profiler.ProfileData.from_file(path)
        times: dict[str, list[float]] = collections.defaultdict(lambda: [0.0, 0.0])
        for plane in data.planes:
            for line in plane.lines:
                for event in line.events:
                    if "hlo_op" not in {name for name, _ in event.stats}:
                        continue
                    name = re.sub(r"(\.(\d+|clone|remat\d*))+$", "", event.name)
                    if name in ("while", "call", "conditional"):
                        continue
                    times[name][0] += event.duration_ns / 1e6 / calls
                    times[name][1] += 1 / calls
    return {name: (spent, count) for name, (spent, count) in times.items()}


def under_torch(call: Callable[[], Any], calls: int) -> Times:
    """ATen's operations, each without those that it calls."""
    from experiments.bench.torch_side import library

    profiler = library("torch.profiler")
    with profiler.profile(activities=[profiler.ProfilerActivity.CPU]) as watched:
        for _ in range(calls):
            call()
    rows = watched.key_averages()
    return {row.key: (row.self_cpu_time_total / 1e3 / calls, row.count / calls) for row in rows}


def watch(side: str, case: Case, folder: str, cores: int, calls: int, pipe: Any) -> None:
    """One side's process: builds the case and sends its times."""
    try:
        module: Any = __import__(f"experiments.bench.{side}_side", fromlist=["build"])
        module.start(cores, 1)
        if side == "torch":
            module.initialise(case, pathlib.Path(folder))
        call = module.build(case, pathlib.Path(folder), False)
        call()
        pipe.send((under_jax if side == "vrjax" else under_torch)(call, calls))
    except Exception as error:
        pipe.send(error)


def profile(case: Case, calls: int) -> dict[str, Times]:
    """The times of both sides. Raises RuntimeError where a side fails."""
    from vrjax.parallel.mesh import available

    cores = available()
    context, found = multiprocessing.get_context("spawn"), {}
    with tempfile.TemporaryDirectory() as folder:
        for side in reversed(SIDES):  # PyTorch writes the weights
            pipe, theirs = context.Pipe()
            process = context.Process(target=watch, args=(side, case, folder, cores, calls, theirs))
            process.start()
            theirs.close()
            try:
                answer = pipe.recv()
            except EOFError:
                raise RuntimeError(f"{side}: its process ended; out of memory?") from None
            process.join()
            if isinstance(answer, Exception):
                raise RuntimeError(f"{side}: {type(answer).__name__}: {answer}")
            found[side] = answer
    return {side: found[side] for side in SIDES}


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.bench.profile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = {case.name: case for case in tables.cpu()}
    parser.add_argument("--row", choices=known, default="train_step", help="which row (train_step)")
    parser.add_argument("--calls", type=int, default=3, help="calls that are watched (3)")
    parser.add_argument("--top", type=int, default=12, help="single operations to show (12)")
    options = parser.parse_args(argv)
    if options.calls < 1:
        parser.error(f"--calls must be at least 1, found {options.calls}")
    try:
        found = profile(known[options.row], options.calls)
    except RuntimeError as error:
        print(f"profile: {error}", file=sys.stderr)
        return 1
    for side, times in found.items():
        total = sum(spent for spent, _ in times.values())
        print(f"\n{options.row}, {side}: {total:.0f} ms a call in {sum(n for _, n in times.values()):.0f} operations")
        for kind, spent in kinds(side, times).items():
            print(f"  {kind:<32}{spent:9.1f} ms {spent / total:6.1%}")
        for name, (spent, count) in sorted(times.items(), key=lambda item: -item[1][0])[: options.top]:
            print(f"    {name:<44}{spent:9.1f} ms {spent / total:6.1%} x {count:.0f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
