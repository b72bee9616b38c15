"""What one process measures of a study: all of it, or some seeds (`--only`), or some parts where time is short.

    mine = shares.of(study.seeds, PARTS, only=options.only, parts=options.parts)
    for name, seed in mine.walk(console):
        kept[...] = measure(name, seed)
    if mine.some:
        console.print(mine.told(folder))
        return                                          # other processes measure the rest; judging needs all of it

Parts come first and, in each of them, the seeds: what is cut short then lacks whole parts, never a seed.
"""

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from rich.console import Console


class Share(NamedTuple):
    """What is measured here.

    Attributes:
        seeds: numbers of the study's seeds. parts: names, the last of which falls away first.
        some: whether other processes measure other seeds: then nothing is judged.
        word: what a seed is called, "seed" or "base".
    """

    seeds: tuple[int, ...]
    parts: tuple[str, ...]
    some: bool
    word: str = "seed"

    def walk(self, console: Console, skip: Any = None) -> Iterator[tuple[str, int]]:
        """Every part and in it every seed, each said as it comes; `skip(part, seed)`: what the study has not."""
        todo = [(name, seed) for name in self.parts for seed in self.seeds if skip is None or not skip(name, seed)]
        console.print(f"in this order, the last falls away first where time is short: {', '.join(self.parts)}")
        for i, (name, seed) in enumerate(todo):
            console.print(f"[{i + 1}/{len(todo)}] {self.word} {seed}: {name}", markup=False)
            yield name, seed

    def told(self, folder: pathlib.Path) -> str:
        """Where the tables are."""
        return f"tables of {self.word}s {list(self.seeds)} are in {folder / 'tables'}"


def of(
    seeds: Sequence[int],
    parts: Sequence[str],
    *,
    only: Sequence[int] | None = None,
    chosen: Sequence[str] | None = None,
    word: str = "seed",
    must: str | None = None,
) -> Share:
    """The share that was asked for.

    Args:
        seeds, parts: all that the study has, in order.
        only: positions in `seeds`; None: all.
        chosen: some of the parts, in whichever order; None: all.
        word: what a seed is called.
        must: a part that all others stand on.

    Raises:
        ValueError: positions that there are not, an unknown part, `must` is not among the chosen.
    """
    if only is not None and not all(0 <= k < len(seeds) for k in only):
        raise ValueError(f"--only {' '.join(map(str, only))}: expected positions 0 to {len(seeds) - 1}")
    if strange := sorted({*(chosen or ())} - {*parts}):
        raise ValueError(f"--parts: unknown part {strange[0]!r}, expected some of {', '.join(parts)}")
    order = tuple(name for name in parts if chosen is None or name in chosen)
    if must is not None and must not in order:
        raise ValueError(f"--parts: found {' '.join(order)}, expected {must} among them")
    mine = tuple(seed for i, seed in enumerate(seeds) if only is None or i in only)
    return Share(mine, order, only is not None, word)


def options(word: str = "seed", parts: str = "parts") -> dict[str, dict[str, dict[str, Any]]]:
    """`--only` and `--parts`, for `command.main`."""
    some = f"measure these {word}s (0, 1, ...) and stop; one process a core can each have its own"
    return {
        "part of the study": {
            "--only": {"nargs": "+", "type": int, "metavar": "K", "help": some},
            "--parts": {"nargs": "+", "metavar": "PART", "help": f"these {parts} only, where time is short"},
        }
    }
