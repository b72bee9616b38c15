"""Benchmarks of others: their file formats, their scorers run unchanged, tables with control rows.

| file | benchmark | scorer |
| --- | --- | --- |
| vbvr | VBVR-Bench | the public kit, as a subprocess |
| mbench | MBench, of generated motions | five metrics of joints, exactly; answers of yours for the rest |
| babyvision | BabyVision and BabyVision-Gen | answers compared exactly, or a judging model of yours |
| humanml3d | HumanML3D's protocol of text to motion | features of your evaluator, or of a small one that ships |

`get` finds a benchmark by its file's name, so nothing is registered; a file answers `Benchmark`, and
`tests/laws/test_benchmarks.py` holds it to it. What a benchmark does beside (running a kit, judging an answer, making
items of its own) is its file's affair.
"""

from collections.abc import Callable
from typing import Any, Protocol, cast, runtime_checkable

from vrjax.files import named


@runtime_checkable
class Benchmark(Protocol):
    """What every file of this folder holds.

    Attributes:
        read: `read(folder) -> [item]`: the benchmark's items in a fixed order, each hashable. A folder that is missing
            or is not of this benchmark is a FileNotFoundError or a ValueError that names it.
        evaluate: from answers to scores, by the benchmark's own rules.
        summary: `summary(scores) -> rows`: what is published of them, means with their spread. It does not depend on
            the order of scores, and refuses sets of scores that are not of the same items.
    """

    read: Callable[..., list[Any]]
    evaluate: Callable[..., Any]
    summary: Callable[..., Any]


def names() -> tuple[str, ...]:
    """The benchmarks that exist."""
    return named.names(__name__)


def get(name: str) -> Benchmark:
    """The benchmark called `name`. Raises ValueError for an unknown name."""
    return cast(Benchmark, named.module(__name__, name, "benchmark"))


__getattr__, __dir__ = named.lazy(__name__)
