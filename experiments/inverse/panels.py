"""Pictures with Matplotlib's own axes: the README's four panels, fields, chains, and ratios of errors over evidence.

Colours and style are those of `vrjax.report.figures`. Nothing tells apart what a reader cannot see without colours: the
posterior is drawn in full, the prior hollow and dashed, what is calibrated filled.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from experiments.inverse import drawing, names, rows, sampled_rows
from experiments.inverse.config import Inverse
from experiments.inverse.rows import Rows
from vrjax.report import figures
from vrjax.study.tables import Tables

BLUE, GREEN, PINK, SKY = figures.COLOURS["model"]
ORANGE, YELLOW, _ = figures.COLOURS["control"]
GREY = figures.COLOURS["null"][0]
SOFT = "#56626f"
SAMPLES = 3
"""Fields of a posterior that are shown."""
GROUPS = ("o", "s", "D", "^")
"""Marks of groups of problems."""

Panel = Callable[[Axes], None]


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Matplotlib as the reports have it, whatever a user's settings are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(figures.STYLE)
        yield


def blank(size: tuple[float, float]) -> Figure:
    """A figure of that many inches, to be filled."""
    figure = figures.Shown(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def four(study: Inverse, kept: Mapping[str, Tables], best: Rows | None = None) -> Figure:
    """The README's picture: three of the panels below each other, beside them the guided samplers; those whose
    experiments were measured.

    Args:
        study: the sizes of the tables.
        kept: the tables.
        best: rows of `sampled_rows.guided_best`, where they are known already: to judge all ranks takes a while.
    """
    left = [panel for make in (rates, evidence, fields, tails) if (panel := make(study, kept)) is not None][:3]
    right = guided(study, kept) if best is None else arms(best)
    with styled():
        figure = blank((9.6, 8.6 if len(left) > 1 or right else 3.4))
        if not left and right is None:
            figure.text(0.5, 0.5, "Nothing of this picture has been measured yet.", ha="center")
            return figure
        beside = right is not None and bool(left)
        columns: Sequence[Any] = [figure, figure]
        if beside:
            halves: Any = figure.subfigures(1, 2, width_ratios=(1.0, 1.06))
            columns = list(halves)
        if left:
            for axis, panel in zip(np.ravel(columns[0].subplots(len(left), 1)), left, strict=True):
                panel(axis)
        if right is not None:
            right(columns[1].subplots())
        return figure


def single(panel: Panel, size: tuple[float, float] = (6.4, 4.0)) -> Figure:
    """A panel by itself."""
    with styled():
        figure = blank(size)
        panel(figure.subplots())
        return figure


# -------------------------------------------------------------------------------------------------------------- panels


def rates(study: Inverse, kept: Mapping[str, Tables]) -> Panel | None:
    """W1 over n of the line's first observation at its first noise."""
    tables = rows.of(study, kept, names.LINE)
    if not tables:
        return None
    found, (k, *_) = rows.line(study, tables), drawing.observations(tables)

    def draw(axis: Axes) -> None:
        sizes = tables[0]["sizes"]
        for arm, tones in ((names.EMPIRICAL, (SKY, BLUE)), (names.GENERATOR, (YELLOW, ORANGE))):
            row = drawing.of_observation(found, tables, arm, k)
            for which, tone in zip(("prior", "posterior"), tones, strict=True):
                errors = np.stack([drawing.mean_errors(table, arm, which, k) for table in tables])
                name = f"{arm}, {which}: {drawing.slope(row.get(which))}"
                spread(axis, sizes, errors, name, tone, hollow=which == "prior")
        z = float(tables[0]["evidence"][k])
        logs(axis, f"Rates on the line, Z = {z:.2g}", "number of data n", "W1 to the truth", legend="lower left")

    return draw


