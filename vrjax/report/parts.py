"""What a report is made of: plain frozen records, checked when they are built, drawn by `html` and by `figures` alike.

    Page
    ├── scrubbers   Scrubber ── cases: Case      videos on a (seed, step, frame) grid, to be scrubbed
    │                            ├── maps: LayerMap    (seed, step, block, frame[, h, w]), follows the step
    │                            ├── curves: Curve     series may be (seed, step): the chosen seed stands out
    │                            └── events: Event     "commits", "turns back": marks on the step slider
    ├── curves      Curve ── series: Series      averages over many runs, beside their null
    ├── maps        HeatMap                      propagation maps, layer x step accuracies
    ├── forests     Forest ── arms: Effect          estimates with intervals, one line per arm
    ├── claims      report.record.Claim, or a dict of its fields
    ├── tables      Table
    └── pictures, notes, config

Arrays may come from NumPy or JAX. Whatever is optional may be left out and its panel is then not drawn.
"""

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vrjax.files.pixels import to_uint8
from vrjax.report.record import Claim

Array = Any  # whatever numpy.asarray reads: NumPy or JAX arrays, nested lists
if TYPE_CHECKING:
    Number = float
    Integer = int
else:  # NumPy's and JAX's scalars are neither: taken here and converted
    Number = Integer = Any
Role = Literal["model", "null", "control"]


def pixels(video: Array, name: str = "video") -> np.ndarray:
    """Video or image in [-1, 1] (floats; beyond is clipped) or 0..255 (uint8) -> uint8 of the same shape.

    Raises:
        ValueError: the last axis is not 3 colours, a value is not finite, or the dtype is neither float nor uint8.
    """
    array = np.asarray(video)
    if array.ndim < 3 or array.shape[-1] != 3:
        raise ValueError(f"{name}: expected shape (..., height, width, 3), found {array.shape}")
    if 0 in array.shape:
        raise ValueError(f"{name}: nothing to show, an axis of {array.shape} is empty")
    if array.dtype == np.uint8:
        return array
    # jax's bfloat16 is a NumPy extension type of kind "V"; it converts to float32 exactly
    if array.dtype.kind not in "f" and array.dtype.name not in ("bfloat16",):
        raise ValueError(f"{name}: expected floats in [-1, 1] or uint8, found dtype {array.dtype}")
    return to_uint8(array, name)


