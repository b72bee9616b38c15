"""The score card: what each check found, and the generation that was reached."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from vrjax.world.ladder._core import (
    AXES,
    FAILED,
    NOT_APPLICABLE,
    NOT_TESTED,
    PASSED,
    Check,
    Lacks,
    Sizes,
    Statistic,
    plain,
)

GENERATIONS = (1, 2, 3, 4)
VERDICTS = (PASSED, FAILED, NOT_APPLICABLE, NOT_TESTED)


@dataclasses.dataclass(frozen=True)
class Row:
    """One check on one world.

    Attributes:
        name, generation, title: of the check.
        verdict: "passed", "failed", "not applicable" (the world lacks what the check needs) or "not tested" (the exact
            world itself has too little to compare with).
        statistics: what was measured; empty where nothing was asked.
        why: in words: which number failed, or what the world lacks.
        missing: parts of the survey's check that were not asked.
        seconds: that it took, compilation included.
    """

    name: str
    generation: int
    title: str
    verdict: str
    statistics: tuple[Statistic, ...] = ()
    why: str = ""
    missing: str = ""
    seconds: float = 0.0


def judged(check: Check, statistics: Sequence[Statistic], seconds: float = 0.0) -> Row:
    """The row of a check that was made: it is passed where each of its numbers is."""
    asked = [one for one in statistics if one.direction != "noted"]
    if not asked:
        raise ValueError(f"{check.name}: measured nothing that is asked")
    failed = [one for one in asked if not one.passed]
    why = "; ".join(one.line() for one in failed or asked)
    verdict = FAILED if failed else PASSED
    return Row(check.name, check.generation, check.title, verdict, tuple(statistics), why, check.missing, seconds)


def unmade(check: Check, lacks: Lacks, seconds: float = 0.0) -> Row:
    """The row of a check that could not be made."""
    return Row(check.name, check.generation, check.title, lacks.verdict, (), str(lacks), check.missing, seconds)


@dataclasses.dataclass(frozen=True)
class Scorecard:
    """What `ladder.run` returns; shows itself in a notebook.

    Attributes:
        world, truth: names of the world under test and of the exact world that it was held against.
        rows: one a check, from F1 to S5.
        sizes: how much was rolled out.
        quick: whether these are less than what the survey's thresholds speak of.
    """

    world: str
    truth: str
    rows: tuple[Row, ...]
    sizes: Sizes
    quick: bool

    def __getitem__(self, name: str) -> Row:
        """The row of a check. Raises KeyError where it was not asked for."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    @property
    def generation(self) -> int:
        """The highest generation of which, as of all lower ones, every check passed; 0 for none. What was not asked
        did not pass."""
        reached = 0
        for generation in GENERATIONS:
            rows = [row for row in self.rows if row.generation == generation]
            if not rows or len(rows) < COUNTS[generation - 1] or any(row.verdict != PASSED for row in rows):
                break
            reached = generation
        return reached

    @property
    def axes(self) -> dict[str, dict[str, int]]:
        """By axis: how many checks have each verdict."""
        count = lambda g, v: sum(row.generation == g and row.verdict == v for row in self.rows)
        return {
            axis: {verdict: count(g, verdict) for verdict in VERDICTS}
            for g, axis in zip(GENERATIONS, AXES, strict=True)
        }

    def __repr__(self) -> str:
        told = ", ".join(f"{axis} {found[PASSED]} of {sum(found.values())}" for axis, found in self.axes.items())
        quick = " (quick)" if self.quick else ""
        return f"Scorecard({self.world} against {self.truth}{quick}: generation {self.generation}; {told})"

    def show(self) -> str:
        """The whole card as text, a line a check."""
        lines = [f"{row.name}  {row.verdict:14}  {row.title}: {row.why}" for row in self.rows]
        return "\n".join([repr(self), *lines])

    def to_dict(self) -> dict[str, Any]:
        """For JSON; numbers that are not finite become their names."""
        rows = [dataclasses.asdict(row) for row in self.rows]
        for row, told in zip(self.rows, rows, strict=True):
            told["statistics"] = [dataclasses.asdict(one) | {"passed": one.passed} for one in row.statistics]
        out: Mapping[str, Any] = {
            "world": self.world,
            "truth": self.truth,
            "quick": self.quick,
            "generation": self.generation,
            "axes": self.axes,
            "sizes": dataclasses.asdict(self.sizes),
            "rows": rows,
        }
        return plain(out)


COUNTS = (4, 6, 5, 5)
"""Checks of each generation in the survey: a card of fewer reaches none of those that it is short of."""
