"""Parts of the study: what is measured of every training seed, on which of its clips, and of whom beside it.

A part is one table per subject and seed, made by one function (and, with its sizes, one compiled program for all
subjects of a kind). Files of parts, `primaries` and those that explore, state theirs with `parts(study)`; how a number
is read from the tables of one seed, in `MEASURES` and `CONTROLS`.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from experiments.chain_of_steps.config import ChainOfSteps
from vrjax.models import wan
from vrjax.study import subjects
from vrjax.study.subjects import Subject, Suite
from vrjax.study.tables import Bench, Tables

One: TypeAlias = Mapping[str, Any]
"""The tables of one subject and seed by part; those of the null model on the same clips are under "null", those of the
model itself, beside a control's, under "model"; "dose" is the ensemble's arm that was chosen on validation."""
OTHERS = ("null", "untrained", "causal")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """One table of every training seed.

    Attributes:
        name: "<task>/<what>"; with the subject's name, the name of its file.
        specialist: of the seed's pair, "reasoner" or "entrant".
        instances: clips of a seed. Of the test split each seed has its own, of the validation split all have the
            first ones.
        measure: `measure(bench, subject, suite, **given)` makes the table.
        given: keyword arguments.
        noises: initial noises of a clip.
        split: of the clips; the study's by default.
        held: validation clips that `measure` is given beside, as `held=suite`.
        also: who else is measured, of `OTHERS`: the null model on every seed's clips; an untrained network on those of
            the first seed; the frame-causal reasoners, each on those of a seed.
        packed: whether claims and tables need it, not the page alone.
    """

    name: str
    specialist: str
    instances: int
    measure: Callable[..., Tables]
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    noises: int = 1
    split: str | None = None
    held: int = 0
    also: tuple[str, ...] = ()
    packed: bool = True

    @property
    def task(self) -> str:
        """Its task."""
        return self.name.partition("/")[0]


@dataclasses.dataclass(frozen=True)
class Model:
    """A subject, and what tells its weights from all others."""

    subject: Subject
    fingerprint: str
    cfg: wan.WanConfig


@functools.lru_cache(maxsize=4)
def _suite(task: str, split: str, n: int, noises: int, cfg: wan.WanConfig, first: int) -> Suite:
    return subjects.suite(task, split, n, noises, cfg, first=first)


def named(part: str, who: str, index: int) -> str:
    """What the table of a part is called in the run folder: of `who` ("model", or one of `OTHERS`) on the clips of seed
    number `index`."""
    return f"{index}-{who}-{part.replace('/', '-')}"


def measure(bench: Bench, study: ChainOfSteps, part: Part, model: Model, who: str, index: int) -> Tables:
    """The table of one part, of one subject on the clips of seed number `index`; measured, or kept from an earlier run.

    Says how many seconds of processor it took.
    """
    split = part.split or study.split
    first = 0 if split == "val" and study.split != "val" else (study.skipped + index) * study.block
    subject, began = model.subject, time.process_time()

    def make() -> Tables:
        on = lambda n, split, first: _suite(part.task, split, n, part.noises, model.cfg, first)
        held = {"held": on(part.held, "val", 0)} if part.held else {}
        found = part.measure(bench, subject, on(part.instances, split, first), **held, **part.given)
        spent = time.process_time() - began
        bench.progress.console.print(f"  {part.name}, {subject.name}: {spent:.0f} s of processor")
        return found

    sizes = {"n": part.instances, "noises": part.noises, "split": split, "first": first, "held": part.held}
    of = {"model": model.fingerprint, "given": dict(part.given), **sizes}
    return bench.part(named(part.name, who, index), make, code=part.measure, of=of, packed=part.packed)


def of_seed(
    bench: Bench, study: ChainOfSteps, parts: Iterable[Part], pair: Mapping[str, Model], index: int
) -> dict[str, Tables]:
    """Every part of one training seed and of the null model on its clips, by the names of their tables."""
    out: dict[str, Tables] = {}
    for part in parts:
        mine = pair[part.specialist]
        out[named(part.name, "model", index)] = measure(bench, study, part, mine, "model", index)
        if "null" in part.also:
            null = Model(subjects.NULL, "exact posterior", mine.cfg)
            out[named(part.name, "null", index)] = measure(bench, study, part, null, "null", index)
    return out


def of_control(
    bench: Bench, study: ChainOfSteps, parts: Iterable[Part], who: str, pair: Mapping[str, Model], index: int
) -> dict[str, Tables]:
    """The parts of a control, `who` of `OTHERS`, on the clips of seed number `index`, by the names of their tables;
    `pair` may lack a specialist."""
    few = [part for part in parts if who in part.also and part.specialist in pair]
    return {
        named(part.name, who, index): measure(bench, study, part, pair[part.specialist], who, index) for part in few
    }


def untrained(pair: Mapping[str, Model]) -> dict[str, Model]:
    """Networks of the same sizes with random weights."""
    out = {}
    for name, model in pair.items():
        subject = dataclasses.replace(subjects.untrained(model.subject), name=f"untrained {name}")
        out[name] = Model(subject, f"untrained, seed 0: {model.cfg}", model.cfg)
    return out
