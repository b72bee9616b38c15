"""What is measured beside the study, without claims: worlds trained elsewhere, a table of shares, one command.

A module says what it measures in a `Beside` and has `main = functools.partial(beside.main, SAYS)`.
"""

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from vrjax.files import writing
from vrjax.report.tables import markdown
from vrjax.world import learned
from vrjax.world.learned.world import Learned

HOME = pathlib.Path(__file__).parent
Shares = Mapping[str, Mapping[str, float]]
"""By arm and column."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Beside:
    """One such measurement.

    Attributes:
        name: of the module, and of the page that it writes, `<name>.md`.
        text: its help.
        title: of the page. said: what its numbers are, below it; `{count}` is how many episodes there are.
        columns: name of a column to its head.
        measure: `measure(w, count, key) -> shares`; ValueError: not such a world.
        count, key: how many episodes, and of what key, unless other ones are asked for.
        arm: head of the column of arms.
    """

    name: str
    text: str | None
    title: str
    said: str
    columns: Mapping[str, str]
    measure: Callable[[Learned, int, Any], Shares]
    count: int
    key: int
    arm: str = "planned through"


def page(says: Beside, found: Mapping[str, Shares], count: int) -> str:
    """All worlds as markdown: a row a world and arm."""
    rows = [
        [name, arm, *(f"{shares[column]:.2f}" for column in says.columns)]
        for name, arms in found.items()
        for arm, shares in arms.items()
    ]
    table = markdown(("world", says.arm, *says.columns.values()), rows).rstrip()
    return f"# {says.title}\n\n{says.said.format(count=count)}\n\n{table}\n"


def main(says: Beside, argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.world_model.{says.name}",
        description=says.text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("worlds", nargs="+", metavar="WORLD", help="a learned world's folder, or a shipped one's name")
    parser.add_argument("--count", type=int, default=says.count, help=f"how many episodes ({says.count})")
    parser.add_argument("--key", type=int, default=says.key, help=f"of episodes and chance ({says.key})")
    parser.add_argument("--write", action="store_true", help=f"write {says.name}.md, which is committed")
    given = parser.parse_args(argv)
    try:
        if given.count < 1:
            raise ValueError(f"--count: found {given.count}, expected at least 1")
        worlds = {name: learned.load(name) for name in given.worlds}
        found = {name: says.measure(w, given.count, jax.random.key(given.key)) for name, w in worlds.items()}
    except (ValueError, OSError) as error:
        print(f"world_model: {error}", file=sys.stderr)
        return 2
    told = page(says, found, given.count)
    if given.write:
        writing.text(HOME / f"{says.name}.md", told)
    print(told)
    return 0