def evidence(study: Inverse, kept: Mapping[str, Tables]) -> Panel | None:
    """Posterior error over prior error, over 1 / Z, of all seeds; the worst prior and the bound."""
    tables = rows.of(study, kept, names.EVIDENCE)
    if not tables:
        return None
    points = {
        rows.BOUND: ("bound C of T1", GREY, "_"),
        rows.WORST: ("worst prior near the truth", ORANGE, "^"),
        names.EMPIRICAL: ("empirical prior", BLUE, "o"),
        names.GENERATOR: ("fitted generator", GREEN, "s"),
    }

    def draw(axis: Axes) -> None:
        for arm, (name, tone, mark) in points.items():
            some = tables if arm in (names.EMPIRICAL, names.GENERATOR) else tables[:1]
            x = np.concatenate([1 / table["evidence"] for table in some])
            y = np.concatenate([rows.ratio(table, arm) for table in some])
            how: dict[str, Any] = {"s": 26 if arm in (rows.BOUND, rows.WORST) else 12, "linewidths": 1.2}
            axis.scatter(x, y, c=tone, marker=mark, label=name, alpha=1.0 if len(some) == 1 else 0.6, **how)
        logs(axis, "Unlikely and sharp observations", "1 / Z", "posterior W1 over prior W1", legend="upper left")

    return draw


def fields(study: Inverse, kept: Mapping[str, Tables]) -> Panel | None:
    """Sliced W1 of priors and posteriors of fields over n; the stationary prior's as a line across."""
    tables = rows.of(study, kept, names.ELLIPTIC)
    if not tables:
        return None

    def draw(axis: Axes) -> None:
        sizes, posteriors = tables[0]["sizes"], 0
        for arm, tones in ((sampled_rows.GENERATOR, (YELLOW, ORANGE)), (sampled_rows.GAUSSIAN, (SKY, BLUE))):
            at = [at for name, _, at in sampled_rows.arms(tables) if name == arm and at is not None]
            for which, tone in zip(("prior", "posterior") if at else (), tones, strict=False):
                errors = _finite([drawing.sliced(table, arm, which) for table in tables])
                if len(errors):
                    spread(axis, sizes[at], errors, f"{drawing.label(arm)}, {which}", tone, hollow=which == "prior")
                    posteriors += which == "posterior"
        flat = _finite([drawing.sliced(table, sampled_rows.MATERN, "posterior") for table in tables])
        if len(flat):
            axis.axhline(flat.mean(), color=GREY, linestyle=(0, (1, 2)), label="stationary Matérn, posterior")
        title = "Fields behind 36 pressures" + ("" if posteriors else ": no posterior passed its gate")
        logs(axis, title, "number of training fields n", "sliced W1", legend="lower left")

    return draw


def tails(study: Inverse, kept: Mapping[str, Tables]) -> Panel | None:
    """Posterior error over prior error, in W1 and in W2, over the place of an unseen tail."""
    tables = rows.of(study, kept, names.COUNTEREXAMPLE)
    if not tables:
        return None

    def draw(axis: Axes) -> None:
        for name, tone in (("w1", ORANGE), ("w2", BLUE)):
            errors = np.stack([np.median(table["w1_posterior"] / table[f"{name}_prior"], 1) for table in tables])
            spread(axis, tables[0]["far"], errors, f"over the prior's {name.upper()}", tone, hollow=name == "w1")
        logs(axis, "One of two coordinates is seen", "place of the tail, K", "posterior W1 over the prior's")

    return draw


def guided(study: Inverse, kept: Mapping[str, Tables]) -> Panel | None:
    """Distance over floor of every guided sampler, a mark for each group of problems."""
    tables = rows.of(study, kept, names.GUIDED)
    found = sampled_rows.guided_best(sampled_rows.guided(sampled_rows.judged(study, tables)))
    return arms(found) if found else None


