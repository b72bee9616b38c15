"""The kinds of jobs that can be planned: one file each, found by the type of its config.

| file | config | what is compiled |
| --- | --- | --- |
| `training` | `vrjax.train.config.TrainConfig` | the update of a flow-matching run, of all weights or of adapters |
| `preference` | `vrjax.align.config.AlignConfig` | the update of a preference run, with the sampling of its losers |
| `sampling` | `SampleConfig`, defined there | a guided run with what it records |

A new kind is one more file, which defines what `Kind` lists.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
from jax.sharding import Mesh

from vrjax.files import named
from vrjax.plan.topology import Chip

Latent = tuple[int, ...]


class Job(NamedTuple):
    """A program to plan.

    Attributes:
        kind: what it is, for people.
        lower: traces and lowers it.
        parts: what it is given, by what it is: trees of `jax.ShapeDtypeStruct` with shardings.
        flops: of one step on all chips together, by the family's formula; recomputation not counted.
        tokens: of one clip.
        steps: steps in one call of the program.
    """

    kind: str
    lower: Callable[[], jax.stages.Lowered]
    parts: dict[str, Any]
    flops: float | int
    tokens: int
    steps: int = 1


class Estimate(NamedTuple):
    """Of one step on one chip, from shapes alone."""

    bytes: float | int
    seconds: float | int


@runtime_checkable
class Kind(Protocol):
    """What the file of a kind defines.

    Attributes:
        Config: the type of its configs (not of those derived from it), which have `name`, `model`, `mesh` and `rules`.
    """

    Config: Any

    def latent(self, config: Any) -> Latent:
        """Shape of one clip's latent where none is asked for."""
        ...

    def examples(self, config: Any) -> int:
        """How many clips, or groups of clips, the mesh may divide."""
        ...

    def wanting(self, config: Any) -> list[str]:
        """What the run itself would lack on this machine, but for its devices; a plan does without."""
        ...

    def job(self, config: Any, mesh: Mesh, latent: Latent) -> Job:
        """The program, on a mesh whose devices need not be here."""
        ...

    def estimate(self, config: Any, mesh: Mapping[str, int], chip: Chip, latent: Latent) -> Estimate:
        """What it would roughly need on a mesh of that many chips along each axis."""
        ...


@functools.cache
def kinds() -> dict[type, Kind]:
    """Every kind, by the type of its config."""
    modules: Any = [named.module(__name__, name, "kind of job") for name in named.names(__name__)]
    return {module.Config: module for module in modules}


def of(config: Any) -> Kind:
    """The kind of a config.

    Raises:
        ValueError: there is none for it.
    """
    if type(config) not in kinds():
        known = sorted(kind.__name__ for kind in kinds())
        raise ValueError(f"plan: no plan for a {type(config).__name__}, only for {', '.join(known)}")
    return kinds()[type(config)]
