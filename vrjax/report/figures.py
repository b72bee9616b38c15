"""Figures for READMEs and papers, from the same records as the page (`vrjax.report.parts`).

    figure = figures.curve(Curve("Candidates", [Series("model", y, low=lo, high=hi), Series("null", n, role="null")]))
    figures.save(figure, "runs/chain_of_steps/candidates.png")

Every function returns a Matplotlib `Figure` of its own, which a notebook shows: no pyplot, no global state, nothing to
close. The model is drawn in solid colour, the null grey and dashed, controls dotted, so that a figure can be read
without colours. The palette is Okabe and Ito's. Widths are inches at 160 dots: 6.4 in is a README's full width.
"""

import contextlib
import io
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
from matplotlib.ticker import MaxNLocator

from vrjax.files.writing import atomic
from vrjax.report import skeletons
from vrjax.report.parts import Array, Body, Curve, Effect, Forest, HeatMap, Number, pixels

__all__ = ["COLOURS", "bodies", "curve", "film_strip", "forest", "grid", "heat_map", "save"]

INK, SOFT, EDGE, NULL = "#14202e", "#56626f", "#d5dbe2", "#76808b"
COLOURS = {
    "model": ("#0072b2", "#009e73", "#cc79a7", "#56b4e9"),
    "null": (NULL, "#a9b1b9"),
    "control": ("#d55e00", "#e69f00", "#7a3fa8"),
}
AGAIN = ("", "o", "s", "^", "D")
"""Marks along lines whose colour was used before, round by round."""
CROWDED = 6
"""So many series are named within a plot; more of them beside it."""
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


class Shown(Figure):
    """A figure that a notebook shows: without pyplot none of Matplotlib's formatters for notebooks is switched on."""

    def _repr_png_(self) -> bytes:
        page = io.BytesIO()
        with styled():
            self.savefig(page, format="png", metadata={"Software": None})
        return page.getvalue()


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
    with styled(), atomic(target) as scratch:
        figure.savefig(scratch, format=kind, dpi=float(dpi), metadata=empty[kind])
    return target


def curve(part: Curve, *, size: tuple[Number, Number] = (6.4, 3.4)) -> Figure:
    """Lines with their bands, the null dashed in grey. A series of shape (seed, point) is one faint line a seed."""
    with styled():
        figure, axis = _figure(size)
        _lines(axis, part)
        return figure


def heat_map(part: HeatMap) -> Figure:
    """A map (layers x frames, layer x step, ...); NaN is left white."""
    with styled():
        figure, axis = _figure((6.4, 3.4))
        _map(figure, axis, part)
        return figure