def arms(found: Rows) -> Panel:
    """The same, from the rows of `guided_best`."""

    def draw(axis: Axes) -> None:
        groups = list(dict.fromkeys(name[0] for row in found for name in row if isinstance(name, tuple)))
        broken = False
        for g, (group, mark, tone) in enumerate(zip(groups, GROUPS, (BLUE, GREEN, PINK, ORANGE), strict=False)):
            for at, row in enumerate(found):
                far, where = row.get((group, "over_floor"), math.nan), at + 0.16 * (g - (len(groups) - 1) / 2)
                full = tone if row.get((group, "passed")) else "white"
                if math.isfinite(far):
                    axis.plot([far], [where], mark, color=tone, markerfacecolor=full, markersize=6, zorder=3)
                elif far > 0:
                    axis.plot([1], [where], "x", color=tone, transform=axis.get_yaxis_transform(), clip_on=False)
                    broken = True
            axis.plot([], [], mark, color=tone, linestyle="none", label=group)
        if broken:
            axis.plot([], [], "x", color=SOFT, linestyle="none", label="at the edge: not finite")
        axis.axvline(1.0, color=SOFT, linestyle=(0, (1, 2)), linewidth=1)
        axis.set_yticks(range(len(found)), [row["arm"] for row in found], color=figures.INK)
        axis.set_ylim(len(found) - 0.5, -1.0 - 0.75 * math.ceil((len(groups) + broken) / 2))  # room for the legend
        logs(axis, "Guided samplers, filled: calibrated", "distance to exact draws, over its floor", "", y=False)
        axis.grid(True, axis="x")
        axis.tick_params(axis="y", length=0)
        axis.legend(loc="upper right", handletextpad=0.1, ncols=2)

    return draw


def spread(axis: Axes, x: np.ndarray, errors: np.ndarray, name: str, tone: str, *, hollow: bool) -> None:
    """A line of the mean over seeds of errors (seeds, n), and the range of the seeds."""
    line: dict[str, Any] = {"linestyle": (0, (5, 2)) if hollow else "-", "markerfacecolor": "white" if hollow else tone}
    axis.fill_between(x, errors.min(0), errors.max(0), color=tone, alpha=0.16, linewidth=0)
    axis.plot(x, errors.mean(0), marker="o", markersize=4.5, color=tone, linewidth=1.8, label=name, **line)


def logs(
    axis: Axes,
    title: str,
    x_label: str,
    y_label: str,
    *,
    y: bool = True,
    legend: Literal["best", "upper left", "lower left"] = "best",
) -> None:
    """Logarithmic axes, their names and a legend; one that is at a given side has a third of the height to itself."""
    axis.set_xscale("log")
    if y:
        axis.set_yscale("log")
        low, high = axis.get_ylim()
        room = (high / low) ** 0.3
        axis.set_ylim(low / (room if "lower" in legend else 1), high * (room if "upper" in legend else 1))
    for one, ends in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim()))[: 1 + y]:
        many = math.log10(ends[1] / ends[0]) > 2
        one.set_major_locator(LogLocator(subs=(1.0,) if many else (1.0, 2.0, 5.0), numticks=6 if many else 12))
        # No powers: the style takes a dollar for a dollar.
        one.set_major_formatter(lambda value, _: f"{value:,.6g}" if value < 1e6 else f"{value:.0e}".replace("e+0", "e"))
        one.set_minor_formatter(NullFormatter())
    axis.set(title=title, xlabel=x_label, ylabel=y_label)
    if y:
        axis.legend(loc=legend, fontsize=8.5, labelspacing=0.25, handlelength=2.4)


def _finite(found: Sequence[np.ndarray]) -> np.ndarray:
    fine = [each for each in found if np.isfinite(each).all()]
    return np.stack(fine) if fine else np.zeros((0, 0))


# --------------------------------------------------------------------------------------------------- fields and chains


def shown(tables: Tables) -> list[tuple[str, int | None, int | None]]:
    """Priors whose posteriors are shown: the true law, network and Gaussian of the most fields each, and the stationary
    field."""
    every = sampled_rows.arms([tables])
    of = lambda arm: [one for one in every if one[0] == arm]
    most = [one for arm in (sampled_rows.GENERATOR, sampled_rows.GAUSSIAN) for one in of(arm)[-1:]]
    return [*of(sampled_rows.TRUE), *most, *of(sampled_rows.MATERN)]


