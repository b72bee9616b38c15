"""What the ladder is made of: a check, the numbers that it measures, and the world that it is made on."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from vrjax.flow import words
from vrjax.world.exact import Exact
from vrjax.world.protocol import Inputs, State, World
from vrjax.world.rollouts import rollout

AXES = ("faithfulness", "interactiveness", "planning", "stochasticity")
"""By generation, first to fourth; a check's letter is the first of its axis, but I and P as the survey has them."""
PASSED, FAILED = "passed", "failed"
NOT_APPLICABLE, NOT_TESTED = "not applicable", "not tested"
"""The world lacks what the check needs; the exact world itself has too little to compare with."""


class Lacks(Exception):
    """Raised by a check where a world lacks what it needs; the text is the reason that the card prints."""

    verdict = NOT_APPLICABLE


class Unasked(Lacks):
    """Raised where the exact world itself gave too little to compare with, this time or at these sizes."""

    verdict = NOT_TESTED


@dataclasses.dataclass(frozen=True)
class Statistic:
    """One number and what is asked of it.

    Attributes:
        name: what was measured, with its unit.
        value: what was found; NaN never passes.
        threshold: a starting value of ours, see the survey's sheet.
        direction: "at least", "at most" or "above" the threshold; "noted": nothing is asked.
        n: of how many independent units it speaks; 0 where that means nothing.
    """

    name: str
    value: float
    threshold: float
    direction: str
    n: int = 0

    @property
    def passed(self) -> bool:
        """Whether the number is on the asked side."""
        if self.direction == "noted" or math.isnan(self.value):
            return self.direction == "noted"
        if self.direction == "above":
            return self.value > self.threshold
        return self.value >= self.threshold if self.direction == "at least" else self.value <= self.threshold

    def line(self) -> str:
        """Such as "worst body's mean IoU 0.97 (at least 0.8)"."""
        if self.direction == "noted":
            return f"{self.name} {self.value:.4g}"
        return f"{self.name} {self.value:.4g} ({self.direction} {self.threshold:.4g})"


def least(name: str, value: Any, threshold: Any, n: Any = 0) -> Statistic:
    """A statistic that must be at least its threshold."""
    return Statistic(name, float(value), float(threshold), "at least", int(n))


def most(name: str, value: Any, threshold: Any, n: Any = 0) -> Statistic:
    """A statistic that must be at most its threshold."""
    return Statistic(name, float(value), float(threshold), "at most", int(n))


def above(name: str, value: Any, threshold: Any, n: Any = 0) -> Statistic:
    """A statistic that must be above its threshold."""
    return Statistic(name, float(value), float(threshold), "above", int(n))


def noted(name: str, value: Any, n: Any = 0) -> Statistic:
    """A number that is told and asked nothing of."""
    return Statistic(name, float(value), float("nan"), "noted", int(n))