def _floats(values: Array, name: str, ndim: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected numbers, found {type(values).__name__} ({error})") from None
    if array.ndim not in ndim or 0 in array.shape:
        raise ValueError(f"{name}: expected a non-empty array with {' or '.join(map(str, ndim))} axes, {array.shape=}")
    return array


def _set(record: object, **values: object) -> None:
    for key, value in values.items():
        object.__setattr__(record, key, value)  # the records are frozen for everybody else


@dataclass(frozen=True, eq=False)
class Series:
    """One line of a `Curve`. NaN is a gap.

    Args:
        name: what the legend says.
        y: (point,), or (seed, point) inside a `Case`.
        x: (point,), strictly increasing; 0, 1, 2, ... if left out. For a curve with `sync` these are step indices.
        low, high: the 95 % band, of y's shape; both or neither.
        role: "model" solid, "null" grey and dashed, "control" dotted.
    """

    name: str
    y: Array
    x: Array | None = None
    low: Array | None = None
    high: Array | None = None
    role: Role = "model"

    def __post_init__(self) -> None:
        where = f"series {self.name!r}"
        y = _floats(self.y, f"{where}: y", (1, 2))
        x = np.arange(y.shape[-1], dtype=float) if self.x is None else _floats(self.x, f"{where}: x", (1,))
        if x.shape != y.shape[-1:] or not (np.isfinite(x).all() and (np.diff(x) > 0).all()):
            raise ValueError(f"{where}: x must be {y.shape[-1]} strictly increasing numbers, found shape {x.shape}")
        if (self.low is None) != (self.high is None):
            raise ValueError(f"{where}: a band needs both low and high")
        _set(self, x=x, y=y)
        if self.low is not None:
            low, high = _floats(self.low, f"{where}: low", (1, 2)), _floats(self.high, f"{where}: high", (1, 2))
            if low.shape != y.shape or high.shape != y.shape or (low > high).any():
                raise ValueError(f"{where}: low and high must have y's shape {y.shape} and low <= high")
            _set(self, low=low, high=high)
        if self.role not in ("model", "null", "control"):
            raise ValueError(f"{where}: role must be model, null or control, found {self.role!r}")


@dataclass(frozen=True, eq=False)
class Curve:
    """Lines over denoising steps (or over anything else, with `sync=False`).

    `sync`: x counts denoising steps, so a cursor follows the scrubber and a click on the plot moves it.
    `y_range`: (bottom, top); fitted to the data if left out.
    """

    title: str
    series: Sequence[Series]
    caption: str = ""
    x_label: str = "denoising step"
    y_label: str = ""
    y_range: tuple[Number, Number] | None = None
    sync: bool = True

    def __post_init__(self) -> None:
        if not self.series:
            raise ValueError(f"curve {self.title!r}: no series")
        if self.y_range is not None and not self.y_range[0] < self.y_range[1]:
            raise ValueError(f"curve {self.title!r}: y_range must be (bottom, top), found {self.y_range}")
        _set(self, series=tuple(self.series))


@dataclass(frozen=True, eq=False)
class HeatMap:
    """A still map: `values` (row, column), NaN where there is none (the empty half of a propagation map).

    `rows`, `columns`: labels; indices if left out. `center`: makes the colours diverge around this value.
    `step_axis`: which axis counts denoising steps ("x": columns, "y": rows): the scrubber's step is marked there.
    The tick labels are then read as step numbers, so give them if not every step is a row or column.
    """

    title: str
    values: Array
    caption: str = ""
    x_label: str = ""
    y_label: str = ""
    rows: Sequence[str | int | float] | None = None
    columns: Sequence[str | int | float] | None = None
    unit: str = ""
    value_range: tuple[Number, Number] | None = None
    center: Number | None = None
    step_axis: Literal["x", "y"] | None = None

    def __post_init__(self) -> None:
        where = f"map {self.title!r}"
        values = _floats(self.values, f"{where}: values", (2,))
        for axis, given in enumerate((self.rows, self.columns)):
            if given is not None and len(given) != values.shape[axis]:
                raise ValueError(f"{where}: {len(given)} {('row', 'column')[axis]} labels for shape {values.shape}")
        if np.isinf(values).any() or np.isnan(values).all():
            raise ValueError(f"{where}: values are infinite, or all of them are NaN")
        _set(self, values=values)


@dataclass(frozen=True, eq=False)
class LayerMap:
    """What the layers do while one case is sampled; it follows the scrubber's seed, step and frame.

    Args:
        values: (seed, step, row, column), rows usually blocks and columns frames; or (seed, step, block, frame, h, w):
            one small picture of the tokens per block, at the frame in view. Seeds and steps as in `Case.x0`. Kept with
            1/254 of the range as resolution.
        relative: "all": one colour scale; "row": every row (block) on its own scale over all steps, which shows *when*
            a block lights up although late blocks have larger norms; "step": every step on its own scale.
        columns_are_frames: mark the column of the frame in view. With fewer columns than frames (a causal VAE's latent
            frames), the nearest one.
    """

    title: str
    values: Array
    caption: str = ""
    x_label: str = "frame"
    y_label: str = "block"
    rows: Sequence[str | int] | None = None
    columns: Sequence[str | int] | None = None
    unit: str = ""
    relative: Literal["all", "row", "step"] = "all"
    columns_are_frames: bool = True

    def __post_init__(self) -> None:
        values = _floats(self.values, f"layer map {self.title!r}: values", (4, 6))
        for axis, given in ((2, self.rows), (3, self.columns)):
            if given is not None and len(given) != values.shape[axis]:
                raise ValueError(f"layer map {self.title!r}: {len(given)} labels for axis {axis} of {values.shape}")
        if np.isinf(values).any() or np.isnan(values).all():
            raise ValueError(f"layer map {self.title!r}: values are infinite, or all of them are NaN")
        _set(self, values=values)


@dataclass(frozen=True)
class Event:
    """A mark on the step slider: `label` at `step` (a noise-grid index), for one seed (its position) or all (None)."""

    step: Integer
    label: str
    seed: Integer | None = None

    def __post_init__(self) -> None:
        _set(self, step=int(self.step), seed=None if self.seed is None else int(self.seed))


@dataclass(frozen=True, eq=False)
class Case:
    """One prompt, sampled from several seeds with its steps kept.

    Args:
        name: what the case picker says.
        prompt: the text the model was given.
        x0: (seed, step, frame, h, w, 3), the guess of the finished video at each kept step; [-1, 1] or uint8.
        truth: (frame, h, w, 3) or None. Without it there is no comparison and no wrong-ink view.
        noisy: the state x_t the network saw, of x0's shape, or None.
        steps: noise-grid index of each kept step, increasing; 0, 1, 2, ... if left out.
        sigma: noise level at each kept step.
        seeds: labels; "seed 0", ... if left out.
        scores: the verifier's score of each seed's final video in [0, 1]; 1 is shown as solved.
        outcomes: words for each seed's final video; made from `scores` if left out.
        world: name of the world; note: one more line of prose; truth_label: e.g. "One of two solutions".
    """

    name: str
    prompt: str
    x0: Array
    truth: Array | None = None
    noisy: Array | None = None
    steps: Array | None = None
    sigma: Array | None = None
    seeds: Sequence[str] | None = None
    scores: Array | None = None
    outcomes: Sequence[str] | None = None
    world: str = ""
    note: str = ""
    truth_label: str = "Ground truth"
    events: Sequence[Event] = ()
    maps: Sequence[LayerMap] = ()
    curves: Sequence[Curve] = ()

    def __post_init__(self) -> None:
        where = f"case {self.name!r}"
        x0 = pixels(self.x0, f"{where}: x0")
        if x0.ndim != 6:
            raise ValueError(f"{where}: x0 must be (seed, step, frame, h, w, 3), found {x0.shape}; one seed: x0[None]")
        seeds, kept = x0.shape[:2]
        truth = None if self.truth is None else pixels(self.truth, f"{where}: truth")
        if truth is not None and truth.shape != x0.shape[2:]:
            raise ValueError(f"{where}: truth has shape {truth.shape}, expected {x0.shape[2:]} as in x0")
        noisy = None if self.noisy is None else pixels(self.noisy, f"{where}: noisy")
        if noisy is not None and noisy.shape != x0.shape:
            raise ValueError(f"{where}: noisy has shape {noisy.shape}, expected {x0.shape} as x0")
        steps = tuple(range(kept)) if self.steps is None else tuple(int(s) for s in self.steps)
        if len(steps) != kept or any(b <= a for a, b in zip(steps, steps[1:], strict=False)):
            raise ValueError(f"{where}: steps must be {kept} increasing integers, found {steps}")
        sigma = None if self.sigma is None else _floats(self.sigma, f"{where}: sigma", (1,))
        if sigma is not None and (sigma.shape != (kept,) or not np.isfinite(sigma).all()):
            raise ValueError(f"{where}: sigma must be {kept} finite numbers, found shape {sigma.shape}")
        labels = tuple(f"seed {i}" for i in range(seeds)) if self.seeds is None else tuple(map(str, self.seeds))
        scores = None if self.scores is None else tuple(float(s) for s in self.scores)
        outcomes = None if self.outcomes is None else tuple(self.outcomes)
        if outcomes is None and scores is not None:
            outcomes = tuple("solved" if s >= 1 else f"score {s:.2f}" if s > 0 else "not solved" for s in scores)
        for what, given in (("seeds", labels), ("scores", scores), ("outcomes", outcomes)):
            if given is not None and len(given) != seeds:
                raise ValueError(f"{where}: {len(given)} {what} for {seeds} seeds")
        for part in self.maps:
            if part.values.shape[:2] != (seeds, kept):
                raise ValueError(
                    f"{where}: layer map {part.title!r} must start with {(seeds, kept)}, found {part.values.shape}"
                )
        for curve in self.curves:
            for series in curve.series:
                if series.y.ndim == 2 and len(series.y) != seeds:
                    raise ValueError(f"{where}: series {series.name!r} has {len(series.y)} rows for {seeds} seeds")
        for event in self.events:
            if event.seed is not None and not 0 <= event.seed < seeds:
                raise ValueError(f"{where}: event {event.label!r} names seed {event.seed} of {seeds}")
        _set(self, x0=x0, truth=truth, noisy=noisy, steps=steps, sigma=sigma, seeds=labels, scores=scores)
        _set(self, outcomes=outcomes, events=tuple(self.events), maps=tuple(self.maps), curves=tuple(self.curves))


@dataclass(frozen=True, eq=False)
class Scrubber:
    """The panel that shows thinking: pick a case and a seed, move through steps and frames."""

    cases: Sequence[Case]
    title: str = "Look at thinking"
    text: str = ""

    def __post_init__(self) -> None:
        if not self.cases:
            raise ValueError(f"scrubber {self.title!r}: no cases")
        _set(self, cases=tuple(self.cases))


@dataclass(frozen=True)
class Effect:
    """One line of a forest plot. `low`, `high`: the 95 % interval. `role` "null" and "control" are drawn as such."""

    name: str
    estimate: Number
    low: Number | None = None
    high: Number | None = None
    n: Integer | None = None
    role: Role = "model"
    note: str = ""

    def __post_init__(self) -> None:
        numbers = [float(v) for v in (self.low, self.estimate, self.high) if v is not None]
        if not np.isfinite(numbers).all() or numbers != sorted(numbers) or (self.low is None) != (self.high is None):
            raise ValueError(f"arm {self.name!r}: expected low <= estimate <= high, found {numbers}")
        low, high = (numbers[0], numbers[-1]) if self.low is not None else (None, None)
        _set(self, estimate=float(self.estimate), low=low, high=high, n=None if self.n is None else int(self.n))


@dataclass(frozen=True, eq=False)
class Forest:
    """Arms below each other with their intervals; `reference` is the line to beat, e.g. 0 or the single run's value."""

    title: str
    arms: Sequence[Effect]
    caption: str = ""
    x_label: str = ""
    reference: Number | None = None
    reference_label: str = ""

    def __post_init__(self) -> None:
        if not self.arms:
            raise ValueError(f"forest {self.title!r}: no arms")
        _set(self, arms=tuple(self.arms), reference=None if self.reference is None else float(self.reference))


@dataclass(frozen=True, eq=False)
class Table:
    """Cells may be strings, numbers or None; a cell that is one of the four verdicts is drawn as a chip."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""

    def __post_init__(self) -> None:
        _set(self, columns=tuple(self.columns), rows=tuple(tuple(row) for row in self.rows))
        for i, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.title!r}: row {i} has {len(row)} cells for {len(self.columns)} columns")


@dataclass(frozen=True, eq=False)
class Picture:
    """A still image put into the page: PNG, JPEG, GIF or WebP, as bytes or as a path. `alt` says what it shows."""

    title: str
    image: bytes | pathlib.Path
    alt: str
    caption: str = ""


@dataclass(frozen=True, eq=False)
class Page:
    """A whole report. `intro` and `notes` are plain text; an empty line in `intro` starts a new paragraph."""

    title: str
    subtitle: str = ""
    intro: str = ""
    scrubbers: Sequence[Scrubber] = ()
    claims: Sequence[Claim | Mapping[str, Any]] = ()
    curves: Sequence[Curve] = ()
    maps: Sequence[HeatMap] = ()
    forests: Sequence[Forest] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
