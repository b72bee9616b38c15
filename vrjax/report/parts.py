"""What a report is made of: plain frozen records, checked when they are built, drawn by `html` and by `figures` alike.

    Page
    ├── scrubbers   Scrubber ── cases: Case      videos on a (seed, step, frame) grid, to be scrubbed
    │                            │      or: Body     motions on such a grid, in 3-D
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
from typing import Any, Literal

import numpy as np

from vrjax.files.pixels import to_uint8
from vrjax.report import skeletons
from vrjax.report.guesses import Guess, ends
from vrjax.report.plots import Array, Curve, Effect, Forest, HeatMap, Integer, Number, Role, Series, floats, mapped, put
from vrjax.report.record import Claim

__all__ = ["Body", "Case", "Event", "LayerMap", "Page", "Picture", "Scrubber", "Table", "pixels"]
__all__ += ["Curve", "Effect", "Forest", "HeatMap", "Number", "Role", "Series"]  # of `plots`


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
        put(self, values=mapped(self.values, f"layer map {self.title!r}", (4, 6), self.rows, self.columns))


@dataclass(frozen=True)
class Event:
    """A mark on the step slider: `label` at `step` (a noise-grid index), for one seed (its position) or all (None)."""

    step: Integer
    label: str
    seed: Integer | None = None

    def __post_init__(self) -> None:
        put(self, step=int(self.step), seed=None if self.seed is None else int(self.seed))


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
        solved: whether each seed's final video is right, as the task's `solved` says; all marks come from here. Where
            it is left out and `guesses` are given, whether the last guess is right.
        guesses: what each seed's guess is at each kept step, see `vrjax.report.guesses.judged`: ticks on the slider.
        outcomes: words for each seed's final video; made from `solved` if left out.
        world: name of the world; note: one more line of prose; truth_label: e.g. "One of two solutions"; other: what a
            guess of another answer is called.
    """

    name: str
    prompt: str
    x0: Array
    truth: Array | None = None
    noisy: Array | None = None
    steps: Array | None = None
    sigma: Array | None = None
    seeds: Sequence[str] | None = None
    solved: Sequence[bool] | None = None
    guesses: Sequence[Sequence[Guess]] | None = None
    outcomes: Sequence[str] | None = None
    world: str = ""
    note: str = ""
    truth_label: str = "Ground truth"
    other: str = "another answer"
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
        put(self, x0=x0, truth=truth, noisy=noisy)
        _align(self, where, seeds, kept)


@dataclass(frozen=True, eq=False)
class Body:
    """One prompt, as motions sampled from several seeds with their steps kept: what `Case` is for videos, in 3-D.

    Args:
        name, prompt: as in `Case`.
        joints: (seed, step, frame, 22, 3), in metres and in the order of `vrjax.motion.JOINTS`: the guess of the
            finished motion at each kept step. The page holds them in 65535 steps of their extent.
        truth: (frame, 22, 3) or None: drawn beside the guess, and as a ghost in it.
        contacts: (seed, step, frame, 2), whether the left and the right foot stand. Where it is left out, they stand
            while the toe is less than 2 cm over the floor, or less than 5 cm and slower than 0.2 m/s. A foot that
            stands and moves faster slides.
        floor: its height in metres; the truth's lowest joint if left out, and without a truth the lowest at the last
            step, as a median over frames.
        fps: frames a second, at which the page plays.
        up_axis: 2, or 1 for joints of a y-up world (HumanML3D, MBench): here they are turned to z up.
        steps, sigma, seeds, solved, guesses, outcomes, world, note, truth_label, other, events, maps, curves: as in
            `Case`.

    Raises:
        ValueError: a shape that does not fit, a value that is not finite, another axis than 1 or 2.
    """

    name: str
    prompt: str
    joints: Array
    truth: Array | None = None
    contacts: Array | None = None
    floor: Number | None = None
    fps: Number = 20.0
    up_axis: Integer = 2
    steps: Array | None = None
    sigma: Array | None = None
    seeds: Sequence[str] | None = None
    solved: Sequence[bool] | None = None
    guesses: Sequence[Sequence[Guess]] | None = None
    outcomes: Sequence[str] | None = None
    world: str = ""
    note: str = ""
    truth_label: str = "Ground truth"
    other: str = "another answer"
    events: Sequence[Event] = ()
    maps: Sequence[LayerMap] = ()
    curves: Sequence[Curve] = ()

    def __post_init__(self) -> None:
        where = f"body {self.name!r}"
        if self.up_axis not in (1, 2):
            raise ValueError(f"{where}: up_axis must be 1 or 2, found {self.up_axis!r}")
        if not 0 < float(self.fps) < float("inf"):
            raise ValueError(f"{where}: fps must be a positive number, found {self.fps!r}")
        joints = self._places(f"{where}: joints", self.joints, 5)
        seeds, kept, frames = joints.shape[:3]
        truth = None if self.truth is None else self._places(f"{where}: truth", self.truth, 3)
        if truth is not None and len(truth) != frames:
            raise ValueError(f"{where}: truth has {len(truth)} frames, expected {frames} as in joints")
        floor = skeletons.ground(joints, truth) if self.floor is None else float(self.floor)
        if not np.isfinite(floor):
            raise ValueError(f"{where}: floor must be a finite height, found {floor}")
        standing = (
            skeletons.standing(joints, floor, float(self.fps)) if self.contacts is None else np.asarray(self.contacts)
        )
        if standing.shape != (seeds, kept, frames, 2):
            raise ValueError(f"{where}: contacts must be {(seeds, kept, frames, 2)}, found {standing.shape}")
        if standing.dtype != bool and not np.isin(standing, (0, 1)).all():
            raise ValueError(f"{where}: contacts must be true or false, found other values of {standing.dtype}")
        put(self, joints=joints, truth=truth, contacts=standing.astype(bool), floor=floor, fps=float(self.fps))
        put(self, up_axis=2)
        _align(self, where, seeds, kept)

    def _places(self, where: str, given: Array, axes: int) -> np.ndarray:
        """Joints as finite float32 in a z-up world."""
        array = floats(given, where, (axes,)).astype(np.float32)
        if array.shape[-2:] != (22, 3):
            raise ValueError(f"{where}: expected 22 joints of 3 coordinates as last axes, found shape {array.shape}")
        if bad := int((~np.isfinite(array)).sum()):
            raise ValueError(f"{where}: {bad} of {array.size} values are not finite")
        x, y, z = np.moveaxis(array, -1, 0)
        return array if self.up_axis == 2 else np.stack([-x, z, y], -1)