def forest(part: Forest) -> Figure:
    """Arms below each other with their 95 % intervals and numbers; the dotted line is the reference."""
    with styled():
        figure, axis = _figure((8.4, 0.9 + 0.36 * len(part.arms)))
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
    rows = _positions("steps", steps, sheet.shape[0])
    columns = _positions("frames", frames, sheet.shape[1])
    for name, given in (("sigma", sigma), ("labels", labels)):
        if given is not None and np.shape(given) != (len(sheet),):
            raise ValueError(f"{name}: expected {len(sheet)} values, found shape {np.shape(given)}")
    gap = max(1, sheet.shape[3] // 20)
    picture = grid(sheet, steps=rows, frames=columns, truth=truth, gap=gap)
    height, wide = sheet.shape[2:4]
    names = [str(labels[r] if labels is not None else r) for r in rows]
    told = labels is not None and isinstance(labels[0], str)
    with styled():
        left, top, bottom = 0.3 + 0.07 * max(map(len, names)) if told else 1.0, 0.62 if title else 0.34, 0.06
        tall = (float(width) - left - 0.06) * picture.shape[0] / picture.shape[1]
        total = (float(width), tall + top + bottom)
        figure = Shown(figsize=total)
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


def bodies(
    part: Body,
    *,
    seed: int = 0,
    steps: Array | None = None,
    frames: Array | None = None,
    title: str = "",
    width: Number = 6.4,
    size: int = 160,
) -> Figure:
    """A still film strip of skeletons: each row is the guessed motion of one seed at one denoising step, each column a
    frame; the truth is the last row. Every body is seen from near, over the place where its pelvis is.

    Args:
        part: the motions; left limbs are drawn blue and right ones red.
        seed: whose.
        steps: positions to show, all if left out; negative ones count from the end.
        frames: likewise; nine of them, evenly, if left out.
        title, width: as in `film_strip`.
        size: sides of a picture in pixels.

    Raises:
        ValueError: a seed, step or frame that the motions lack.
    """
    joints, at = np.asarray(part.joints), _positions("seed", [seed], len(part.joints))[0]
    if frames is None:
        frames = np.unique(np.linspace(0, joints.shape[2] - 1, min(9, joints.shape[2])).round().astype(int))
    rows, columns = _positions("steps", steps, joints.shape[1]), _positions("frames", frames, joints.shape[2])
    drawn = skeletons.pictures(joints[at][np.ix_(rows, columns)], float(part.floor or 0.0), size)
    truth = None
    if part.truth is not None:
        truth = skeletons.pictures(np.asarray(part.truth)[columns], float(part.floor or 0.0), size)
    pick = lambda row: None if row is None else [row[r] for r in rows]
    strip = film_strip(drawn, sigma=pick(part.sigma), labels=pick(part.steps), truth=truth, title=title, width=width)
    strip.axes[0].set_xticklabels([str(column) for column in columns])
    return strip


def grid(
    x0: Array,
    *,
    steps: Array | None = None,
    frames: Array | None = None,
    truth: Array | None = None,
    gap: int = 2,
) -> np.ndarray:
    """The contact sheet of one run: a row per denoising step, a column per frame.

    Args:
        x0: (step, frame, h, w, 3), e.g. the decoded `Trajectory.x0`.
        steps, frames: positions to show, all if left out; negative ones count from the end.
        truth: (frame, h, w, 3), added as a last row under a wider gap.
        gap: white pixels between the pictures.

    Returns:
        uint8 (H, W, 3).
    """
    sheet = pixels(x0, "x0")
    if sheet.ndim != 5:
        raise ValueError(f"x0: expected (step, frame, h, w, 3), found {sheet.shape}")
    rows, columns = _positions("steps", steps, sheet.shape[0]), _positions("frames", frames, sheet.shape[1])
    picture = _tiled(sheet[rows][:, columns], gap)
    if truth is None:
        return picture
    last = pixels(truth, "truth")
    if last.shape != sheet.shape[1:]:
        raise ValueError(f"truth: expected {sheet.shape[1:]} as one step of x0, found {last.shape}")
    bar = np.full((3 * gap, picture.shape[1], 3), 255, np.uint8)
    return np.concatenate([picture, bar, _tiled(last[None][:, columns], gap)])


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Within it all figures look alike, whatever a user's own settings are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's matplotlibrc must not change a report
        matplotlib.rcParams.update(STYLE)
        yield


def _figure(size: tuple[Number, Number]) -> tuple[Figure, Axes]:
    engine = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1, wspace=0.06)
    figure = Shown(figsize=(float(size[0]), float(size[1])), layout=engine)
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _lines(axis: Axes, part: Curve) -> None:
    seen = dict.fromkeys(COLOURS, 0)
    for series in part.series:
        tones = COLOURS[series.role]
        tone, mark = tones[seen[series.role] % len(tones)], AGAIN[seen[series.role] // len(tones) % len(AGAIN)]
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
        how = {"marker": mark, "markersize": 5, "markevery": max(len(x) // 8, 1)} if mark else {}
        axis.plot(x, y, color=tone, linestyle=DASHES[series.role], linewidth=wide, label=series.name, zorder=top, **how)
    if part.y_range is not None:
        axis.set_ylim(float(part.y_range[0]), float(part.y_range[1]))
    axis.set(xlabel=part.x_label, ylabel=part.y_label, title=part.title)
    axis.margins(x=0.02)
    if part.sync:  # denoising steps are counted, not measured
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    crowded = len(part.series) > CROWDED
    axis.legend(**({"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if crowded else {"loc": "best"}))


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


def _positions(name: str, chosen: Array | None, count: int) -> list[int]:
    """Chosen places on an axis of `count`, all of them for None; negative ones count from the end."""
    if chosen is None:
        return list(range(count))
    bad = [i for i in chosen if not -count <= i < count]
    if bad or not len(chosen):
        raise ValueError(f"{name}: {bad or 'nothing'} chosen, expected positions in 0..{count - 1}")
    return [int(i) % count for i in chosen]


def _tiled(images: np.ndarray, gap: int) -> np.ndarray:
    """uint8 (row, column, h, w, 3) -> uint8 (H, W, 3) with `gap` white pixels between the images."""
    rows, columns, height, width, _ = images.shape
    out = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for r in range(rows):
        for c in range(columns):
            y, x = r * (height + gap), c * (width + gap)
            out[y : y + height, x : x + width] = images[r, c]
    return out
