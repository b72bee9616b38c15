"""Figures for READMEs and papers, from the same records as the page (`vrjax.report.parts`).

    figure = figures.curve(Curve("Candidates", [Series("model", y, low=lo, high=hi), Series("null", n, role="null")]))
    figures.save(figure, "runs/chain_of_steps/candidates.png")

Every function returns a Matplotlib `Figure` of its own: no pyplot, no global state, nothing to close. The model is
drawn in solid colour, the null grey and dashed, controls dotted, so that a figure can be read without colours. The
palette is Okabe and Ito's. Widths are inches at 160 dots: 6.4 in is a README's full width.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from vrjax.files.writing import atomic
from vrjax.report import video
from vrjax.report.parts import Array, Curve, Effect, Forest, HeatMap, Number, pixels

__all__ = ["COLOURS", "curve", "curves", "film_strip", "forest", "heat_map", "propagation", "save"]

INK, SOFT, EDGE, NULL, LAMP = "#14202e", "#56626f", "#d5dbe2", "#76808b", "#e08a00"
COLOURS = {
    "model": ("#0072b2", "#009e73", "#cc79a7", "#56b4e9"),
    "null": (NULL, "#a9b1b9"),
    "control": ("#d55e00", "#e69f00", "#7a3fa8"),
}
DASHES: dict[str, Any] = {"model": "-", "null": (0, (5, 3)), "control": (0, (1, 2))}
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # Matplotlib brings it along: the same figure on every machine
    "font.size": 9.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": EDGE,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "image.interpolation": "nearest",
    "text.parse_math": False,  # names come from data: a dollar sign is a dollar sign
    "svg.hashsalt": "vrjax",
}


def save(figure: Figure, path: str | os.PathLike[str], dpi: Number = 160) -> pathlib.Path:
    """Writes .png, .svg or .pdf, whole or not at all; equal figures give equal bytes (no dates, no versions inside)."""
    target = pathlib.Path(path)
    kind = target.suffix.lower().lstrip(".")
    empty: dict[str, dict[str, None]] = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    }
    if kind not in empty:
        raise ValueError(f"{target}: unknown suffix {target.suffix!r}, expected .png, .svg or .pdf")
    with _style(), atomic(target) as scratch:
        figure.savefig(scratch, format=kind, dpi=float(dpi), metadata=empty[kind])
    return target


def curve(part: Curve, *, size: tuple[Number, Number] = (6.4, 3.4)) -> Figure:
    """One set of lines with their bands; the null dashed in grey."""
    return curves([part], size=size)


def curves(parts: Sequence[Curve], *, size: tuple[Number, Number] | None = None) -> Figure:
    """Several sets of lines side by side. Series of shape (seed, point) are drawn as one faint line a seed."""
    if not parts:
        raise ValueError("curves: nothing to draw")
    with _style():
        figure, axes = _figure(size or (min(12.8, 4.6 * len(parts)), 3.4), len(parts))
        for axis, part in zip(axes, parts, strict=True):
            _lines(axis, part)
        return figure


def heat_map(part: HeatMap, *, size: tuple[Number, Number] = (6.4, 3.4), mark: str | int | None = None) -> Figure:
    """A map (layers x frames, layer x step, ...); NaN is left white. `mark`: the column label to frame."""
    with _style():
        figure, (axis,) = _figure(size, 1)
        _map(figure, axis, part)
        if mark is not None:
            labels = [str(c) for c in (part.columns if part.columns is not None else range(part.values.shape[1]))]
            if str(mark) not in labels:
                raise ValueError(f"mark: no column {mark!r} in map {part.title!r}")
            corner = (labels.index(str(mark)) - 0.5, -0.5)
            axis.add_patch(
                Rectangle(corner, 1, len(part.values), fill=False, edgecolor=LAMP, linewidth=2, clip_on=False)
            )
        return figure


def propagation(
    values: Array,
    *,
    steps: Array | None = None,
    null: Array | None = None,
    title: str = "How far a disturbance travels",
    label: str = "dissimilarity to the clean run",
    size: tuple[Number, Number] = (9.2, 3.6),
) -> Figure:
    """Disturb at one step, compare at every later one.

    Args:
        values: (disturbed step, later step), e.g. 1 - CKA; what lies before the disturbance (below the diagonal) is not
            shown. Right of the map: the mean over later steps, one value per disturbed step.
        steps: noise-grid index of each row and column.
        null: the same map of the null model, for the second line on the right.
    """
    grid = np.array(values, dtype=float)
    if grid.ndim != 2 or grid.shape[0] != grid.shape[1]:
        raise ValueError(f"propagation: expected (step, step), found {grid.shape}")
    beside = None if null is None else np.array(null, dtype=float)
    if beside is not None and beside.shape != grid.shape:
        raise ValueError(f"propagation: null has shape {beside.shape}, expected {grid.shape}")
    index = np.arange(len(grid)) if steps is None else np.asarray(steps)
    if index.shape != (len(grid),):
        raise ValueError(f"propagation: {index.shape} steps for a map of {grid.shape}")
    before = np.tril_indices(len(grid), -1)
    for map_ in (grid, beside):
        if map_ is not None:
            map_[before] = np.nan
    with _style():
        figure, (left, right) = _figure(size, 2, (1.35, 1.0))
        labels = [str(i) for i in index]
        reach = (0.0, max(1e-12, float(np.nanmax(grid))))
        _map(figure, left, HeatMap(title, grid, "", "later step", "disturbed step", labels, labels, value_range=reach))
        right.plot(index, np.nanmean(grid, axis=1), color=COLOURS["model"][0], linewidth=2.2, label="model")
        if beside is not None:
            right.plot(
                index, np.nanmean(beside, axis=1), color=NULL, linestyle=DASHES["null"], linewidth=2, label="null"
            )
            right.legend(loc="best")
        right.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        right.set(xlabel="disturbed step", ylabel=label, title="Mean over the later steps")
        right.set_ylim(bottom=0)
        return figure


def forest(part: Forest, *, size: tuple[Number, Number] | None = None) -> Figure:
    """Arms below each other with their 95 % intervals and numbers; the dotted line is the reference."""
    with _style():
        figure, (axis,) = _figure(size or (8.4, 0.9 + 0.36 * len(part.arms)), 1)
        for row, arm in enumerate(part.arms):
            _effect(axis, row, arm, signed=part.reference == 0)
        if part.reference is not None:
            axis.axvline(part.reference, color=INK, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
            if part.reference_label:
                across = axis.get_xaxis_transform()
                axis.text(
                    part.reference,
                    1.0,
                    part.reference_label,
                    ha="center",
                    va="bottom",
                    fontsize=9,
                    color=SOFT,
                    transform=across,
                )
        axis.set_yticks(range(len(part.arms)), [arm.name for arm in part.arms], color=INK)
        axis.set_ylim(len(part.arms) - 0.5, -0.5)
        axis.set_xlabel(part.x_label)
        axis.grid(True, axis="x")
        axis.grid(False, axis="y")
        axis.spines["left"].set_visible(False)
        axis.tick_params(axis="y", length=0)
        axis.set_title(part.title, pad=24 if part.reference_label else 10)
        return figure


def film_strip(
    x0: Array,
    *,
    steps: Array | None = None,
    frames: Array | None = None,
    sigma: Array | None = None,
    labels: Array | Sequence[str] | None = None,
    truth: Array | None = None,
    title: str = "",
    width: Number = 6.4,
) -> Figure:
    """The step x frame contact sheet with labels: each row is the guessed video at one denoising step.

    Args:
        x0: (step, frame, h, w, 3) in [-1, 1] or uint8.
        steps, frames: positions to show, all if left out; negative ones count from the end.
        sigma: (step,), written beside each row.
        labels: (step,), the noise-grid indices, if not every step was kept; or texts, where rows are something else.
        truth: (frame, h, w, 3), as the last row.
    """
    sheet = pixels(x0, "x0")
    if sheet.ndim != 5:
        raise ValueError(f"x0: expected (step, frame, h, w, 3), found {sheet.shape}")
    rows = video.positions("steps", steps, sheet.shape[0])
    columns = video.positions("frames", frames, sheet.shape[1])
    for name, given in (("sigma", sigma), ("labels", labels)):
        if given is not None and np.shape(given) != (len(sheet),):
            raise ValueError(f"{name}: expected {len(sheet)} values, found shape {np.shape(given)}")
    gap = max(1, sheet.shape[3] // 20)
    picture = video.grid(sheet, steps=rows, frames=columns, truth=truth, gap=gap)
    height, wide = sheet.shape[2:4]
    names = [str(labels[r] if labels is not None else r) for r in rows]
    told = labels is not None and isinstance(labels[0], str)
    with _style():
        left, top, bottom = 0.3 + 0.07 * max(map(len, names)) if told else 1.0, 0.62 if title else 0.34, 0.06
        tall = (float(width) - left - 0.06) * picture.shape[0] / picture.shape[1]
        total = (float(width), tall + top + bottom)
        figure = Figure(figsize=total)
        FigureCanvasAgg(figure)
        axis = figure.add_axes((left / total[0], bottom / total[1], 1 - (left + 0.06) / total[0], tall / total[1]))
        axis.imshow(picture, aspect="auto")
        if sigma is not None:
            names = [f"{name}   σ {float(sigma[r]):.2f}" for name, r in zip(names, rows, strict=True)]
        names[0] = names[0] if told else f"step {names[0]}"
        places = [r * (height + gap) + height / 2 - 0.5 for r in range(len(rows))]
        if truth is not None:
            names.append("truth")
            places.append(picture.shape[0] - height / 2 - 0.5)
        axis.set_yticks(places, names)
        axis.set_xticks([c * (wide + gap) + wide / 2 - 0.5 for c in range(len(columns))], [str(c) for c in columns])
        axis.xaxis.tick_top()
        axis.tick_params(length=0)
        axis.grid(False)
        for spine in axis.spines.values():
            spine.set_visible(False)
        if title:
            figure.text(0.012, 1 - 0.12 / total[1], title, va="top", fontsize=11, fontweight="bold")
        return figure


@contextlib.contextmanager
def _style() -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's matplotlibrc must not change a report
        matplotlib.rcParams.update(STYLE)
        yield


def _figure(
    size: tuple[Number, Number], columns: int, ratios: tuple[float, ...] | None = None
) -> tuple[Figure, list[Axes]]:
    engine = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1, wspace=0.06)
    figure = Figure(figsize=(float(size[0]), float(size[1])), layout=engine)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, squeeze=False, width_ratios=ratios)
    return figure, list(axes[0])


def _lines(axis: Axes, part: Curve) -> None:
    seen = dict.fromkeys(COLOURS, 0)
    for series in part.series:
        tones = COLOURS[series.role]
        tone = tones[seen[series.role] % len(tones)]
        seen[series.role] += 1
        top = 3 if series.role == "model" else 2
        x, y = np.asarray(series.x), np.asarray(series.y)
        if y.ndim == 2:
            axis.plot(x, y.T, color=tone, linestyle=DASHES[series.role], linewidth=1, alpha=0.55, zorder=top)
            axis.add_line(Line2D([], [], color=tone, linestyle=DASHES[series.role], linewidth=1, label=series.name))
            continue
        if series.low is not None:
            axis.fill_between(x, np.asarray(series.low), np.asarray(series.high), color=tone, alpha=0.16, linewidth=0)
        wide = 2.2 if series.role == "model" else 1.8
        axis.plot(x, y, color=tone, linestyle=DASHES[series.role], linewidth=wide, label=series.name, zorder=top)
    if part.y_range is not None:
        axis.set_ylim(float(part.y_range[0]), float(part.y_range[1]))
    axis.set(xlabel=part.x_label, ylabel=part.y_label, title=part.title)
    axis.margins(x=0.02)
    if part.sync:  # denoising steps are counted, not measured
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axis.legend(loc="best")


def _map(figure: Figure, axis: Axes, part: HeatMap) -> None:
    values = np.asarray(part.values)
    low, high = map(float, part.value_range or (np.nanmin(values), np.nanmax(values)))
    norm: Normalize = Normalize(low, high)
    colours = "inferno"
    if part.center is not None:
        middle = float(part.center)
        reach = max(abs(low - middle), abs(high - middle)) or 1.0
        norm, colours = TwoSlopeNorm(middle, middle - reach, middle + reach), "RdBu_r"
    image = axis.imshow(values, cmap=colours, norm=norm, aspect="auto")
    for axes, given, count in (
        (axis.yaxis, part.rows, values.shape[0]),
        (axis.xaxis, part.columns, values.shape[1]),
    ):
        every = -(-count // 12)
        places = list(range(0, count, every))
        axes.set_ticks(places, [str(given[i] if given is not None else i) for i in places])
    axis.set(xlabel=part.x_label, ylabel=part.y_label, title=part.title)
    axis.grid(False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    axis.tick_params(length=0)
    bar = figure.colorbar(image, ax=axis, pad=0.02, aspect=24)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    bar.ax.tick_params(length=0)
    bar.set_label(part.unit)


def _effect(axis: Axes, row: int, effect: Effect, signed: bool) -> None:
    tone = COLOURS[effect.role][0]
    plus = "+" if signed else ""  # differences show their sign
    words = format(effect.estimate, plus + ".3f")
    if effect.low is not None and effect.high is not None:
        axis.plot([effect.low, effect.high], [row, row], color=tone, linewidth=2.6, solid_capstyle="round", zorder=2)
        words += f"  [{format(effect.low, plus + '.3f')}, {format(effect.high, plus + '.3f')}]"
    hollow = effect.role == "null"
    face = "white" if hollow else tone
    axis.plot(
        [effect.estimate], [row], "s" if hollow else "o", color=tone, markerfacecolor=face, markersize=7, zorder=3
    )
    words += f"  n {effect.n}" if effect.n is not None else ""
    axis.annotate(
        words.replace("-", "−"),
        (1.0, row),
        (8, 0),
        xycoords=axis.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
        color=SOFT,
    )
