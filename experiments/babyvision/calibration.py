"""How hard the puzzles are for who understands nothing, how drawn answers are read, and how fast items are made.

    python -m experiments.babyvision.calibration trivial                    # 200 items a subtype and difficulty
    python -m experiments.babyvision.calibration drawn --size 256 --items 20
    python -m experiments.babyvision.calibration speed --size 256
    python -m experiments.babyvision.calibration leaks --items 1000
    python -m experiments.babyvision.calibration trivial --write            # and into trivial.md

`trivial`: the share that each solver of `vrjax.bench.babyvision.trivial` solves, after it saw as many items of the
training split with their answers. `drawn`: precision and recall of the decoders on planted answers, and how many of
each kind were judged right. `speed`: items a second on one core, by the processor's time. `leaks`: puzzles of other
than one solution, the p-value of places of right options being equally likely, and what probes solve that see the
options alone, or the file alone (trained on half as many items and asked as many, of difficulty 1).
"""

import argparse
import pathlib
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from experiments.babyvision import leaks
from vrjax.bench.babyvision import planted, trivial
from vrjax.files import writing
from vrjax.report.tables import markdown
from vrjax.tasks import puzzles

HOME = pathlib.Path(__file__).parent
LEVELS = puzzles.DIFFICULTIES
Lines = list[list[str]]


def solvers(name: str, count: int, size: int) -> Lines:
    """A row a difficulty: what each trivial solver solves."""
    rows = []
    for level in LEVELS:
        make = lambda split, level=level: [
            puzzles.make(name, i, split=split, difficulty=level, size=size) for i in range(count)
        ]
        seen, asked = make("train"), make("test")
        shares = [trivial.solved(solver, seen, asked, 0) for solver in trivial.SOLVERS.values()]
        rows.append([name, str(level), *(f"{share:.2f}" for share in shares)])
    return rows


def drawn(name: str, count: int, size: int) -> Lines:
    """A row: how planted answers are judged, difficulties in turn."""
    items = (puzzles.make(name, i, difficulty=LEVELS[i % len(LEVELS)], size=size) for i in range(count))
    found = planted.confusion(items, np.random.default_rng(0))
    kinds = [f"{right}/{of}" if of else "" for right, of in found["kinds"].values()]
    return [[name, f"{found['precision']:.3f}", f"{found['recall']:.3f}", *kinds]]


def speed(name: str, count: int, size: int) -> Lines:
    """A row: items a second by difficulty, answers drawn in."""
    rates = []
    for level in LEVELS:
        puzzles.make(name, count, difficulty=level, size=size)  # what is made once a process is made now
        begun = time.process_time()
        for i in range(count):
            puzzles.make(name, i, difficulty=level, size=size)
        rates.append(count / (time.process_time() - begun))
    return [[name, *(f"{rate:.0f}" for rate in rates), f"{len(rates) / sum(1 / rate for rate in rates):.0f}"]]


def leaking(name: str, count: int, size: int) -> Lines:
    """A row: solutions, places, probes."""
    wrong, of = leaks.unique(name, max(count // 5, 1))
    p = leaks.places(name, count)
    make = lambda split: [puzzles.make(name, i, split=split, size=size) for i in range(max(count // 2, 10))]
    seen, asked = make("train"), make("test")
    options, file = leaks.by_options(seen, asked), leaks.by_file(seen, asked)
    told = ["", ""] if options is None else [str(options), f"{options.chance:.2f}"]
    place = "" if p is None else f"{p:.3f}"
    return [[name, f"{wrong}/{of}", place, *told, str(file), f"{file.chance:.2f}"]]


TABLES: dict[str, tuple[tuple[str, ...], Callable[[str, int, int], Lines]]] = {
    "trivial": (("subtype", "difficulty", *trivial.SOLVERS), solvers),
    "drawn": (("subtype", "precision", "recall", *planted.KINDS), drawn),
    "leaks": (
        ("subtype", "not one solution", "places, p", "options alone", "chance", "file alone", "one answer at best"),
        leaking,
    ),
    "speed": (("subtype", *(f"difficulty {level}" for level in LEVELS), "together"), speed),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.babyvision.calibration",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=tuple(TABLES))
    parser.add_argument("subtypes", nargs="*", metavar="SUBTYPE", help="some of the 22 (all)")
    parser.add_argument("--items", type=int, default=200, help="of each subtype, and difficulty but for `drawn` (200)")
    parser.add_argument("--size", type=int, default=64, help="pixels of a side (64)")
    parser.add_argument("--write", action="store_true", help="also into WHAT.md beside this file")
    given = parser.parse_args(argv)
    head, rows_of = TABLES[given.what]
    try:
        if given.items < 1:
            raise ValueError(f"--items is {given.items}, expected 1 or more")
        rows: Lines = []
        for name in [puzzles.canonical(name) for name in given.subtypes] or puzzles.subtypes():
            rows += rows_of(name, given.items, given.size)
            print(f"{name}: {'; '.join(', '.join(row[1:]) for row in rows if row[0] == name)}", flush=True)
        text = f"# {given.what}: {given.items} items, {given.size} pixels\n\n{markdown(head, rows)}"
        if given.write:
            writing.text(HOME / f"{given.what}.md", text)
    except ValueError as error:
        print(f"babyvision: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
