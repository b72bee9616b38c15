"""How much a study measures: its sizes, apart from the command that reads them.

Whatever measures imports its paper's config, and a kept table is measured again when anything changes that its code
imports: so this module imports nothing of ours.
"""

import argparse
import dataclasses
from typing import ClassVar


def positive(text: str) -> int:
    """A whole number of at least 1, as an argument of a command: that of `vrjax.cli.common`, for modules that measure,
    of which a change of the command line must make nothing void. (There it may import none of ours: help is quick.)

    Raises:
        argparse.ArgumentTypeError: a smaller one.
    """
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected at least 1")
    return value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """How much is measured. A paper's config derives from it and adds its own numbers, which must be at least 1, and
    lists, which must hold something."""

    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = ()
    """Whole numbers that may be less than 1, and lists that may be empty."""

    name: str
    """The run folder is runs/<name>."""
    quick: bool = False
    """A run to look at: numbers with their intervals, no verdicts."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if field.name not in self.MAY_BE_ZERO and ((whole and value < 1) or value == ()):
                found = f"must be at least 1, found {value}" if whole else "is empty, expected at least one"
                raise ValueError(f"{self.name}: {field.name} {found}")
