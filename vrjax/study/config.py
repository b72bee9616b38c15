"""Sizes of a study: the base of every paper's config, and where its values lie."""

import dataclasses
import importlib
from typing import Any, ClassVar


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """How much is measured. A paper's config derives from it and adds its own numbers, which must be at least 1."""

    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = ()
    """Whole numbers that may be less than 1."""

    name: str
    """The run folder is runs/<name>."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if whole and value < 1 and field.name not in self.MAY_BE_ZERO:
                raise ValueError(f"{self.name}: {field.name} must be at least 1, found {value}")


def values(paper: str, size: str) -> Any:
    """What `config()` of `configs/<paper>/<size>.py` returns: the values of a study, `quick` or `full`.

    Raises:
        ValueError: the values of a field are out of range.
    """
    return importlib.import_module(f"configs.{paper}.{size}").config()
