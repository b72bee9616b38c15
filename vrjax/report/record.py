"""One claim: a paper's statement, the statistic fixed before the run, its null, what must hold, and its verdict."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias

from vrjax.report.judge import VERDICTS, all_of, judge, number, range_of

if TYPE_CHECKING:
    Text: TypeAlias = str
    Number: TypeAlias = float
    Interval: TypeAlias = tuple[float, float]
    Names: TypeAlias = tuple[str, ...]
    Numbers: TypeAlias = tuple[float, ...]
    Beside: TypeAlias = Mapping[str, float]
    Checks: TypeAlias = "tuple[Check, ...]"
    Full: TypeAlias = "Published | None"
    Contrasts: TypeAlias = "tuple[Contrast, ...]"
else:  # values come from files and NumPy: checked and converted here, with messages that name the field
    Text = Number = Interval = Names = Numbers = Beside = Checks = Contrasts = Full = Any

ROLES = ("primary", "exploratory")
KINDS = ("gate", "control", "dose")


def text(name: str, value: Any, empty: bool = False) -> str:
    """A text, which may be empty or not, or ValueError with the name."""
    if not isinstance(value, str) or not (empty or value.strip()):
        raise ValueError(f"{name}: expected {'text' if empty else 'a text that is not empty'}, found {value!r}")
    return value


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError(f"{name}: expected a list of numbers, found {value!r}")
    return tuple(number(f"{name}[{i}]", v) for i, v in enumerate(value))


def _optional(name: str, value: Any) -> float | None:
    return None if value is None else number(name, value)


@dataclass(frozen=True)
class Check:
    """What must hold for a claim to be tested: a gate, a positive control, a dose.

    Attributes:
        kind: "gate": the models have the skill that the claim is about; "control": the instrument sees an effect that
            is surely there; "dose": the arms differ at all.
        what: the number, in words, as registered.
        value: measured, the mean over all seeds; None where it was not.
        low, high: ends between which it must lie; None where there is none.
        per_seed: the number of each seed.
    """

    kind: Text
    what: Text
    value: Number | None
    low: Number | None = None
    high: Number | None = None
    per_seed: Numbers = ()

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind: expected one of {KINDS}, found {self.kind!r}")
        text("what", self.what)
        for name in ("value", "low", "high"):
            object.__setattr__(self, name, _optional(name, getattr(self, name)))
        object.__setattr__(self, "per_seed", _numbers("per_seed", self.per_seed))
        if self.low is None and self.high is None:
            raise ValueError("low, high: expected a number for one of them, found none")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low end {self.low} above high end {self.high}")

    @property
    def passed(self) -> bool:
        """Whether the value is there and between the ends."""
        low, high = self.low, self.high
        return self.value is not None and (low is None or self.value >= low) and (high is None or self.value <= high)

    def __str__(self) -> str:
        """Such as "gate: solved, maze .41, must be .6 to .97"."""
        value = "not measured" if self.value is None else f"{self.value:.3g}"
        if self.low is None:
            must = f"at most {self.high:.3g}"
        else:
            must = f"at least {self.low:.3g}" if self.high is None else f"{self.low:.3g} to {self.high:.3g}"
        return f"{self.kind}: {self.what} {value}, must be {must}"


@dataclass(frozen=True)
class Contrast:
    """One of several contrasts that must all hold, with interval, p-value and smallest effect of its own.

    Attributes:
        name: as registered.
        estimate, interval, p: as of a claim.
        smallest: smallest effect of interest; None where it is the claim's.
        per_seed: the estimate of each training seed.
    """

    name: Text
    estimate: Number
    interval: Interval | None
    p: Number
    smallest: Number | None = None
    per_seed: Numbers = ()

    def __post_init__(self):
        text("name", self.name)
        object.__setattr__(self, "estimate", number("estimate", self.estimate))
        object.__setattr__(self, "smallest", _optional("smallest", self.smallest))
        object.__setattr__(self, "per_seed", _numbers("per_seed", self.per_seed))
        if self.interval is not None:
            object.__setattr__(self, "interval", range_of("interval", self.interval))
        object.__setattr__(self, "p", number("p", self.p))


@dataclass(frozen=True)
class Published:
    """What the committed full run found of the same claim, to stand beside the number of a quick run.

    Attributes:
        estimate, interval, seeds, verdict: as of a claim.
        notes: empty, or why it is no verdict on the claim as it is now.
    """

    estimate: Number
    interval: Interval | None
    seeds: Number
    verdict: Text | None
    notes: Text = ""

    def __post_init__(self):
        for name in ("estimate", "seeds"):
            object.__setattr__(self, name, number(name, getattr(self, name)))
        if self.interval is not None:
            object.__setattr__(self, "interval", range_of("interval", self.interval))
        if self.verdict not in (*VERDICTS, None):
            raise ValueError(f"verdict: expected one of {VERDICTS} or null, found {self.verdict!r}")
        text("notes", self.notes, empty=True)

    def __str__(self) -> str:
        """Such as "0.108 [0.026, 0.191], reproduced"."""
        ends = "does not vary" if self.interval is None else f"{self.interval[0]:.3g}, {self.interval[1]:.3g}"
        told = f"{self.estimate:.3g} [{ends}], {self.verdict or 'numbers only'}"
        return f"{told} ({self.notes})" if self.notes else told


@dataclass(frozen=True)
class Claim:
    """One row of the table in the README.

    Attributes:
        id: unique in its file, for example "cos.ensemble.hidden".
        paper: short name or arXiv number.
        statement: what the paper says, in one sentence.
        statistic: what was computed, as registered before the run.
        estimate, interval: the value and its 95 % interval (low, high); None for a statistic that does not vary.
        seeds, instances: training seeds, and different test instances of all seeds together.
        null: the statistic under the null model that could produce it without the paper's mechanism, which the
            estimate is judged against; 0 where it was subtracted, pair by pair.
        verdict: one of `VERDICTS`. Where `direction` is given it must be what `judge` says, and is so where left out;
            None in a quick run, which prints numbers only.
        direction, smallest, null_interval: the arguments of `judge`; direction None marks a verdict that has no such
            rule.
        unit: of the statistic.
        role: "primary" or "exploratory".
        p, holm: p-value, and the same after Holm's correction over all primaries.
        per_seed: the estimate of each training seed.
        share: of the variance of the estimate, the part between seeds.
        checks: gates, positive controls and doses; one that fails makes the claim "not tested".
        beside: the same statistic of others by name: the null model, an untrained network, a placebo.
        contrasts: where there are several, all of them: each is judged against its own smallest effect, and all must
            hold. `p` is the largest; `estimate`, `interval`, `smallest` and `per_seed` are those of the weakest one,
            measured by its smallest effect.
        arms: names of the arms compared.
        notes: caveats a reader needs.
        full: of a quick run, what the committed full run found of the same claim; None where there is none.

    Raises:
        ValueError: naming the claim and the field.
    """

    id: Text
    paper: Text
    statement: Text
    statistic: Text
    estimate: Number
    interval: Interval | None
    seeds: Number
    instances: Number
    null: Number
    verdict: Text | None = ""
    direction: Text | None = None
    smallest: Number = 0.0
    null_interval: Interval | None = None
    unit: Text = ""
    role: Text = "exploratory"
    p: Number | None = None
    holm: Number | None = None
    per_seed: Numbers = ()
    share: Number | None = None
    checks: Checks = ()
    beside: Beside | None = None
    contrasts: Contrasts = ()
    arms: Names = ()
    notes: Text = ""
    full: Full = None

    def __post_init__(self):
        where = f"claim {self.id!r}, field " if isinstance(self.id, str) else "claim, field "
        fixed: dict[str, Any] = {}
        for name in ("id", "paper", "statement", "statistic"):
            text(where + name, getattr(self, name))
        for name in ("notes", "unit"):
            text(where + name, getattr(self, name), empty=True)
        if self.role not in ROLES:
            raise ValueError(f"{where}role: expected one of {ROLES}, found {self.role!r}")
        for name in ("estimate", "null", "smallest"):
            fixed[name] = number(where + name, getattr(self, name))
        for name in ("interval", "null_interval"):
            value = getattr(self, name)
            fixed[name] = None if value is None else range_of(where + name, value)
        for name in ("p", "holm", "share"):
            value = fixed[name] = _optional(where + name, getattr(self, name))
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{where}{name}: expected a number in 0..1, found {value}")
        for name in ("seeds", "instances"):
            count = number(where + name, getattr(self, name))
            if count < 1 or count != int(count):
                raise ValueError(f"{where}{name}: expected a whole number of at least 1, found {count!r}")
            fixed[name] = int(count)
        fixed["per_seed"] = _numbers(where + "per_seed", self.per_seed)
        if not isinstance(self.beside or {}, Mapping):
            raise ValueError(f"{where}beside: expected numbers by name, found {self.beside!r}")
        fixed["beside"] = {name: number(f"{where}beside.{name}", v) for name, v in (self.beside or {}).items()}
        for name, kind in (("checks", Check), ("contrasts", Contrast)):
            fixed[name] = tuple(_record(f"{where}{name}[{i}]", kind, v) for i, v in enumerate(getattr(self, name)))
        fixed["full"] = None if self.full is None else _record(where + "full", Published, self.full)
        if isinstance(self.arms, str) or not isinstance(self.arms, Iterable):
            raise ValueError(f"{where}arms: expected a list of names, found {self.arms!r}")
        fixed["arms"] = tuple(text(where + "arms", arm) for arm in self.arms)
        for name, value in fixed.items():
            object.__setattr__(self, name, value)
        if self.direction is not None and self.verdict is not None:
            how = {name: getattr(self, name) for name in ("direction", "null_interval", "holm")}
            how |= {"primary": self.role == "primary", "tested": not self.failed}
            least = lambda one: self.smallest if one.smallest is None else one.smallest
            each = [(one.estimate, one.interval, least(one)) for one in self.contrasts]
            each = each or [(self.estimate, self.interval, self.smallest)]
            try:
                ruled = all_of(judge(value, ends, self.null, smallest=few, **how) for value, ends, few in each)
            except ValueError as error:
                raise ValueError(f"{where}{error}") from None
            if self.verdict not in ("", ruled):
                raise ValueError(f"{where}verdict: the rule says {ruled!r}, found {self.verdict!r}")
            object.__setattr__(self, "verdict", ruled)
        if self.verdict not in (*VERDICTS, None):
            raise ValueError(f"{where}verdict: expected one of {VERDICTS} or null, found {self.verdict!r}")

    def __repr__(self) -> str:
        ends = "" if self.interval is None else f" [{self.interval[0]:.3g}, {self.interval[1]:.3g}]"
        told = self.verdict or "numbers only"
        return f"Claim({self.id}: {told}, {self.estimate:.3g}{ends} against {self.null:.3g}, {self.seeds} seeds)"

    @property
    def failed(self) -> tuple[str, ...]:
        """Why it is not tested, each in words; empty where nothing failed."""
        why = [str(check) for check in self.checks if not check.passed]
        still = [f"{one.name} does not vary" for one in self.contrasts if one.interval is None]
        return *why, *(still or (["the statistic does not vary"] if self.interval is None else []))


def _record(where: str, kind: type, value: Any) -> Any:
    """A record of a claim: itself, or made of what JSON holds of it."""
    if isinstance(value, kind):
        return value
    names = [f.name for f in fields(kind)]
    if not isinstance(value, Mapping) or not set(value) <= set(names):
        raise ValueError(f"{where}: expected an object with {', '.join(names)}, found {value!r:.200}")
    try:
        return kind(**value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from None
