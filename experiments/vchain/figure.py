"""The study's picture: film strips of the arms on one scene, the primary outcome of every arm, the trade-off."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.vchain import suite
from experiments.vchain.config import VChain
from vrjax.files.pixels import to_uint8
from vrjax.report import figures
from vrjax.study.tables import Tables

STRIPS = ("t2v", "augmented", "text", "linear", "vchain", "placebo", "tuned_short")
MAIN = ("t2v", "augmented", "text", "linear", "nearest", "vchain")
SCALE = 6  # picture elements per pixel: nothing blurs


def draw(
    path: pathlib.Path,
    on: suite.Scenes,
    tables: Mapping[str, Tables],
    rows: Sequence[Mapping[str, Any]],
    curve: Sequence[Mapping[str, float]],
    study: VChain,
) -> pathlib.Path:
    """Writes the figure.

    Args:
        on: the first base's scenes.
        tables: its arms.
        rows, curve: from `verdicts`, over all bases.
    """
    with figures._style():
        figure = Figure(figsize=(12.8, 9.6))
        FigureCanvasAgg(figure)
        shape = figure.add_gridspec(2, 2, height_ratios=(0.78, 1.0), width_ratios=(1.45, 1.0), hspace=0.2, wspace=0.16)
        shape.update(left=0.27, right=0.985, top=0.965, bottom=0.06)
        strips(figure.add_subplot(shape[0, :]), on, tables)
        bars(figure.add_subplot(shape[1, 0]), rows)
        trade_off(figure.add_subplot(shape[1, 1]), curve, study)
    return figures.save(figure, path, dpi=110)


def shown(on: suite.Scenes) -> int:
    """Which scene is drawn, by a rule: the first in which a novel kind changes, else the first."""
    novel = on.novel[: suite.SHOWN]
    return int(novel.argmax()) if novel.any() else 0


def strips(axis: Axes, on: suite.Scenes, tables: Mapping[str, Tables]) -> None:
    """One row of frames per arm, the true film on top; a mark says whether the clip is complete and lawful."""
    i = shown(on)
    films: list[tuple[str, np.ndarray, bool | None]] = [("true film", to_uint8(on.clips[i].video), None)]
    for arm in STRIPS:
        films.append((suite.label(arm), tables[arm]["shown"][i], bool(tables[arm]["primary"][i, 0])))
    frames, high, wide = films[0][1].shape[:3]
    gap = 2
    canvas = np.full((len(films) * (high + gap) - gap, frames * (wide + gap) - gap, 3), 255, np.uint8)
    for row, (_, film, _) in enumerate(films):
        for t, picture in enumerate(film):
            canvas[row * (high + gap) : row * (high + gap) + high, t * (wide + gap) : t * (wide + gap) + wide] = picture
    height, width = canvas.shape[:2]
    large = canvas.repeat(SCALE, 0).repeat(SCALE, 1)
    axis.imshow(large, aspect="auto", extent=(0, width, height, 0))
    marks = {None: "", True: "  [right]", False: "  [wrong]"}
    centres = [row * (high + gap) + high / 2 for row in range(len(films))]
    axis.set_yticks(centres, [name + marks[right] for name, _, right in films], fontsize=8.5)
    axis.set_xticks(
        [t * (wide + gap) + wide / 2 for t in range(frames)], [f"frame {t}" for t in range(frames)], fontsize=8
    )
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.grid(False)
    axis.set_title("The first test scene in which something unseen happens; first noise")


def bars(axis: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """The primary outcome of every arm with its interval and every base as a dot."""
    colours = {"main": figures.COLOURS["model"][0], "control": figures.COLOURS["control"][0], "other": "#76808b"}
    for y, row in enumerate(rows):
        kind = "main" if row["arm"] in MAIN else "control" if row["label"].startswith("control") else "other"
        axis.barh(y, row["primary"], color=colours[kind], alpha=0.85 if row["arm"] == "vchain" else 0.5, height=0.7)
        axis.plot([row["low"], row["high"]], [y, y], color="#14202e", linewidth=1.6)
        axis.plot(row["per_base"], [y] * len(row["per_base"]), ".", color="#14202e", markersize=3, alpha=0.6)
    axis.set_yticks(range(len(rows)), [row["label"] for row in rows], fontsize=8)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlim(0, 1)
    axis.set_xlabel("share of complete and lawful clips (95 % interval; dots: bases)")
    axis.grid(True, axis="x")
    axis.grid(False, axis="y")
    axis.set_title("All arms")


def trade_off(axis: Axes, curve: Sequence[Mapping[str, float]], study: VChain) -> None:
    """Outcome and motion over the number of updates of the adapters."""
    x = [row["updates"] for row in curve]
    for name, label, colour in (
        ("primary", "complete and lawful", figures.COLOURS["model"][0]),
        ("motion", "motion (1: as the true film)", figures.COLOURS["control"][0]),
    ):
        axis.plot(x, [row[name] for row in curve], "o-", color=colour, label=label, linewidth=2, markersize=4)
        low, high = ([row[f"{name}_{end}"] for row in curve] for end in ("low", "high"))
        axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    looks = figures.COLOURS["model"][1]
    axis.plot(x, [row["appearance"] for row in curve], "s--", color=looks, label="novel looks right", markersize=4)
    axis.axvline(study.tuning, color="#76808b", linestyle=":", linewidth=1.2)
    axis.set_xscale("log")
    axis.set_xticks(x, [f"{n:g}" for n in x])
    axis.minorticks_off()
    axis.set_ylim(0, 1.7)
    axis.set_xlabel("updates of the adapters (dotted: the study's)")
    axis.legend(loc="upper left", fontsize=8)
    axis.set_title("Too short, too long")
