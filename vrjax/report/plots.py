"""What is drawn as a plot: lines, maps, and arms with their intervals. `vrjax.report.parts` has these names too."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

Array = Any  # whatever numpy.asarray reads: NumPy or JAX arrays, nested lists
if TYPE_CHECKING:
    Number = float
    Integer = int
else:  # NumPy's and JAX's scalars are neither: taken here and converted
    Number = Integer = Any
Role = Literal["model", "null", "control"]


def floats(values: Array, name: str, ndim: tuple[int, ...]) -> np.ndarray:
    """A non-empty array of one of these numbers of axes, or a ValueError that begins with `name`."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected numbers, found {type(values).__name__} ({error})") from None
    if array.ndim not in ndim or 0 in array.shape:
        raise ValueError(f"{name}: expected a non-empty array with {' or '.join(map(str, ndim))} axes, {array.shape=}")
    return array


def mapped(
    values: Array, where: str, ndim: tuple[int, ...], rows: Sequence[Any] | None, columns: Sequence[Any] | None
) -> np.ndarray:
    """The values of a map, NaN where it has none, whose first or third axis are rows and the next one columns; there
    are as many labels as rows and columns, where there are any."""
    array = floats(values, f"{where}: values", ndim)
    first = 0 if array.ndim == 2 else 2
    for axis, (what, given) in enumerate((("row", rows), ("column", columns)), first):
        if given is not None and len(given) != array.shape[axis]:
            raise ValueError(f"{where}: {len(given)} {what} labels for shape {array.shape}")
    if np.isinf(array).any() or np.isnan(array).all():
        raise ValueError(f"{where}: values are infinite, or all of them are NaN")
    return array


def put(record: object, **values: object) -> None:
    """Sets fields of a frozen record while it is built."""
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
        y = floats(self.y, f"{where}: y", (1, 2))
        x = np.arange(y.shape[-1], dtype=float) if self.x is None else floats(self.x, f"{where}: x", (1,))
        if x.shape != y.shape[-1:] or not (np.isfinite(x).all() and (np.diff(x) > 0).all()):
            raise ValueError(f"{where}: x must be {y.shape[-1]} strictly increasing numbers, found shape {x.shape}")
        if (self.low is None) != (self.high is None):
            raise ValueError(f"{where}: a band needs both low and high")
        put(self, x=x, y=y)
        if self.low is not None:
            low, high = floats(self.low, f"{where}: low", (1, 2)), floats(self.high, f"{where}: high", (1, 2))
            if low.shape != y.shape or high.shape != y.shape or (low > high).any():
                raise ValueError(f"{where}: low and high must have y's shape {y.shape} and low <= high")
            put(self, low=low, high=high)
        if self.role not in ("model", "null", "control"):
            raise ValueError(f"{where}: role must be model, null or control, found {self.role!r}")


@dataclass(frozen=True, eq=False)
class Curve:
    """Lines over denoising steps (or over anything else, with `sync=False`).

    `sync`: x counts denoising steps, so a cursor follows the scrubber and a click on the plot moves it.
    `y_range`: (bottom, top). Left out, it is fitted to the lines of interest and their nulls; controls may take
    as much room again above and below, and leave the plot where they go further.
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
        put(self, series=tuple(self.series))
        if self.y_range is None:
            put(self, y_range=self._fitted())

    def _fitted(self) -> tuple[float, float] | None:
        ends = lambda of: [v for s in of for v in (s.y, s.low, s.high) if v is not None and np.isfinite(v).any()]
        every = ends(self.series)
        if not every:
            return None
        reach = lambda values: (min(float(np.nanmin(v)) for v in values), max(float(np.nanmax(v)) for v in values))
        (least, most), (low, high) = reach(every), reach(ends(s for s in self.series if s.role != "control") or every)
        room = high - low or abs(high) or 1.0
        low, high = max(least, low - room), min(most, high + room)
        if 0 < low < 0.6 * high:
            low = 0.0
        pad = 0.06 * (high - low or abs(high) or 1.0)
        return (low - pad if low else 0.0, high + pad)


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
        put(self, values=mapped(self.values, f"map {self.title!r}", (2,), self.rows, self.columns))


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
        put(self, estimate=float(self.estimate), low=low, high=high, n=None if self.n is None else int(self.n))


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
        put(self, arms=tuple(self.arms), reference=None if self.reference is None else float(self.reference))