@dataclasses.dataclass(frozen=True, eq=False)
class Check:
    """One rung.

    Attributes:
        name: "F1" to "S5", which is its file's.
        generation: 1 to 4.
        title: in a few words.
        asks: what it needs of a world: inputs, cameras, what is decoded, chance, events, time steps.
        measure: `measure(subject) -> statistics`; raises `Lacks` where the world lacks what is needed.
        positive: exact worlds that have the phenomenon and pass, as the law of these checks sees every time; others
            pass too.
        negative: names of `controls` that must fail it on the first of those worlds.
        missing: parts of the survey's check that no exact world here can be a control of, in words; "" for none.
    """

    name: str
    generation: int
    title: str
    asks: str
    measure: Callable[["Subject"], Sequence[Statistic]]
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    missing: str = ""

    __repr__ = words.line

    @property
    def axis(self) -> str:
        """Of `AXES`."""
        return AXES[self.generation - 1]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is rolled out; a card keeps them.

    Attributes:
        runs: rollouts of a check.
        steps: their length, 3 s at ten steps a second.
        loop: frames of a closed loop, 5 s at 24 a second.
        long: steps of the horizon.
        frames: that are timed.
        plans: episodes that are planned. goals: sub-goals of a task.
        coins: rollouts of rare events.
    """

    runs: int = 48
    steps: int = 30
    loop: int = 120
    long: int = 1_000
    frames: int = 200
    plans: int = 16
    goals: int = 10
    coins: int = 10_000


FULL = Sizes()
QUICK = Sizes(runs=24, long=200, frames=50, plans=8, goals=3)
"""About a minute on a CPU for the small worlds. Its horizon is short of what the survey asks, as the card then says."""


class Played(NamedTuple):
    """Rollouts from states of the truth, each array with a leading axis of runs; None what was not asked for.

    Attributes:
        first: decoded, before the first step.
        decoded: after each step, (runs, steps, ...).
        look: the first frame. frames: those that each step yields, (runs, steps x frames a step, h, w, 3).
    """

    first: Any
    decoded: Any
    look: Any
    frames: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A world under test, the exact world that it is held against, and what is known of that one's kind.

    Attributes:
        w: under test. truth: the exact world that it stands for, perhaps itself.
        facts: the file of `ladder.facts` for that kind.
        see: `see(w, truth, state of truth, key) -> state of w`, static.
        key: of this check.
        sizes: how much is rolled out.
        decodes: whether states of `w` can be decoded.
    """

    w: World
    truth: Exact
    facts: Any
    see: Callable[[Any, Any, Any, Any], Any]
    key: Key[Array, ""]
    sizes: Sizes
    decodes: bool

    def split(self, part: int) -> Key[Array, ""]:
        """The key of one part of this check."""
        return jax.random.fold_in(self.key, part)

    def fact(self, name: str, why: str) -> Any:
        """A fact of this kind of world. Raises `Lacks` with the reason where it has none; a kind may have its own."""
        found = getattr(self.facts, name, None)
        if found is None:
            raise Lacks(f"{self.truth.name}: {getattr(self.facts, 'WHY', {}).get(name, why)}")
        return found

    @property
    def kind(self) -> str:
        """The kind of input by which things are done in this kind of world."""
        return getattr(self.facts, "KIND", "action")

    @property
    def judges(self) -> tuple[str, ...]:
        """Names in decoded by which others are judged: the exact world's, whatever the world under test says."""
        return getattr(self.facts, "JUDGES", ())

    @property
    def steps(self) -> int:
        """Of a rollout: those of the sizes, or as many as an episode of this kind of world has."""
        return min(self.sizes.steps, getattr(self.facts, "STEPS", self.sizes.steps))

    def needs_decoded(self) -> None:
        """Raises `Lacks` where states of the world cannot be decoded."""
        if not self.decodes:
            raise Lacks(f"{self.w.name}: its states cannot be decoded")

    def needs(self, kind: str | None = None) -> None:
        """Raises `Lacks` where the world does not take this kind of input; None: the one by which things are done."""
        kind = self.kind if kind is None else kind
        if kind not in self.w.inputs:
            raise Lacks(f"{self.w.name}: takes no {kind}")

    def starts(self, part: int, runs: int | None = None) -> State:
        """So many drawn states of the truth."""
        return _drawn(self.truth, jax.random.split(self.split(part), runs or self.sizes.runs))

    def acts(self, part: int, states: State, act: Callable[..., Any], steps: int) -> Any:
        """Inputs (runs, steps, ...) by `act(key, state, steps)`, a fact, one run each."""
        keys = jax.random.split(self.split(part), len(jax.tree.leaves(states)[0]))
        return _acted(states, keys, act=act, steps=steps)

    def play(
        self, states: State, inputs: Inputs, part: int, *, truth: bool = False, frames: bool = False,
        camera: str | None = None,
    ) -> Played:  # fmt: skip
        """Rollouts of the world, or of the truth, whose chance is equal where `part` is."""
        keys = jax.random.split(self.split(part), len(jax.tree.leaves(states)[0]))
        w, see = (self.truth, recode) if truth else (self.w, self.see)
        fixed, judges = ((), ()) if truth else (getattr(self.facts, "FIXED", ()), self.judges)
        return played(w, self.truth, states, inputs, keys, see=see, decoded=truth or self.decodes, frames=frames,
                      camera=camera, fixed=fixed, judges=judges)  # fmt: skip

    def both(self, states: State, inputs: Inputs, part: int, **options: Any) -> tuple[Played, Played]:
        """`play` of the world and of the truth, under equal keys."""
        mine = self.play(states, inputs, part, **options)
        if self.w is self.truth and self.see is recode:
            return mine, mine
        return mine, self.play(states, inputs, part, truth=True, **options)