def _align(part: Case | Body, where: str, seeds: int, kept: int) -> None:
    """Completes what a case says of its seeds and steps, and checks that there is as much of it as there are."""
    steps = tuple(range(kept)) if part.steps is None else tuple(int(s) for s in part.steps)
    if len(steps) != kept or any(b <= a for a, b in zip(steps, steps[1:], strict=False)):
        raise ValueError(f"{where}: steps must be {kept} increasing integers, found {steps}")
    sigma = None if part.sigma is None else floats(part.sigma, f"{where}: sigma", (1,))
    if sigma is not None and (sigma.shape != (kept,) or not np.isfinite(sigma).all()):
        raise ValueError(f"{where}: sigma must be {kept} finite numbers, found shape {sigma.shape}")
    labels = tuple(f"seed {i}" for i in range(seeds)) if part.seeds is None else tuple(map(str, part.seeds))
    guesses = None if part.guesses is None else tuple(map(tuple, part.guesses))
    solved = None if part.solved is None else tuple(bool(s) for s in part.solved)
    if solved is None and guesses is not None:
        solved = ends(guesses)
    outcomes = None if part.outcomes is None else tuple(part.outcomes)
    if outcomes is None and solved is not None:
        outcomes = tuple("solved" if s else "not solved" for s in solved)
    for what, given in (("seeds", labels), ("solved", solved), ("guesses", guesses), ("outcomes", outcomes)):
        if given is not None and len(given) != seeds:
            raise ValueError(f"{where}: {len(given)} {what} for {seeds} seeds")
    if wrong := [len(run) for run in guesses or () if len(run) != kept]:
        raise ValueError(f"{where}: {wrong[0]} guesses of a seed for {kept} steps")
    for shown in part.maps:
        if shown.values.shape[:2] != (seeds, kept):
            raise ValueError(
                f"{where}: layer map {shown.title!r} must start with {(seeds, kept)}, found {shown.values.shape}"
            )
    for curve in part.curves:
        for series in curve.series:
            if series.y.ndim == 2 and len(series.y) != seeds:
                raise ValueError(f"{where}: series {series.name!r} has {len(series.y)} rows for {seeds} seeds")
    for event in part.events:
        if event.seed is not None and not 0 <= event.seed < seeds:
            raise ValueError(f"{where}: event {event.label!r} names seed {event.seed} of {seeds}")
    put(part, steps=steps, sigma=sigma, seeds=labels, solved=solved, guesses=guesses, outcomes=outcomes)
    put(part, events=tuple(part.events), maps=tuple(part.maps), curves=tuple(part.curves))


@dataclass(frozen=True, eq=False)
class Scrubber:
    """The panel that shows thinking: pick a case and a seed, move through steps and frames. The cases are all videos
    (`Case`) or all motions (`Body`).

    `compare`: shows all seeds of a case side by side, large and by name, under this legend; for arms in their place.
    """

    cases: Sequence[Case] | Sequence[Body]
    title: str = "Look at thinking"
    text: str = ""
    compare: str = ""

    def __post_init__(self) -> None:
        if not self.cases:
            raise ValueError(f"scrubber {self.title!r}: no cases")
        if len({type(case) for case in self.cases}) > 1:
            raise ValueError(f"scrubber {self.title!r}: videos and motions in one; give each a scrubber of its own")
        put(self, cases=tuple(self.cases))

    @property
    def bodies(self) -> bool:
        """Whether it shows motions."""
        return isinstance(self.cases[0], Body)

    @property
    def still(self) -> bool:
        """Whether there are no steps to move through, only frames."""
        return all(len(case.steps or ()) < 2 for case in self.cases)


@dataclass(frozen=True, eq=False)
class Table:
    """Cells may be strings, numbers or None; a cell that is one of the four verdicts is drawn as a chip."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""

    def __post_init__(self) -> None:
        put(self, columns=tuple(self.columns), rows=tuple(tuple(row) for row in self.rows))
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
    """A whole report. `intro` and `notes` are plain text; an empty line in `intro` starts a new paragraph.

    `alerts`: what a reader must know first, above all else. `ledes`: the sentence under the heading of a section
    ("curves", "claims", "forests", "maps", "pictures", "tables") in this report's own words.
    """

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
    alerts: Sequence[str] = ()
    ledes: Mapping[str, str] = field(default_factory=dict)
