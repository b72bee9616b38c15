"""Where the time of a row goes, on both sides.

Each side runs alone, in a process of its own, under its own profiler (`jax.profiler`, `torch.profiler`), after a call
that warms it up. Times are of single operations, summed over threads, in milliseconds a call; a profiler slows what it
watches, so that shares say more than sums.
"""

import collections
import pathlib
import re
import tempfile
from collections.abc import Mapping, Sequence

from experiments.bench.cases import Case
from experiments.bench.sides import Side

SIDES = ("vrjax", "torch")
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


def profile(case: Case, cores: Sequence[int], calls: int) -> dict[str, Times]:
    """The times of both sides. Raises Failed where a side fails."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in reversed(SIDES):  # PyTorch writes the weights
            with Side(name, cores) as side:
                if name == "torch":
                    side.ask("initialise", case, pathlib.Path(folder))
                side.ask("build", case, pathlib.Path(folder), False)
                found[name] = side.ask("watch", calls)
    return {name: found[name] for name in SIDES}


def report(name: str, found: Mapping[str, Times], top: int) -> None:
    """Prints the kinds of operations of each side, and the `top` largest single ones."""
    for side, times in found.items():
        total = sum(spent for spent, _ in times.values())
        print(f"\n{name}, {side}: {total:.0f} ms a call in {sum(n for _, n in times.values()):.0f} operations")
        for kind, spent in kinds(side, times).items():
            print(f"  {kind:<32}{spent:9.1f} ms {spent / total:6.1%}")
        for operation, (spent, count) in sorted(times.items(), key=lambda item: -item[1][0])[:top]:
            print(f"    {operation:<44}{spent:9.1f} ms {spent / total:6.1%} x {count:.0f}")