def recode(w: World, truth: Exact, state: State, key: Any) -> State:
    """How a world begins where a state of the truth is: it is given what the truth decodes."""
    return w.encode(truth.decode(state), key)


def by_frame(w: World, truth: Exact, state: State, key: Any) -> State:
    """How a world begins that is given what the truth's first camera sees: a learned one."""
    return w.encode(truth.render(state), key)


@jax.jit
def _drawn(truth, keys):
    return jax.vmap(truth.make)(keys)


@partial(jax.jit, static_argnames=("act", "steps"))
def _acted(states, keys, *, act, steps):
    return jax.vmap(lambda key, state: act(key, state, steps))(keys, states)


@partial(jax.jit, static_argnames=("see", "decoded", "frames", "camera", "fixed", "judges"))
def played(
    w, truth, states, inputs, keys, *, see, decoded=True, frames=False, camera=None, fixed=(), judges=()
) -> Played:
    """What `Subject.play` compiles: once for all checks that ask for the same shapes. What never changes (`fixed`) and
    the world does not decode is as the truth has it, and what judges the rest is in any case."""
    films = w.frames_a_step > 1
    told = (*(("decoded",) if decoded else ()), *((("films",) if films else ("frames",)) if frames else ()))

    def one(start, inputs, key):
        begin, run = jax.random.split(key)
        state = see(w, truth, start, begin)
        _, history = rollout(w, state, inputs, run, record=told, camera=camera)
        seen = history.films.reshape(-1, *w.frame) if films and frames else history.frames
        look = w.render(state, camera) if frames else None
        if not decoded:
            return Played(None, None, look, seen)
        first = w.decode(state)
        taken = {*judges, *(name for name in fixed if name not in first)}
        given = {name: value for name, value in truth.decode(start).items() if name in taken}
        wide = lambda a: jnp.broadcast_to(a, (jax.tree.leaves(inputs)[0].shape[0], *jnp.shape(a)))
        return Played(first | given, history.decoded | jax.tree.map(wide, given), look, seen)

    return jax.vmap(one)(states, inputs, keys)


# ------------------------------------------------------------------------------------------------------ shared numbers

PEAK = 60.0
"""The PSNR of equal pictures, in dB: more is not told apart."""


def psnr(a: Any, b: Any) -> Any:
    """Of pictures in [-1, 1], over their last three axes, in dB and at most `PEAK`."""
    error = np.mean((np.asarray(a, np.float64) - np.asarray(b, np.float64)) ** 2, axis=(-3, -2, -1))
    return np.minimum(10 * np.log10(4.0 / np.maximum(error, 1e-12)), PEAK)


def lower(values: Any) -> float:
    """The lower end of Student's 95 % interval of a mean; that of equal values is the value."""
    from scipy import stats

    values = np.asarray(values, np.float64).ravel()
    if len(values) < 2:
        return float("nan")
    return float(values.mean() - stats.t.isf(0.025, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))


def far(a: Any, b: Any) -> Any:
    """Distance over the last axis, float64."""
    return np.linalg.norm(np.asarray(a, np.float64) - np.asarray(b, np.float64), axis=-1)


def repeated(inputs: Any, runs: int) -> Any:
    """The same inputs in each run."""
    return jax.tree.map(lambda a: jnp.broadcast_to(a, (runs, *jnp.shape(a))), inputs)


def plain(value: Any) -> Any:
    """For JSON: what is not finite becomes its name."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value