def maps(tables: Tables, truth: int) -> Figure:
    """A true field and its data; below, a row for each prior of `shown`: mean and deviation of the posterior, and
    fields of it. Where the gate failed a row says why."""
    some = shown(tables)
    with styled():
        figure = blank((9.6, 1.9 * (1 + len(some))))
        grid = figure.subplots(1 + len(some), 2 + SAMPLES)
        for axis in grid.ravel():
            axis.set_axis_off()
        true = tables["truth"][truth]
        most = float(np.abs(true).max())
        field: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -most, "vmax": most}
        image = _image(grid[0, 0], true, "true field u", **field)
        across = int(math.isqrt(tables["y"].shape[1]))
        pressure = _image(grid[0, 1], tables["y"][truth].reshape(across, across), "data: pressure", cmap="viridis")
        deviations = [sampled_rows.value(tables, arm, "posterior sd", at)[truth] for arm, _, at in some]
        largest = max((float(np.max(sd)) for sd in deviations if np.isfinite(sd).all()), default=1.0)
        last = None
        for line, (arm, n, at), sd in zip(grid[1:], some, deviations, strict=True):
            get = lambda name, arm=arm, at=at: sampled_rows.value(tables, arm, f"posterior {name}", at)[truth]
            name = drawing.label(arm, n)
            if not np.isfinite(sd).all():
                line[0].set_title(name, fontsize=9.5, fontweight="normal", loc="left", pad=4)
                line[0].text(0, 0.5, f"not told: {get('why')}", transform=line[0].transAxes, fontsize=9, wrap=False)
                continue
            _image(line[0], get("mean"), f"{name}: mean", **field)
            last = _image(line[1], sd, "deviation", cmap="inferno", vmin=0.0, vmax=largest)
            for at_sample, axis in enumerate(line[2:]):
                _image(axis, get("samples")[at_sample], "another" if at_sample else "a draw", **field)
        bars = [(image, "u"), (pressure, "p"), *([(last, "deviation of u")] if last is not None else [])]
        for axis, (of, unit) in zip(grid[0, 2:], bars, strict=False):
            place = axis.inset_axes((0.05, 0.5, 0.9, 0.1))
            figure.colorbar(of, cax=place, orientation="horizontal").set_label(unit)
        return figure


def _image(axis: Axes, values: np.ndarray, title: str, **how: Any) -> Any:
    """The first axis of a field is x: it goes to the right."""
    axis.set_title(title, fontsize=9.5, fontweight="normal", loc="left", pad=4)
    return axis.imshow(np.asarray(values, np.float64).T, origin="lower", **how)


def chains(tables: Tables) -> Figure:
    """u in the middle along all chains of every prior of `shown` and every truth; dotted: the truth."""
    some, truths = shown(tables), len(tables["truth"])
    with styled():
        figure = blank((9.6, 1.75 * len(some)))
        grid = figure.subplots(len(some), truths, squeeze=False, sharex=True)
        for line, (arm, n, at) in zip(grid, some, strict=True):
            get = lambda name, arm=arm, at=at: sampled_rows.value(tables, arm, f"posterior {name}", at)
            for t, axis in enumerate(line):
                for chain, tone in zip(get("trace")[t], (BLUE, ORANGE, GREEN, PINK) * 4, strict=False):
                    axis.plot(np.asarray(chain, np.float64), color=tone, linewidth=0.8)
                axis.axhline(_middle(tables["truth"][t]), color=figures.INK, linestyle=(0, (1, 2)), linewidth=1.2)
                said = f"R-hat {get('rhat')[t]:.3f}, ESS {get('ess')[t]:.0f}" + (": refused" if get("why")[t] else "")
                axis.set_title(said, fontsize=9, fontweight="normal", pad=3)
            line[0].set_ylabel(drawing.label(arm, n).replace(", ", "\n"), fontsize=9)
        for axis in grid[-1]:
            axis.set_xlabel("rows of a chain, thinned")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        return figure


def _middle(field: np.ndarray) -> float:
    """u in the middle, as `fields.told` reads it."""
    n = len(field)
    return float(np.mean(field[(n - 1) // 2 : n // 2 + 1, (n - 1) // 2 : n // 2 + 1]))
