"""The search of the gate's thresholds: on two pilot seeds and their own items, which no claim uses.

    python -m experiments.vimogen.search            # writes runs/vimogen_search/search.md

The rule was fixed before it ran: of all thresholds those with which most motions of S, C and V are solved by the rules,
over both seeds together; of equal ones the first, and the stricter ones come first. The recogniser was not asked. What
it chose stands in `configs/vimogen/full.py`.
"""

import argparse
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console

from experiments.vimogen import films, gates, measuring, names
from experiments.vimogen.arms import Seed
from experiments.vimogen.config import SETS, Gate, ViMoGen
from vrjax.files import writing
from vrjax.report import tables
from vrjax.study import command
from vrjax.study.tables import Tables, made_of, running

PILOTS = (1000, 1001)
JITTERS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 1.0)  # m/frame²; of the last nothing is too much
COSINES = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5, 0.3, -1.0)  # of the last nothing is too little
GRID = tuple(Gate(jitter=jitter, cosine=cosine) for jitter in JITTERS for cosine in COSINES)
BRANCHES = (names.T2M, names.M2M)
HEAD = ("gate", "jitter below", "cosine above", "to the film", *SETS, "all")


def study(like: ViMoGen) -> ViMoGen:
    """The study's sizes on the pilot seeds."""
    return dataclasses.replace(like, name=f"{like.name}_search", seeds=PILOTS, shipped=False)


def measured(seeds: Sequence[Seed]) -> list[dict[str, Tables]]:
    """What the search needs of each seed: what the gate sees, and the tables of both branches."""
    return [{names.ITEMS: one.told(BRANCHES)} | {arm: one.measure(arm) for arm in BRANCHES} for one in seeds]


def run(seeds: Sequence[Seed], folder: pathlib.Path) -> pathlib.Path:
    """Measures both branches of the seeds and writes `search.md`, shares of motions that the rules call solved: both
    branches, the gate that knows both ends, the chosen one's decisions at random, and all thresholds."""
    found = measured(seeds)
    seen = [parts[names.ITEMS] for parts in found]
    join = lambda parts: np.concatenate(list(parts))
    jitter, cosine = (join(told[name] for told in seen) for name in ("jitter", "cosine"))
    text, motion = (join(parts[arm]["rules"] for parts in found) for arm in BRANCHES)
    sets = np.concatenate([np.repeat(SETS, len(told["jitter"]) // len(SETS)) for told in seen])
    each = np.repeat([str(one.number) for one in seeds], [len(told["jitter"]) for told in seen])
    groups = [gates.groups(told["script"], len(told["script"]) // len(SETS)) for told in seen]
    group = join(some + 1000 * i for i, some in enumerate(groups))
    rows = listed(jitter, cosine, text, motion, {"set": sets, "seed": each, "group": group})
    gate = gates.best(jitter, cosine, text, motion, GRID)
    head = (*HEAD, *(f"seed {one.number}" for one in seeds))
    said = f"\nThe rule chooses jitter below {gate.jitter:g} and cosine above {gate.cosine:g}.\n"
    writing.text(folder / "search.md", tables.markdown(head, rows) + said)
    return folder / "search.md"


def listed(
    jitter: np.ndarray, cosine: np.ndarray, text: np.ndarray, motion: np.ndarray, of: Mapping[str, np.ndarray]
) -> list[list[str]]:
    """The lines of the table.

    Args:
        jitter, cosine, text, motion: see `gates.best`.
        of: `set` and `seed` of each item, and the `group` in which the random gate permutes.
    """
    none = np.zeros(len(text), bool)
    where = [of["set"] == split for split in SETS] + [~none]
    where += [of["seed"] == one for one in dict.fromkeys(of["seed"])]

    def line(name: str, chosen: np.ndarray, gate: Gate | None = None) -> list[str]:
        solved = chosen * motion + (1 - chosen) * text  # `gates.mixed`, of rates too
        shares = [chosen.mean(), *(solved[items].mean() for items in where)]
        told = ["", ""] if gate is None else [f"{gate.jitter:g}", f"{gate.cosine:g}"]
        return [name, *told, *(f"{share:.3f}" for share in shares)]

    rows = [line(names.T2M, 1.0 * none), line(names.M2M, 1.0 * ~none)]
    rows.append(line(names.ORACLE, 1.0 * gates.oracle(text, motion)))
    chosen = {gate: gates.adaptive(jitter, cosine, gate) for gate in GRID}
    best = gates.best(jitter, cosine, text, motion, GRID)
    rows.append(line(names.RANDOM, gates.rates(chosen[best], of["group"]), best))
    return rows + [line(names.ADAPTIVE, 1.0 * some, gate) for gate, some in chosen.items()]


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.vimogen.search", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs"), help="where run folders are (runs)")
    parser.add_argument("--base", type=pathlib.Path, default=films.HOME, help="video model and lifter (the study's)")
    only = "measure this pilot seed alone and write no table: one process a core, into one run folder"
    parser.add_argument("--only", type=int, choices=PILOTS, help=only)
    args = parser.parse_args(argv)
    console = Console(highlight=False)
    try:
        sizes = study(command.values("vimogen", "full"))
        video, judges = films.opened(args.base), measuring.judges(args.out / "vimogen")
        how = {"kind": "vimogen", "fresh": False, "console": console, "group": sizes.group}
        with running(args.out / sizes.name, made_of(sizes), **how, shared=args.only is not None) as here:
            pilots = [
                Seed(sizes, here, video, judges, number) for number in ((args.only,) if args.only else sizes.seeds)
            ]
            if args.only is None:
                console.print(f"written: {run(pilots, here.folder)}")
            else:
                measured(pilots)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
